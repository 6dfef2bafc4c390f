"""Logistic regressions with an L2 penalty, solved to convergence one after the other along their penalties."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ._design import Design, Numbers
from ._films import Array

_Solve = Callable[[Numbers], Numbers]

# How far off a log-odds may be at a solution, on a film whose standardized features have the norm √width.
_TOLERANCE = 1e-8
_MOST_STEPS = 500
# A second derivative is used again while the steps that it gives shrink the Newton decrement to this share or less.
_GOOD_SHARE = 0.1
# Up to so many unknowns a second derivative costs less than the steps that an older one would take more.
_CHEAP = 160
# Beyond so many unknowns the second derivative of several classes is multiplied with instead of written out.
_MOST_WRITTEN = 4096


@dataclass(frozen=True)
class Linear:
    """A linear classifier.

    Attributes
    ----------
    weights
        (rows, width): one row for two classes, whose log-odds it gives; else one a class.
    intercepts
        (rows,)
    """

    weights: Numbers
    intercepts: Numbers


def probabilities(scores: Numbers) -> Numbers:
    """Return the probability of each class, (films, classes), of log-odds (films, 1) or scores (films, classes)."""
    if scores.shape[1] == 1:
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Numbers = raised / raised.sum(axis=1, keepdims=True)
    return shares


def solve_logistic(
    features: Array,
    labels: npt.NDArray[np.int64],
    classes: int,
    weights: Numbers,
    penalties: Sequence[float],
    mean: Numbers,
    scale: Numbers,
) -> list[Linear]:
    """Minimize C · Σ weight × cross-entropy + ½ ‖coefficients‖² for each penalty C; intercepts are free.

    It is what `sklearn.linear_model.LogisticRegression` minimizes: over the log-odds of two classes, the softmax of
    more. Newton's method in float64 goes from the strongest penalty to the weakest, each from the solution of the one
    before. With fewer films than columns, the films are first turned into as many columns as there are films (QR): the
    penalty does not see the turn, and the solution lies in the films' span. Every product is of this problem alone, so
    that no problem beside it changes its bits.

    Parameters
    ----------
    features
        (films, width), of any kind of float.
    labels, classes
        Class of each film, each class with at least one film; and how many classes there are.
    weights
        What each film counts for in the loss, (films,).
    penalties
        The inverse strengths C, in any order.
    mean, scale
        What each column is standardized by before anything else, (width,).

    Returns
    -------
    list of Linear
        A classifier of standardized features for each penalty, in their order.

    Raises
    ------
    ValueError
        A solution did not converge; the penalty is named, and what was left of the gradient.

    Examples
    --------
    >>> features, labels = np.array([[-1.0], [1.0], [-1.0], [1.0]]), np.array([0, 1, 0, 1])
    >>> solve_logistic(features, labels, 2, np.ones(4), [0.5], np.zeros(1), np.ones(1))[0].weights.round(3)
    array([[0.675]])
    """
    films, width = features.shape
    turn = None
    if films < width:
        turn, upper = np.linalg.qr(((features - mean) / scale).T)
        design = Design(upper.T, np.zeros(films), np.ones(films))
    else:
        design = Design(features, mean, scale)
    loss = (_TwoClasses if classes == 2 else _Classes)(design, labels, classes, weights)
    place = np.zeros(loss.unknowns)
    found: dict[float, Linear] = {}
    for penalty in sorted(set(penalties)):
        place = _minimum(loss, place, penalty, _TOLERANCE / math.sqrt(1 + width * penalty))
        rows = loss.rows(place)
        coefficients = rows[:, :-1] if turn is None else rows[:, :-1] @ turn.T
        found[penalty] = Linear(coefficients.copy(), rows[:, -1].copy())
    return [found[penalty] for penalty in penalties]


def _minimum(loss: _Loss, place: Numbers, penalty: float, tolerance: float) -> Numbers:
    """Return where loss and penalty are least: Newton's method, with an older second derivative while that does.

    Steps by an older one are bettered by what the gradients since then tell of the change (L-BFGS).
    """
    ridge = loss.penalized / penalty
    scores = loss.scores(place)
    value, state = loss.look(scores)
    value += 0.5 * float(ridge @ (place * place))
    gradient = loss.gradient(state) + ridge * place
    solve, fresh, before = loss.solver(state, ridge, again=True), False, math.inf
    pairs: list[tuple[Numbers, Numbers, float]] = []
    for _ in range(_MOST_STEPS):
        step = -_bettered(solve, pairs, gradient)
        decrement = -float(gradient @ step)
        if not fresh and not decrement <= _GOOD_SHARE**2 * before:
            solve, fresh, pairs = loss.solver(state, ridge), True, []
            step = -solve(gradient)
            decrement = -float(gradient @ step)
        if decrement <= tolerance**2 or np.abs(gradient).max() <= loss.rounding:
            return place + step
        length, moved, least = 1.0, loss.scores(step), value
        while length > 1e-9:
            there, scores_there = place + length * step, scores + length * moved
            value, state = loss.look(scores_there)
            value += 0.5 * float(ridge @ (there * there))
            # The last term is what rounding does to a sum.
            if value <= least - 1e-4 * length * decrement + 1e-14 * abs(least):
                break
            length /= 2
        else:
            break
        change = loss.gradient(state) + ridge * there - gradient
        pairs.append((there - place, change, float(change @ (there - place))))
        place, scores, gradient = there, scores_there, gradient + change
        before, fresh = decrement, loss.cheap
        if fresh:
            solve, pairs = loss.solver(state, ridge), []
    left = np.abs(gradient).max()
    raise ValueError(f"the logistic regression with C={penalty:g} did not converge: a gradient of {left:.1e} is left")


def _bettered(solve: _Solve, pairs: Sequence[tuple[Numbers, Numbers, float]], gradient: Numbers) -> Numbers:
    """Return the inverse second derivative times a gradient, by the two-loop recursion of L-BFGS around `solve`."""
    shares = []
    for moved, change, product in reversed(pairs):
        shares.append(float(moved @ gradient) / product)
        gradient = gradient - shares[-1] * change
    found = solve(gradient)
    for (moved, change, product), share in zip(pairs, reversed(shares), strict=True):
        found = found + (share - float(change @ found) / product) * moved
    return found


class _Loss(ABC):
    """The weighted cross-entropy of a training part, as a function of a vector of unknowns.

    Attributes
    ----------
    unknowns
        Length of the vector.
    penalized
        1 for each that is penalized, 0 for the intercepts.
    cheap
        Whether a second derivative costs little.
    rounding
        The largest gradient that may be nothing but rounding.
    """

    def __init__(self, design: Design, weights: Numbers, parts: int) -> None:
        width = design.width
        self.design, self.weights = design, weights
        self.unknowns = parts * (width + 1)
        self.penalized = np.ones(self.unknowns)
        self.penalized[width :: width + 1] = 0.0
        self.cheap = self.unknowns <= _CHEAP
        self.rounding = 8 * np.finfo(np.float64).eps * float(weights.sum()) * design.largest()
        self._curvature: Numbers | None = None

    @abstractmethod
    def rows(self, place: Numbers) -> Numbers:
        """Return the classifier's rows, each with its intercept at the end."""

    @abstractmethod
    def scores(self, place: Numbers) -> Numbers:
        """Return what the loss is told of: linear in the unknowns."""

    @abstractmethod
    def look(self, scores: Numbers) -> tuple[float, Numbers]:
        """Return the loss, and of each film what its derivatives are made of."""

    @abstractmethod
    def gradient(self, state: Numbers) -> Numbers:
        """Return the gradient of the loss."""

    @abstractmethod
    def curvature(self, state: Numbers) -> Numbers:
        """Return the second derivative of the loss, at least its lower half."""

    def solver(self, state: Numbers, ridge: Numbers, again: bool = False) -> _Solve:
        """Return what divides by the second derivative of loss and penalty; by the last one where `again` says so."""
        if not again or self._curvature is None:
            self._curvature = self.curvature(state)
        return _divider(self._curvature, ridge)


