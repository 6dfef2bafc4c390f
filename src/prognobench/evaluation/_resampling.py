"""The bootstrap over patients: one machine that controls, intervals, tests, rankings and subgroups share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

from prognobench.frame import sha256_json

from ._folds import TestedFilms, by_patient, film_parts
from ._tables import BLOCK_KEYS, FOLD_KEYS, check_predictions, planned_jobs
from .metrics import mcc_of_counts

# From the weakest on; a strategy of these names is a control.
CONTROLS = ("majority", "metadata", "random")
Level = Literal["auto", "film", "patient"]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_CHUNK = 1 << 22  # multiplicities of patients that are held at once as floats
_THRESHOLD = 0.5
_END = 1e-12
_CELL = ["model", "strategy", "protocol"]


class PatientBootstrap:
    """The test folds of a study and the patients drawn from them, made once for all tables that rest on them.

    Parameters
    ----------
    predictions, jobs
        As `fold_metrics` takes them. `jobs` may have a column `architecture`: the model of the control `random` that
        belongs to the job's model; where it is missing, that is the model itself.
    level
        `film`, `patient`, or `auto`: patients where patients have several test films, else films.
    resamples
        How often the patients are drawn anew.

    Attributes
    ----------
    planned : pandas.DataFrame
        The planned jobs, as `planned_jobs` returns them, with their `architecture`.
    blocks : list of Block
        What may be compared in one table, in the order of `planned`.

    Raises
    ------
    InputError
        When the tables do not fit each other.

    Notes
    -----
    Within each test fold as many patients as it has are drawn with replacement, the same for every model and strategy
    (Efron & Tibshirani 1993, chapter 13). All films of a patient go with the patient, into every fold and repeat that
    tests them. In a resample, a fold that is left with one class counts for no one.

    Draws depend on the task's patients and folds alone, so every cell of a task is compared on the same ones and the
    same tables give the same numbers.
    """

    def __init__(
        self, predictions: pd.DataFrame, jobs: pd.DataFrame, *, level: Level = "auto", resamples: int = 2000
    ) -> None:
        planned = planned_jobs(jobs)
        planned["architecture"] = _architectures(planned, jobs)
        done = planned[planned["state"] == "done"]
        predictions = predictions[predictions["job"].isin(done["job"])]
        check_predictions(predictions, done)
        parts = film_parts(predictions)
        tested = {(job, cohort): films for (job, split, cohort), films in parts.items() if split == "test"}
        several = {cohort for (_, cohort), (_, _, patient) in tested.items() if len(np.unique(patient)) < len(patient)}
        self.planned = planned
        self.resamples = resamples
        self._tested = tested
        self.blocks: list[Block] = []
        for _, block in planned.groupby(BLOCK_KEYS, dropna=False, sort=False):
            cohort = str(block["test_cohort"].iloc[0])
            at = ("patient" if cohort in several else "film") if level == "auto" else level
            self.blocks.append(_block(block, tested, at, resamples))

    def filled(self, block: Block) -> Block:
        """Return a block with its holes filled by jobs that call everyone negative, whose MCC is 0.

        A hole stays where no job of its test fold is done, since nobody knows its films.
        """
        rows = self.planned
        for key, value in block.keys.items():
            rows = rows[rows[key].isna() if pd.isna(value) else (rows[key] == value).fillna(False)]
        rows, tested = rows.copy(), dict(self._tested)
        missing = np.flatnonzero(rows["state"] != "done")
        done = rows[rows["state"] == "done"]
        known = {_words(row): job for job, *row in done[["job", *FOLD_KEYS]].itertuples(index=False, name=None)}
        filled = [False] * len(rows)
        for place in missing:
            job, cohort, *fold = rows.iloc[place][["job", "test_cohort", *FOLD_KEYS]]
            if _words(fold) in known:
                positive, score, patient = tested[known[_words(fold)], cohort]
                tested[job, cohort] = positive, np.zeros_like(score), patient
                filled[place] = True
        rows["state"] = rows["state"].mask(np.array(filled, dtype=bool), "done")
        result = _block(rows, tested, block.level, block.resamples)
        for cell, before in zip(result.cells, block.cells, strict=True):
            cell.imputed = cell.done - before.done
        return result


def _words(fold: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(name) for name in fold)


def _architectures(planned: pd.DataFrame, jobs: pd.DataFrame) -> pd.Series[Any]:
    if "architecture" not in jobs:
        return planned["model"]
    told = dict(zip(jobs["job"].astype("string"), jobs["architecture"].astype("string"), strict=True))
    return planned["job"].map(told).astype("string").fillna(planned["model"])


@dataclass
class Cell:
    """One model and strategy of a block, under one protocol.

    `planned` and `done` count jobs; `folds` are places of test folds in the block's `folds`; `place` is the cell's
    column among those that are computed, −1 where jobs are missing; `imputed` counts jobs that were filled in.
    """

    model: str
    strategy: str
    architecture: str
    protocol: str
    planned: int = 0
    done: int = 0
    folds: set[int] = field(default_factory=set)
    place: int = -1
    imputed: int = 0

    @property
    def key(self) -> dict[str, Any]:
        """Model, strategy and protocol."""
        return {"model": self.model, "strategy": self.strategy, "protocol": self.protocol}

    @property
    def is_control(self) -> bool:
        """Whether this needs no learned image content."""
        return self.strategy in CONTROLS

    @property
    def lack(self) -> str:
        """Say what is missing, or nothing."""
        if self.done == self.planned:
            return ""
        return f"{self.planned - self.done} of {self.planned} jobs are not done"

    def controls(self, cells: Sequence[Cell]) -> list[Cell]:
        """Choose the controls of this cell, those of its own protocol where they are there."""
        found: dict[str, list[Cell]] = {}
        for other in cells:
            if other.is_control and (other.strategy != "random" or other.model == self.architecture):
                found.setdefault(other.strategy, []).append(other)
        own = {name: [other for other in others if other.protocol == self.protocol] for name, others in found.items()}
        return [other for name, others in found.items() for other in own[name] or others]


@dataclass(frozen=True, eq=False)
class Fold:
    """One test fold: who is in it, and what each job says of them.

    Cases are films, or patients where that is the level.

    Parameters
    ----------
    name
        Repeat, fold and center of the test fold.
    patients
        The fold's patients as places among those of the block; shape (n,).
    of_case
        Each case's patient as a place in `patients`; shape (cases,).
    positive
        Each case's class; shape (cases,).
    score
        P(positive) of each case by each job; shape (cases, jobs).
    cell
        The place of the cell that each job belongs to; shape (jobs,).
    n_train
        Mean number of films that the jobs trained on; NaN where it is not told.
    test_films
        How many films are tested, whatever the level.
    draw
        The few-shot draw of each job, −1 where there is none; shape (jobs,).
    """

    name: tuple[Any, ...]
    patients: Ints
    of_case: Ints
    positive: Bools
    score: Floats
    cell: Ints
    n_train: float = np.nan
    test_films: int = 0
    draw: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    @cached_property
    def positives(self) -> Floats:
        """How many positive cases each patient has; shape (n,)."""
        return np.bincount(self.of_case[self.positive], minlength=len(self.patients)).astype(np.float64)

    @cached_property
    def negatives(self) -> Floats:
        """How many negative cases each patient has; shape (n,)."""
        return np.bincount(self.of_case[~self.positive], minlength=len(self.patients)).astype(np.float64)

    @cached_property
    def true(self) -> Floats:
        """How many positive cases of each patient each job calls positive; shape (n, jobs)."""
        return self._called(self.positive)

    @cached_property
    def false(self) -> Floats:
        """How many negative cases of each patient each job calls positive; shape (n, jobs)."""
        return self._called(~self.positive)

    def _called(self, cases: Bools) -> Floats:
        counts = np.zeros((len(self.patients), self.score.shape[1]))
        np.add.at(counts, self.of_case[cases], (self.score[cases] >= _THRESHOLD).astype(np.float64))
        return counts

    @cached_property
    def has_both_classes(self) -> bool:
        """Whether the metrics are defined for the fold as it is."""
        return bool(self.positive.any() and not self.positive.all())


@dataclass(eq=False)
class Block:
    """Cells that may be compared: one task, tested cohort, regime and validation.

    Parameters
    ----------
    keys
        The block's values of `BLOCK_KEYS`.
    level
        `film` or `patient`.
    cells
        Every planned model and strategy, done or not.
    folds
        The test folds of the cells whose jobs are all done.
    resamples
        How often the patients are drawn anew.
    """

    keys: dict[str, Any]
    level: str
    cells: list[Cell]
    folds: list[Fold]
    resamples: int
    _drawn_errors: dict[frozenset[int], DrawnError] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def complete(self) -> list[Cell]:
        """The cells whose jobs are all done, in the order of their places."""
        return sorted((cell for cell in self.cells if cell.place >= 0), key=lambda cell: cell.place)

    @cached_property
    def patients(self) -> int:
        """How many patients the folds test."""
        return max((int(fold.patients.max()) + 1 for fold in self.folds), default=0)

    @cached_property
    def mcc(self) -> Floats:
        """MCC of each complete cell, averaged over seeds and draws and then over folds; shape (cells,)."""
        everyone = np.ones((1, self.patients))
        return mean_mcc(self.folds, len(self.complete), [everyone]).reshape(-1)

    @cached_property
    def drawn(self) -> npt.NDArray[np.uint16]:
        """How often each patient is in each resample; shape (resamples, patients)."""
        words = [str(self.keys[key]) for key in ("cohort", "task", "test_cohort", "validation")]
        return draw_patients(words, self.folds, self.patients, self.resamples)

    def chunks(self) -> Iterator[Floats]:
        """Yield `drawn` as floats, some resamples at a time."""
        at_once = max(1, _CHUNK // max(1, self.patients))
        for start in range(0, self.resamples, at_once):
            yield self.drawn[start : start + at_once].astype(np.float64)

    @cached_property
    def drawn_mcc(self) -> Floats:
        """`mcc` in each resample, NaN where no fold holds both classes; shape (resamples, cells)."""
        return mean_mcc(self.folds, len(self.complete), self.chunks())

    def drawn_error(self, cell: Cell) -> DrawnError:
        """How standard errors of the cell are made of the spread of resamples."""
        folds = frozenset(cell.folds)
        if folds not in self._drawn_errors:
            self._drawn_errors[folds] = drawn_error([self.folds[place] for place in sorted(folds)])
        return self._drawn_errors[folds]

    def n_folds(self, cell: Cell) -> int:
        """Count the test folds with both classes, on which everything about the cell rests."""
        return sum(self.folds[place].has_both_classes for place in cell.folds)


@dataclass(frozen=True)
class DrawnError:
    """How the spread of resamples becomes a standard error and an interval.

    Parameters
    ----------
    factor
        √(n / (n − 1)), the variance ratio averaged over folds of n patients: a resample of n patients is that much
        less spread than n patients are.
    freedom
        Degrees of freedom of Student's t: the patients of the rarer class less the folds, at least 1. With few
        positive patients the spread itself is badly known.
    """

    factor: float
    freedom: float

    def standard_error(self, drawn: Floats) -> Floats:
        """Return the standard error of each column of (resamples, columns); NaN where fewer than two are defined."""
        # Row by row, so that no bit depends on the columns beside it.
        drawn = np.ascontiguousarray(drawn.T)
        there = ~np.isnan(drawn)
        n = there.sum(axis=1)
        mean = np.where(there, drawn, 0).sum(axis=1) / np.maximum(n, 1)
        squares = (np.where(there, drawn - mean[:, None], 0) ** 2).sum(axis=1)
        spread = np.sqrt(np.divide(squares, n - 1, out=np.full(len(n), np.nan), where=n > 1))
        error: Floats = self.factor * spread
        return error

    def interval(
        self, estimate: Floats, error: Floats, confidence: float, lowest: float = -1.0
    ) -> tuple[Floats, Floats]:
        """Return the bounds of a metric between `lowest` and 1, made on Fisher's z scale, so that they stay in between.

        Fisher 1921; the standard error is carried over by the slope of the scale. On 0 to 1 this is the logit.
        """
        middle, half = (1 + lowest) / 2, (1 - lowest) / 2
        r = (estimate - middle) / half
        # At the very end of its range a metric has no spread over resamples, and the interval is that point.
        inside = np.clip(r, -1 + _END, 1 - _END)
        margin = self.margin(error / half, confidence) / (1 - inside**2)
        low, high = (middle + half * np.tanh(np.arctanh(inside) + side * margin) for side in (-1, 1))
        return low, high

    def margin(self, error: Floats, confidence: float) -> Floats:
        """Return how far the interval of a difference reaches to either side."""
        margin: Floats = stdtrit(self.freedom, (1 + confidence) / 2) * error
        return margin


def drawn_error(folds: Sequence[Fold]) -> DrawnError:
    """Count the folds' patients, each once, and the positive ones; folds of one class tell nothing."""
    folds = [fold for fold in folds if fold.has_both_classes]
    if not folds:
        return DrawnError(1.0, 1.0)
    positive = np.unique(np.concatenate([fold.patients[fold.positives > 0] for fold in folds]))
    everyone = np.unique(np.concatenate([fold.patients for fold in folds]))
    rarer = min(len(positive), len(everyone) - len(positive))
    # A fold with both classes may be one patient's films.
    sizes = np.maximum(2, [len(fold.patients) for fold in folds])
    repeats = len({str(fold.name[0]) for fold in folds})
    return DrawnError(float(np.sqrt(np.mean(sizes / (sizes - 1)))), max(1.0, rarer - len(folds) / repeats))


