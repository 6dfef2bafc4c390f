"""Intervals of a result: over folds, corrected for shared training films, and over patients drawn anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ._nadeau_bengio import nadeau_bengio_lack, nadeau_bengio_margin
from ._resampling import Block, Floats, Level, PatientBootstrap
from ._simulated import default_interval
from ._tables import CELL_KEYS, finished
from ._weighted import WEIGHTED, drawn_values, fold_values

# What each interval is about, in plain words; where the folds are centers, made again is with other ones.
ESTIMANDS = {
    "t": "the mean over test folds of this size, were the study made again with other patients; holds if no two folds "
    "shared training films",
    "nadeau_bengio": "the mean over test folds of this size, were the study made again with other patients",
    "bootstrap": "what these trained models would reach on all patients like those of their test folds",
}
_OF_CENTERS = {"t": "the mean over test centers, were the study made again with other centers and patients"}
_COLUMNS = [
    *CELL_KEYS,
    *("protocol", "level", "metric", "method", "estimate", "ci_low", "ci_high", "n_folds", "n_resamples"),
    *("estimand", "default", "undefined"),
]


def intervals(
    predictions: pd.DataFrame,
    jobs: pd.DataFrame,
    *,
    level: Level = "auto",
    resamples: int = 2000,
    confidence: float = 0.95,
    bootstrap: PatientBootstrap | None = None,
) -> pd.DataFrame:
    """Give every result its intervals, one row a metric and way to make one.

    Parameters
    ----------
    predictions, jobs, level, resamples
        As `PatientBootstrap` takes them.
    confidence
        Of the intervals.
    bootstrap
        That of the same tables, where it was made already; its own level and resamples hold.

    Returns
    -------
    pandas.DataFrame
        Rows for every planned cell, for `mcc, pr_auc, roc_auc, balanced_accuracy, sensitivity, specificity`:

        - `method`: `t`, `nadeau_bengio` or `bootstrap`; `estimand`: what it is about;
        - `estimate`: mean over the `n_folds` folds in which the metric is defined of the mean over seeds and draws,
          at 0.5; `ci_low`, `ci_high`: those over folds are not cut to the metric's range;
        - `n_resamples` in which the metric was defined, for the bootstrap;
        - `default`: whether the simulation of `docs/statistics.md` found it to hold for this metric and kind of
          validation, with all training films and no fewer folds, and no other one before it; never where it is
          undefined;
        - `undefined`: why numbers are missing, else blank.

    Raises
    ------
    InputError
        When the tables do not fit each other.

    Notes
    -----
    `t` is Student's interval over folds, those of all repeats. `nadeau_bengio` corrects it for training parts that
    overlap (see `nadeau_bengio_margin`), for k-fold and hold-out with the regime `full`. `bootstrap` is the estimate ±
    Student's t times the standard error of a bootstrap over patients (see `PatientBootstrap`), which goes with a
    patient through all films, folds, repeats, seeds and draws and never pools scores of different models. The standard
    error is the spread of the resamples times √(n / (n − 1)), averaged over folds of n patients; the degrees of freedom
    are the patients of the rarer class less the folds; the interval is made on Fisher's z scale (the logit for metrics
    from 0 to 1). Percentile intervals, tried in the same simulation, were too narrow.
    """
    bootstrap = bootstrap or PatientBootstrap(predictions, jobs, level=level, resamples=resamples)
    tables = [
        _table(block, metric, found) for block in bootstrap.blocks for metric, found in _of_block(block, confidence)
    ]
    texts = "level metric method estimand undefined"
    return finished(
        tables,
        _COLUMNS,
        [*CELL_KEYS, "protocol"],
        bootstrap.planned,
        string=texts,
        int64="n_folds n_resamples",
        boolean="default",
    )


@dataclass(frozen=True, eq=False)
class Interval:
    """One kind of interval of the complete cells of a block; arrays of shape (cells,), NaN where undefined.

    `lack` says why the kind is not defined for the block, or is blank.
    """

    method: str
    estimate: Floats
    low: Floats
    high: Floats
    n_folds: Floats
    n_resamples: Floats
    lack: str = ""


def block_intervals(block: Block, confidence: float) -> Iterator[tuple[str, Interval]]:
    """Yield each metric with each of its intervals, by `t`, `nadeau_bengio` and `bootstrap`."""
    cells = len(block.complete)
    values = fold_values(block.folds, cells)
    drawn = drawn_values(block.folds, cells, block.chunks())
    ratio, lack = tested_per_trained(block)
    errors = [block.drawn_error(cell) for cell in block.complete]
    for metric in WEIGHTED:
        mean, std, n = _moments(values[metric])
        none, no = np.full(cells, np.nan), np.zeros(cells)
        margin = nadeau_bengio_margin(std, n, 0.0, confidence)
        yield metric, Interval("t", mean, mean - margin, mean + margin, n, no)
        margin = none if lack else nadeau_bengio_margin(std, n, ratio, confidence)
        yield metric, Interval("nadeau_bengio", mean, mean - margin, mean + margin, n, no, lack)
        low, high = none.copy(), none.copy()
        for place, error in enumerate(errors):
            spread = error.standard_error(drawn[metric][:, [place]])
            bounds = error.interval(mean[[place]], spread, confidence, -1.0 if metric == "mcc" else 0.0)
            low[place], high[place] = bounds[0][0], bounds[1][0]
        there = (~np.isnan(drawn[metric])).sum(axis=0)
        yield metric, Interval("bootstrap", mean, low, high, n, there)


def tested_per_trained(block: Block) -> tuple[float, str]:
    """Return tested over trained films, averaged over folds, or why folds of this kind have no such correction."""
    lack = nadeau_bengio_lack(str(block.keys["validation"]), str(block.keys["regime"]))
    if lack or not block.folds:
        return np.nan, lack
    ratio = float(np.mean([fold.test_films / fold.n_train for fold in block.folds]))
    return ratio, "" if ratio > 0 else "it is not told how many films each fold trained on"


def estimand(method: str, validation: str) -> str:
    """Say what an interval is about under a kind of validation."""
    return (_OF_CENTERS if validation.startswith("loco") else {}).get(method, ESTIMANDS[method])


def _of_block(block: Block, confidence: float) -> Iterator[tuple[str, Interval]]:
    if block.complete:
        yield from block_intervals(block, confidence)
        return
    empty = np.empty(0)
    for metric in WEIGHTED:
        for method in ESTIMANDS:
            yield metric, Interval(method, empty, empty, empty, empty, empty)


def _table(block: Block, metric: str, found: Interval) -> pd.DataFrame:
    """Return the rows of all planned cells of the block."""
    places = np.array([cell.place for cell in block.cells])
    there = places >= 0

    def of_cells(values: Floats, missing: float) -> Floats:
        result = np.full(len(places), missing)
        result[there] = values[places[there]]
        return result

    validation, regime = str(block.keys["validation"]), str(block.keys["regime"])
    estimate, low, n = of_cells(found.estimate, np.nan), of_cells(found.low, np.nan), of_cells(found.n_folds, 0)
    alone = "one fold has no spread" if found.method != "bootstrap" else "fewer than two resamples are defined"
    why = [
        cell.lack or found.lack or ("" if not np.isnan(bound) else _NO_FOLD if np.isnan(mean) else alone)
        for cell, mean, bound in zip(block.cells, estimate, low, strict=True)
    ]
    return pd.DataFrame(
        {
            **block.keys,
            "model": [cell.model for cell in block.cells],
            "strategy": [cell.strategy for cell in block.cells],
            "protocol": [cell.protocol for cell in block.cells],
            "level": block.level,
            "metric": metric,
            "method": found.method,
            "estimate": estimate,
            "ci_low": low,
            "ci_high": of_cells(found.high, np.nan),
            "n_folds": n.astype(np.int64),
            "n_resamples": of_cells(found.n_resamples, 0).astype(np.int64),
            "estimand": estimand(found.method, validation),
            "default": [
                not np.isnan(bound) and default_interval(validation, metric, regime, int(count)) == found.method
                for bound, count in zip(low, n, strict=True)
            ],
            "undefined": why,
        }
    )


_NO_FOLD = "no test fold holds the classes that it needs"


def _moments(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return mean, standard deviation (ddof 1) and count over folds of (folds, cells); NaN where too few are there."""
    there = ~np.isnan(values)
    n = there.sum(axis=0).astype(np.float64)
    mean = np.divide(np.where(there, values, 0).sum(axis=0), n, out=np.full_like(n, np.nan), where=n > 0)
    squares = (np.where(there, values - mean, 0) ** 2).sum(axis=0)
    return mean, np.sqrt(np.divide(squares, n - 1, out=np.full_like(n, np.nan), where=n > 1)), n
