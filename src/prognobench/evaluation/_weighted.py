"""Metrics of test folds in which patients count several times or not at all, for many resamples and jobs at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ._resampling import Floats, Fold, by_cell
from .metrics import mcc_of_counts

# The metrics that have intervals.
WEIGHTED = ("mcc", "pr_auc", "roc_auc", "balanced_accuracy", "sensitivity", "specificity")
_AT_ONCE = 1 << 17  # weights of cases that stay in a core's own cache


def weighted_metrics(fold: Fold, drawn: Floats) -> dict[str, Floats]:
    """Return the metrics of every job of a fold in every resample.

    Parameters
    ----------
    fold
        The test fold.
    drawn
        How often each patient of the fold counts; whole numbers, shape (resamples, n).

    Returns
    -------
    dict
        For each name in `WEIGHTED` an array of shape (resamples, jobs); NaN where the resample lacks a class that the
        metric needs.

    Notes
    -----
    Equal to scikit-learn's with the multiplicities as `sample_weight`.
    """
    positives, negatives = (drawn @ fold.positives)[:, None], (drawn @ fold.negatives)[:, None]
    true, false = drawn @ fold.true, drawn @ fold.false
    both = (positives > 0) & (negatives > 0)
    mcc = mcc_of_counts(true, false, positives, negatives)
    sensitivity = np.divide(true, positives, out=np.full_like(true, np.nan), where=positives > 0)
    specificity = np.divide(negatives - false, negatives, out=np.full_like(true, np.nan), where=negatives > 0)
    pr_auc, roc_auc = _areas(fold, drawn)
    return {
        "mcc": np.where(both, mcc, np.nan),
        "pr_auc": np.where(both, pr_auc, np.nan),
        "roc_auc": np.where(both, roc_auc, np.nan),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
    }


def fold_values(folds: Sequence[Fold], cells: int) -> dict[str, Floats]:
    """Return the metrics of every fold and cell, averaged over seeds and draws; shape (folds, cells).

    NaN where a cell does not have the fold or the fold lacks a class.
    """
    found: dict[str, list[Floats]] = {name: [np.empty((0, cells))] for name in WEIGHTED}
    for fold in folds:
        for name, values in weighted_metrics(fold, np.ones((1, len(fold.patients)))).items():
            found[name].append(by_cell(values, fold.cell, cells))
    return {name: np.concatenate(rows) for name, rows in found.items()}


def fold_mcc(folds: Sequence[Fold], cells: int) -> Floats:
    """Return the MCC of every fold and cell as `fold_values` does, without the other metrics."""
    found = [np.empty((0, cells))]
    for fold in folds:
        positives, negatives = fold.positives.sum(), fold.negatives.sum()
        mcc = mcc_of_counts(fold.true.sum(axis=0), fold.false.sum(axis=0), positives, negatives)
        found.append(by_cell(np.where(fold.has_both_classes, mcc, np.nan)[None], fold.cell, cells))
    return np.concatenate(found)


def drawn_values(folds: Sequence[Fold], cells: int, chunks: Iterable[Floats]) -> dict[str, Floats]:
    """Return each cell's metrics in each resample, averaged over the folds where they are defined.

    Parameters
    ----------
    folds
        The test folds.
    cells
        How many cells there are.
    chunks
        How often each patient counts, each of shape (some resamples, patients).

    Returns
    -------
    dict
        For each name in `WEIGHTED` an array of shape (resamples of all chunks, cells).
    """
    found: dict[str, list[Floats]] = {name: [np.empty((0, cells))] for name in WEIGHTED}
    for drawn in chunks:
        total = {name: np.zeros((len(drawn), cells)) for name in WEIGHTED}
        defined = {name: np.zeros((len(drawn), cells)) for name in WEIGHTED}
        for fold in folds:
            for name, values in weighted_metrics(fold, drawn[:, fold.patients]).items():
                of_cells = by_cell(values, fold.cell, cells)
                there = ~np.isnan(of_cells)
                total[name] += np.where(there, of_cells, 0)
                defined[name] += there
        for name, n in defined.items():
            found[name].append(np.divide(total[name], n, out=np.full_like(n, np.nan), where=n > 0))
    return {name: np.concatenate(rows) for name, rows in found.items()}


def _areas(fold: Fold, drawn: Floats) -> tuple[Floats, Floats]:
    """Return average precision and the area under the ROC curve, each (resamples, jobs); NaN without both classes."""
    shape = len(drawn), fold.score.shape[1]
    pr_auc, roc_auc = np.full(shape, np.nan), np.full(shape, np.nan)
    if fold.has_both_classes:
        at_once = max(1, _AT_ONCE // len(fold.positive))
        for start in range(0, len(drawn), at_once):
            rows = slice(start, start + at_once)
            # One row a case, so that sums over cases run along whole rows.
            weights = np.ascontiguousarray(drawn[rows].T)[fold.of_case]
            for job in range(shape[1]):
                pr_auc[rows, job], roc_auc[rows, job] = _areas_of(fold.score[:, job], fold.positive, weights)
    return pr_auc, roc_auc


def _areas_of(score: Floats, positive: np.ndarray, weights: Floats) -> tuple[Floats, Floats]:
    """Return both areas for cases with `weights` of shape (cases, resamples).

    Both are sums over the positive cases: of the precision at their score, and of the negatives below it and half of
    those at it.
    """
    order = np.argsort(-score, kind="stable")
    score, positive = score[order], positive[order]
    # Cases with equal scores stand on one step, whose last case has seen all of them.
    last = np.append(score[1:] != score[:-1], True)
    step = np.cumsum(last) - last
    ends = np.flatnonzero(last)
    own = weights.take(order[positive], axis=0)
    at = step[positive]
    total = _running(weights.take(order, axis=0))
    above = _running(own.copy())
    positives, negatives = above[-1], total[-1] - above[-1]
    seen = total.take(ends[at], axis=0)
    if len(ends) == len(score):
        true = above
        before = seen - true
    else:
        true = above.take(np.searchsorted(at, at, side="right") - 1, axis=0)
        first = np.append(0, ends[:-1] + 1)[at]
        reached = np.append(np.zeros_like(total[:1]), total, axis=0).take(first, axis=0)
        reached -= np.append(np.zeros_like(above[:1]), above, axis=0).take(np.searchsorted(at, at), axis=0)
        before = (seen - true + reached) / 2
    # A positive case that was not drawn may have seen no one; it counts nothing.
    precision = np.divide(true, np.maximum(seen, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        pr_auc = np.einsum("ij,ij->j", own, precision) / positives
        roc_auc = 1 - np.einsum("ij,ij->j", own, before) / (positives * negatives)
    return pr_auc, roc_auc


def _running(rows: Floats) -> Floats:
    """Sum up from the first row to each row, in place; four times as fast as `cumsum` along the first axis."""
    for place in range(1, len(rows)):
        rows[place] += rows[place - 1]
    return rows
