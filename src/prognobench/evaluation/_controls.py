"""Is a model above its controls: the paired difference to the best of what needs no learned image content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from prognobench.frame import sha256_json

from ._folds import TestedFilms, by_patient, film_parts
from ._tables import BLOCK_KEYS, CELL_KEYS, FOLD_KEYS, check_predictions, planned_jobs
from .metrics import Sample, mcc_of_counts

# From the weakest on; a strategy of these names is a control.
CONTROLS = ("majority", "metadata", "random")
# Differences of equal predictions may differ from 0 in the last bits.
_TIE = 1e-12
_CHUNK = 1 << 22  # multiplicities of patients that are held at once
_COLUMNS = [
    *CELL_KEYS,
    "protocol",
    *("level", "n_folds", "mcc", "control", "control_mcc"),
    *("difference", "ci_low", "ci_high", "n_resamples", "above_controls", "undefined"),
]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def compare_with_controls(
    predictions: pd.DataFrame,
    jobs: pd.DataFrame,
    *,
    level: Literal["auto", "film", "patient"] = "auto",
    resamples: int = 2000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare every learned cell with its best control on the same patients.

    Parameters
    ----------
    predictions, jobs
        As `fold_metrics` takes them. `jobs` may have a column `architecture`: the model of the control `random` that
        belongs to the job's model; where it is missing, that is the model itself.
    level
        `film`, `patient`, or `auto`: patients where patients have several test films, else films.
    resamples
        How often the patients are drawn anew.
    confidence
        Of the interval.

    Returns
    -------
    pandas.DataFrame
        One row a planned cell that is no control, sorted by its keys (those of `summary.csv`, and `protocol`):

        - `level`: `film` or `patient`;
        - `n_folds`: test folds with both classes, on which everything here rests;
        - `mcc`: mean over folds of the mean over seeds and draws, at 0.5;
        - `control`, `control_mcc`: the control with the highest such mean, `random` being that of the model's own
          architecture. A control that was not planned under the cell's protocol is taken from another one;
        - `difference` = `mcc` − `control_mcc`, with `ci_low` and `ci_high`;
        - `n_resamples` that held both classes in at least one fold;
        - `above_controls`: whether `ci_low` is above 0; missing where it is not known;
        - `undefined`: why it is not known, else blank.

    Raises
    ------
    InputError
        When the tables do not fit each other.

    Notes
    -----
    The interval is the percentile interval of a paired bootstrap over patients (Efron & Tibshirani 1993, chapter 13):
    within each test fold as many patients as it has are drawn with replacement, the same for the model and for the
    control, and everything is averaged as before. All films of a patient go with the patient, into every fold and
    repeat that tests them. In a resample, a fold that is left with one class counts for neither of the two.

    It holds the trained models fixed and says how much the result rests on which patients were tested. Draws depend
    on the task's patients and folds alone, so every cell of a task is compared on the same ones and the same tables
    give the same numbers.
    """
    planned = planned_jobs(jobs)
    planned["architecture"] = _architectures(planned, jobs)
    done = planned[planned["state"] == "done"]
    predictions = predictions[predictions["job"].isin(done["job"])]
    check_predictions(predictions, done)
    parts = film_parts(predictions)
    tested = {(job, cohort): films for (job, split, cohort), films in parts.items() if split == "test"}
    several = {cohort for (_, cohort), (_, _, patient) in tested.items() if len(np.unique(patient)) < len(patient)}
    rows: list[dict[str, Any]] = []
    for _, block in planned.groupby(BLOCK_KEYS, dropna=False, sort=False):
        cohort = str(block["test_cohort"].iloc[0])
        at = ("patient" if cohort in several else "film") if level == "auto" else level
        rows += _compare_block(block, tested, at, resamples, confidence)
    return _typed(pd.DataFrame(rows, columns=_COLUMNS), planned)


def _architectures(planned: pd.DataFrame, jobs: pd.DataFrame) -> pd.Series[Any]:
    if "architecture" not in jobs:
        return planned["model"]
    told = dict(zip(jobs["job"].astype("string"), jobs["architecture"].astype("string"), strict=True))
    return planned["job"].map(told).astype("string").fillna(planned["model"])


def _typed(rows: pd.DataFrame, planned: pd.DataFrame) -> pd.DataFrame:
    keys = [*CELL_KEYS, "protocol"]
    types: dict[Any, Any] = planned[keys].dtypes.to_dict()
    types |= dict.fromkeys(["mcc", "control_mcc", "difference", "ci_low", "ci_high"], "float64")
    types |= dict.fromkeys(["level", "control", "undefined"], "string")
    types |= {"n_folds": "int64", "n_resamples": "int64", "above_controls": "boolean"}
    return rows.astype(types).sort_values(keys, kind="stable", na_position="first", ignore_index=True)


