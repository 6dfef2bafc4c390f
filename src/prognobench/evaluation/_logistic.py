"""Logistic regressions on one number, many at once: a fold has few cases, and a study thousands of folds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_EPSILON = np.finfo(np.float64).eps
_MOST_STEPS = 200
# Newton's steps shrink quadratically: the error after a step of this relative size is far below rounding.
_LAST_STEP = 1e-9


def group_sums(values: npt.NDArray[Any], of: Ints, count: int) -> Floats:
    """Add up the values of each group, in their order, so that the last bits depend on nothing else."""
    return np.bincount(of, values, count).astype(np.float64, copy=False)


def log_odds(score: Floats) -> Floats:
    """Return ln(p / (1 − p)) of probabilities cut to [ε, 1 − ε] with ε = 2.2e-16, so that it is at most 36."""
    odds: Floats = logit(np.clip(score, _EPSILON, 1 - _EPSILON))
    return odds


def fit_lines(x: Floats, target: Floats, of: Ints, count: int) -> tuple[Floats, Floats]:
    """Fit P(positive) = 1 / (1 + exp(−(slope · x + intercept))) to each sample, without a penalty.

    Parameters
    ----------
    x
        The regressor of each case.
    target
        The share of each case that is positive, from 0 to 1.
    of
        Which sample each case belongs to, from 0 on.
    count
        How many samples there are.

    Returns
    -------
    slope, intercept
        Of maximum likelihood; shape (count,). NaN where there is none: x is constant, the classes are separated, or
        there is no case.

    Notes
    -----
    Newton's method with step halving; x is standardized within each sample meanwhile.
    """
    n = np.bincount(of, minlength=count).astype(np.float64)
    mean = _ratio(group_sums(x, of, count), n)
    z = x - mean[of]
    scale = np.sqrt(_ratio(group_sums(z**2, of, count), n))
    z = z / np.where(scale > 0, scale, 1)[of]
    slope, intercept = np.full(count, np.nan), np.full(count, np.nan)
    # The numbers of the samples that are still being fitted, and their cases.
    left = np.flatnonzero(scale > 0)
    here = np.isin(of, left)
    z, target, of = z[here], target[here], np.searchsorted(left, of[here])
    level = logit(_ratio(group_sums(target, of, len(left)), n[left]))
    line = _Lines(z, target, of, np.zeros(len(left)), level)
    line, left = line.where(np.isfinite(level)), left[np.isfinite(level)]
    for _ in range(_MOST_STEPS):
        if not len(left):
            break
        line, settled = line.improved()
        slope[left[settled]], intercept[left[settled]] = line.slope[settled], line.level[settled]
        line, left = line.where(~settled), left[~settled]
    slope = _ratio(slope, scale)
    return slope, intercept - slope * mean


def fit_intercepts(x: Floats, target: Floats, of: Ints, count: int) -> Floats:
    """Fit P(positive) = 1 / (1 + exp(−(x + intercept))) to each sample; NaN where all targets are 0 or all are 1.

    Parameters
    ----------
    x, target, of, count
        As `fit_lines` takes them.

    Returns
    -------
    numpy.ndarray
        The intercepts of maximum likelihood; shape (count,).
    """
    n = np.bincount(of, minlength=count).astype(np.float64)
    share = _ratio(group_sums(target, of, count), n)
    level = logit(share)
    least, greatest = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(least, of, x)
    np.maximum.at(greatest, of, x)
    # If all cases had the greatest x the sum of probabilities would be too high, if all had the least too low.
    low, high = level - greatest, level - least
    intercept = level - _ratio(group_sums(x, of, count), n)
    intercept = np.where(np.isfinite(level), np.clip(intercept, low, high), np.nan)
    settled = np.zeros(count, bool)
    for _ in range(_MOST_STEPS):
        chance = expit(x + intercept[of])
        excess = group_sums(chance - target, of, count)
        low, high = np.where(excess < 0, intercept, low), np.where(excess > 0, intercept, high)
        newton = intercept - _ratio(excess, group_sums(chance * (1 - chance), of, count))
        inside = (newton >= low) & (newton <= high)
        following = np.where(inside, newton, (low + high) / 2)
        following = np.where(settled | (excess == 0), intercept, following)
        # A sample that has settled moves no more, however long others take. NaN never moves.
        settled |= ~(np.abs(following - intercept) > _LAST_STEP * (1 + np.abs(intercept)))
        intercept = following
        if settled.all():
            break
    return intercept


class _Lines:
    """The fits under way: cases, and each sample's slope and level at its mean x."""

    def __init__(self, z: Floats, target: Floats, of: Ints, slope: Floats, level: Floats) -> None:
        self.z, self.target, self.of, self.slope, self.level = z, target, of, slope, level

    def where(self, kept: Bools) -> _Lines:
        """Return the samples that are kept."""
        if kept.all():
            return self
        cases = kept[self.of]
        of = (np.cumsum(kept) - 1)[self.of[cases]]
        return _Lines(self.z[cases], self.target[cases], of, self.slope[kept], self.level[kept])

    def improved(self) -> tuple[_Lines, Bools]:
        """Return the fits after a step of Newton's, and which of them it hardly moved."""
        chance = expit(self._eta(self.slope, self.level))
        weight, rest = chance * (1 - chance), self.target - chance
        total = self._sum(weight)
        center = _ratio(self._sum(weight * self.z), total)
        spread = self.z - center[self.of]
        up = _ratio(self._sum(rest * spread), self._sum(weight * spread**2))
        along = _ratio(self._sum(rest), total) - center * up
        up, along = np.nan_to_num(up, posinf=0, neginf=0), np.nan_to_num(along, posinf=0, neginf=0)
        before, part = self._loss(self.slope, self.level), np.ones(len(up))
        for _ in range(40):
            worse = self._loss(self.slope + part * up, self.level + part * along) > before + 1e-13 * (1 + before)
            if not worse.any():
                break
            part = np.where(worse, part / 2, part)
        slope, level = self.slope + part * up, self.level + part * along
        moved = np.maximum(
            np.abs(slope - self.slope) / (1 + np.abs(slope)), np.abs(level - self.level) / (1 + np.abs(level))
        )
        return _Lines(self.z, self.target, self.of, slope, level), moved < _LAST_STEP

    def _eta(self, slope: Floats, level: Floats) -> Floats:
        eta: Floats = slope[self.of] * self.z + level[self.of]
        return eta

    def _loss(self, slope: Floats, level: Floats) -> Floats:
        eta = self._eta(slope, level)
        return self._sum(np.logaddexp(0, eta) - self.target * eta)

    def _sum(self, values: Floats) -> Floats:
        return group_sums(values, self.of, len(self.slope))


def _ratio(above: Floats, below: Floats) -> Floats:
    ratio: Floats = np.divide(above, below, out=np.full_like(below, np.nan), where=below > 0)
    return ratio
