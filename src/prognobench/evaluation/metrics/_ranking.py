"""Metrics of the order into which the scores put the cases."""

from __future__ import annotations

from .._logistic import group_sums
from ._metric import Floats, Metric, Samples


def _pr_auc(samples: Samples) -> Floats:
    """Average precision: precision at each distinct score, weighted by the recall that it adds."""
    steps = samples.steps
    precision = steps.true_positives / (steps.true_positives + steps.false_positives)
    return _sums(samples, steps.true_gain * precision) / samples.positives


def _roc_auc(samples: Samples) -> Floats:
    """Chance that a positive case scores above a negative one, ties counting one half."""
    steps = samples.steps
    above = steps.true_positives - steps.true_gain / 2
    return _sums(samples, steps.false_gain * above) / (samples.positives * samples.negatives)


def _sums(samples: Samples, values: Floats) -> Floats:
    return group_sums(values, samples.steps.of, samples.count)


METRICS = (
    Metric("pr_auc", 20, _pr_auc),
    Metric("roc_auc", 30, _roc_auc),
)
