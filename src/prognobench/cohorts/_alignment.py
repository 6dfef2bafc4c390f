"""Two films laid onto each other, and how far they agree in their detail."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]  # shape (pairs, side, side)
Crops = NDArray[np.float64]  # shape (pairs, 4): scale and shift along x, scale and shift along y
_FARTHEST_SHIFT = 0.25  # of half a side
_SMALLEST, _LARGEST = 0.8, 1.25
_STEP = 0.08  # the farthest that one iteration moves
_LEAST_GAIN = 0.2


def shrink(images: Images, factor: int) -> Images:
    """Average squares of `factor` × `factor` pixels."""
    count, side, _ = images.shape
    cells = images.reshape(count, side // factor, factor, side // factor, factor)
    averaged: Images = cells.mean(axis=(2, 4), dtype=np.float32)
    return averaged


def detail(images: Images, finest: float, coarsest: float) -> Images:
    """Return images at even contrast, without what is finer or coarser than two Gaussians (sigma in pixels).

    The difference of the two is divided by its local standard deviation, so that a film that was brightened, or whose
    contrast curve was bent, looks as before.
    """
    smooth = _blur(images, finest) if finest else images
    band = smooth - _blur(smooth, coarsest)
    spread = np.sqrt(np.maximum(_blur(band * band, coarsest), 0))
    floor = np.float32(0.2) * spread.mean(axis=(1, 2), keepdims=True) + np.float32(1e-4)
    return np.asarray(band / (spread + floor), dtype=np.float32)


def _blur(images: Images, sigma: float) -> Images:
    kernel = _gaussian(images.shape[-1], sigma)
    return np.asarray(kernel @ images @ kernel.T, dtype=np.float32)


@cache
def _gaussian(side: int, sigma: float) -> Images:
    """Return the matrix that blurs a line of `side` pixels; its rows sum to 1, at the ends as well."""
    places = np.arange(side)
    weights = np.exp(-0.5 * ((places[:, None] - places[None, :]) / sigma) ** 2)
    matrix: Images = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return matrix


def align(moving: Images, fixed: Images, crops: Crops, iterations: int) -> Crops:
    """Refine the crop of each moving image that looks like the fixed one.

    Parameters
    ----------
    moving, fixed
        Images of even contrast, see `detail`; pair i is `moving[i], fixed[i]`.
    crops
        Where to begin. The point (x, y) of the fixed image, both from -1 to 1, is looked for at
        (scale_x · x + shift_x, scale_y · y + shift_y) of the moving one.
    iterations
        How often the linear problem is solved.

    Notes
    -----
    Gauss–Newton on the squared difference with a free gain and offset: Lucas & Kanade 1981 in the form that Baker &
    Matthews 2004 call forwards additive, for the scale and shift of both axes.
    """
    count, side, _ = moving.shape
    across, down = _grid(side)
    per_unit = (side - 1) / 2
    slope_y = np.gradient(moving, axis=1) * per_unit
    slope_x = np.gradient(moving, axis=2) * per_unit
    target = fixed.reshape(count, -1)
    for _ in range(iterations):
        here = _Sampler(crops, side)
        value, dx, dy = here(moving), here(slope_x), here(slope_y)
        rows = np.stack([value, np.ones_like(value), dx * across, dx, dy * down, dy], axis=1) * here.inside[:, None, :]
        normal = rows @ rows.transpose(0, 2, 1)
        ridge = 1e-5 * here.inside.sum(axis=1)[:, None, None] * np.eye(6)
        solved = np.linalg.solve(normal + ridge, rows @ target[..., None])[..., 0]
        gain = np.where(np.abs(solved[:, :1]) < _LEAST_GAIN, _LEAST_GAIN, solved[:, :1])
        crops = crops + (solved[:, 2:] / gain).clip(-_STEP, _STEP)
        crops[:, 0::2] = crops[:, 0::2].clip(_SMALLEST, _LARGEST)
        crops[:, 1::2] = crops[:, 1::2].clip(-_FARTHEST_SHIFT, _FARTHEST_SHIFT)
    return crops


def overlay(moving: Images, fixed: Images, crops: Crops) -> tuple[Images, NDArray[np.bool_]]:
    """Return the moving images in the frame of the fixed ones, and where both are known and neither is saturated.

    What lies outside the moving image is filled from the fixed one, so that filters see no edge.
    """
    here = _Sampler(crops, moving.shape[-1])
    inside = here.inside.reshape(moving.shape)
    moved: Images = np.where(inside, here(moving).reshape(moving.shape), fixed)
    lit = inside & (moved > 0.005) & (moved < 0.99) & (fixed > 0.005) & (fixed < 0.99)
    return moved, lit


def correlation(one: Images, other: Images, where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return Pearson's correlation of each pair over the pixels that count; 0 where fewer than a fifth do."""
    mask = where.astype(np.float32)
    pixels = mask.sum(axis=(1, 2), keepdims=True).clip(1)
    first = (one - (one * mask).sum(axis=(1, 2), keepdims=True) / pixels) * mask
    second = (other - (other * mask).sum(axis=(1, 2), keepdims=True) / pixels) * mask
    power = np.sqrt((first**2).sum(axis=(1, 2)) * (second**2).sum(axis=(1, 2)))
    product = (first * second).sum(axis=(1, 2)) / np.maximum(power, 1e-12)
    return np.where(where.mean(axis=(1, 2)) < 0.2, 0.0, product).astype(np.float64)


class _Sampler:
    """Reads images between their pixels, at the points that crops show (bilinear)."""

    def __init__(self, crops: Crops, side: int) -> None:
        across, down = _grid(side)
        columns = (crops[:, 0:1] * across + crops[:, 1:2] + 1) * (side - 1) / 2
        lines = (crops[:, 2:3] * down + crops[:, 3:4] + 1) * (side - 1) / 2
        last = side - 1
        self.inside = (columns >= 0) & (columns <= last) & (lines >= 0) & (lines <= last)
        columns, lines = columns.clip(0, last - 1e-3), lines.clip(0, last - 1e-3)
        line, column = lines.astype(np.int64), columns.astype(np.int64)
        self._right = (columns - column).astype(np.float32)
        self._below = (lines - line).astype(np.float32)
        self._first = np.arange(len(crops))[:, None] * side * side + line * side + column
        self._side = side

    def __call__(self, images: Images) -> NDArray[np.float32]:
        flat = np.ascontiguousarray(images).reshape(-1)
        at, right, below, side = self._first, self._right, self._below, self._side
        above = flat[at] * (1 - right) + flat[at + 1] * right
        beneath = flat[at + side] * (1 - right) + flat[at + side + 1] * right
        mixed: NDArray[np.float32] = above * (1 - below) + beneath * below
        return mixed


@cache
def _grid(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    steps = np.linspace(-1, 1, side, dtype=np.float32)
    across, down = np.meshgrid(steps, steps)
    return across.ravel(), down.ravel()
