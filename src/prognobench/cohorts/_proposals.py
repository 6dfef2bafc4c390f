"""Which films may be one: looked for in time that grows with the number of films, not with that of pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ._alignment import Crops, Images, detail, shrink

Descriptors = NDArray[np.float32]  # shape (films, _DIMENSIONS), of length 1

_DIMENSIONS = 32
_BUCKET = 64  # films that share a code on average
_TABLES = 24
_NEAREST = 3  # films that are looked at closely for each film
_LEAST_COSINE = 0.6
_CHUNK = 1024  # films at once
_LARGEST_BUCKET = 512
_SHRUNK = 20  # as many films of which the mean is the zero descriptor; without them two equal films would be opposites
# What may have been cut off at the two ends of an axis, as shares of it: 8 % at most, and every cut in between is
# within 2 % of one of these.
_CUTS = ((0.0, 0.0), (0.035, 0.0), (0.0, 0.035), (0.025, 0.025), (0.065, 0.0), (0.0, 0.065))


@dataclass(frozen=True)
class Proposals:
    """Pairs of films, and the crop of `moving` that looks like `fixed` (see `align`)."""

    moving: NDArray[np.int64]
    fixed: NDArray[np.int64]
    crops: Crops


def propose(read: Callable[[slice], Images], count: int) -> Proposals:
    """Return for each film the few that it, or a little less than all of it, resembles most.

    Parameters
    ----------
    read
        Gives squares of films, shape (films, 96, 96), from 0 to 1.
    count
        How many films there are.

    Notes
    -----
    A descriptor is the film at 16 × 16 pixels and even contrast, less the mean of all films, in its first principal
    components at even variance. Each film is described whole and in 35 crops. Films whose descriptors fall on the same
    sides of some random planes are compared (locality-sensitive hashing for the cosine: Charikar 2002; several tables
    of it: Indyk & Motwani 1998). The planes are drawn with a fixed seed.
    """
    basis = _basis(read, count)
    whole = np.concatenate([basis(_small(read(part), _CROPS[:1])[:, 0]) for part in _parts(count)])
    bits = max(0, int(np.ceil(np.log2(count / _BUCKET))))
    planes = np.random.Generator(np.random.PCG64(0)).normal(size=(_TABLES, _DIMENSIONS, max(bits, 1)))
    tables = [_Table(whole, table[:, :bits].astype(np.float32)) for table in (planes if bits else planes[:1])]
    found = [_nearest(part.start, basis, read(part), tables) for part in _parts(count)]
    moving, fixed, crop = (np.concatenate(column) for column in zip(*found, strict=True))
    # A pair may have been found from both ends: the film of which a crop is like the other then comes first.
    low, high = np.minimum(moving, fixed), np.maximum(moving, fixed)
    order = np.lexsort((moving, crop == 0, high, low))
    moving, fixed, crop = moving[order], fixed[order], crop[order]
    first = _begins(low[order], high[order])
    return Proposals(moving[first], fixed[first], _CROPS[crop[first]])


def _crops() -> Crops:
    def scale_and_shift(start: float, end: float) -> tuple[float, float]:
        return 1 - start - end, start - end

    return np.array([(*scale_and_shift(*x), *scale_and_shift(*y)) for y, x in product(_CUTS, _CUTS)])


_CROPS = _crops()


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, _CHUNK):
        yield slice(start, min(count, start + _CHUNK))


def _small(squares: Images, crops: Crops) -> Images:
    """Return the crops of films at 16 × 16 pixels and even contrast: shape (films, crops, 256)."""
    half = shrink(squares, 3)
    side = half.shape[-1]
    shown = []
    for scale_x, shift_x, scale_y, shift_y in crops:
        image = _resampling(side, scale_y, shift_y) @ half @ _resampling(side, scale_x, shift_x).T
        shown.append(detail(image.astype(np.float32, copy=False), 0.8, 2.0).reshape(len(squares), -1))
    return np.stack(shown, axis=1)


def _resampling(side: int, scale: float, shift: float) -> NDArray[np.float32]:
    """Return the matrix that reads half as many values from a part of a line: linear, then the mean of two."""
    at = ((scale * np.linspace(-1, 1, side) + shift + 1) * (side - 1) / 2).clip(0, side - 1.001)
    left = at.astype(np.int64)
    matrix = np.zeros((side, side), dtype=np.float32)
    matrix[np.arange(side), left] = left + 1 - at
    matrix[np.arange(side), left + 1] = at - left
    halved: NDArray[np.float32] = (matrix[0::2] + matrix[1::2]) * np.float32(0.5)
    return halved


def _basis(read: Callable[[slice], Images], count: int) -> Callable[[Images], Descriptors]:
    total, squares = np.zeros(256), np.zeros((256, 256))
    for part in _parts(count):
        small = _small(read(part), _CROPS[:1])[:, 0].astype(np.float64)
        total += small.sum(axis=0)
        squares += small.T @ small
    mean = total / (count + _SHRUNK)
    spread = squares / count - np.outer(mean, total / count) - np.outer(total / count, mean) + np.outer(mean, mean)
    variances, axes = np.linalg.eigh(spread)
    variances, axes = variances[::-1][:_DIMENSIONS].clip(0), axes[:, ::-1][:, :_DIMENSIONS]
    deviations = np.sqrt(variances)
    weights = (axes / (deviations + 0.1 * deviations[0] + 1e-6)).astype(np.float32)
    offset = mean.astype(np.float32)

    def describe(small: Images) -> Descriptors:
        found = (small - offset) @ weights
        unit: Descriptors = found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-12)
        return unit

    return describe


class _Table:
    """Films in buckets by the sides of some planes on which their descriptors lie."""

    def __init__(self, whole: Descriptors, planes: NDArray[np.float32]) -> None:
        self._planes = planes
        codes = self.codes(whole)
        self._order = np.argsort(codes, kind="stable")
        self._codes = codes[self._order]
        self._whole = whole[self._order]

    def codes(self, descriptors: Descriptors) -> NDArray[np.int64]:
        bits = (descriptors @ self._planes > 0).astype(np.int64)
        return bits @ (1 << np.arange(self._planes.shape[1], dtype=np.int64))

    def matches(self, wanted: Descriptors) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Descriptors]]:
        """Yield rows of `wanted`, films, and their cosines, for all that share a code and are alike."""
        codes = self.codes(wanted)
        order = np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.append(True, np.diff(codes[order]) != 0))
        for start, stop in zip(starts, np.append(starts[1:], len(order)), strict=True):
            rows = order[start:stop]
            first, last = np.searchsorted(self._codes, [codes[rows[0]], codes[rows[0]] + 1])
            # A crowd of films that all look alike is compared in pieces, or the time would grow with its square.
            for begin in range(first, last, _LARGEST_BUCKET):
                members = slice(begin, min(last, begin + _LARGEST_BUCKET))
                cosines = wanted[rows] @ self._whole[members].T
                row, film = np.nonzero(cosines > _LEAST_COSINE)
                yield rows[row], self._order[members][film], cosines[row, film]


def _nearest(
    start: int, basis: Callable[[Images], Descriptors], squares: Images, tables: list[_Table]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return for films from `start` on their nearest others, and which crop is like them: films, others, crops."""
    crops = len(_CROPS)
    wanted = basis(_small(squares, _CROPS)).reshape(-1, _DIMENSIONS)
    best = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    for table in tables:
        found = [best]
        for row, other, cosine in table.matches(wanted):
            film = row // crops + start
            strange = film != other
            found.append((film[strange], other[strange], row[strange] % crops, cosine[strange]))
        film, other, crop, cosine = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((crop, -cosine, other, film))
        film, other, crop, cosine = film[order], other[order], crop[order], cosine[order]
        new = _begins(film, other)
        best = _best_of_each(film[new], other[new], crop[new], cosine[new])
    return best[:3]


def _best_of_each(
    film: NDArray[np.int64], other: NDArray[np.int64], crop: NDArray[np.int64], cosine: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    order = np.lexsort((other, -cosine, film))
    film, other, crop, cosine = film[order], other[order], crop[order], cosine[order]
    starts = np.flatnonzero(_begins(film))
    rank = np.arange(len(film)) - np.repeat(starts, np.diff(np.append(starts, len(film))))
    kept = rank < _NEAREST
    return film[kept], other[kept], crop[kept], cosine[kept]


def _begins(*columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell where sorted rows differ from the one before."""
    changed = np.ones(len(columns[0]), dtype=bool)
    changed[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return changed
