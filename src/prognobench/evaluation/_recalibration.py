"""Scores that validation has made probabilities again: class weights shift them, and training may sharpen them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from ._logistic import fit_lines
from .metrics import Samples

RECALIBRATIONS = ("platt", "prior")
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Recalibrated:
    """Test cases with recalibrated scores.

    Parameters
    ----------
    samples
        The cases; scores mean nothing in the samples of which `one_class` or `undefined` holds.
    one_class
        Where validation holds one class, or nothing, and would have to hold both.
    undefined, reason
        Where else there is no recalibration, and why.
    """

    samples: Samples
    one_class: Bools
    undefined: Bools
    reason: str


def recalibrated(validation: Samples, test: Samples, balanced: Floats) -> dict[str, Recalibrated]:
    """Recalibrate the test cases of each job in every way, by its name.

    Parameters
    ----------
    validation, test
        Cases of each job, film by film or patient by patient.
    balanced
        Of each job: 1 where training made the classes count alike, 0 where it took them as they are, 0.5 between;
        NaN where that is not known.
    """
    return {"platt": _platt(validation, test), "prior": _prior(validation, test, balanced)}


def _platt(validation: Samples, test: Samples) -> Recalibrated:
    """Map the scores by the logistic regression of the validation cases on the logit of their scores.

    No penalty; the targets are (N₊ + 1)/(N₊ + 2) for the N₊ positives and 1/(N₋ + 2) for the N₋ negatives instead of
    1 and 0, so that the fit stays finite where the scores separate the classes. Platt 1999, "Probabilistic outputs for
    support vector machines", section 2.2, with logit(score) for the output of the machine. The slope may be negative:
    a validation that contradicts the model turns its order around.
    """
    slope, intercept, one_class = platt_lines(validation)
    score = expit(slope[test.of] * test.log_odds + intercept[test.of])
    flat = np.isnan(slope) & ~one_class
    return Recalibrated(test.scored(score), one_class, flat, "all scores of validation are equal")


def platt_lines(cases: Samples) -> tuple[Floats, Floats, Bools]:
    """Return slope and intercept of Platt's logistic regression of each sample, and whether it has one class only.

    Both are NaN where there is none: of one class, or where all scores are equal.
    """
    positives, negatives = cases.positives, cases.negatives
    target = np.where(cases.positive, ((positives + 1) / (positives + 2))[cases.of], (1 / (negatives + 2))[cases.of])
    slope, intercept = fit_lines(cases.log_odds, target, cases.of, cases.count)
    one_class = (positives == 0) | (negatives == 0)
    least, greatest = cases.extremes(cases.score, np.ones(len(cases.of), bool))
    # The mean of equal numbers may differ from them in the last bit, and make a slope of it.
    none = one_class | (least == greatest)
    return np.where(none, np.nan, slope), np.where(none, np.nan, intercept), one_class


def _prior(validation: Samples, test: Samples, balanced: Floats) -> Recalibrated:
    """Shift the log-odds back by what training took from them when it evened the classes out.

    Weights n / (2 n_c) make a model learn log-odds that lack those of the classes themselves; what is added is
    `balanced` times the log-odds of the share of positives among the validation cases, which stands for that of the
    training part (Elkan 2001, "The foundations of cost-sensitive learning", theorem 2).
    """
    one_class = ((validation.positives == 0) | (validation.negatives == 0)) & (balanced != 0) & ~np.isnan(balanced)
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = logit(validation.positives / validation.cases)
    shift = np.where(balanced == 0, 0.0, balanced * np.where(np.isfinite(odds), odds, np.nan))[test.of]
    score = np.where(shift == 0, test.score, expit(test.log_odds + shift))
    reason = "how training weighted the classes is not recorded"
    return Recalibrated(test.scored(score), one_class, np.isnan(balanced), reason)
