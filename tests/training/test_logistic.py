"""The solver of logistic regressions against scikit-learn's."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from prognobench.training import _logistic
from prognobench.training._logistic import probabilities, solve_logistic

pytestmark = pytest.mark.torch
PENALTIES = (1e-6, 1e-4, 1e-2, 1.0, 10.0)


def problem(films, width, classes, seed, spread, constant=0):
    """Labels that a linear score explains the better the larger its spread, each class at least once."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(films, width)) @ rng.normal(size=(width, width)) + rng.normal(size=width)
    scores = features @ rng.normal(size=(width, classes)) * spread / width + rng.gumbel(size=(films, classes))
    labels = scores.argmax(axis=1)
    labels[rng.permutation(films)[:classes]] = np.arange(classes)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    features[:, :constant] = 0.0
    return features, labels.astype(np.int64), rng.uniform(0.2, 3.0, films)


def solve(features, labels, classes, weights, penalties):
    """Solve with features that are standardized on the way."""
    mean, scale = np.full(features.shape[1], 2.0), np.full(features.shape[1], 4.0)
    return solve_logistic(features * scale + mean, labels, classes, weights, penalties, mean, scale)


def oracle(features, labels, weights, penalty):
    model = LogisticRegression(C=penalty, tol=1e-10, max_iter=10_000, solver="newton-cholesky")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return model.fit(features, labels, sample_weight=weights).predict_proba(features)


def off(features, labels, classes, weights, penalties=PENALTIES):
    """Return how far any probability is from scikit-learn's."""
    found = solve(features, labels, classes, weights, penalties)
    return max(
        np.abs(
            probabilities(features @ head.weights.T + head.intercepts) - oracle(features, labels, weights, penalty)
        ).max()
        for head, penalty in zip(found, penalties, strict=True)
    )


@settings(max_examples=60, deadline=None)
@given(
    films=st.integers(4, 60),
    width=st.integers(1, 40),
    classes=st.integers(2, 4),
    seed=st.integers(0, 2**16),
    spread=st.sampled_from([0.0, 1.0, 30.0]),
    constant=st.integers(0, 2),
)
def test_probabilities_are_those_of_scikit_learn(films, width, classes, seed, spread, constant):
    features, labels, weights = problem(films, width, classes, seed, spread, min(constant, width))
    assert off(features, labels, classes, weights) < 1e-6


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("films", "width"), [(400, 200), (120, 300)])
def test_problems_that_are_too_large_for_a_second_derivative_a_step(films, width, classes):
    features, labels, weights = problem(films, width, classes, 1, 20.0)
    assert off(features, labels, classes, weights) < 1e-6


def test_separable_classes_of_one_film_each():
    features, labels = np.array([[-1.0, 0.5, 0.0], [1.0, -0.5, 0.0]]), np.array([0, 1])
    assert off(features, labels, 2, np.array([0.1, 10.0]), (1e-3, 1.0, 1e6)) < 1e-6


def test_many_classes_are_solved_without_their_second_derivative(monkeypatch):
    features, labels, weights = problem(90, 30, 5, 3, 5.0)
    monkeypatch.setattr(_logistic, "_MOST_WRITTEN", 50)
    assert off(features, labels, 5, weights) < 1e-6


def test_the_order_of_the_penalties_changes_nothing():
    features, labels, weights = problem(50, 20, 2, 0, 1.0)
    there, back = (solve(features, labels, 2, weights, order) for order in (PENALTIES, PENALTIES[::-1]))
    for one, other in zip(there, reversed(back), strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)


def test_an_older_second_derivative_is_used_again(monkeypatch):
    """The count that the speed rests on: most steps do without a second derivative of their own, and end right."""
    counts = {"curvature": 0, "look": 0}
    for name in counts:
        honest = getattr(_logistic._TwoClasses, name)

        def counted(self, given, name=name, honest=honest):
            counts[name] += 1
            return honest(self, given)

        monkeypatch.setattr(_logistic._TwoClasses, name, counted)
    features, labels, weights = problem(400, 200, 2, 1, 5.0)
    assert off(features, labels, 2, weights) < 1e-6
    assert counts["curvature"] < counts["look"] / 3


def test_what_does_not_converge_is_named(monkeypatch):
    features, labels, weights = problem(50, 20, 2, 0, 1.0)
    monkeypatch.setattr(_logistic, "_MOST_STEPS", 1)
    with pytest.raises(ValueError, match=r"with C=10 did not converge: a gradient of .* is left"):
        solve(features, labels, 2, weights, [10.0])


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(4, 50), st.integers(1, 60)), min_size=2, max_size=4),
    seed=st.integers(0, 2**16),
    order=st.randoms(use_true_random=False),
)
def test_a_problem_has_the_same_bits_alone_and_beside_others(sizes, seed, order):
    problems = [problem(films, width, 2, seed + place, 3.0) for place, (films, width) in enumerate(sizes)]
    there = {place: solved(given) for place, given in enumerate(problems)}
    places = list(there)
    order.shuffle(places)
    for place in places[1:]:  # in another order, and one of them left out
        np.testing.assert_array_equal(solved(problems[place]), there[place])


def solved(given):
    features, labels, weights = given
    return np.stack([head.weights for head in solve(features, labels, 2, weights, PENALTIES)])
