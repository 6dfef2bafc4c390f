"""What a training function is given, and what it gives back."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]

# Beyond so many bytes the pages of features that were read are given back as those of films are.
_MUCH = 2**24


def read_rows(array: Array | Stacked, chosen: Any) -> Array:
    """Return some rows of an array; where they are films or many features of a mapped file, no page of it stays.

    So a worker that goes through a hundred thousand films holds a batch of them and not all. A few features are little
    beside that and read over and over; their pages stay.

    Parameters
    ----------
    array
        Memory-mapped or not: pixels (films, size, size), or features (films, width).
    chosen
        What it is indexed with. Films come as a copy, whatever it is; features of a file where it lists rows.
    """
    if not isinstance(array, np.memmap) or array.mode != "r":
        return np.asarray(array[chosen])
    listed = isinstance(chosen, np.ndarray) and chosen.ndim == 1 and chosen.dtype.kind in "iu"
    if listed and array.ndim == 2 and len(chosen) * array[:1].nbytes > _MUCH:
        return _in_the_order_of_the_file(array, chosen)
    found = np.asarray(array[chosen])
    if array.ndim > 2:
        found = found.copy() if np.may_share_memory(found, array) else found
        give_back_pages(array)
    return found


def _in_the_order_of_the_file(array: np.memmap[Any, Any], positions: npt.NDArray[np.int64]) -> Array:
    """Return rows of a mapped file without holding more than a part of its pages beside them."""
    found = np.empty((len(positions), *array.shape[1:]), dtype=array.dtype)
    order = np.argsort(positions, kind="stable")
    for part in np.array_split(order, math.ceil(found.nbytes / _MUCH)):
        found[part] = array[positions[part]]
        give_back_pages(array)
    return found


def give_back_pages(array: np.memmap[Any, Any]) -> None:
    """Let go of the pages of a mapped file: its rows are read again when they are asked for.

    The system counts a page that was read as the process's own until it is given back, although it may lie in memory
    once for all. Only for files that are shared: changes of a private copy would be lost.
    """
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.base.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class Rows:
    """Some rows of a memory-mapped array: the part that a function is given, and all that indexing reaches.

    Parameters
    ----------
    array
        Where the rows lie, among others. Pixels (films, size, size) uint16, or features (films, width) float32.
    positions
        The rows, int64.
    """

    array: Array | Stacked
    positions: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, chosen: Any) -> Array:
        # The copy is read here and not when the model is under way.
        return read_rows(self.array, self.positions[chosen])


@dataclass(frozen=True)
class Films:
    """Films with their labels: the training or the validation part, never the test part.

    Parameters
    ----------
    rows
        Pixels or features of the films.
    labels
        Class of each film, int64.
    patients
        Number of each film's patient, int64; needed where a film's weight depends on its patient.
    """

    rows: Rows
    labels: npt.NDArray[np.int64]
    patients: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.labels):
            raise ValueError(f"{len(self.rows)} films have {len(self.labels)} labels")


class Stacked:
    """Arrays of one shape under one another, as indexing by rows sees them; none is copied.

    Parameters
    ----------
    arrays
        Each (rows, width), memory-mapped or not.

    Examples
    --------
    >>> Stacked([np.zeros((3, 1)), np.ones((3, 1))])[np.array([2, 3])].tolist()
    [[0.0], [1.0]]
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self._arrays = tuple(arrays)
        self.dtype = self._arrays[0].dtype
        self._rows = sum(len(array) for array in self._arrays)
        self.shape = (self._rows, *self._arrays[0].shape[1:])

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> Array:
        which, row = np.divmod(rows, len(self._arrays[0]))
        found = np.empty((*np.shape(rows), *self.shape[1:]), dtype=self.dtype)
        for number in np.unique(which):
            there = which == number
            found[there] = read_rows(self._arrays[number], row[there])
        return found


