"""What all out-of-fold predictions of one cell together say: how to calibrate, and where to draw the line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from prognobench.frame import InputError, Problem

from ._folds import gather_films, patient_samples
from ._recalibration import platt_lines
from ._threshold import best_thresholds
from .metrics import METRICS, Samples

# What depends on the threshold, as the card of a model tells it.
_AT_THRESHOLD = ("mcc", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv")


@dataclass(frozen=True)
class OutOfFold:
    """Calibration and threshold of the films, or of the patients, of one cell.

    Parameters
    ----------
    level
        `film` or `patient`.
    slope, intercept
        A calibrated probability is 1 / (1 + exp(−(slope × logit(score) + intercept))).
    threshold
        Of calibrated probabilities: the one with the highest MCC out of fold.
    n, n_positive
        The cases that these rest on; a case that several repeats or seeds tested counts as often.
    at_threshold
        MCC, balanced accuracy, sensitivity, specificity, PPV and NPV of the same cases at that threshold; None where
        undefined. The threshold was chosen on them, so new patients are to be expected to do a little worse.
    """

    level: str
    slope: float
    intercept: float
    threshold: float
    n: int
    n_positive: int
    at_threshold: dict[str, float | None]

    def calibrate(self, score: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return calibrated probabilities of scores.

        Examples
        --------
        >>> plain = OutOfFold("film", 1.0, 0.0, 0.5, 2, 1, {})
        >>> plain.calibrate(np.array([0.25, 0.5])).round(6).tolist()
        [0.25, 0.5]
        """
        none = np.zeros(len(score), np.int64)
        odds = Samples(none.astype(bool), score, none, 1, np.array([0.5])).log_odds
        calibrated: npt.NDArray[np.float64] = expit(self.slope * odds + self.intercept)
        return calibrated


def out_of_fold(predictions: pd.DataFrame) -> dict[str, OutOfFold]:
    """Fit Platt's line and choose the threshold on the test predictions of all jobs of one cell, pooled.

    Parameters
    ----------
    predictions
        As `fold_metrics` takes them, of the jobs of one cell; validation films are passed over. Each film was scored
        by a model that was trained without it.

    Returns
    -------
    dict
        By level: `film`, and `patient` (the mean score of a patient's films in a job; any positive film makes a
        patient positive).

    Raises
    ------
    InputError
        All cases are of one class, or all scores are equal.

    Notes
    -----
    Platt 1999 (section 2.2), as in `fold_metrics`, with one line for all folds: the model that is used in the end is
    another one than theirs, so no fold has a claim to a line of its own.
    """
    tested = predictions[predictions["split"] == "test"]
    films = gather_films(tested)
    samples, patients = films.samples(list(films.bounds))
    levels = {"film": samples, "patient": patient_samples(samples, patients)}
    return {level: _fit(level, _pooled(cases)) for level, cases in levels.items()}


def _pooled(cases: Samples) -> Samples:
    return replace(cases, of=np.zeros(len(cases.of), np.int64), count=1, threshold=np.array([0.5]))


def _fit(level: str, cases: Samples) -> OutOfFold:
    (slope,), (intercept,), (one_class,) = platt_lines(cases)
    if one_class or np.isnan(slope):
        why = "are of one class" if one_class else "have the same score"
        what = f"all {len(cases.of)} out-of-fold cases ({level}s) {why}, so nothing can be calibrated on them"
        raise InputError([Problem("the study's predictions", what, "Choose another model, strategy or task")])
    found = OutOfFold(level, float(slope), float(intercept), 0.5, len(cases.of), int(cases.positives[0]), {})
    calibrated = cases.scored(found.calibrate(cases.score))
    threshold = best_thresholds(calibrated)
    at = calibrated.at(threshold)
    told: dict[str, Any] = {
        metric.name: float(metric.values(at)[0]) for metric in METRICS if metric.name in _AT_THRESHOLD
    }
    at_threshold = {name: None if np.isnan(value) else value for name, value in told.items()}
    return replace(found, threshold=float(threshold[0]), at_threshold=at_threshold)
