"""The threshold that validation chooses."""

from __future__ import annotations

import numpy as np

from .metrics import Sample, mcc_of_counts

# Cells that are equal on paper may differ in the last bits.
_TIE = 1e-12


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
    if validation.positives == 0 or validation.negatives == 0:
        return float("nan")
    scores, true_positives, false_positives = validation.steps
    upper, lower = scores[:-1], scores[1:]
    # Halfway between two neighboring floats is one of them; the threshold must still lie above the lower one.
    halfway = np.maximum(lower + (upper - lower) / 2, np.nextafter(lower, np.inf))
    no_one, everyone = max(0.5, np.nextafter(scores[0], np.inf)), min(0.5, scores[-1])
    candidates = np.concatenate([[no_one], halfway, [everyone]])
    mcc = mcc_of_counts(
        np.concatenate([[0.0], true_positives]),
        np.concatenate([[0.0], false_positives]),
        validation.positives,
        validation.negatives,
    )
    equals = candidates[mcc >= mcc.max() - _TIE]
    return float(min(equals, key=lambda candidate: (abs(candidate - 0.5), candidate)))
