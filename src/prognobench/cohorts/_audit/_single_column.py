"""How well one column alone predicts an outcome: the one scale on which all columns are ranked."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FOLDS = 5
_BINS = 10  # of a column of numbers
_WEIGHT = 5.0  # films of the average that every value of a column is given beside its own
# The scores are learned as well: what Nadeau & Bengio 2003 add to the variance of a mean over folds, (1/k + 1/(k − 1))
# in the place of 1/k. Without it, columns of chance are called predictive three times as often as they should be.
_LEARNED = math.sqrt(1 + _FOLDS / (_FOLDS - 1))
_FEWEST = 5  # groups of each class below which nothing can be said


@dataclass(frozen=True)
class Power:
    """The ROC-AUC of predicting an outcome from one column, with its 95 % interval.

    Attributes
    ----------
    auc, low, high
        NaN where they are not defined.
    error
        The standard error of `auc`.
    values
        How many different values the column has, blank being one.
    """

    auc: float
    low: float
    high: float
    error: float
    values: int

    def surely_above(self, chance: float, columns: int) -> bool:
        """Tell whether the AUC is above `chance` even though the best of so many columns was picked (Bonferroni)."""
        if math.isnan(self.auc):
            return False
        if self.error == 0:
            return self.low > chance
        return self.auc - _quantile(1 - 0.025 / max(columns, 1)) * self.error > chance


def predictive_power(cells: Sequence[str], positive: NDArray[np.bool_], groups: Sequence[str]) -> Power:
    """Return how well the cells of one column tell positive films from negative ones.

    Parameters
    ----------
    cells
        The texts of the column; an empty one is a value of its own.
    positive
        Whether each film is positive.
    groups
        The group of each film.

    Notes
    -----
    A film is scored by the share of positive films among those of *other* patients that have its value (a column of
    numbers is first cut at its deciles), so that a column with a value of its own for every patient tells nothing. The
    other patients are those of four of five folds. The AUC is that of all pairs of films within a fold, since scores
    of different folds cannot be compared (Parker, Günter & Bedo 2007). Its standard error adds up the components of
    DeLong, DeLong & Clarke-Pearson 1988 within each group of patients (Obuchowski 1997), so that twenty films of one
    patient do not count as twenty, and is raised by one half because the scores are learned (Nadeau & Bengio 2003);
    this makes the interval of a strong column wider than need be. The interval is normal on the logit scale; where all
    pairs are in order, the lower end is that of Clopper & Pearson 1934 for as many successes in a row as there are
    groups of the rarer class.
    """
    codes = _codes(cells)
    values = int(codes.max()) + 1 if len(codes) else 0
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    held = np.zeros((2, len(names)), dtype=bool)
    held[positive.astype(int), group] = True
    rarer = int(held.sum(axis=1).min())
    nothing = Power(math.nan, math.nan, math.nan, math.nan, values)
    if rarer < _FEWEST:
        return nothing
    if values < 2:
        return Power(0.5, 0.5, 0.5, 0.0, values)
    folds = _folds(names, held[1])[group]
    scores = _scores(codes, positive, folds, values)
    auc, error = clustered_auc(scores, positive, group, folds)
    error *= _LEARNED
    return Power(auc, *_interval(auc, error, rarer), error, values)


def clustered_auc(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], group: NDArray[np.int64], folds: NDArray[np.int64]
) -> tuple[float, float]:
    """Return the AUC over the pairs within folds, and its standard error with films of a group taken together."""
    pairs, in_order = 0.0, 0.0
    influence = np.zeros(int(group.max()) + 1)
    for fold in np.unique(folds):
        here = folds == fold
        ill, well = here & positive, here & ~positive
        if not ill.any() or not well.any():
            continue
        above = _share_below(scores[ill], scores[well])
        below = 1 - _share_below(scores[well], scores[ill])
        auc, weight = float(above.mean()), float(ill.sum()) * float(well.sum())
        pairs, in_order = pairs + weight, in_order + weight * auc
        np.add.at(influence, group[ill], weight * (above - auc) / ill.sum())
        np.add.at(influence, group[well], weight * (below - auc) / well.sum())
    clusters = len(np.unique(group))
    error = math.sqrt(clusters / (clusters - 1) * float((influence**2).sum())) / pairs
    return in_order / pairs, error


def _share_below(values: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each value the share of the others that are smaller, equal ones counting one half."""
    others = np.sort(others)
    smaller = np.searchsorted(others, values, side="left") + np.searchsorted(others, values, side="right")
    share: NDArray[np.float64] = smaller / (2 * len(others))
    return share


def _codes(cells: Sequence[str]) -> NDArray[np.int64]:
    """Give each value of a column a code; a column of more than ten numbers is cut at its deciles."""
    numbers = as_numbers(cells)
    if numbers is not None and len(np.unique(numbers[~np.isnan(numbers)])) > _BINS:
        told = ~np.isnan(numbers)
        cuts = np.unique(np.quantile(numbers[told], np.arange(1, _BINS) / _BINS))
        coded = np.full(len(numbers), len(cuts) + 1, dtype=np.int64)
        coded[told] = np.searchsorted(cuts, numbers[told], side="right")
        codes: NDArray[np.int64] = np.unique(coded, return_inverse=True)[1].astype(np.int64)
        return codes
    texts = np.unique(np.asarray(cells, dtype=object).astype(str), return_inverse=True)[1]
    return np.asarray(texts, dtype=np.int64)


def as_numbers(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """Return a column as numbers, a blank cell as NaN; None where a cell is no number, or all are blank."""
    try:
        numbers = np.array([float(cell) if cell.strip() else math.nan for cell in cells])
    except ValueError:
        return None
    told = [cell for cell in cells if cell.strip()]
    return numbers if told and np.isfinite(numbers[~np.isnan(numbers)]).all() else None


def _folds(names: NDArray[np.str_], ill: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Deal groups to folds, those with a positive film and the others in turn, in an order that their names fix."""
    digests = [hashlib.sha256(f"audit:{name}".encode()).hexdigest() for name in names.tolist()]
    order = sorted(range(len(names)), key=lambda place: (bool(ill[place]), digests[place]))
    folds = np.zeros(len(names), dtype=np.int64)
    folds[order] = np.arange(len(names)) % _FOLDS
    return folds


def _scores(
    codes: NDArray[np.int64], positive: NDArray[np.bool_], folds: NDArray[np.int64], values: int
) -> NDArray[np.float64]:
    films = np.zeros((_FOLDS, values))
    ill = np.zeros((_FOLDS, values))
    np.add.at(films, (folds, codes), 1.0)
    np.add.at(ill, (folds, codes), positive.astype(np.float64))
    others, ill_others = films.sum(axis=0) - films, ill.sum(axis=0) - ill
    average = (ill_others.sum(axis=1) / others.sum(axis=1))[:, None]
    share = (ill_others + _WEIGHT * average) / (others + _WEIGHT)
    scores: NDArray[np.float64] = share[folds, codes]
    return scores


def _interval(auc: float, error: float, rarer: int) -> tuple[float, float]:
    if error == 0 or not 0 < auc < 1:
        return (0.025 ** (1 / rarer), 1.0) if auc == 1 else (auc, auc)
    logit, width = math.log(auc / (1 - auc)), _quantile(0.975) * error / (auc * (1 - auc))
    low, high = (1 / (1 + math.exp(-end)) for end in (logit - width, logit + width))
    return low, high


def _quantile(probability: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)