@dataclass
class _Cell:
    """One model and strategy of a block."""

    model: str
    strategy: str
    architecture: str
    protocol: str
    planned: int = 0
    done: int = 0
    folds: set[int] = field(default_factory=set)
    place: int = -1  # among the cells that are computed

    @property
    def is_control(self) -> bool:
        return self.strategy in CONTROLS

    @property
    def lack(self) -> str:
        """Say what is missing, or nothing."""
        if self.done == self.planned:
            return ""
        return f"{self.planned - self.done} of {self.planned} jobs are not done"

    def controls(self, cells: Sequence[_Cell]) -> list[_Cell]:
        """Choose the controls of this cell, those of its own protocol where they are there."""
        found: dict[str, list[_Cell]] = {}
        for other in cells:
            if other.is_control and (other.strategy != "random" or other.model == self.architecture):
                found.setdefault(other.strategy, []).append(other)
        own = {name: [other for other in others if other.protocol == self.protocol] for name, others in found.items()}
        return [other for name, others in found.items() for other in own[name] or others]


def _compare_block(
    block: pd.DataFrame, tested: Mapping[tuple[str, str], TestedFilms], level: str, resamples: int, confidence: float
) -> list[dict[str, Any]]:
    cells = _cells(block)
    complete = [cell for cell in cells.values() if not cell.lack]
    for place, cell in enumerate(complete):
        cell.place = place
    jobs = block[[cells[key].place >= 0 for key in block[_CELL].itertuples(index=False, name=None)]]
    folds = _folds(jobs, cells, tested, level)
    mcc = _means(folds, len(complete), [np.ones((1, _patients(folds)))])[0]
    # Only where something is to be compared is the work done.
    needed = any(cell.is_control for cell in complete) and not all(cell.is_control for cell in complete)
    drawn = _means(folds, len(complete), _multiplicities(block, folds, resamples if needed else 0))
    common = {key: block[key].iloc[0] for key in BLOCK_KEYS} | {"level": level}
    return [
        common
        | {"model": cell.model, "strategy": cell.strategy, "protocol": cell.protocol}
        | {"n_folds": sum(fold.has_both_classes and cell.place in fold.cell for fold in folds)}
        | _compare(cell, list(cells.values()), mcc, drawn, confidence)
        for cell in cells.values()
        if not cell.is_control
    ]


_CELL = ["model", "strategy", "protocol"]


def _cells(block: pd.DataFrame) -> dict[tuple[Any, ...], _Cell]:
    cells: dict[tuple[Any, ...], _Cell] = {}
    for *key, architecture, state in block[[*_CELL, "architecture", "state"]].itertuples(index=False, name=None):
        model, strategy, protocol = key
        cell = cells.setdefault(tuple(key), _Cell(model, strategy, architecture, protocol))
        cell.planned += 1
        cell.done += state == "done"
    return cells


def _compare(cell: _Cell, cells: list[_Cell], mcc: Floats, drawn: Floats, confidence: float) -> dict[str, Any]:
    controls = cell.controls(cells)
    known: dict[str, Any] = {"n_resamples": 0, "above_controls": None, "undefined": ""}
    if not cell.lack:
        known["mcc"] = mcc[cell.place]
    if cell.lack:
        return known | {"undefined": cell.lack}
    if not controls:
        return known | {"undefined": "no control was run"}
    lacking = [f"of the control {other.strategy} {other.lack}" for other in controls if other.lack]
    if lacking:
        # The one that lacks jobs may be the best.
        return known | {"undefined": "; ".join(lacking)}
    others = [other.strategy for other in controls if other.folds != cell.folds]
    if others:
        return known | {"undefined": f"the control {others[0]} was tested on other films"}
    if np.isnan(mcc[cell.place]):
        return known | {"undefined": "no test fold holds both classes"}
    best = max(controls, key=lambda other: (mcc[other.place], other.strategy))
    differences = drawn[:, cell.place] - drawn[:, best.place]
    differences = differences[~np.isnan(differences)]
    known |= {
        "control": best.strategy,
        "control_mcc": mcc[best.place],
        "difference": mcc[cell.place] - mcc[best.place],
        "n_resamples": len(differences),
    }
    if not len(differences):
        return known | {"undefined": "no resample holds both classes"}
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return known | {"ci_low": low, "ci_high": high, "above_controls": bool(low > _TIE)}


@dataclass(frozen=True, eq=False)
class _Fold:
    """One test fold: who is in it, and the true and false positives that each job makes of each of them.

    `patients` are places in the block, shape (n,); `positives` and `negatives` count a patient's cases, shape (n,);
    `true` and `false` count those called positive, shape (n, jobs); `cell` says whose job it is, shape (jobs,).
    """

    patients: Ints
    positives: Floats
    negatives: Floats
    true: Floats
    false: Floats
    cell: Ints

    @property
    def has_both_classes(self) -> bool:
        return bool(self.positives.any() and self.negatives.any())