def _divider(curvature: Numbers, ridge: Numbers) -> _Solve:
    """Return what divides vectors, or the columns of a matrix, by a curvature with a ridge on its diagonal."""
    # scikit-learn is not needed for this, and takes ten times as long to load.
    from scipy.linalg.lapack import dpotrf, dpotrs

    matrix = curvature.copy()
    matrix.flat[:: len(matrix) + 1] += ridge
    factor, fault = dpotrf(matrix, lower=1, clean=0, overwrite_a=1)
    if fault:
        raise ValueError(f"the logistic regression with C={1 / ridge[0]:g} cannot be solved: lower C")

    def divide(right: Numbers) -> Numbers:
        found: Numbers = dpotrs(factor, right, lower=1)[0]
        return found

    return divide


class _TwoClasses(_Loss):
    """Of the log-odds; a film's state is its probability of the wrong class."""

    def __init__(self, design: Design, labels: npt.NDArray[np.int64], classes: int, weights: Numbers) -> None:
        super().__init__(design, weights, 1)
        self.signs = 2.0 * labels - 1
        self.signed = self.weights * self.signs

    def rows(self, place: Numbers) -> Numbers:
        """Return one row."""
        return place[None, :]

    def scores(self, place: Numbers) -> Numbers:
        """Return the log-odds, (films,)."""
        return self.design.times(place)

    def look(self, scores: Numbers) -> tuple[float, Numbers]:
        """Return the loss and the probabilities of the wrong class, (films,)."""
        against = -self.signs * scores
        raised = np.exp(-np.abs(against))
        loss = float(self.weights @ (np.log1p(raised) + np.maximum(against, 0)))
        return loss, np.where(against > 0, 1.0, raised) / (1 + raised)

    def gradient(self, state: Numbers) -> Numbers:
        """Return the gradient, (columns + 1,)."""
        return self.design.summed(-self.signed * state)

    def curvature(self, state: Numbers) -> Numbers:
        """Return the second derivative, (columns + 1, columns + 1)."""
        return self.design.squared(self.weights * state * (1 - state))


