"""One row of numbers for every job that is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from ._recalibration import RECALIBRATIONS, recalibrated
from ._tables import KEYS, check_predictions, planned_jobs, text_codes
from ._threshold import best_thresholds
from .metrics import METRICS, Metric, Sample, Samples

_THRESHOLDED = tuple(metric for metric in METRICS if metric.thresholded)
_CALIBRATED = tuple(metric for metric in METRICS if metric.calibrated)
NAMES = [metric.name for metric in METRICS]
AT_VAL = [f"{metric.name}_at_val" for metric in _THRESHOLDED]
PATIENT = [f"{name}_patient" for name in NAMES]
PATIENT_AT_VAL = [f"{metric.name}_patient_at_val" for metric in _THRESHOLDED]
RECALIBRATED = [
    f"{metric.name}{level}_{way}" for level in ("", "_patient") for way in RECALIBRATIONS for metric in _CALIBRATED
]
_COLUMNS = [
    *KEYS,
    *("n_train", "n_val", "n_test", "n_test_positive"),
    *NAMES,
    *("threshold", "trainable_params", "total_params", "trainable_percent", "train_seconds"),
    *AT_VAL,
    *PATIENT,
    "threshold_patient",
    *PATIENT_AT_VAL,
    *RECALIBRATED,
    *("n_test_patients", "undefined", "job"),
]
WHOLE_COHORT = ""
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


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
        but `done` is a hole. `test_cohort` may be missing where a cohort tests itself. `balanced` says how far
        training evened the classes out: 1 where they counted alike, 0 where they counted as they are, 0.5 where
        their weights were the square roots; without it nothing is corrected for the prior.

    Returns
    -------
    pandas.DataFrame
        The columns of `fold_metrics.csv`, one row a done job and test cohort, sorted by its keys.

        - `mcc, balanced_accuracy, f1, sensitivity, specificity, ppv, npv` are at `y_score >= 0.5`; `pr_auc` is
          average precision; `brier` the mean squared error of P(positive); `ece` has ten bins of equal width;
          `log_loss` the mean of −ln P(true class), probabilities cut to [2.2e-16, 1 − 2.2e-16].
        - `calibration_slope` is the coefficient of logit(score) in a logistic regression of the true class without a
          penalty; `calibration_intercept` the intercept of that regression with the slope fixed at 1 (calibration in
          the large; Van Calster et al. 2016, https://doi.org/10.1016/j.jclinepi.2015.12.005, and 2019,
          https://doi.org/10.1186/s12916-019-1466-7). Perfect are 1 and 0.
        - `threshold` is the one with the highest MCC on the validation films (see `best_threshold`);
          `<metric>_at_val` are the metrics that depend on a threshold, on the test films at that one.
        - `<metric>_patient` are all metrics over patients: the mean score of a patient's test films, at 0.5; a
          patient with any positive film is positive. `threshold_patient` and `<metric>_patient_at_val` are at the
          threshold with the highest MCC on the validation patients.
        - `<metric>_platt` and `<metric>_prior` are the metrics of probabilities with scores that are recalibrated on
          validation: by Platt's logistic regression, and by shifting the log-odds back to the share of positives that
          class weights took out of them. At patient level (`<metric>_patient_platt`) patients are recalibrated by
          patients.
        - `undefined` says why numbers of the row are missing; `job` is the key of the record they come from.

    Raises
    ------
    InputError
        When the tables do not fit each other or hold what no metric is defined for.

    Notes
    -----
    With one true class in the test fold MCC, PR-AUC, ROC-AUC, balanced accuracy, PPV, NPV, calibration slope and
    intercept are NaN; so are sensitivity and F1 without positives, specificity without negatives. PPV is NaN where
    nothing is predicted positive, NPV where nothing is predicted negative, the slope where the scores are all equal or
    separate the classes. With two classes and a constant prediction MCC is 0. All equal scikit-learn's to 1e-12, slope
    and intercept statsmodels' to 1e-8; all jobs are computed at once, from counts.
    """
    done, (test, test_patient), (validation, validation_patient) = samples_of_done(predictions, jobs)
    patients = patient_samples(test, test_patient)
    balanced = done["balanced"].to_numpy(np.float64, na_value=np.nan)
    notes = _Notes([{} for _ in range(len(done))])
    numbers: dict[str, Floats] = _numbers(
        "", validation, test, balanced, notes, _one_class(validation, "validation"), _one_class(test, "test fold")
    )
    of_patients = patient_samples(validation, validation_patient)
    numbers |= _numbers(
        "_patient",
        of_patients,
        patients,
        balanced,
        notes,
        _first(_one_class(validation, "validation"), _one_class(of_patients, "validation patients")),
        _first(_one_class(test, "test fold"), _one_class(patients, "test patients")),
    )
    counts = {"n_val": validation.cases, "n_test": test.cases, "n_test_positive": test.positives}
    counts |= {"n_test_patients": patients.cases}
    table = pd.concat(
        [
            done.reset_index(drop=True),
            pd.DataFrame(numbers),
            pd.DataFrame({name: values.astype(np.int64) for name, values in counts.items()}),
            pd.DataFrame({"undefined": notes.texts()}, dtype="string"),
        ],
        axis=1,
    )
    trainable, total = table["trainable_params"].astype("Float64"), table["total_params"].astype("Float64")
    table["trainable_percent"] = (100 * trainable / total).to_numpy(np.float64, na_value=np.nan)
    table["train_seconds"] = table["train_seconds"].astype("Float64").to_numpy(np.float64, na_value=np.nan)
    return table[_COLUMNS]


