"""Metrics of the scores as probabilities."""

from __future__ import annotations

import numpy as np

from .._logistic import fit_intercepts, fit_lines
from ._metric import Bools, Floats, Ints, Metric, Samples

# The inner bounds of ten bins of equal width. A score on a bound belongs to the bin below it, as in Guo et al. 2017
# and in scikit-learn's calibration_curve.
BIN_BOUNDS = np.linspace(0, 1, 11)
_EPSILON = np.finfo(np.float64).eps


def _brier(samples: Samples) -> Floats:
    return samples.sums((samples.score - samples.positive) ** 2) / samples.cases


def bins_of(score: Floats) -> Ints:
    """Return which of the ten bins each score belongs to."""
    return np.searchsorted(BIN_BOUNDS[1:-1], score).astype(np.int64)


def _ece(samples: Samples) -> Floats:
    """Return the expected calibration error: each bin's |mean score − share of positives|, weighted by its cases.

    Guo et al. 2017 (https://arxiv.org/abs/1706.04599), on P(positive) instead of the winning class's confidence.
    """
    bins = len(BIN_BOUNDS) - 1
    place = samples.of * bins + bins_of(samples.score)
    gaps = np.bincount(place, weights=samples.score - samples.positive, minlength=samples.count * bins)
    ece: Floats = np.abs(gaps).reshape(samples.count, bins).sum(axis=1) / samples.cases
    return ece


def _log_loss(samples: Samples) -> Floats:
    """Return the mean of −ln P(true class), with probabilities cut to [ε, 1 − ε] as scikit-learn does.

    ε is 2.2e-16, the spacing of floats at 1.
    """
    of_truth = np.where(samples.positive, samples.score, 1 - samples.score)
    return -samples.sums(np.log(np.clip(of_truth, _EPSILON, 1 - _EPSILON))) / samples.cases


def _calibration_slope(samples: Samples) -> Floats:
    """Return the coefficient of logit(score) in a logistic regression of the true class, without a penalty.

    Below 1 the scores are too extreme, above 1 too moderate. Scores are cut to [ε, 1 − ε] before the logit.
    Van Calster et al. 2016, https://doi.org/10.1016/j.jclinepi.2015.12.005: "calibration slope".
    """
    slope = np.full(samples.count, np.nan)
    # Where there is no bound the fit would go on for ever.
    bounded = ~_is_constant(samples) & ~_is_separated(samples)
    kept = samples.where(bounded)
    slope[bounded] = fit_lines(kept.log_odds, kept.positive.astype(np.float64), kept.of, kept.count)[0]
    return slope


def _calibration_intercept(samples: Samples) -> Floats:
    """Return the intercept of that regression with the slope fixed at 1: calibration in the large, in log-odds.

    Below 0 the scores are too high on average, above 0 too low. Van Calster et al. 2019,
    https://doi.org/10.1186/s12916-019-1466-7: "calibration intercept".
    """
    return fit_intercepts(samples.log_odds, samples.positive.astype(np.float64), samples.of, samples.count)


def _is_constant(samples: Samples) -> Bools:
    least, greatest = samples.extremes(samples.log_odds, np.ones(len(samples.of), bool))
    return np.equal(least, greatest)


def _is_separated(samples: Samples) -> Bools:
    """Tell where no negative scores above the lowest positive, or the other way round: the slope has no bound."""
    odds = samples.log_odds
    lowest, highest = samples.extremes(odds, samples.positive)
    lowest_negative, highest_negative = samples.extremes(odds, ~samples.positive)
    return np.less_equal(highest_negative, lowest) | np.less_equal(highest, lowest_negative)


METRICS = (
    Metric("brier", 80, _brier, needs="nothing", calibrated=True, better="lower"),
    Metric("ece", 90, _ece, needs="nothing", calibrated=True, better="lower"),
    Metric("log_loss", 120, _log_loss, needs="nothing", calibrated=True, better="lower"),
    Metric(
        "calibration_slope",
        130,
        _calibration_slope,
        calibrated=True,
        unless=(("all scores are equal", _is_constant), ("the scores separate the classes", _is_separated)),
        better="neither",
    ),
    Metric("calibration_intercept", 140, _calibration_intercept, calibrated=True, better="neither"),
)
