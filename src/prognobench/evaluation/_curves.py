"""ROC and precision-recall curves of one model on its test films, with bands."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ._folds import gather_films, patient_samples
from ._resampling import Fold, draw_patients
from ._tables import check_predictions, planned_jobs

_COLUMNS = ["job", "test_cohort", "level", "curve", "threshold", "x", "y", "y_low", "y_high"]
_PLACES = np.linspace(0, 1, 101)  # where bands are given
_HAIR = 1e-9
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def curves(
    predictions: pd.DataFrame,
    jobs: pd.DataFrame,
    *,
    level: Literal["film", "patient"] = "film",
    resamples: int = 500,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compute each job's ROC and precision-recall curve on its test films, with pointwise bands over patients.

    Scores of different jobs have no common scale, so no curve is made of several.

    Parameters
    ----------
    predictions, jobs
        As `fold_metrics` takes them.
    level
        `film`, or `patient` for the mean scores of patients.
    resamples
        How often the test patients are drawn anew.
    confidence
        Of the bands.

    Returns
    -------
    pandas.DataFrame
        `job, test_cohort, level, curve`, which is `roc` or `pr`, `threshold, x, y, y_low, y_high`. Of `roc` x is 1 −
        specificity and y sensitivity; of `pr` x is sensitivity (recall) and y PPV (precision). Rows with a threshold
        are the curve, one a distinct score, falling; `roc` begins at (0, 0). Rows without are the band, at 101 places
        of x. No row of a job whose test films hold one class.

    Raises
    ------
    InputError
        When the tables do not fit each other.

    Notes
    -----
    The band at x is the interval of percentiles of y over resamples of patients, all films of a patient going with
    them, as in `PatientBootstrap`; of `roc` between two scores the curve is a straight line (ties), of `pr` the step
    that average precision takes. It holds at each x by itself and not for the whole curve at once. How often such bands
    hold was not simulated.
    """
    planned = planned_jobs(jobs)
    done = planned[planned["state"] == "done"]
    predictions = predictions[predictions["job"].isin(done["job"])]
    check_predictions(predictions, done)
    films = gather_films(predictions)
    tables = []
    for job, cohort, *words in done[["job", "test_cohort", "cohort", "task", "validation"]].itertuples(
        index=False, name=None
    ):
        samples, patient = films.samples([(job, "test", cohort)])
        if level == "patient":
            samples, patient = patient_samples(samples, patient), np.unique(patient)
        table = _curves_of(samples.positive, samples.score, patient, [*map(str, words)], resamples, confidence)
        tables.append(table.assign(job=job, test_cohort=cohort, level=level))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=_COLUMNS)
    types = dict.fromkeys(("job", "test_cohort", "level", "curve"), "string")
    return table[_COLUMNS].astype(types | dict.fromkeys(("threshold", "x", "y", "y_low", "y_high"), "float64"))


def _curves_of(
    positive: Bools, score: Floats, patient: npt.NDArray[np.int64], words: list[str], resamples: int, confidence: float
) -> pd.DataFrame:
    if positive.all() or not positive.any():
        return pd.DataFrame(columns=_COLUMNS)
    order = np.argsort(-score, kind="stable")
    positive, score, patient = positive[order], score[order], patient[order]
    # Tied cases stand on one step.
    ends = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    people, of_case = np.unique(patient, return_inverse=True)
    fold = Fold((), np.arange(len(people)), of_case, positive, score[:, None], np.zeros(1, np.int64))
    drawn = draw_patients(words, [fold], len(people), resamples)[:, of_case].astype(np.float64)
    drawn = drawn[((drawn[:, positive].sum(axis=1) > 0) & (drawn[:, ~positive].sum(axis=1) > 0))]
    true, false = _sums(np.ones((1, len(score))), positive, ends)
    of_true, of_false = _sums(drawn, positive, ends)
    tail = (1 - confidence) / 2
    tables = []
    for curve, points, band in (
        ("roc", _roc(true, false), _roc_at(of_true, of_false)),
        ("pr", _pr(true, false), _pr_at(of_true, of_false)),
    ):
        x, y, threshold = points
        x, y = x[0], y[0]
        named = np.concatenate([[np.inf], score[ends]]) if threshold else score[ends]
        tables.append(pd.DataFrame({"curve": curve, "threshold": named, "x": x, "y": y}))
        low, high = np.nanquantile(band, [tail, 1 - tail], axis=0) if len(band) else np.full((2, len(_PLACES)), np.nan)
        tables.append(pd.DataFrame({"curve": curve, "x": _PLACES, "y_low": low, "y_high": high}))
    return pd.concat(tables, ignore_index=True)


def _sums(weights: Floats, positive: Bools, ends: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return how many positive and negative cases are called positive at each distinct score, falling."""
    return np.cumsum(weights * positive, axis=1)[:, ends], np.cumsum(weights * ~positive, axis=1)[:, ends]


def _roc(true: Floats, false: Floats) -> tuple[Floats, Floats, bool]:
    begin = np.zeros((len(true), 1))
    x, y = (np.concatenate([begin, part / part[:, -1:]], axis=1) for part in (false, true))
    return x, y, True


def _pr(true: Floats, false: Floats) -> tuple[Floats, Floats, bool]:
    called = true + false
    return true / true[:, -1:], np.divide(true, called, out=np.full_like(true, np.nan), where=called > 0), False


def _roc_at(true: Floats, false: Floats) -> Floats:
    x, y, _ = _roc(true, false)
    # Of several y at one x the highest: the curve is upright there.
    return np.array([np.interp(_PLACES, *_highest(a, b)) for a, b in zip(x, y, strict=True)])


def _highest(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    last = np.append(np.diff(x) > 0, True)
    return x[last], y[last]


def _pr_at(true: Floats, false: Floats) -> Floats:
    x, y, _ = _pr(true, false)
    # Average precision gives each stretch of recall the precision at its end.
    # A recall of 57/100 is a hair below the place 0.57, as numbers of a machine, and yet the same.
    places = [np.minimum(np.searchsorted(one, _PLACES - _HAIR, side="left"), len(one) - 1) for one in x]
    return np.array([one[place] for one, place in zip(y, places, strict=True)])