class _Classes(_Loss):
    """Of the softmax of several classes; a film's state is the probability of each class.

    The scores of the classes are as many numbers as there are classes but one, turned by orthonormal columns that are
    orthogonal to a shift of all scores. A shift changes no probability, and at the minimum the coefficients of the
    classes sum to 0: nothing is lost, and the minimum becomes one point.
    """

    def __init__(self, design: Design, labels: npt.NDArray[np.int64], classes: int, weights: Numbers) -> None:
        super().__init__(design, weights, classes - 1)
        full, _ = np.linalg.qr(np.concatenate([np.ones((classes, 1)), np.eye(classes)[:, :-1]], axis=1))
        self.turn = np.ascontiguousarray(full[:, 1:])  # (classes, classes − 1)
        self.true = np.eye(classes)[labels]
        self.cheap = self.cheap or self.unknowns > _MOST_WRITTEN

    def rows(self, place: Numbers) -> Numbers:
        """Return one row a class."""
        found: Numbers = self.turn @ self._parts(place)
        return found

    def scores(self, place: Numbers) -> Numbers:
        """Return the scores of the classes, (films, classes)."""
        found: Numbers = self.design.times(self._parts(place).T) @ self.turn.T
        return found

    def look(self, scores: Numbers) -> tuple[float, Numbers]:
        """Return the loss and the probabilities, (films, classes)."""
        highest = scores.max(axis=1, keepdims=True)
        raised = np.exp(scores - highest)
        total = raised.sum(axis=1, keepdims=True)
        losses = np.log(total) + highest - (scores * self.true).sum(axis=1, keepdims=True)
        return float(self.weights @ losses[:, 0]), raised / total

    def gradient(self, state: Numbers) -> Numbers:
        """Return the gradient, (unknowns,)."""
        return self.design.summed((state - self.true) @ self.turn * self.weights[:, None]).ravel()

    def curvature(self, state: Numbers) -> Numbers:
        """Return the lower half of the second derivative, (unknowns, unknowns)."""
        size, turned = self.design.width + 1, state @ self.turn
        found = np.zeros((self.unknowns, self.unknowns))
        for row in range(self.turn.shape[1]):
            for column in range(row + 1):
                both = state @ (self.turn[:, row] * self.turn[:, column]) - turned[:, row] * turned[:, column]
                block = self.design.squared(self.weights * both)
                found[row * size : (row + 1) * size, column * size : (column + 1) * size] = block
        return found

    def solver(self, state: Numbers, ridge: Numbers, again: bool = False) -> _Solve:
        """Return what divides by the second derivative; of many unknowns by conjugate gradients."""
        if self.unknowns <= _MOST_WRITTEN:
            return super().solver(state, ridge, again)
        # No second derivative is above half of this one (Böhning 1992, Ann Inst Stat Math 44:197), part by part.
        size, turned = self.design.width + 1, state @ self.turn
        if self._curvature is None:
            self._curvature = 0.5 * self.design.squared(self.weights)
        divide = _divider(self._curvature, ridge[:size])

        def bound(gradient: Numbers) -> Numbers:
            return divide(self._parts(gradient).T).T.ravel()

        def times(step: Numbers) -> Numbers:
            moved = self.design.times(self._parts(step).T)  # (films, classes − 1)
            spread = (state * (moved @ self.turn.T)) @ self.turn - turned * (turned * moved).sum(axis=1, keepdims=True)
            found: Numbers = self.design.summed(self.weights[:, None] * spread).ravel() + ridge * step
            return found

        return lambda gradient: _conjugate_gradients(times, bound, gradient)

    def _parts(self, place: Numbers) -> Numbers:
        return place.reshape(self.turn.shape[1], -1)


def _conjugate_gradients(times: _Solve, bound: _Solve, right: Numbers) -> Numbers:
    """Solve a positive definite system to a thousandth, which makes steps nearly Newton's."""
    found, left = np.zeros_like(right), right
    along = near = bound(left)
    product = first = float(left @ near)
    for _ in range(len(right)):
        if product <= 1e-6 * first:
            break
        image = times(along)
        length = product / float(along @ image)
        found, left = found + length * along, left - length * image
        near = bound(left)
        before, product = product, float(left @ near)
        along = near + product / before * along
    return found