def _folds(
    jobs: pd.DataFrame,
    cells: Mapping[tuple[Any, ...], _Cell],
    tested: Mapping[tuple[str, str], TestedFilms],
    level: str,
) -> list[_Fold]:
    """Gather the jobs of each fold, and tell the cells which folds they have."""
    gathered: list[_Fold] = []
    for _, fold in jobs.groupby(FOLD_KEYS, dropna=False):
        # Two splits of one name, as two grids of a study may make them, are two folds.
        alike: dict[bytes, list[tuple[int, TestedFilms]]] = {}
        for job, cohort, *key in fold[["job", "test_cohort", *_CELL]].itertuples(index=False, name=None):
            films, cell = tested[job, cohort], cells[tuple(key)]
            alike.setdefault(films[0].tobytes() + films[2].tobytes(), []).append((cell.place, films))
        for same in alike.values():
            places = {place for place, _ in same}
            for cell in cells.values():
                if cell.place in places:
                    cell.folds.add(len(gathered))
            counted = [_counts(films, level) for _, films in same]
            patients, positives, negatives, _, _ = counted[0]
            true, false = (
                np.stack([counts[which] for counts in counted], axis=1, dtype=np.float64) for which in (3, 4)
            )
            gathered.append(_Fold(patients, positives, negatives, true, false, np.array([place for place, _ in same])))
    names = np.unique(np.concatenate([fold.patients for fold in gathered])) if gathered else np.empty(0, np.int64)
    return [
        _Fold(np.searchsorted(names, f.patients), f.positives, f.negatives, f.true, f.false, f.cell) for f in gathered
    ]


def _counts(films: TestedFilms, level: str) -> tuple[Ints, Floats, Floats, Floats, Floats]:
    """Return the patients and, for each, positive and negative cases and those called positive among them."""
    patients, of_case = np.unique(films[2], return_inverse=True)
    sample = Sample(films[0], films[1])
    if level == "patient":
        sample, of_case = by_patient(*films), np.arange(len(patients))
    called = sample.score >= sample.threshold

    def count(cases: npt.NDArray[np.bool_]) -> Floats:
        counts: Floats = np.bincount(of_case[cases], minlength=len(patients)).astype(np.float64)
        return counts

    positive, negative = sample.positive, ~sample.positive
    return patients, count(positive), count(negative), count(positive & called), count(negative & called)


def _patients(folds: Sequence[_Fold]) -> int:
    return max((int(fold.patients.max()) + 1 for fold in folds), default=0)


def _multiplicities(block: pd.DataFrame, folds: Sequence[_Fold], resamples: int) -> Iterator[Floats]:
    """Yield how often each patient of the block was drawn, shape (some resamples, patients).

    A patient is drawn with those of the first fold that tests them, and counts as often in all others.
    """
    seen = np.zeros(_patients(folds), dtype=bool)
    strata: list[Ints] = []
    for fold in folds:
        strata.append(fold.patients[~seen[fold.patients]])
        seen[fold.patients] = True
    words = [str(block[key].iloc[0]) for key in ("cohort", "task", "test_cohort", "validation")]
    sizes = [len(stratum) for stratum in strata]
    seed = int(sha256_json([*words, sizes])[:32], 16)
    # Each stratum has a stream of its own, so that how many resamples are made at once does not show.
    streams = [np.random.Generator(np.random.PCG64([seed, place])) for place in range(len(strata))]
    at_once = max(1, _CHUNK // max(1, len(seen)))
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        drawn = np.zeros((count, len(seen)))
        for stratum, stream in zip(strata, streams, strict=True):
            if len(stratum):
                size = len(stratum)
                chosen = stream.integers(0, size, (count, size)) + size * np.arange(count)[:, None]
                drawn[:, stratum] = np.bincount(chosen.ravel(), minlength=count * size).reshape(count, size)
        yield drawn


def _means(folds: Sequence[_Fold], cells: int, chunks: Iterator[Floats] | Sequence[Floats]) -> Floats:
    """Return each cell's MCC averaged within and over folds, shape (resamples, cells); NaN where no fold has both."""
    found = [np.empty((0, cells))]
    for drawn in chunks:
        total, defined = np.zeros((len(drawn), cells)), np.zeros((len(drawn), cells))
        for fold in folds:
            weights = drawn[:, fold.patients]
            positives, negatives = (weights @ fold.positives)[:, None], (weights @ fold.negatives)[:, None]
            mcc = mcc_of_counts(weights @ fold.true, weights @ fold.false, positives, negatives)
            both = ((positives > 0) & (negatives > 0))[:, 0]
            for cell in np.unique(fold.cell):
                # Cell by cell, so that the last bits do not depend on which other cells there are.
                total[:, cell] += np.where(both, mcc[:, fold.cell == cell].mean(axis=1), 0)
                defined[:, cell] += both
        found.append(np.divide(total, defined, out=np.full_like(total, np.nan), where=defined > 0))
    return np.concatenate(found)
