"""Metrics of the order into which the scores put the cases."""

from __future__ import annotations

import numpy as np

from ._metric import Metric, Sample


def _pr_auc(sample: Sample) -> float:
    """Average precision: precision at each distinct score, weighted by the recall that it adds."""
    _, true_positives, false_positives = sample.steps
    precision = true_positives / (true_positives + false_positives)
    return float(np.sum(np.diff(true_positives, prepend=0) * precision) / sample.positives)


def _roc_auc(sample: Sample) -> float:
    """Chance that a positive case scores above a negative one, ties counting one half."""
    _, true_positives, false_positives = sample.steps
    above = true_positives - np.diff(true_positives, prepend=0) / 2
    return float(np.sum(np.diff(false_positives, prepend=0) * above) / (sample.positives * sample.negatives))


METRICS = (
    Metric("pr_auc", 20, _pr_auc),
    Metric("roc_auc", 30, _roc_auc),
)
