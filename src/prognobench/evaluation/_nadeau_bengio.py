"""The interval of a mean over folds whose training parts overlap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Floats = npt.NDArray[np.float64]
# Each repeat or fold tests a random share of the same cases; the words in tables begin so (`kfold5`, `holdout`).
_RESAMPLED = ("kfold", "holdout")


def nadeau_bengio_margin(
    std: npt.ArrayLike, n: npt.ArrayLike, test_per_train: npt.ArrayLike, confidence: float = 0.95
) -> Floats:
    """Return half the width of the corrected t interval: mean ± this.

    Parameters
    ----------
    std
        Standard deviation (ddof 1) over folds, those of all repeats.
    n
        How many folds.
    test_per_train
        Tested cases of a fold over those that it was trained on.
    confidence
        Of the interval.

    Returns
    -------
    numpy.ndarray
        t((1 + confidence) / 2, n − 1) · std · √(1/n + test_per_train), of the shape that the arguments make together;
        NaN where there are fewer than two folds.

    Notes
    -----
    Nadeau & Bengio 2003, https://doi.org/10.1023/A:1024068626366, section 4: values of folds whose training parts
    overlap are correlated, and with the correlation taken as n_test / (n_train + n_test) their mean has the variance
    std² · (1/n + n_test/n_train). For repeated k-fold: Bouckaert & Frank 2004,
    https://doi.org/10.1007/978-3-540-24775-3_3. With `test_per_train` 0 it is Student's interval.

    Examples
    --------
    >>> round(float(nadeau_bengio_margin(0.1, 5, 0.25)), 4)
    0.1862
    """
    std, n, ratio = np.broadcast_arrays(*(np.asarray(value, np.float64) for value in (std, n, test_per_train)))
    several = np.where(n > 1, n, np.nan)
    # Student's t quantile, straight from its function: scipy.stats takes half a second to import.
    quantile = stdtrit(several - 1, (1 + confidence) / 2)
    margin: Floats = quantile * std * np.sqrt(1 / several + ratio)
    return margin


def nadeau_bengio_lack(validation: str, regime: str) -> str:
    """Say why the correction is not defined for a cell, or nothing where it is.

    Parameters
    ----------
    validation, regime
        Their words in tables.

    Examples
    --------
    >>> nadeau_bengio_lack("kfold5", "full")
    ''
    >>> nadeau_bengio_lack("loco", "full")
    'the Nadeau–Bengio correction is for k-fold and hold-out, not for loco'
    """
    if not validation.startswith(_RESAMPLED):
        return f"the Nadeau–Bengio correction is for k-fold and hold-out, not for {validation}"
    if regime != "full":
        # n_test/n_train would be many times the overlap: two folds of few shots hardly share a film.
        return f"the Nadeau–Bengio correction takes training on all that is not tested, not {regime}"
    return ""
