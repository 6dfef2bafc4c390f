"""Metrics of the confusion table at a threshold."""

from __future__ import annotations

import numpy as np

from ._metric import Bools, Floats, Metric, Samples


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


def _mcc(samples: Samples) -> Floats:
    return mcc_of_counts(samples.true_positives, samples.false_positives, samples.positives, samples.negatives)


def _sensitivity(samples: Samples) -> Floats:
    return samples.true_positives / samples.positives


def _specificity(samples: Samples) -> Floats:
    return 1 - samples.false_positives / samples.negatives


def _balanced_accuracy(samples: Samples) -> Floats:
    return (_sensitivity(samples) + _specificity(samples)) / 2


def _f1(samples: Samples) -> Floats:
    return 2 * samples.true_positives / (samples.true_positives + samples.false_positives + samples.positives)


def _ppv(samples: Samples) -> Floats:
    return samples.true_positives / (samples.true_positives + samples.false_positives)


def _npv(samples: Samples) -> Floats:
    true_negatives = samples.negatives - samples.false_positives
    return true_negatives / (samples.cases - samples.true_positives - samples.false_positives)


def _none_called(samples: Samples) -> Bools:
    return np.equal(samples.true_positives + samples.false_positives, 0)


def _all_called(samples: Samples) -> Bools:
    return np.equal(samples.true_positives + samples.false_positives, samples.cases)


METRICS = (
    Metric("mcc", 10, _mcc, thresholded=True),
    Metric("balanced_accuracy", 40, _balanced_accuracy, thresholded=True),
    Metric("f1", 50, _f1, needs="positives", thresholded=True),
    Metric("sensitivity", 60, _sensitivity, needs="positives", thresholded=True),
    Metric("specificity", 70, _specificity, needs="negatives", thresholded=True),
    # scikit-learn's `zero_division` would put 0 where nothing is predicted so, and a mean over folds would believe it.
    # With one true class both would be 0 or 1 whatever the model.
    Metric("ppv", 100, _ppv, thresholded=True, unless=(("nothing is predicted positive", _none_called),)),
    Metric("npv", 110, _npv, thresholded=True, unless=(("nothing is predicted negative", _all_called),)),
)