def _block(block: pd.DataFrame, tested: Mapping[tuple[str, str], TestedFilms], level: str, resamples: int) -> Block:
    cells = _cells(block)
    for place, cell in enumerate(cell for cell in cells.values() if not cell.lack):
        cell.place = place
    jobs = block[[cells[key].place >= 0 for key in block[_CELL].itertuples(index=False, name=None)]]
    keys = {str(key): block[key].iloc[0] for key in BLOCK_KEYS}
    return Block(keys, level, list(cells.values()), _folds(jobs, cells, tested, level), resamples)


def _cells(block: pd.DataFrame) -> dict[tuple[Any, ...], Cell]:
    cells: dict[tuple[Any, ...], Cell] = {}
    for *key, architecture, state in block[[*_CELL, "architecture", "state"]].itertuples(index=False, name=None):
        model, strategy, protocol = key
        cell = cells.setdefault(tuple(key), Cell(model, strategy, architecture, protocol))
        cell.planned += 1
        cell.done += state == "done"
    return cells


def _folds(
    jobs: pd.DataFrame,
    cells: Mapping[tuple[Any, ...], Cell],
    tested: Mapping[tuple[str, str], TestedFilms],
    level: str,
) -> list[Fold]:
    """Gather the jobs of each fold, and tell the cells which folds they have."""
    gathered: list[tuple[tuple[Any, ...], list[_Tested]]] = []
    for name, fold in jobs.groupby(FOLD_KEYS, dropna=False):
        # Two splits of one name, as two grids of a study may make them, are two folds.
        alike: dict[bytes, list[_Tested]] = {}
        columns = fold[["job", "test_cohort", "n_train", "draw", *_CELL]]
        for job, cohort, n_train, draw, *key in columns.itertuples(index=False, name=None):
            films, cell = tested[job, cohort], cells[tuple(key)]
            alike.setdefault(films[0].tobytes() + films[2].tobytes(), []).append((cell.place, films, n_train, draw))
        for same in alike.values():
            places = {job[0] for job in same}
            for cell in cells.values():
                if cell.place in places:
                    cell.folds.add(len(gathered))
            gathered.append((tuple(name), same))
    people = [films[2] for _, same in gathered for _, films, _, _ in same[:1]]
    names = np.unique(np.concatenate(people)) if people else np.empty(0, np.int64)
    return [_fold(name, same, names, level) for name, same in gathered]


