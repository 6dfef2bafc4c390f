"""Controls: predictions that need no learned image content."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from prognobench.protocols import Protocol

from ._films import Array, Films, Outcome, Rows, class_weights, weighted_log_loss
from ._probe import fit_probe

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_Encoder = Callable[[Array], npt.NDArray[np.float64]]


def fit_majority(train: Films, val: Films, classes: int) -> Outcome:
    """Score every film with the class shares of the training part.

    At the threshold of 0.5 each film is called the majority class. Being constant, it has an MCC of 0 and a PR-AUC
    of the positives' share.
    """
    shares = np.bincount(train.labels, minlength=classes) / len(train.labels)

    def score(rows: Rows) -> npt.NDArray[np.float64]:
        return np.tile(shares, (len(rows), 1))

    loss = weighted_log_loss(score(val.rows), val.labels, class_weights(train.labels, classes, "balanced"))
    return Outcome(score, pd.DataFrame({"candidate": ["majority"], "val_loss": [loss], "chosen": [True]}), 0)


def fit_metadata(train: Films, val: Films, classes: int, protocol: Protocol) -> Outcome:
    """Predict from what is known about a film without looking at what it shows.

    A logistic regression as `fit_probe` solves it, with its penalties and class weights, on numbers made of cells.
    How they are made is learned on the training part alone:

    - A column whose non-blank cells are all finite numbers (decimal point) is one number, a blank being the mean of
      the others, and one number that says whether the cell is blank. In other parts, a cell that is no number is
      taken for blank.
    - Every other column is one number for each value that it has in the training part, blank being a value, that
      says whether the cell has it. A value that the training part does not have is none of them.

    Parameters
    ----------
    train, val
        Films whose rows are cells, (films, columns) text; an empty text is a blank cell.
    classes
        How many classes the task has.
    protocol
        Gives the penalties and the class weights.

    Raises
    ------
    ValueError
        A class has no training film, or a solution did not converge.
    """
    cells = train.rows[:]
    encoders = [_encoder(cells[:, column]) for column in range(cells.shape[1])]

    def encoded(rows: Rows) -> Rows:
        found = rows[:]
        numbers = [encode(found[:, column]) for column, encode in enumerate(encoders)]
        return Rows(np.concatenate(numbers, axis=1), np.arange(len(rows)))

    outcome = fit_probe(
        replace(train, rows=encoded(train.rows)), replace(val, rows=encoded(val.rows)), classes, protocol
    )
    # Its tensors mean nothing without the columns that they belong to.
    return replace(outcome, score=lambda rows: outcome.score(encoded(rows)), tensors={})


def _encoder(training: Array) -> _Encoder:
    told = [cell for cell in training if cell]
    if not told or any(math.isnan(_number(cell)) for cell in told):
        values = np.array(sorted(set(training)), dtype=object)
        return lambda cells: (cells[:, None] == values[None, :]).astype(np.float64)
    numbers = np.array([_number(cell) for cell in told])
    lowest = numbers.min()
    mean = (numbers - lowest).mean()

    def encode(cells: Array) -> npt.NDArray[np.float64]:
        # Counted from the lowest: a column that never changes is exactly 0 and cannot be blown up by its rounding.
        found = np.array([_number(cell) for cell in cells]) - lowest
        blank = np.isnan(found)
        return np.stack([np.where(blank, mean, found), blank.astype(np.float64)], axis=1)

    return encode


def _number(cell: str) -> float:
    """Return the finite number that a cell spells, or NaN."""
    number = float(cell) if _NUMBER.fullmatch(cell) else math.nan
    return number if math.isfinite(number) else math.nan
