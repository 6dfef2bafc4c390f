"""How far a film is from the films that a model was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
SHARE = 0.99  # of held-out training films that lie within the limit
_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Likeness:
    """Mahalanobis distance of features to those of the training films, 1 being the limit.

    Parameters
    ----------
    center, scale
        Mean and standard deviation of each feature over the training films; shape (width,).
    whiten
        (width, width): the distance is the length of the standardized features times this matrix.
    limit
        The distance within which `SHARE` of held-out training films lie.

    Notes
    -----
    The covariance of the standardized features is shrunk towards a multiple of the identity as far as Ledoit & Wolf
    (2004, https://doi.org/10.1016/S0047-259X(03)00096-4) compute it, since there may be more features than films. A
    film's own part in center and covariance makes it look near, so the limit is taken from five folds of groups: each
    film's distance is that to the films of the other four. What is kept are moments of all films; none can be read
    out of them by itself.
    """

    center: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    whiten: npt.NDArray[np.float32]
    limit: float

    def distances(self, features: npt.NDArray[np.float32]) -> Floats:
        """Return the distance of each film, in units of the limit; features have the shape (films, width)."""
        return _lengths(features, self.center, self.scale, self.whiten) / self.limit


def fit_likeness(features: npt.NDArray[np.float32], groups: npt.NDArray[np.int64]) -> Likeness:
    """Learn what training films look like.

    Parameters
    ----------
    features
        (films, width).
    groups
        The group of each film: films of one are left out together.
    """
    distinct = np.unique(groups)
    # The groups are numbered in the order of the films' names; dealt in turn, folds are of nearly equal size.
    fold = np.searchsorted(distinct, groups) % min(_FOLDS, len(distinct))
    held_out = np.empty(len(features))
    for part in range(int(fold.max()) + 1):
        out = fold == part
        rest = features[~out] if len(distinct) > 1 else features
        held_out[out] = _lengths(features[out], *_moments(rest))
    limit = float(np.quantile(held_out, SHARE, method="higher"))
    return Likeness(*_moments(features), limit)


def _moments(
    features: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    from sklearn.covariance import ledoit_wolf

    center = features.mean(axis=0, dtype=np.float64)
    scale = features.std(axis=0, dtype=np.float64)
    scale[scale == 0] = 1.0
    standardized = (features - center) / scale
    covariance, _ = ledoit_wolf(standardized, assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    # Where all films are alike nothing is left to divide by.
    whiten = vectors / np.sqrt(np.maximum(values, 1e-6 * max(float(values.max()), 1e-6)))
    return center.astype(np.float32), scale.astype(np.float32), whiten.astype(np.float32)


def _lengths(
    features: npt.NDArray[np.float32],
    center: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    whiten: npt.NDArray[np.float32],
) -> Floats:
    standardized = (features.astype(np.float64) - center) / scale
    lengths: Floats = np.linalg.norm(standardized @ whiten.astype(np.float64), axis=1)
    return lengths
