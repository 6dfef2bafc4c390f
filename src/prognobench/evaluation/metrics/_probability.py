"""Metrics of the scores as probabilities."""

from __future__ import annotations

import numpy as np

from ._metric import Metric, Sample

# The inner bounds of ten bins of equal width. A score on a bound belongs to the bin below it, as in Guo et al. 2017
# and in scikit-learn's calibration_curve.
_BOUNDS = np.linspace(0, 1, 11)[1:-1]


def _brier(sample: Sample) -> float:
    return float(np.mean((sample.score - sample.positive) ** 2))


def _ece(sample: Sample) -> float:
    """Return the expected calibration error: each bin's |mean score − share of positives|, weighted by its cases.

    Guo et al. 2017 (https://arxiv.org/abs/1706.04599), on P(positive) instead of the winning class's confidence.
    """
    bins = np.searchsorted(_BOUNDS, sample.score)
    gaps = np.bincount(bins, weights=sample.score - sample.positive)
    return float(np.sum(np.abs(gaps)) / len(sample.score))


METRICS = (
    Metric("brier", 80, _brier, needs="nothing"),
    Metric("ece", 90, _ece, needs="nothing"),
)
