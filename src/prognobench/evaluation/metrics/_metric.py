"""What a metric is, and the scored films (or patients) it is computed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
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

    @cached_property
    def positives(self) -> int:
        """How many cases are positive."""
        return int(np.count_nonzero(self.positive))

    @cached_property
    def negatives(self) -> int:
        """How many cases are negative."""
        return len(self.positive) - self.positives

    @cached_property
    def true_positives(self) -> int:
        """How many positive cases are predicted positive."""
        return int(np.count_nonzero(self.positive & (self.score >= self.threshold)))

    @cached_property
    def false_positives(self) -> int:
        """How many negative cases are predicted positive."""
        return int(np.count_nonzero(~self.positive & (self.score >= self.threshold)))

    @cached_property
    def steps(self) -> tuple[Floats, Floats, Floats]:
        """The distinct scores, falling, and how many positives and negatives score at least each of them."""
        order = np.argsort(-self.score, kind="stable")
        score, positive = self.score[order], self.positive[order]
        # Tied cases stand on one step: only the last of them sees all of its equals.
        last = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1)
        true_positives = np.cumsum(positive)[last].astype(np.float64)
        return score[last], true_positives, last + 1.0 - true_positives


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
        Returns the number; called only where `needs` is met.
    needs
        Without which true classes the metric is undefined and NaN.
    thresholded
        Whether it depends on the threshold, so that it is also given at the one chosen on validation.
    """

    name: str
    place: int
    compute: Callable[[Sample], float] = field(repr=False)
    needs: Literal["nothing", "positives", "negatives", "both"] = "both"
    thresholded: bool = False

    def is_defined(self, sample: Sample) -> bool:
        """Tell whether the cases hold the true classes that the metric needs."""
        has_positives = sample.positives > 0 or self.needs not in ("positives", "both")
        has_negatives = sample.negatives > 0 or self.needs not in ("negatives", "both")
        return has_positives and has_negatives

    def value(self, sample: Sample) -> float:
        """Return the metric of the cases, NaN where it is undefined."""
        return float(self.compute(sample)) if self.is_defined(sample) else float("nan")
