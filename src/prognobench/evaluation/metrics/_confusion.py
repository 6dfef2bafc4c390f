"""Metrics of the confusion table at a threshold."""

from __future__ import annotations

import numpy as np

from ._metric import Floats, Metric, Sample


def mcc_of_counts(
    true_positives: Floats, false_positives: Floats, positives: float | Floats, negatives: float | Floats
) -> Floats:
    """Return Matthews' correlation coefficient for each pair of counts, 0 where all predictions are alike.

    Notes
    -----
    Matthews 1975, https://doi.org/10.1016/0005-2795(75)90109-9. With tp·tn − fp·fn = tp·N − fp·P the four cells
    reduce to two counts. scikit-learn's `matthews_corrcoef` is 0 for a constant prediction as well.
    """
    predicted = true_positives + false_positives
    covariance = true_positives * negatives - false_positives * positives
    # Two roots, because the product of four counts leaves the integers that a float holds exactly.
    scale = np.sqrt(predicted * (positives + negatives - predicted)) * np.sqrt(positives * negatives)
    mcc: Floats = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    return mcc


def _mcc(sample: Sample) -> float:
    tp, fp = np.array([sample.true_positives], float), np.array([sample.false_positives], float)
    return float(mcc_of_counts(tp, fp, sample.positives, sample.negatives)[0])


def _sensitivity(sample: Sample) -> float:
    return sample.true_positives / sample.positives


def _specificity(sample: Sample) -> float:
    return 1 - sample.false_positives / sample.negatives


def _balanced_accuracy(sample: Sample) -> float:
    return (_sensitivity(sample) + _specificity(sample)) / 2


def _f1(sample: Sample) -> float:
    return 2 * sample.true_positives / (sample.true_positives + sample.false_positives + sample.positives)


METRICS = (
    Metric("mcc", 10, _mcc, thresholded=True),
    Metric("balanced_accuracy", 40, _balanced_accuracy, thresholded=True),
    Metric("f1", 50, _f1, needs="positives", thresholded=True),
    Metric("sensitivity", 60, _sensitivity, needs="positives", thresholded=True),
    Metric("specificity", 70, _specificity, needs="negatives", thresholded=True),
)
