"""Standardized features in float64, of few films as they stand and of many a block at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ._films import Array

Numbers = npt.NDArray[np.float64]

# Up to so many numbers, 32 MiB, a matrix is one block; beyond, each block has so many, 1 MiB, as caches like it.
_WHOLE = 2**22
_BLOCK = 2**17
# But so many films, or most of a second derivative would be to add up those of the blocks.
_FEWEST = 512


def blocks(features: Array) -> list[slice]:
    """Return the parts of the films of a (films, width) matrix that are worth a copy in float64 at a time.

    Examples
    --------
    >>> blocks(np.zeros((5, 2)))
    [slice(0, 5, None)]
    """
    films, width = features.shape
    each = films if features.size <= _WHOLE else max(_FEWEST, _BLOCK // width)
    return [slice(start, min(start + each, films)) for start in range(0, max(films, 1), max(each, 1))]


def moments(features: Array) -> tuple[Numbers, Numbers]:
    """Return mean and standard deviation of each column, in float64.

    A feature that is the same on every film says nothing: its mean is that value to the bit, so that what is left of
    it is 0, and its deviation is told as 1.

    Parameters
    ----------
    features
        (films, width), of any kind of float.
    """
    parts = blocks(features)
    constant = features.min(axis=0) == features.max(axis=0)
    mean, squares = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    for part in parts:
        mean += features[part].astype(np.float64).sum(axis=0)
    mean /= len(features)
    mean[constant] = features[0, constant]
    for part in parts:
        left = features[part] - mean
        squares += np.einsum("ij,ij->j", left, left)
    scale: Numbers = np.sqrt(squares / len(features))
    scale[scale == 0] = 1.0
    return mean, scale


class Design:
    """Films as a matrix with a column of ones behind their standardized features, and the products of it.

    Of few films it is kept; of many its blocks are made anew for each product, since the whole in float64 would be
    twice what the features are in float32.

    Parameters
    ----------
    features
        (films, width), of any kind of float.
    mean, scale
        What each column is standardized by, (width,).
    """

    def __init__(self, features: Array, mean: Numbers, scale: Numbers) -> None:
        self.films, self.width = features.shape
        self._parts = blocks(features)
        self._kept: Numbers | None = None
        if len(self._parts) == 1:
            self._kept = (features - mean) / scale
        else:
            self._features = features
            # A row each: numpy takes four times as long where it begins anew at every film.
            rows = self._parts[0].stop
            self._means, self._factors = np.tile(mean, rows), np.tile(1 / scale, rows)
            self._room = np.empty_like(self._means)

    def times(self, vectors: Numbers) -> Numbers:
        """Return the product with a vector (width + 1,) or a matrix (width + 1, columns)."""
        found = np.empty((self.films, *vectors.shape[1:]))
        for part, rows in self._blocks():
            found[part] = rows @ vectors[:-1]
        found += vectors[-1]
        return found

    def summed(self, counts: Numbers) -> Numbers:
        """Return the sum of the films' rows by counts (films,), or by each column of (films, columns)."""
        found = np.zeros((*counts.shape[1:], self.width + 1))
        for part, rows in self._blocks():
            found[..., :-1] += counts[part].T @ rows
        found[..., -1] = counts.sum(axis=0)
        return found

    def squared(self, counts: Numbers) -> Numbers:
        """Return the sum of the films' rows times themselves, (width + 1, width + 1), by counts (films,)."""
        found = np.zeros((self.width + 1, self.width + 1))
        positive = bool((counts >= 0).all())
        for part, rows in self._blocks():
            found[-1, :-1] += counts[part] @ rows
            if positive:  # a product of a matrix with itself is half the work
                scaled = np.sqrt(counts[part])[:, None] * rows
                found[:-1, :-1] += scaled.T @ scaled
            else:
                found[:-1, :-1] += rows.T @ (counts[part][:, None] * rows)
        found[-1, -1] = counts.sum()
        found[:, -1] = found[-1]
        return found

    def largest(self) -> float:
        """Return the largest number in the matrix, sign aside, which is at least the 1 of its last column."""
        return max(1.0, *(float(np.abs(rows).max(initial=0.0)) for _, rows in self._blocks()))

    def _blocks(self) -> Iterator[tuple[slice, Numbers]]:
        """Yield parts of the films with their standardized features, which the next part overwrites."""
        if self._kept is not None:
            yield self._parts[0], self._kept
            return
        for part in self._parts:
            films = part.stop - part.start
            flat = self._room[: films * self.width]
            rows = flat.reshape(films, self.width)
            rows[:] = self._features[part]
            flat -= self._means[: len(flat)]
            flat *= self._factors[: len(flat)]
            yield part, rows
