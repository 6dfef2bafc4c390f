"""The threshold that validation chooses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .metrics import Sample, Samples, mcc_of_counts

# Cells that are equal on paper may differ in the last bits.
_TIE = 1e-12
Floats = npt.NDArray[np.float64]


def best_threshold(validation: Sample) -> float:
    """Return the threshold with the highest MCC on the validation cases.

    The candidates lie halfway between neighboring distinct scores. At the ends everyone or no one is positive; of the
    many thresholds that say so the one nearest 0.5 stands for them. Of candidates with the same MCC the one nearest
    0.5 is taken, and the lower of two as near, so a constant prediction keeps 0.5.

    Parameters
    ----------
    validation
        The validation films with scores in [0, 1].

    Returns
    -------
    float
        NaN where validation has one class or no case.

    Examples
    --------
    >>> import numpy as np
    >>> best_threshold(Sample(np.array([False, False, True, True]), np.array([0.1, 0.2, 0.3, 0.9])))
    0.25
    """
    return float(best_thresholds(validation.samples)[0])


def best_thresholds(validation: Samples) -> Floats:
    """Return `best_threshold` of each sample."""
    steps = validation.steps
    if not len(steps.score):
        return np.full(validation.count, np.nan)
    # A candidate below each score; below the last one everyone is positive.
    lower = np.append(steps.score[1:], 0)
    is_last = np.append(steps.is_first[1:], True)
    lower = lower[: len(steps.score)]
    # Halfway between two neighboring floats is one of them; the threshold must still lie above the lower one.
    halfway = np.maximum(lower + (steps.score - lower) / 2, np.nextafter(lower, np.inf))
    below = np.where(is_last, np.minimum(0.5, steps.score), halfway)
    # And one above the first, where no one is.
    highest = steps.score[steps.is_first]
    candidate = np.concatenate([np.maximum(0.5, np.nextafter(highest, np.inf)), below])
    of = np.concatenate([steps.of[steps.is_first], steps.of])
    none = np.zeros(len(highest))
    mcc = mcc_of_counts(
        np.concatenate([none, steps.true_positives]),
        np.concatenate([none, steps.false_positives]),
        validation.positives[of],
        validation.negatives[of],
    )
    best = np.full(validation.count, -np.inf)
    np.maximum.at(best, of, mcc)
    equal = mcc >= best[of] - _TIE
    candidate, of = candidate[equal], of[equal]
    order = np.lexsort((candidate, np.abs(candidate - 0.5), of))
    found, first = np.unique(of[order], return_index=True)
    threshold = np.full(validation.count, np.nan)
    threshold[found] = candidate[order[first]]
    return np.where((validation.positives > 0) & (validation.negatives > 0), threshold, np.nan)