# True class (positive or not), score and patient of each film.
TestedFilms = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Films:
    """The predictions job by job, part by part and tested cohort by tested cohort.

    Parameters
    ----------
    positive, score, patient
        Of each film: whether it is positive, P(positive), the patient as a number. Films of one set stand in the order
        of their names, so that a mean does not depend on the order of the rows.
    rows
        Which row of the predictions each film is.
    bounds
        Where the films of (job, part, tested cohort) begin and end; the cohort is empty text for `val`, since a
        threshold is chosen on all validation films of the job, wherever it is tested.
    """

    positive: Bools
    score: Floats
    patient: Ints
    rows: Ints
    bounds: Mapping[tuple[str, str, str], tuple[int, int]]

    def samples(self, keys: Sequence[tuple[str, str, str]]) -> tuple[Samples, Ints]:
        """Return the films of each key, none where there are none, and their patients."""
        films, of = self.places(keys)
        return Samples(self.positive[films], self.score[films], of, len(keys), np.full(len(keys), 0.5)), self.patient[
            films
        ]

    def places(self, keys: Sequence[tuple[str, str, str]]) -> tuple[Ints, Ints]:
        """Return the films of each key one after the other, and which key each is of."""
        bounds = np.array([self.bounds.get(key, (0, 0)) for key in keys], dtype=np.int64).reshape(-1, 2)
        begin, size = bounds[:, 0], bounds[:, 1] - bounds[:, 0]
        of = np.repeat(np.arange(len(keys)), size)
        return np.arange(len(of)) + np.repeat(begin - (np.cumsum(size) - size), size), of


def samples_of_done(
    predictions: pd.DataFrame, jobs: pd.DataFrame
) -> tuple[pd.DataFrame, tuple[Samples, Ints], tuple[Samples, Ints]]:
    """Return the done jobs and, in their order, the films of each one's test fold and validation with their patients.

    Raises
    ------
    InputError
        When the tables do not fit each other.
    """
    planned = planned_jobs(jobs)
    done = planned[planned["state"] == "done"]
    predictions = predictions[predictions["job"].isin(done["job"])]
    check_predictions(predictions, done)
    films = gather_films(predictions)
    names = list(zip(done["job"], done["test_cohort"], strict=True))
    test = films.samples([(job, "test", cohort) for job, cohort in names])
    return done, test, films.samples([(job, "val", WHOLE_COHORT) for job, _ in names])


def gather_films(predictions: pd.DataFrame) -> Films:
    """Put the predictions in the order in which they are computed with."""
    job, jobs = text_codes(predictions["job"])
    image, _ = text_codes(predictions["image"])
    patient, _ = text_codes(predictions["patient"])
    is_test = (predictions["split"] == "test").to_numpy(bool)
    cohort, cohorts = text_codes(predictions["cohort"])
    cohort = np.where(is_test, cohort, -1)
    order = np.lexsort((image, cohort, is_test, job))
    job, is_test, cohort = job[order], is_test[order], cohort[order]
    changes = (np.diff(job) != 0) | (np.diff(is_test.astype(int)) != 0) | (np.diff(cohort) != 0)
    bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(order)] if len(order) else []
    return Films(
        predictions["y_true"].to_numpy(np.int64)[order] == 1,
        predictions["y_score"].to_numpy(np.float64)[order],
        patient[order],
        order,
        {
            (
                str(jobs[job[a]]),
                "test" if is_test[a] else "val",
                str(cohorts[cohort[a]]) if is_test[a] else WHOLE_COHORT,
            ): (a, b)
            for a, b in pairwise(bounds)
        },
    )


