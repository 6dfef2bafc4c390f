"""What a metric is, and the scored films (or patients) of many test folds that it is computed from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .._logistic import group_sums, log_odds

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Sample:
    """True classes and scores of the films, or of the patients, of one test fold.

    Parameters
    ----------
    positive
        Whether each case is positive; shape (n,).
    score
        P(positive) of each case; shape (n,).
    threshold
        A case counts as predicted positive when its score is at least this.
    """

    positive: Bools
    score: Floats
    threshold: float = 0.5

    @property
    def samples(self) -> Samples:
        """The same as a set of one."""
        of = np.zeros(len(self.positive), np.int64)
        return Samples(self.positive, self.score, of, 1, np.array([self.threshold]))


@dataclass(frozen=True, eq=False)
class Samples:
    """True classes and scores of many folds, one after the other, so that a metric is computed for all at once.

    Parameters
    ----------
    positive, score
        As in `Sample`, of all cases; shape (n,).
    of
        Which sample each case belongs to, ascending from 0; shape (n,). A sample may have no case.
    count
        How many samples there are.
    threshold
        Of each sample; shape (count,).

    Notes
    -----
    All sums go through `sums`, which adds the cases of a sample in their order: a number depends on its own cases
    alone, to the last bit, whatever else is computed beside it.
    """

    positive: Bools
    score: Floats
    of: Ints
    count: int
    threshold: Floats

    def at(self, threshold: Floats) -> Samples:
        """Return the same cases at other thresholds."""
        return replace(self, threshold=threshold)

    def scored(self, score: Floats) -> Samples:
        """Return the same cases with other scores."""
        return replace(self, score=score)

    def where(self, kept: Bools) -> Samples:
        """Return the samples that are kept."""
        cases = kept[self.of]
        of = (np.cumsum(kept) - 1)[self.of[cases]]
        return Samples(self.positive[cases], self.score[cases], of, int(kept.sum()), self.threshold[kept])

    def sums(self, values: npt.NDArray[Any]) -> Floats:
        """Add up what each case has, by sample."""
        return group_sums(values, self.of, self.count)

    @cached_property
    def cases(self) -> Floats:
        """How many cases there are."""
        return self.sums(np.ones(len(self.of)))

    @cached_property
    def positives(self) -> Floats:
        """How many cases are positive."""
        return self.sums(self.positive)

    @cached_property
    def negatives(self) -> Floats:
        """How many cases are negative."""
        return self.cases - self.positives

    @cached_property
    def called(self) -> Bools:
        """Whether each case is predicted positive; shape (n,)."""
        called: Bools = self.score >= self.threshold[self.of]
        return called

    @cached_property
    def true_positives(self) -> Floats:
        """How many positive cases are predicted positive."""
        return self.sums(self.positive & self.called)

    @cached_property
    def false_positives(self) -> Floats:
        """How many negative cases are predicted positive."""
        return self.sums(~self.positive & self.called)

    @cached_property
    def log_odds(self) -> Floats:
        """The logit of each score."""
        return log_odds(self.score)

    @cached_property
    def steps(self) -> Steps:
        """The distinct scores of each sample, falling."""
        order = np.lexsort((-self.score, self.of))
        score, of, positive = self.score[order], self.of[order], self.positive[order]
        # Tied cases stand on one step: only the last of them sees all of its equals.
        is_last = np.ones(len(of), bool)
        is_last[:-1] = (score[1:] != score[:-1]) | (of[1:] != of[:-1])
        last = np.flatnonzero(is_last)
        true_gain = np.diff(np.cumsum(positive)[last], prepend=0).astype(np.float64)
        gain = np.diff(last, prepend=-1).astype(np.float64)
        return Steps(score[last], of[last], true_gain, gain - true_gain)

    def extremes(self, values: Floats, which: Bools) -> tuple[Floats, Floats]:
        """Return the least and the greatest value of the cases that are meant, by sample; ±inf where there is none."""
        least, greatest = np.full(self.count, np.inf), np.full(self.count, -np.inf)
        np.minimum.at(least, self.of[which], values[which])
        np.maximum.at(greatest, self.of[which], values[which])
        return least, greatest


@dataclass(frozen=True, eq=False)
class Steps:
    """The distinct scores of samples, from the highest on.

    Parameters
    ----------
    score, of
        Each step's score and the sample it belongs to, ascending; shape (steps,).
    true_gain, false_gain
        How many positive and negative cases have just this score.
    """

    score: Floats
    of: Ints
    true_gain: Floats
    false_gain: Floats

    @cached_property
    def true_positives(self) -> Floats:
        """How many positive cases of the sample score at least this."""
        return self._within(self.true_gain)

    @cached_property
    def false_positives(self) -> Floats:
        """How many negative cases of the sample score at least this."""
        return self._within(self.false_gain)

    @cached_property
    def is_first(self) -> Bools:
        """Whether it is the highest score of its sample."""
        return np.diff(self.of, prepend=-1) > 0

    def _within(self, gain: Floats) -> Floats:
        # Whole numbers, so that what the samples before have summed up to is taken away exactly.
        total = np.cumsum(gain)
        before = (total - gain)[self.is_first]
        within: Floats = total - before[np.cumsum(self.is_first) - 1]
        return within


@dataclass(frozen=True)
class Metric:
    """One number about one fold.

    Parameters
    ----------
    name
        Its column.
    place
        Columns stand in the order of their places; those that users know never move.
    compute
        Returns the number of each sample; what it returns where `needs` or `unless` leave it undefined is not used.
    needs
        Without which true classes the metric is undefined and NaN.
    thresholded
        Whether it depends on the threshold, so that it is also given at the one chosen on validation.
    calibrated
        Whether it takes the score for a probability, so that it is also given recalibrated on validation.
    unless
        What else leaves it undefined: the reason, and for which samples that is so.
    better
        Which end of it is the good one; `neither` where the good value lies between.
    """

    name: str
    place: int
    compute: Callable[[Samples], Floats] = field(repr=False)
    needs: Literal["nothing", "positives", "negatives", "both"] = "both"
    thresholded: bool = False
    calibrated: bool = False
    unless: tuple[tuple[str, Callable[[Samples], Bools]], ...] = field(default=(), repr=False)
    better: Literal["higher", "lower", "neither"] = "higher"

    def has_classes(self, samples: Samples) -> Bools:
        """Tell which samples hold the true classes that the metric needs."""
        has = np.ones(samples.count, bool)
        if self.needs in ("positives", "both"):
            has &= samples.positives > 0
        if self.needs in ("negatives", "both"):
            has &= samples.negatives > 0
        return has

    def values(self, samples: Samples) -> Floats:
        """Return the metric of each sample, NaN where it is undefined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            values = self.compute(samples)
        defined = self.has_classes(samples) & (samples.cases > 0)
        for _, undefined in self.unless:
            defined &= ~undefined(samples)
        return np.where(defined, values, np.nan)

    def lacks(self, samples: Samples, values: Floats) -> Iterator[tuple[str, Bools]]:
        """Say why numbers are missing though the classes are there: each reason and the samples that it holds for."""
        left = np.isnan(values) & self.has_classes(samples)
        for reason, undefined in self.unless:
            yield reason, left & undefined(samples)
            left = left & ~undefined(samples)
        yield "the fit did not converge", left

    def value(self, sample: Sample) -> float:
        """Return the metric of one sample, NaN where it is undefined."""
        return float(self.values(sample.samples)[0])
