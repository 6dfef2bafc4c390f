"""How far two ways to compute the same model may differ."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from prognobench.evaluation import log_odds

TOLERANCE = 1e-4  # of probabilities and scores
RELATIVE = 1e-3  # of log-odds and distances


def disagreement(own: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> str:
    """Say how probabilities differ by more than they may, or nothing.

    Near 0 and 1 they hide what changes; their log-odds show it, as far as these are not cut off.
    """
    far = np.abs(found - own).max()
    if not far <= TOLERANCE:
        return f"probabilities or scores differ by up to {far:.2g}"
    before, after = log_odds(own), log_odds(found)
    if not np.allclose(after, before, rtol=RELATIVE, atol=RELATIVE):
        return f"log-odds differ by up to {np.abs(after - before).max():.2g}"
    return ""
