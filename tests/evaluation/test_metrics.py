"""Every metric is scikit-learn's number, or undefined for a reason."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from prognobench.evaluation import METRICS, Metric, Sample, best_threshold
from prognobench.evaluation._threshold import best_thresholds
from prognobench.evaluation.metrics import Samples

BY_NAME = {metric.name: metric for metric in METRICS}
# Few distinct values make ties; free floats make everything else.
SCORES = st.one_of(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0]), st.floats(0, 1))
CASES = st.lists(st.tuples(st.booleans(), SCORES), min_size=2, max_size=40)
TWO_CLASSES = CASES.filter(lambda cases: len({positive for positive, _ in cases}) == 2)


def sample(cases, threshold: float = 0.5) -> Sample:
    positive, score = zip(*cases, strict=True)
    return Sample(np.array(positive, dtype=bool), np.array(score, dtype=float), threshold)


def ece_by_hand(positive: np.ndarray, score: np.ndarray) -> float:
    share, mean = calibration_curve(positive, score, n_bins=10, strategy="uniform")
    counts = pd.cut(score, np.linspace(0, 1, 11), include_lowest=True).value_counts().to_numpy()
    return float(np.sum(counts[counts > 0] * np.abs(share - mean)) / len(score))


SCIKIT_LEARN = {
    "mcc": lambda y, score, called: oracle.matthews_corrcoef(y, called),
    "pr_auc": lambda y, score, called: oracle.average_precision_score(y, score),
    "roc_auc": lambda y, score, called: oracle.roc_auc_score(y, score),
    "balanced_accuracy": lambda y, score, called: oracle.balanced_accuracy_score(y, called),
    "f1": lambda y, score, called: oracle.f1_score(y, called, zero_division=0),
    "sensitivity": lambda y, score, called: oracle.recall_score(y, called, zero_division=0),
    "specificity": lambda y, score, called: oracle.recall_score(y, called, pos_label=0, zero_division=0),
    "brier": lambda y, score, called: oracle.brier_score_loss(y, score),
    "ece": lambda y, score, called: ece_by_hand(y, score),
    # Undefined is NaN here; scikit-learn's default would be 0.
    "ppv": lambda y, score, called: oracle.precision_score(y, called, zero_division=np.nan),
    "npv": lambda y, score, called: oracle.precision_score(y, called, pos_label=0, zero_division=np.nan),
    "log_loss": lambda y, score, called: oracle.log_loss(y, y_proba=score, labels=[0, 1]),
}
BOTH = {"mcc", "pr_auc", "roc_auc", "balanced_accuracy", "ppv", "npv", "calibration_slope", "calibration_intercept"}
FITTED = ["calibration_slope", "calibration_intercept"]


def test_the_metrics_are_those_of_the_tables_in_their_order():
    assert [metric.name for metric in METRICS] == [*SCIKIT_LEARN, *FITTED]


@pytest.mark.parametrize("metric", [BY_NAME[name] for name in SCIKIT_LEARN], ids=lambda metric: metric.name)
@settings(max_examples=100, deadline=None)
@given(cases=TWO_CLASSES, threshold=st.sampled_from([0.5, 0.3, 1.0]))
@example(cases=[(True, 0.5), (False, 0.5)], threshold=0.5)
@example(cases=[(True, 0.1), (False, 0.1), (False, 0.1)], threshold=0.5)
def test_a_metric_equals_scikit_learns(metric: Metric, cases, threshold: float):
    given_cases = sample(cases, threshold)
    y, score = given_cases.positive.astype(int), given_cases.score
    expected = SCIKIT_LEARN[metric.name](y, score, (score >= threshold).astype(int))
    assert metric.value(given_cases) == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True)


def test_many_samples_at_once_give_each_the_bits_that_it_has_alone():
    rng = np.random.default_rng(0)
    # One class, ties, separation, one case, none: every sample is computed as if it stood alone.
    alone = [sample([(k % 7 > 1 and i % 2, round(rng.random(), k % 4)) for i in range(k)], 0.4) for k in range(1, 60)]
    alone.insert(20, Sample(np.empty(0, bool), np.empty(0), 0.4))
    together = Samples(
        np.concatenate([one.positive for one in alone]),
        np.concatenate([one.score for one in alone]),
        np.repeat(np.arange(len(alone)), [len(one.positive) for one in alone]),
        len(alone),
        np.full(len(alone), 0.4),
    )
    for metric in METRICS:
        np.testing.assert_array_equal(metric.values(together), [metric.value(one) for one in alone], metric.name)
    np.testing.assert_array_equal(best_thresholds(together), [best_threshold(one) for one in alone])


def logits(score: np.ndarray) -> np.ndarray:
    cut = np.clip(score, np.finfo(float).eps, 1 - np.finfo(float).eps)
    return np.log(cut) - np.log1p(-cut)


@settings(max_examples=100, deadline=None)
@given(cases=TWO_CLASSES)
@example(cases=[(True, 0.0), (False, 1.0), (True, 1.0), (False, 0.0), (True, 0.5)])
def test_slope_and_intercept_equal_statsmodels(cases):
    given_cases = sample(cases)
    y, odds = given_cases.positive.astype(float), logits(given_cases.score)
    level = BY_NAME["calibration_intercept"].value(given_cases)
    fit = sm.GLM(y, np.ones((len(y), 1)), sm.families.Binomial(), offset=odds).fit(tol=1e-14, maxiter=500)
    # Where all scores are 0 or 1 on the wrong side, the oracle's steps overflow; the equation it solves tells as well.
    assert abs(fit.params[0] - level) < 1e-8 or np.sum(y - expit(odds + level)) == pytest.approx(0, abs=1e-9)
    slope = BY_NAME["calibration_slope"].value(given_cases)
    positive, negative = odds[y == 1], odds[y == 0]
    overlap = positive.min() < negative.max() and negative.min() < positive.max()
    assert np.isnan(slope) == (not overlap)
    assume(overlap)
    spread = (odds - odds.mean()) / odds.std()
    fit = sm.Logit(y, sm.add_constant(spread)).fit(disp=False, tol=1e-14, maxiter=500)
    assert slope * odds.std() == pytest.approx(fit.params[1], rel=1e-8, abs=1e-8)


def test_calibration_of_scores_that_are_known_to_be_wrong():
    """Synthetic: outcomes drawn from p, scores twice as extreme and shifted by 1 in log-odds."""
    rng = np.random.default_rng(1)
    odds = rng.normal(size=200_000)
    positive = rng.random(len(odds)) < expit(odds)
    right = Sample(positive, expit(odds))
    assert BY_NAME["calibration_slope"].value(right) == pytest.approx(1, abs=0.02)
    assert BY_NAME["calibration_intercept"].value(right) == pytest.approx(0, abs=0.02)
    assert BY_NAME["calibration_slope"].value(Sample(positive, expit(2 * odds + 1))) == pytest.approx(0.5, abs=0.01)
    assert BY_NAME["calibration_intercept"].value(Sample(positive, expit(odds + 1))) == pytest.approx(-1, abs=0.02)


@pytest.mark.parametrize(
    ("cases", "reason"),
    [
        ([(1, 0.4), (0, 0.4), (1, 0.4)], "all scores are equal"),
        ([(0, 0.1), (0, 0.2), (1, 0.3)], "the scores separate the classes"),
        ([(0, 0.1), (0, 0.3), (1, 0.3), (1, 0.4)], "the scores separate the classes"),
        ([(1, 0.1), (1, 0.3), (0, 0.3), (0, 0.4)], "the scores separate the classes"),
    ],
)
def test_a_slope_without_bound_is_undefined_and_says_why(cases, reason):
    samples, metric = sample(cases).samples, BY_NAME["calibration_slope"]
    values = metric.values(samples)
    assert np.isnan(values[0])
    assert [told for told, where in metric.lacks(samples, values) if where.any()] == [reason]
    assert np.isfinite(BY_NAME["calibration_intercept"].value(sample(cases)))


@pytest.mark.parametrize(
    ("name", "threshold", "reason"),
    [("ppv", 0.9, "nothing is predicted positive"), ("npv", 0.0, "nothing is predicted negative")],
)
def test_predictive_values_of_nothing_are_undefined_and_say_why(name, threshold, reason):
    samples, metric = sample([(1, 0.4), (0, 0.2)], threshold).samples, BY_NAME[name]
    values = metric.values(samples)
    assert np.isnan(values[0])
    assert [told for told, where in metric.lacks(samples, values) if where.any()] == [reason]


def test_ten_films_by_hand():
    # Called positive: three of four positives and two of six negatives.
    films = sample([(1, 0.9), (1, 0.8), (1, 0.5), (1, 0.2), (0, 0.7), (0, 0.6), (0, 0.4), (0, 0.3), (0, 0.1), (0, 0.0)])
    assert BY_NAME["sensitivity"].value(films) == 3 / 4
    assert BY_NAME["specificity"].value(films) == pytest.approx(4 / 6)
    assert BY_NAME["f1"].value(films) == 6 / 9
    assert (BY_NAME["ppv"].value(films), BY_NAME["npv"].value(films)) == (3 / 5, 4 / 5)
    assert BY_NAME["mcc"].value(films) == pytest.approx((3 * 4 - 2 * 1) / np.sqrt(5 * 4 * 6 * 5))
    # Positives stand at ranks 1, 2, 5 and 8.
    assert BY_NAME["pr_auc"].value(films) == pytest.approx((1 / 1 + 2 / 2 + 3 / 5 + 4 / 8) / 4)
    # They have 6, 6, 4 and 2 of the six negatives below them.
    assert BY_NAME["roc_auc"].value(films) == pytest.approx(18 / 24)
    assert BY_NAME["brier"].value(films) == pytest.approx(
        (0.01 + 0.04 + 0.25 + 0.64 + 0.49 + 0.36 + 0.16 + 0.09 + 0.01) / 10
    )


@pytest.mark.parametrize(
    ("truth", "undefined"),
    [
        (False, {*BOTH, "f1", "sensitivity"}),
        (True, {*BOTH, "specificity"}),
    ],
)
def test_one_true_class_leaves_undefined_what_needs_the_other(truth: bool, undefined: set[str]):
    films = sample([(truth, 0.2), (truth, 0.9)])
    assert {metric.name for metric in METRICS if np.isnan(metric.value(films))} == undefined


@pytest.mark.parametrize("score", [0.0, 0.4, 0.5, 1.0])
def test_a_constant_prediction_has_an_mcc_of_zero_and_the_prevalence_as_pr_auc(score: float):
    films = sample([(True, score), (False, score), (False, score), (False, score)])
    assert BY_NAME["mcc"].value(films) == 0
    assert BY_NAME["pr_auc"].value(films) == 0.25
    assert BY_NAME["roc_auc"].value(films) == 0.5


@settings(max_examples=200, deadline=None)
@given(cases=TWO_CLASSES)
def test_no_threshold_has_a_higher_mcc_on_validation_than_the_one_chosen(cases):
    chosen = best_threshold(sample(cases))
    reached = BY_NAME["mcc"].value(sample(cases, chosen))
    others = {0.0, 2.0, *(score for _, score in cases)}  # a score itself cuts just below it
    assert reached >= max(BY_NAME["mcc"].value(sample(cases, other)) for other in others) - 1e-12


def test_the_threshold_lies_halfway_between_the_scores_it_parts():
    assert best_threshold(sample([(0, 0.1), (0, 0.2), (1, 0.3), (1, 0.9)])) == 0.25


def test_of_equally_good_thresholds_the_one_nearest_one_half_is_chosen():
    # Below 0.2 and below 0.8 one film is wrong either way; 0.7 is nearer to 0.5 than 0.1.
    assert best_threshold(sample([(0, 0.0), (1, 0.2), (0, 0.6), (1, 0.8)])) == pytest.approx(0.7)


@pytest.mark.parametrize("score", [0.2, 0.5, 0.9])
def test_validation_that_tells_nothing_keeps_the_threshold_at_one_half(score: float):
    assert best_threshold(sample([(0, score), (1, score)])) == 0.5


def test_two_neighboring_floats_are_still_parted():
    low, high = 0.3, float(np.nextafter(0.3, 1))
    assert low < best_threshold(sample([(0, low), (1, high)])) <= high


@pytest.mark.parametrize("truth", [True, False])
def test_validation_of_one_class_chooses_no_threshold(truth: bool):
    assert np.isnan(best_threshold(sample([(truth, 0.2), (truth, 0.9)])))