def film_parts(predictions: pd.DataFrame) -> Mapping[tuple[str, str, str], TestedFilms]:
    """Cut the predictions into (class, score, patient) arrays, one set a job, part and tested cohort."""
    films = gather_films(predictions)
    return {key: (films.positive[a:b], films.score[a:b], films.patient[a:b]) for key, (a, b) in films.bounds.items()}


def by_patient(positive: np.ndarray, score: np.ndarray, patient: np.ndarray) -> Sample:
    """Return patients with the mean of their films' scores, as `patient_samples` does, of one set of films."""
    patients = patient_samples(Sample(positive, score).samples, patient)
    return Sample(patients.positive, patients.score)


def patient_samples(films: Samples, patient: Ints) -> Samples:
    """Return the patients of each sample with the mean of their films' scores.

    Rounding must not rank patients who are equal: a sum of equal scores over their number is often not that score
    again. So each patient's lowest score is the origin of the sum, and the scores are added in ascending order.
    """
    order = np.lexsort((films.score, patient, films.of))
    positive, score, patient, of = films.positive[order], films.score[order], patient[order], films.of[order]
    begins = np.ones(len(order), bool)
    begins[1:] = (patient[1:] != patient[:-1]) | (of[1:] != of[:-1])
    first, index = np.flatnonzero(begins), np.cumsum(begins) - 1
    lowest = score[first]
    mean = lowest + np.bincount(index, weights=score - lowest[index], minlength=len(first)) / np.bincount(index)
    ill = np.bincount(index, weights=positive, minlength=len(first)) > 0
    return Samples(ill, mean, of[first], films.count, films.threshold)


Reasons = npt.NDArray[np.object_]  # a text for each job, blank where there is nothing to say


def _one_class(samples: Samples, what: str) -> Reasons:
    texts = [f"{what} has one class ({name})" for name in ("positive", "negative")]
    if what.endswith("patients"):
        texts = [text.replace(" has ", " have ") for text in texts]
    reasons = np.full(samples.count, "", dtype=object)
    reasons[samples.negatives == 0] = texts[0]
    reasons[samples.positives == 0] = texts[1]
    # A fold without a film is refused, a validation without one is not.
    reasons[samples.cases == 0] = "no validation film"
    return reasons


def _first(reasons: Reasons, otherwise: Reasons) -> Reasons:
    return np.where(reasons != "", reasons, otherwise)


@dataclass(frozen=True)
class _Notes:
    """The NaN columns of each row by their reason."""

    rows: list[dict[str, list[str]]] = field(repr=False)

    def add(self, column: str, reason: str | Reasons, rows: Ints) -> None:
        for row in rows.tolist():
            self.rows[row].setdefault(reason if isinstance(reason, str) else reason[row], []).append(column)

    def texts(self) -> list[str]:
        return ["; ".join(f"{reason}: {', '.join(columns)}" for reason, columns in row.items()) for row in self.rows]


def _numbers(
    level: str,
    validation: Samples,
    test: Samples,
    balanced: Floats,
    notes: _Notes,
    one_class_in_validation: Reasons,
    one_class_in_test: Reasons,
) -> dict[str, Floats]:
    """Compute all columns of one level, and note why numbers are missing."""
    numbers: dict[str, Floats] = {}

    def add(metrics: Sequence[Metric], samples: Samples, ending: str, known: Bools) -> None:
        kept = np.flatnonzero(known)
        samples = samples if known.all() else samples.where(known)
        for metric in metrics:
            column = f"{metric.name}{level}{ending}"
            values = metric.values(samples)
            numbers[column] = np.full(len(known), np.nan)
            numbers[column][kept] = values
            notes.add(column, one_class_in_test, kept[~metric.has_classes(samples)])
            for reason, where in metric.lacks(samples, values):
                notes.add(column, reason, kept[where])

    add(METRICS, test, "", np.ones(test.count, bool))
    threshold = best_thresholds(validation)
    unknown = np.isnan(threshold)
    numbers[f"threshold{level}"] = threshold
    for column in [f"threshold{level}", *(f"{metric.name}{level}_at_val" for metric in _THRESHOLDED)]:
        notes.add(column, one_class_in_validation, np.flatnonzero(unknown))
    add(_THRESHOLDED, test.at(threshold), "_at_val", ~unknown)
    for way, made in recalibrated(validation, test, balanced).items():
        for column in (f"{metric.name}{level}_{way}" for metric in _CALIBRATED):
            notes.add(column, one_class_in_validation, np.flatnonzero(made.one_class))
            notes.add(column, made.reason, np.flatnonzero(made.undefined))
        add(_CALIBRATED, made.samples, f"_{way}", ~made.one_class & ~made.undefined)
    return numbers
