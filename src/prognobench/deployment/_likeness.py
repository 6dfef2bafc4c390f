"""How far a film is from the films that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float64]
SHARE = 0.98  # of held-out training films that lie within the limit
_FOLDS = 5
# A feature varies by at least this part of what the features usually vary by. One that is the same in almost all films
# (as of a ReLU that hardly ever fires) would otherwise be divided by next to nothing, and rule the distance alone.
_LEAST_SPREAD = 0.5


@dataclass(frozen=True, eq=False)
class Likeness:
    """Mahalanobis distance of features to those of the training films, 1 being the limit.

    Parameters
    ----------
    center, scale
        Mean and standard deviation of each feature over the training films; shape (width,). The deviation is at least
        half the median of those that are not 0.
    whiten
        (width, width): the distance is the length of the standardized features times this matrix.
    limit
        The distance within which `SHARE` of held-out training films lie; never that of the farthest.
    caught
        Of altered copies of held-out training films, by kind: what share lies beyond the limit.

    Notes
    -----
    The covariance of the standardized features is shrunk towards a multiple of the identity as far as Ledoit & Wolf
    (2004, https://doi.org/10.1016/S0047-259X(03)00096-4) compute it, since there may be more features than films. A
    film's own part in center and covariance makes it look near, so the limit is taken from five folds of groups:
    each film's distance is that to the films of the other four. All films are shrunk as far as those were on
    average: with more films than in a fold less would be, and everything new would look farther than what was held
    out. The quantile is the lower of the two nearest films, so that one odd film never sets it, however few there
    are. What is kept are moments of all films; none can be read out of them by itself.
    """

    center: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    whiten: npt.NDArray[np.float32]
    limit: float
    caught: Mapping[str, float] = field(default_factory=dict)

    def distances(self, features: npt.NDArray[np.float32]) -> Floats:
        """Return the distance of each film, in units of the limit; features have the shape (films, width)."""
        return _lengths(features, self.center, self.scale, self._whiten) / self.limit

    @cached_property
    def _whiten(self) -> Tensor:
        return torch.from_numpy(self.whiten).double()


def fit_likeness(
    features: npt.NDArray[np.float32],
    groups: npt.NDArray[np.int64],
    altered: Mapping[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]] | None = None,
) -> Likeness:
    """Learn what training films look like.

    Parameters
    ----------
    features
        (films, width).
    groups
        The group of each film: films of one are left out together.
    altered
        Copies that should lie beyond the limit, by kind: which film each is of, and its features. Each is held against
        the folds that its film is not in.
    """
    distinct = np.unique(groups)
    # The groups are numbered in the order of the films' names; dealt in turn, folds are of nearly equal size.
    fold = np.searchsorted(distinct, groups) % min(_FOLDS, len(distinct))
    held_out = np.empty(len(features))
    copies = altered or {}
    shrinkages = []
    of_copies = {kind: np.empty(len(films)) for kind, (films, _) in copies.items()}
    for part in range(int(fold.max()) + 1):
        out = fold == part
        rest = features[~out] if len(distinct) > 1 else features
        center, scale, whiten, shrinkage = _moments(rest)
        shrinkages.append(shrinkage)
        moments = (center, scale, torch.from_numpy(whiten).double())
        held_out[out] = _lengths(features[out], *moments)
        for kind, (films, changed) in copies.items():
            of_copies[kind][out[films]] = _lengths(changed[out[films]], *moments)
    limit = float(np.quantile(held_out, SHARE, method="lower"))
    # Where all training films are alike the limit is 0, and nothing is within it.
    caught = {kind: float((lengths > limit).mean()) for kind, lengths in of_copies.items()}
    center, scale, whiten, _ = _moments(features, float(np.mean(shrinkages)))
    return Likeness(center, scale, whiten, limit, caught)


def _moments(
    features: npt.NDArray[np.float32], shrinkage: float | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32], float]:
    """Return center, scale, whitening, and how far the covariance was shrunk: as told, or as Ledoit & Wolf compute."""
    from sklearn.covariance import ledoit_wolf_shrinkage, shrunk_covariance

    center = features.mean(axis=0, dtype=np.float64)
    scale = features.std(axis=0, dtype=np.float64)
    varied = scale[scale > 0]
    scale = np.maximum(scale, _LEAST_SPREAD * np.median(varied)) if len(varied) else np.ones_like(scale)
    standardized = (features - center) / scale
    shrinkage = ledoit_wolf_shrinkage(standardized, assume_centered=True) if shrinkage is None else shrinkage
    covariance = shrunk_covariance(standardized.T @ standardized / len(standardized), shrinkage)
    values, vectors = np.linalg.eigh(covariance)
    # Where all films are alike nothing is left to divide by.
    whiten = vectors / np.sqrt(np.maximum(values, 1e-6 * max(float(values.max()), 1e-6)))
    return center.astype(np.float32), scale.astype(np.float32), whiten.astype(np.float32), float(shrinkage)


def _lengths(
    features: npt.NDArray[np.float32],
    center: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    whiten: Tensor,
) -> Floats:
    # By torch, between whose batches of films this runs: the threads of numpy's BLAS, which wait busily for more work
    # once it has had some, would take the cores from the network, which was seen to take half of its speed.
    standardized = torch.from_numpy((features.astype(np.float64) - center) / scale)
    lengths: Floats = torch.linalg.vector_norm(standardized @ whiten, dim=1).numpy()
    return lengths