def with_variants(films: Films, variants: int) -> Films:
    """Return films and, behind them, their changed copies, whose rows stand in as many further parts of the array.

    Parameters
    ----------
    films
        Films whose rows are in the first of 1 + variants parts of one length.
    variants
        How many copies there are of each.

    Examples
    --------
    >>> rows = Rows(Stacked([np.zeros((2, 1)), np.ones((2, 1))]), np.array([1]))
    >>> with_variants(Films(rows, np.array([0])), 1).rows[:].tolist()
    [[0.0], [1.0]]
    """
    if not variants:
        return films
    copies = variants + 1
    steps = np.arange(copies) * (len(films.rows.array) // copies)
    rows = Rows(films.rows.array, (films.rows.positions + steps[:, None]).ravel())
    patients = None if films.patients is None else np.tile(films.patients, copies)
    return Films(rows, np.tile(films.labels, copies), patients)


@dataclass(frozen=True)
class Outcome:
    """What training leaves.

    Parameters
    ----------
    score
        Probability of each class, (films, classes) float64, for any rows.
    history
        What validation said of each candidate, epoch by epoch where there are epochs.
    trainable_parameters
        How many numbers were trained, the chosen head included.
    tensors
        The head, and what the strategy changed, for `save: weights`.
    film_passes
        Films that went forward, and films that went backward, through the backbone; what `score` sends through is
        added as it is called.
    warnings
        What went otherwise than planned without changing the result.
    """

    score: Callable[[Rows], npt.NDArray[np.float64]]
    history: pd.DataFrame
    trainable_parameters: int
    tensors: dict[str, Tensor] = field(default_factory=dict)
    film_passes: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def film_weights(films: Films, how: str) -> npt.NDArray[np.float64]:
    """Return the weight of each film in the loss: 1, or in proportion to 1 / (films of its patient), 1 on average.

    Raises
    ------
    ValueError
        The films do not say whose they are.

    Examples
    --------
    >>> rows = Rows(np.zeros((3, 1)), np.arange(3))
    >>> film_weights(Films(rows, np.array([0, 0, 1]), patients=np.array([7, 7, 9])), "patient").tolist()
    [0.75, 0.75, 1.5]
    """
    if how == "none":
        return np.ones(len(films.labels))
    if films.patients is None:
        raise ValueError("films weigh by patient, but do not say whose they are")
    _, patient, counts = np.unique(films.patients, return_inverse=True, return_counts=True)
    weights: npt.NDArray[np.float64] = len(patient) / (len(counts) * counts[patient])
    return weights


def class_weights(
    labels: npt.NDArray[np.int64], classes: int, how: str, films: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.float64]:
    """Return the weight of each class in the loss: n / (classes × n_c), the square root of that, or 1.

    Parameters
    ----------
    labels
        Class of each training film.
    classes
        How many classes there are.
    how
        `balanced`, `sqrt` or `none`.
    films
        What each film counts for; 1 by default.

    Raises
    ------
    ValueError
        A class has no film to train on.

    Examples
    --------
    >>> class_weights(np.array([0, 0, 0, 1]), 2, "balanced").tolist()
    [0.6666666666666666, 2.0]
    """
    counts = np.bincount(labels, weights=films, minlength=classes)
    if (counts == 0).any():
        raise ValueError(f"the training part has no film of class {int(np.argmin(counts))}")
    if how == "none":
        return np.ones(classes)
    weights: npt.NDArray[np.float64] = counts.sum() / (classes * counts)
    return np.sqrt(weights) if how == "sqrt" else weights


def weighted_log_loss(
    probabilities: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    films: npt.NDArray[np.float64] | None = None,
) -> float:
    """Return the mean of −log P(true class), weighted by class and, where told, by film."""
    chosen = np.clip(probabilities[np.arange(len(labels)), labels], np.finfo(np.float64).tiny, None)
    by_film = weights[labels] if films is None else weights[labels] * films
    return float(np.average(-np.log(chosen), weights=by_film))
