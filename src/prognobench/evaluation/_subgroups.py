"""Does it hold for everyone: metrics within view, center, sex and age band."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from ._folds import Films, gather_films, patient_samples
from ._resampling import Bools, Cell, Floats, Fold, Ints, Level, draw_patients, drawn_error
from ._tables import BLOCK_KEYS, CELL_KEYS, FOLD_KEYS, check_predictions, planned_jobs, text_codes
from .metrics import Samples, mcc_of_counts

ATTRIBUTES = ("view", "center", "sex", "age")
AGE_BANDS = ("below 40", "40–59", "60–79", "80 and over")
UNKNOWN = "unknown"
_AGES = (40, 60, 80)
_FEWEST = 10  # positives, and negatives, of a group that is shown and may be the worst
_METRICS = ("mcc", "roc_auc", "sensitivity", "specificity")
_ENDINGS = ("", "_ci_low", "_ci_high")
_NUMBERS = [f"{metric}{ending}" for metric in _METRICS for ending in _ENDINGS]
_CELL = ["model", "strategy", "protocol"]
_COLUMNS = [
    *CELL_KEYS,
    *("protocol", "level", "attribute", "value", "n_films", "n_patients", "n_positive", "n_folds"),
    *_NUMBERS,
    *("worst", "undefined"),
]
_CHUNK = 1 << 22  # numbers that are held at once


def subgroups(
    predictions: pd.DataFrame,
    jobs: pd.DataFrame,
    films: pd.DataFrame,
    *,
    level: Level = "auto",
    resamples: int = 500,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compute every cell's metrics within groups of films.

    Parameters
    ----------
    predictions, jobs
        As `fold_metrics` takes them.
    films
        One row a film: `cohort, image` and any of `view, center, sex, age`, as texts; empty or missing is not known.
    level
        `film`, `patient`, or `auto`: patients where patients have several test films, else films. A patient's score in
        a group is the mean over their films of that group.
    resamples
        How often the patients are drawn anew.
    confidence
        Of the intervals.

    Returns
    -------
    pandas.DataFrame
        One row a cell, attribute and value that test films have, by the keys of `summary.csv` and `protocol`, then
        `view`, `center`, `sex`, `age`, what is not known last:

        - `level`: `film` or `patient`;
        - `value`: as the table spells it; of ages the band `below 40`, `40–59`, `60–79` or `80 and over`; `unknown`
          for blanks and for ages that are no number. An attribute that no film has is left out;
        - `n_films, n_patients, n_positive`: the group's test films, their patients and the positive cases of the level,
          each once;
        - `n_folds`: test folds in which the group has both classes; all metrics are means over these, after
          averaging seeds and draws;
        - `mcc, roc_auc, sensitivity, specificity` (at 0.5), each with `_ci_low` and `_ci_high`;
        - `worst`: the lowest MCC of the groups of this attribute, `unknown` apart, where at least two are large enough;
        - `undefined`: why numbers are missing, else blank. A group needs 10 positive and 10 negative cases.

    Raises
    ------
    InputError
        When the tables do not fit each other.

    Notes
    -----
    The interval is made as that of `intervals` by `bootstrap`: Student's t times the standard error of a bootstrap over
    patients within each test fold (see `PatientBootstrap`), the same draws for all groups, with the patients that the
    group has; a fold in which a resample leaves the group one class counts for nothing in it. How often such intervals
    of groups hold was not simulated. MCC depends on how frequent the outcome is, so groups in which it is rarer tend to
    have a lower one: hold it against sensitivity and specificity.
    """
    planned = planned_jobs(jobs)
    done = planned[planned["state"] == "done"]
    predictions = predictions[predictions["job"].isin(done["job"])]
    check_predictions(predictions, done)
    gathered = gather_films(predictions)
    film, known = _known(predictions, films)
    film = film[gathered.rows]
    rows: list[dict[str, Any]] = []
    several = _several_films(done, gathered)
    # One thread: the products are small, and several would mostly wait for one another.
    with threadpool_limits(1, "blas"):
        for _, block in planned.groupby(BLOCK_KEYS, dropna=False, sort=False):
            at = ("patient" if block["test_cohort"].iloc[0] in several else "film") if level == "auto" else level
            cells, folds = _block(block, gathered, film)
            rows += _rows(block, cells, folds, known, str(at), resamples, confidence)
    return _typed(pd.DataFrame(rows, columns=_COLUMNS), planned)


def age_band(text: str) -> str:
    """Return the band of an age in years, `unknown` where it is no number.

    Examples
    --------
    >>> [age_band(text) for text in ("39.9", "40", "090Y", "")]
    ['below 40', '40–59', 'unknown', 'unknown']
    """
    try:
        age = float(text)
    except ValueError:
        return UNKNOWN
    return AGE_BANDS[int(np.searchsorted(_AGES, age, "right"))] if 0 <= age < np.inf else UNKNOWN