# Place of the cell, films, number of training films and draw of a job.
_Tested = tuple[int, TestedFilms, Any, Any]


def _fold(name: tuple[Any, ...], jobs: list[_Tested], names: Ints, level: str) -> Fold:
    positive, _, patient = jobs[0][1]
    patients, of_case = np.unique(patient, return_inverse=True)
    if level == "patient":
        samples = [by_patient(*films) for _, films, _, _ in jobs]
        positive, of_case = samples[0].positive, np.arange(len(patients))
        score = np.stack([sample.score for sample in samples], axis=1)
    else:
        score = np.stack([films[1] for _, films, _, _ in jobs], axis=1)
    n_train = float(np.mean([np.nan if pd.isna(number) else number for _, _, number, _ in jobs]))
    places = np.array([place for place, _, _, _ in jobs])
    draws = np.array([-1 if pd.isna(draw) else int(draw) for _, _, _, draw in jobs], dtype=np.int64)
    return Fold(name, np.searchsorted(names, patients), of_case, positive, score, places, n_train, len(patient), draws)


def draw_patients(words: Sequence[str], folds: Sequence[Fold], patients: int, resamples: int) -> npt.NDArray[np.uint16]:
    """Draw patients anew within their test folds.

    Parameters
    ----------
    words
        What tells the draws of one study's task from another's.
    folds
        The test folds. A patient is drawn with those of the first fold that tests them, and counts as often in all
        others.
    patients
        How many there are in all folds together.
    resamples
        How often to draw.

    Returns
    -------
    numpy.ndarray
        How often each patient was drawn, shape (resamples, patients).
    """
    seen = np.zeros(patients, dtype=bool)
    strata: list[Ints] = []
    for fold in folds:
        strata.append(fold.patients[~seen[fold.patients]])
        seen[fold.patients] = True
    sizes = [len(stratum) for stratum in strata]
    seed = int(sha256_json([*words, sizes])[:32], 16)
    drawn = np.zeros((resamples, patients), dtype=np.uint16)
    for place, stratum in enumerate(strata):
        if not len(stratum):
            continue
        # Each stratum has a stream of its own, so that how many resamples are made at once does not show.
        stream, size = np.random.Generator(np.random.PCG64([seed, place])), len(stratum)
        at_once = max(1, _CHUNK // size)
        for start in range(0, resamples, at_once):
            count = min(at_once, resamples - start)
            chosen = stream.integers(0, size, (count, size)) + size * np.arange(count)[:, None]
            counts = np.bincount(chosen.ravel(), minlength=count * size).reshape(count, size)
            drawn[start : start + count, stratum] = counts
    return drawn


def mean_mcc(folds: Sequence[Fold], cells: int, chunks: Iterable[Floats]) -> Floats:
    """Return each cell's MCC averaged within and over folds, NaN where no fold has both classes.

    Parameters
    ----------
    folds
        The test folds; a fold that is left with one class counts for no one.
    cells
        How many cells there are.
    chunks
        How often each patient counts, each of shape (some resamples, patients).

    Returns
    -------
    numpy.ndarray
        Shape (resamples of all chunks, cells).
    """
    found = [np.empty((0, cells))]
    for drawn in chunks:
        total, defined = np.zeros((len(drawn), cells)), np.zeros((len(drawn), cells))
        for fold in folds:
            weights = drawn[:, fold.patients]
            positives, negatives = (weights @ fold.positives)[:, None], (weights @ fold.negatives)[:, None]
            mcc = mcc_of_counts(weights @ fold.true, weights @ fold.false, positives, negatives)
            both = (positives > 0) & (negatives > 0)
            of_cells = by_cell(np.where(both, mcc, np.nan), fold.cell, cells)
            there = ~np.isnan(of_cells)
            total += np.where(there, of_cells, 0)
            defined += there
        found.append(np.divide(total, defined, out=np.full_like(total, np.nan), where=defined > 0))
    return np.concatenate(found)


def by_cell(values: Floats, cell: Ints, cells: int) -> Floats:
    """Average the jobs of each cell: (resamples, jobs) to (resamples, cells), NaN for cells without a job."""
    result = np.full((len(values), cells), np.nan)
    jobs_of = np.bincount(cell, minlength=cells)
    alone = jobs_of[cell] == 1
    result[:, cell[alone]] = values[:, alone]
    for several in np.flatnonzero(jobs_of > 1):
        # Cell by cell, so that the last bits do not depend on which other cells there are.
        result[:, several] = values[:, cell == several].mean(axis=1)
    return result
