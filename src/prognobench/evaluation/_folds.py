"""One row of numbers for every job that is done."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from ._tables import KEYS, check_predictions, planned_jobs
from ._threshold import best_threshold
from .metrics import METRICS, Metric, Sample

NAMES = [metric.name for metric in METRICS]
AT_VAL = [f"{metric.name}_at_val" for metric in METRICS if metric.thresholded]
PATIENT = [f"{name}_patient" for name in NAMES]
_COLUMNS = [
    *KEYS,
    *("n_train", "n_val", "n_test", "n_test_positive"),
    *NAMES,
    *("threshold", "trainable_params", "total_params", "trainable_percent", "train_seconds"),
    *AT_VAL,
    *PATIENT,
    *("n_test_patients", "undefined", "job"),
]
_WHOLE_COHORT = ""


def fold_metrics(predictions: pd.DataFrame, jobs: pd.DataFrame) -> pd.DataFrame:
    """Compute the metrics of every done job from its stored predictions.

    Parameters
    ----------
    predictions
        One row a film and job: `job, cohort, image, patient, center, split, y_true, y_score`, with `split` in
        {val, test}, `y_true` in {0, 1} and `y_score` = P(positive) in [0, 1]. Rows of jobs that are not done are
        not looked at.
    jobs
        One row a planned job and test cohort: the keys of `fold_metrics.csv`, what the job cost, and `state`; all
        but `done` is a hole. `test_cohort` may be missing where a cohort tests itself.

    Returns
    -------
    pandas.DataFrame
        The columns of `fold_metrics.csv`, one row a done job and test cohort, sorted by its keys.

        - `mcc, balanced_accuracy, f1, sensitivity, specificity` are at `y_score >= 0.5`; `pr_auc` is average
          precision; `brier` the mean squared error of P(positive); `ece` has ten bins of equal width.
        - `threshold` is the one with the highest MCC on the validation films (see `best_threshold`);
          `<metric>_at_val` are the metrics that depend on a threshold, on the test films at that one.
        - `<metric>_patient` are all metrics over patients: the mean score of a patient's test films, at 0.5; a
          patient with any positive film is positive.
        - `undefined` says why numbers of the row are missing; `job` is the key of the record they come from.

    Raises
    ------
    InputError
        When the tables do not fit each other or hold what no metric is defined for.

    Notes
    -----
    With one true class in the test fold MCC, PR-AUC, ROC-AUC and balanced accuracy are NaN; so are sensitivity and
    F1 without positives, specificity without negatives. With two classes and a constant prediction MCC is 0. All
    equal scikit-learn's to 1e-12; they are computed from counts because its checks of every call take longer than
    the sums.
    """
    planned = planned_jobs(jobs)
    done = planned[planned["state"] == "done"]
    predictions = predictions[predictions["job"].isin(done["job"])]
    check_predictions(predictions, done)
    parts = film_parts(predictions)
    numbers = [
        _numbers(parts.get((job, "val", _WHOLE_COHORT), _NO_FILMS), parts[job, "test", cohort])
        for job, cohort in zip(done["job"], done["test_cohort"], strict=True)
    ]
    table = pd.concat([done.reset_index(drop=True), pd.DataFrame(numbers, columns=_NUMBERS)], axis=1)
    trainable, total = table["trainable_params"].astype("Float64"), table["total_params"].astype("Float64")
    table["trainable_percent"] = (100 * trainable / total).to_numpy(np.float64, na_value=np.nan)
    table["train_seconds"] = table["train_seconds"].astype("Float64").to_numpy(np.float64, na_value=np.nan)
    return table[_COLUMNS]


_NUMBERS = [
    "n_val",
    "n_test",
    "n_test_positive",
    *NAMES,
    "threshold",
    *AT_VAL,
    *PATIENT,
    "n_test_patients",
    "undefined",
]
# True class (positive or not), score and patient of each film.
TestedFilms = tuple[np.ndarray, np.ndarray, np.ndarray]
_NO_FILMS: TestedFilms = (np.empty(0, bool), np.empty(0, np.float64), np.empty(0, np.int64))


def film_parts(predictions: pd.DataFrame) -> Mapping[tuple[str, str, str], TestedFilms]:
    """Cut the predictions into (class, score, patient) arrays, one set a job, part and tested cohort.

    Films are put in the order of their names, so that a mean does not depend on the order of the rows.
    """
    job, jobs = pd.factorize(predictions["job"])
    image, _ = pd.factorize(predictions["image"], sort=True)
    patient, _ = pd.factorize(predictions["patient"], sort=True)
    is_test = (predictions["split"] == "test").to_numpy(bool)
    # A threshold is chosen on all validation films of the job, wherever it is tested.
    cohort, cohorts = pd.factorize(predictions["cohort"].astype(object).where(is_test, _WHOLE_COHORT), sort=True)
    order = np.lexsort((image, cohort, is_test, job))
    job, patient, is_test, cohort = job[order], patient[order], is_test[order], cohort[order]
    positive = predictions["y_true"].to_numpy(np.int64)[order] == 1
    score = predictions["y_score"].to_numpy(np.float64)[order]
    changes = (np.diff(job) != 0) | (np.diff(is_test.astype(int)) != 0) | (np.diff(cohort) != 0)
    bounds = [0, *(np.flatnonzero(changes) + 1), len(order)] if len(order) else []
    return {
        (str(jobs[job[a]]), "test" if is_test[a] else "val", str(cohorts[cohort[a]])): (
            positive[a:b],
            score[a:b],
            patient[a:b],
        )
        for a, b in pairwise(bounds)
    }


def _numbers(validation: TestedFilms, test: TestedFilms) -> dict[str, float | int | str]:
    films = Sample(test[0], test[1])
    patients = by_patient(*test)
    threshold = best_threshold(Sample(validation[0], validation[1]))
    at_val = Sample(test[0], test[1], threshold)
    result: dict[str, float | int | str] = {
        "n_val": len(validation[0]),
        "n_test": len(test[0]),
        "n_test_positive": films.positives,
        "threshold": threshold,
        "n_test_patients": len(patients.score),
    }
    for metric in METRICS:
        result[metric.name] = metric.value(films)
        result[f"{metric.name}_patient"] = metric.value(patients)
        if metric.thresholded:
            result[f"{metric.name}_at_val"] = float("nan") if np.isnan(threshold) else metric.value(at_val)
    result["undefined"] = _why_undefined(validation[0], films, patients)
    return result


def by_patient(positive: np.ndarray, score: np.ndarray, patient: np.ndarray) -> Sample:
    """Return patients with the mean of their films' scores.

    Rounding must not rank patients who are equal: a sum of equal scores over their number is often not that score
    again. So each patient's lowest score is the origin of the sum, and the scores are added in ascending order.
    """
    order = np.lexsort((score, patient))
    positive, score, patient = positive[order], score[order], patient[order]
    _, first, index, films = np.unique(patient, return_index=True, return_inverse=True, return_counts=True)
    lowest = score[first]
    mean = lowest + np.bincount(index, weights=score - lowest[index]) / films
    return Sample(np.bincount(index, weights=positive) > 0, mean)


def _why_undefined(validation: np.ndarray, films: Sample, patients: Sample) -> str:
    """Name the NaN columns of a row by their reason; blank where there are none."""
    reasons: dict[str, list[str]] = {}

    def note(reason: str, column: str) -> None:
        reasons.setdefault(reason, []).append(column)

    def lacking(metrics: tuple[Metric, ...], sample: Sample) -> list[Metric]:
        return [metric for metric in metrics if not metric.is_defined(sample)]

    thresholded = tuple(metric for metric in METRICS if metric.thresholded)
    in_test = f"test fold has one class ({_classes(films.positive)})"
    for metric in lacking(METRICS, films):
        note(in_test, metric.name)
    if len(set(validation)) < 2:
        in_validation = (
            f"validation has one class ({_classes(validation)})" if len(validation) else "no validation film"
        )
        for column in ["threshold", *AT_VAL]:
            note(in_validation, column)
    else:
        for metric in lacking(thresholded, films):
            note(in_test, f"{metric.name}_at_val")
    for metric in lacking(METRICS, patients):
        one_class = (
            in_test if not metric.is_defined(films) else f"test patients have one class ({_classes(patients.positive)})"
        )
        note(one_class, f"{metric.name}_patient")
    return "; ".join(f"{reason}: {', '.join(columns)}" for reason, columns in reasons.items())


def _classes(positive: np.ndarray) -> str:
    return "positive" if positive.any() else "negative"