@dataclass(frozen=True, eq=False)
class _Attribute:
    """Which value each film has."""

    name: str
    values: tuple[str, ...]
    of_film: Ints


def _known(predictions: pd.DataFrame, films: pd.DataFrame) -> tuple[Ints, list[_Attribute]]:
    """Return the number of each prediction's film, and the attributes that any film has."""
    (cohort, cohorts), (image, images) = text_codes(predictions["cohort"]), text_codes(predictions["image"])
    names, film = np.unique(cohort * len(images) + image, return_inverse=True)
    place = {pair: row for row, pair in enumerate(zip(films["cohort"], films["image"], strict=True))}
    rows = [place.get((cohorts[name // len(images)], images[name % len(images)]), -1) for name in names]
    known = []
    for name in ATTRIBUTES:
        if name not in films:
            continue
        texts = [text if isinstance(text, str) and text.strip() else UNKNOWN for text in films[name]]
        if name == "age":
            texts = [age_band(text) for text in texts]
        told = [texts[row] if row >= 0 else UNKNOWN for row in rows]
        order = [*AGE_BANDS, *sorted(set(told) - {UNKNOWN, *AGE_BANDS}), UNKNOWN]
        values = tuple(value for value in order if value in set(told))
        if values and values != (UNKNOWN,):
            number = {value: place for place, value in enumerate(values)}
            known.append(_Attribute(name, values, np.array([number[value] for value in told], np.int64)))
    return film.astype(np.int64), known


def _several_films(done: pd.DataFrame, gathered: Films) -> set[str]:
    names = [(job, "test", cohort) for job, cohort in zip(done["job"], done["test_cohort"], strict=True)]
    films, patient = gathered.samples(names)
    return set(done["test_cohort"][patient_samples(films, patient).cases < films.cases])


@dataclass(frozen=True, eq=False)
class _Tested:
    """A test fold, film by film."""

    fold: Fold
    films: Ints


def _block(block: pd.DataFrame, gathered: Films, film: Ints) -> tuple[list[Cell], list[_Tested]]:
    """Gather the cells of a block, and the folds of those that lack nothing."""
    cells: dict[tuple[Any, ...], Cell] = {}
    for *key, state in block[[*_CELL, "state"]].itertuples(index=False, name=None):
        model, strategy, protocol = key
        cell = cells.setdefault(tuple(key), Cell(model, strategy, "", protocol))
        cell.planned += 1
        cell.done += state == "done"
    for place, cell in enumerate(cell for cell in cells.values() if not cell.lack):
        cell.place = place
    complete = block[[cells[key].place >= 0 for key in block[_CELL].itertuples(index=False, name=None)]]
    found: list[tuple[tuple[Any, ...], Ints, list[tuple[int, int, int]]]] = []
    for name, fold in complete.groupby(FOLD_KEYS, dropna=False):
        # Two splits of one name, as two grids of a study may make them, are two folds.
        alike: dict[bytes, list[tuple[int, int, int]]] = {}
        for job, cohort, *key in fold[["job", "test_cohort", *_CELL]].itertuples(index=False, name=None):
            a, b = gathered.bounds[job, "test", cohort]
            alike.setdefault(film[a:b].tobytes(), []).append((a, b, cells[tuple(key)].place))
        found += [(tuple(name), film[same[0][0] : same[0][1]], same) for same in alike.values()]
    people = [gathered.patient[same[0][0] : same[0][1]] for _, _, same in found]
    everyone = np.unique(np.concatenate(people)) if people else np.empty(0, np.int64)
    folds = []
    for (name, films, same), patient in zip(found, people, strict=True):
        same = sorted(same, key=lambda job: job[2])
        who, of_case = np.unique(patient, return_inverse=True)
        score = np.stack([gathered.score[a:b] for a, b, _ in same], axis=1)
        positive = gathered.positive[same[0][0] : same[0][1]]
        cell_of = np.array([place for _, _, place in same])
        folds.append(_Tested(Fold(name, np.searchsorted(everyone, who), of_case, positive, score, cell_of), films))
    return list(cells.values()), folds


def _rows(
    block: pd.DataFrame,
    cells: list[Cell],
    folds: list[_Tested],
    known: list[_Attribute],
    level: str,
    resamples: int,
    confidence: float,
) -> Iterator[dict[str, Any]]:
    keys = {key: block[key].iloc[0] for key in BLOCK_KEYS} | {"level": level}
    words = [str(keys[key]) for key in ("cohort", "task", "test_cohort", "validation")]
    patients = max((int(tested.fold.patients.max()) + 1 for tested in folds), default=0)
    drawn = draw_patients(words, [tested.fold for tested in folds], patients, resamples)
    for attribute in known:
        made = [
            _group(attribute, value, cells, folds, level, drawn, confidence) for value in range(len(attribute.values))
        ]
        made = [group for group in made if group.n_films]
        worst = _worst(made)
        for cell in cells:
            for group in made:
                row = {**keys, **cell.key, "attribute": attribute.name, "value": group.value}
                row |= {"n_films": group.n_films, "n_patients": group.n_patients, "n_positive": group.n_positive}
                if cell.lack:
                    yield {**row, "n_folds": 0, "worst": False, "undefined": cell.lack}
                    continue
                yield {
                    **row,
                    "n_folds": int(group.n_folds[cell.place]),
                    **{name: values[cell.place] for name, values in group.numbers.items()},
                    "worst": worst.get(cell.place) == group.value,
                    "undefined": group.lack or ("" if group.n_folds[cell.place] else "no test fold holds both classes"),
                }


@dataclass(frozen=True, eq=False)
class _Group:
    """What all complete cells reach in one group."""

    value: str
    n_films: int
    n_patients: int
    n_positive: int
    lack: str
    n_folds: Floats
    numbers: Mapping[str, Floats]


def _group(
    attribute: _Attribute,
    value: int,
    cells: list[Cell],
    folds: list[_Tested],
    level: str,
    drawn: npt.NDArray[np.uint16],
    confidence: float,
) -> _Group:
    inside = [_cases(tested, attribute.of_film[tested.films] == value, level) for tested in folds]
    films = np.unique(np.concatenate([one.films for one in inside])) if inside else np.empty(0, np.int64)
    people = np.concatenate([one.patient for one in inside]) if inside else np.empty(0, np.int64)
    case = np.concatenate([one.case for one in inside]) if inside else np.empty(0, np.int64)
    positive = np.concatenate([one.positive for one in inside]) if inside else np.empty(0, bool)
    # Repeats test the same cases again.
    ill, every = len(np.unique(case[positive])), len(np.unique(case))
    healthy = every - ill
    enough = ill >= _FEWEST and healthy >= _FEWEST
    lack = "" if enough else f"fewer than {_FEWEST} positives or {_FEWEST} negatives ({ill} and {healthy})"
    count = max((cell.place for cell in cells), default=-1) + 1
    n_folds, numbers = np.zeros(count), {name: np.full(count, np.nan) for name in _NUMBERS}
    for one in inside:
        if one.positive.any() and not one.positive.all():
            n_folds[np.unique(one.cell)] += 1
    if enough and n_folds.any():
        estimate = _means(inside, count, np.ones((1, int(people.max()) + 1), np.uint16))
        low, high = _intervals(inside, estimate[:, 0], _means(inside, count, drawn), confidence)
        for place, metric in enumerate(_METRICS):
            numbers[metric] = estimate[place, 0]
            numbers[f"{metric}_ci_low"], numbers[f"{metric}_ci_high"] = low[place], high[place]
    return _Group(attribute.values[value], len(films), len(np.unique(people)), ill, lack, n_folds, numbers)


@dataclass(frozen=True, eq=False)
class _Cases:
    """The cases of one group in one fold: class and patient of each, its number, and its score by each job."""

    name: tuple[Any, ...]
    films: Ints
    positive: Bools
    patient: Ints
    case: Ints
    score: Floats
    cell: Ints


def _cases(tested: _Tested, inside: Bools, level: str) -> _Cases:
    fold, films = tested.fold, tested.films[inside]
    positive, score = fold.positive[inside], fold.score[inside]
    patient = fold.patients[fold.of_case[inside]]
    if level == "film":
        return _Cases(fold.name, films, positive, patient, films, score, fold.cell)
    count = score.shape[1]
    of = np.repeat(np.arange(count), len(films))
    every = Samples(np.tile(positive, count), score.T.ravel(), of, count, np.full(count, 0.5))
    means = patient_samples(every, np.tile(patient, count))
    who = np.unique(patient)
    ill = means.positive[: len(who)]
    return _Cases(fold.name, films, ill, who, who, means.score.reshape(count, len(who)).T, fold.cell)


def _means(inside: list[_Cases], cells: int, drawn: npt.NDArray[np.uint16]) -> Floats:
    """Return each metric of each cell averaged within and over folds; shape (metrics, resamples, cells)."""
    total, defined = np.zeros((len(_METRICS), len(drawn), cells)), np.zeros((len(drawn), cells))
    for one in inside:
        if not one.positive.any() or one.positive.all() or not len(one.cell):
            continue
        values, both = _weighted(one, drawn)
        values[:, ~both] = 0
        # In the order of their cells (see `_block`), so that seeds and draws of a cell lie side by side.
        places, starts, counts = np.unique(one.cell, return_index=True, return_counts=True)
        if len(places) < len(one.cell):
            values = np.add.reduceat(values, starts, axis=2) / counts
        total[:, :, places] += values
        defined[:, places] += both[:, None]
    return np.divide(total, defined[None], out=np.full_like(total, np.nan), where=defined[None] > 0)


def _weighted(one: _Cases, drawn: npt.NDArray[np.uint16]) -> tuple[Floats, Bools]:
    """Return the metrics with each patient counted as often as drawn, shape (metrics, resamples, jobs).

    All sums are of whole numbers and halves, which float32 holds exactly as long as they are below 2²³: no bit depends
    on what is computed beside it.
    """
    size = len(one.positive)
    weights = drawn[:, one.patient].astype(np.float32 if size < 4000 else np.float64)
    ill, healthy = weights[:, one.positive], weights[:, ~one.positive]
    positives, negatives = (part.sum(axis=1, dtype=np.float64)[:, None] for part in (ill, healthy))
    both = (positives > 0) & (negatives > 0)
    called = (one.score >= 0.5).astype(weights.dtype)
    true = (ill @ called[one.positive]).astype(np.float64)
    false = (healthy @ called[~one.positive]).astype(np.float64)
    above = np.empty_like(true)
    jobs = one.score.shape[1]
    at_once = max(1, _CHUNK // max(ill.shape[1] * healthy.shape[1], len(drawn) * healthy.shape[1]))
    for start in range(0, jobs, at_once):
        score = one.score[:, start : start + at_once]
        high, low = score[one.positive][:, None], score[~one.positive][None]
        wins = (high > low).astype(weights.dtype) + (high == low) * weights.dtype.type(0.5)
        beaten = (ill @ wins.reshape(len(high), -1)).reshape(len(drawn), healthy.shape[1], -1)
        above[:, start : start + at_once] = np.matmul(healthy[:, None], beaten)[:, 0]
    values = np.empty((len(_METRICS), *true.shape))
    with np.errstate(divide="ignore", invalid="ignore"):
        values[0] = mcc_of_counts(true, false, positives, negatives)
        values[1] = above / (positives * negatives)
        values[2] = true / positives
        values[3] = 1 - false / negatives
    return values, both[:, 0]


def _intervals(inside: list[_Cases], estimate: Floats, drawn: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Return the bounds of each metric of each cell, shape (metrics, cells), of (metrics, resamples, cells)."""
    low, high = np.full_like(estimate, np.nan), np.full_like(estimate, np.nan)
    folds = [_as_fold(one) for one in inside]
    # Cells of the same folds have the same patients.
    alike: dict[tuple[int, ...], list[int]] = {}
    for cell in range(estimate.shape[1]):
        alike.setdefault(tuple(place for place, one in enumerate(inside) if cell in one.cell), []).append(cell)
    for places, cells in alike.items():
        error = drawn_error([folds[place] for place in places])
        for place, metric in enumerate(_METRICS):
            spread = error.standard_error(drawn[place][:, cells])
            lowest = -1.0 if metric == "mcc" else 0.0
            low[place, cells], high[place, cells] = error.interval(estimate[place, cells], spread, confidence, lowest)
    return low, high


def _as_fold(one: _Cases) -> Fold:
    patients, of_case = np.unique(one.patient, return_inverse=True)
    return Fold(one.name, patients, of_case, one.positive, one.score, one.cell)


def _worst(groups: list[_Group]) -> dict[int, str]:
    """Return the value with the lowest MCC of each cell, where there are at least two to choose from."""
    shown = [group for group in groups if not group.lack and group.value != UNKNOWN]
    worst = {}
    for place in range(len(shown[0].n_folds) if shown else 0):
        mcc = [(group.numbers["mcc"][place], group.value) for group in shown if group.n_folds[place]]
        if len(mcc) > 1:
            worst[place] = min(mcc)[1]
    return worst


def _typed(rows: pd.DataFrame, planned: pd.DataFrame) -> pd.DataFrame:
    keys = [*CELL_KEYS, "protocol"]
    types: dict[Any, Any] = planned[keys].dtypes.to_dict()
    types |= dict.fromkeys(_NUMBERS, "float64") | dict.fromkeys(("n_films", "n_patients", "n_positive"), "int64")
    types |= dict.fromkeys(("level", "attribute", "value", "undefined"), "string")
    types |= {"n_folds": "int64", "worst": "boolean"}
    # Attributes and values stand in their order already.
    return rows.astype(types).sort_values(keys, kind="stable", na_position="first", ignore_index=True)
