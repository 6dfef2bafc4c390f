"""How often the outcome came where it was predicted with a probability: the data of reliability diagrams."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ._folds import WHOLE_COHORT, gather_films, patient_samples
from ._recalibration import recalibrated
from ._tables import CELL_KEYS, check_predictions, group_rows, planned_jobs
from .metrics import BIN_BOUNDS, Samples, bins_of

CALIBRATIONS = ("raw", "platt", "prior")
_CELL = [*CELL_KEYS, "protocol"]
_BINS = len(BIN_BOUNDS) - 1
_Z = 1.959963984540054  # the normal's 97.5 % quantile
_COLUMNS = [
    *_CELL,
    *("level", "calibration", "bin_low", "bin_high", "n", "n_patients", "mean_score", "share_positive"),
    *("share_ci_low", "share_ci_high", "undefined"),
]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def reliability(
    predictions: pd.DataFrame, jobs: pd.DataFrame, *, level: Literal["auto", "film", "patient"] = "auto"
) -> pd.DataFrame:
    """Count predicted and true positives in ten bins of the score, raw and recalibrated on validation.

    Parameters
    ----------
    predictions, jobs
        As `fold_metrics` takes them.
    level
        `film`, `patient`, or `auto`: patients where patients have several test films, else films.

    Returns
    -------
    pandas.DataFrame
        One row a cell with a done job, way to calibrate and bin that holds a case, sorted by its keys (those of
        `summary.csv`, and `protocol`):

        - `level`: `film` or `patient`;
        - `calibration`: `raw`, `platt` or `prior`, as in `fold_metrics`;
        - `bin_low`, `bin_high`: scores above the first and up to the second; the first bin holds 0 as well;
        - `n`: cases, a case counting once for each repeat, seed and draw that tests it; `n_patients`: the patients
          among them;
        - `mean_score` and `share_positive`: what was predicted and what came;
        - `share_ci_low`, `share_ci_high`: 95 % interval of the share;
        - `undefined`: the jobs that are not in it and why, else blank.

    Raises
    ------
    InputError
        When the tables do not fit each other.

    Notes
    -----
    The bins of all folds are added up: each case is held against the probability that its own fold's model gave it,
    which needs no common scale of scores, unlike one ROC or PR curve over several models.

    The interval is Wilson's (1927, https://doi.org/10.1080/01621459.1927.10502953) for as many independent cases as
    the bin has patients: films of one patient, and one film in several repeats, do not make it narrower.
    """
    planned = planned_jobs(jobs)
    done = planned[planned["state"] == "done"].reset_index(drop=True)
    predictions = predictions[predictions["job"].isin(done["job"])]
    check_predictions(predictions, done)
    films = gather_films(predictions)
    names = list(zip(done["job"], done["test_cohort"], strict=True))
    test, test_patient = films.samples([(job, "test", cohort) for job, cohort in names])
    validation, patient = films.samples([(job, "val", WHOLE_COHORT) for job, _ in names])
    of_patients = patient_samples(test, test_patient)
    # In the order in which `patient_samples` returns them.
    _, of_patient = _pairs(test.of, test_patient)
    several = done["test_cohort"][(of_patients.cases < test.cases)].unique()
    at_patient = done["test_cohort"].isin(several).to_numpy(bool) if level == "auto" else level == "patient"
    at_patient = np.broadcast_to(at_patient, len(done))
    balanced = done["balanced"].to_numpy(np.float64, na_value=np.nan)
    tables = []
    for name, kept, cases, who, val in (
        ("film", ~at_patient, test, test_patient, validation),
        ("patient", at_patient, of_patients, of_patient, patient_samples(validation, patient)),
    ):
        if kept.any():
            part = (done[kept], cases.where(kept), who[kept[cases.of]], val.where(kept), balanced[kept])
            tables.append(_level(*part).assign(level=name))
    rows = pd.concat(tables) if tables else pd.DataFrame(columns=_COLUMNS)
    types: dict[Any, Any] = planned[_CELL].dtypes.to_dict()
    types |= dict.fromkeys(("level", "calibration", "undefined"), "string")
    types |= dict.fromkeys(("n", "n_patients"), "int64")
    types |= dict.fromkeys(
        ("bin_low", "bin_high", "mean_score", "share_positive", "share_ci_low", "share_ci_high"), "float64"
    )
    place = {name: str(place) for place, name in enumerate(CALIBRATIONS)}
    return (
        rows[_COLUMNS]
        .astype(types)
        .sort_values(
            [*_CELL, "calibration", "bin_low"],
            kind="stable",
            na_position="first",
            ignore_index=True,
            key=lambda column: column.map(place) if column.name == "calibration" else column,
        )
    )


def _level(done: pd.DataFrame, test: Samples, patient: Ints, validation: Samples, balanced: Floats) -> pd.DataFrame:
    cells, cell = group_rows(done, _CELL)
    ways = recalibrated(validation, test, balanced)
    tables = []
    for way in CALIBRATIONS:
        if way == "raw":
            tables.append(_bins(cells, cell, test, patient).assign(calibration=way, undefined="").drop(columns="_cell"))
            continue
        made = ways[way]
        lost = np.bincount(cell[made.one_class], minlength=len(cells))
        other = np.bincount(cell[made.undefined & ~made.one_class], minlength=len(cells))
        known = ~made.one_class & ~made.undefined
        table = _bins(cells, cell[known], made.samples.where(known), patient[known[test.of]])
        reasons = [
            "; ".join(
                f"{why}: {count} of {of} jobs"
                for why, count in (("validation has one class", one), (made.reason, rest))
                if count
            )
            for one, rest, of in zip(lost, other, np.bincount(cell, minlength=len(cells)), strict=True)
        ]
        tables.append(table.assign(calibration=way, undefined=[reasons[place] for place in table.pop("_cell")]))
    return pd.concat(tables)


def _bins(cells: pd.DataFrame, cell: Ints, samples: Samples, patient: Ints) -> pd.DataFrame:
    place = cell[samples.of] * _BINS + bins_of(samples.score)
    size = len(cells) * _BINS
    n = np.bincount(place, minlength=size)
    score = np.bincount(place, samples.score, size)
    positives = np.bincount(place, samples.positive, size)
    patients = np.bincount(_pairs(place, patient)[0], minlength=size)
    there = np.flatnonzero(n)
    share = positives[there] / n[there]
    low, high = _wilson(share, patients[there].astype(np.float64))
    table = cells.iloc[there // _BINS].reset_index(drop=True)
    return table.assign(
        _cell=there // _BINS,
        bin_low=BIN_BOUNDS[there % _BINS],
        bin_high=BIN_BOUNDS[there % _BINS + 1],
        n=n[there],
        n_patients=patients[there],
        mean_score=score[there] / n[there],
        share_positive=share,
        share_ci_low=low,
        share_ci_high=high,
    )


def _pairs(place: Ints, patient: Ints) -> tuple[Ints, Ints]:
    """Return the distinct pairs, sorted."""
    many = int(patient.max(initial=0)) + 1
    pairs = np.unique(place * many + patient)
    return pairs // many, pairs % many


def _wilson(share: Floats, n: Floats) -> tuple[Floats, Floats]:
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    margin = _Z * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    return np.maximum(middle - margin, 0), np.minimum(middle + margin, 1)
