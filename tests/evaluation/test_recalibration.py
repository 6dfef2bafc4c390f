"""Recalibrated on validation: Platt against statsmodels and scikit-learn, the prior against what is known of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.calibration import _sigmoid_calibration
from sklearn.linear_model import LogisticRegression

from prognobench.evaluation import METRICS, Sample, fold_metrics
from prognobench.evaluation._logistic import fit_lines
from prognobench.evaluation._recalibration import recalibrated

BY_NAME = {metric.name: metric for metric in METRICS}
CASES = st.lists(st.tuples(st.booleans(), st.floats(0.001, 0.999)), min_size=3, max_size=40)


def one(cases) -> Sample:
    return Sample(np.array([bool(y) for y, _ in cases]), np.array([float(p) for _, p in cases]))


@settings(max_examples=100, deadline=None)
@given(cases=CASES.filter(lambda cases: len({y for y, _ in cases}) == 2 and np.ptp([p for _, p in cases]) > 1e-3))
@example(cases=[(0, 0.1), (0, 0.2), (1, 0.8)])
def test_platt_equals_statsmodels_and_scikit_learn(cases):
    validation = one(cases)
    test = one([(1, p) for p in np.linspace(0.01, 0.99, 9)])
    made = recalibrated(validation.samples, test.samples, np.ones(1))["platt"]
    positives, negatives = validation.positive.sum(), (~validation.positive).sum()
    target = np.where(validation.positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    odds = logit(validation.score)
    scale = np.ptp(odds)
    model = sm.GLM(target, sm.add_constant(odds / scale), sm.families.Binomial()).fit(tol=1e-14, maxiter=300)
    expected = expit(model.params[0] + model.params[1] * logit(test.score) / scale)
    np.testing.assert_allclose(made.samples.score, expected, atol=1e-8)
    # scikit-learn minimizes only roughly.
    slope, level = _sigmoid_calibration(odds / scale, validation.positive.astype(int))
    np.testing.assert_allclose(made.samples.score, expit(-(slope * logit(test.score) / scale + level)), atol=2e-3)


def test_platt_stays_finite_where_validation_separates_the_classes():
    validation = one([(0, 0.1), (0, 0.2), (1, 0.8), (1, 0.9)])
    made = recalibrated(validation.samples, validation.samples, np.ones(1))["platt"]
    assert 0.1 < made.samples.score.min() < made.samples.score.max() < 0.9


def test_platt_of_a_flat_validation_and_of_one_class_is_undefined(planned, films):
    test = [(1, 0.8), (0, 0.6), (1, 0.5)]
    predictions = pd.concat([films([(0, 0.4), (1, 0.4)], split="val"), films(test)])
    row = fold_metrics(predictions, planned({})).iloc[0]
    assert np.isnan(row["brier_platt"])
    assert "all scores of validation are equal: brier_platt, ece_platt" in row["undefined"]
    assert row["brier_prior"] == row["brier"]  # half of validation is positive


def test_weighted_and_shifted_back_is_not_weighted():
    """The prior of a logistic regression with balanced weights, on synthetic cases, is that of one without."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200_000, 1))
    y = rng.random(len(x)) < expit(1.5 * x[:, 0] - 3)
    plain = LogisticRegression(C=np.inf).fit(x, y).predict_proba(x)[:, 1]
    weighted = LogisticRegression(C=np.inf, class_weight="balanced").fit(x, y).predict_proba(x)[:, 1]
    cases = Sample(y, weighted).samples
    shifted = recalibrated(cases, cases, np.ones(1))["prior"].samples.score
    assert np.abs(weighted - plain).mean() > 0.1
    assert np.abs(shifted - plain).mean() < 0.005
    assert BY_NAME["calibration_intercept"].values(cases.scored(shifted))[0] == pytest.approx(0, abs=0.1)
    assert BY_NAME["calibration_intercept"].values(cases)[0] < -1


@pytest.mark.parametrize(
    ("balanced", "shift"), [(0.0, 0), (0.5, np.log(3) / 2), (1.0, np.log(3)), (2.0, 2 * np.log(3))]
)
def test_the_shift_is_that_of_the_share_of_positives_in_validation(balanced, shift):
    validation, test = one([(1, 0.5)] * 3 + [(0, 0.4)]), one([(1, 0.6), (0, 0.2)])
    made = recalibrated(validation.samples, test.samples, np.array([balanced]))["prior"]
    np.testing.assert_allclose(made.samples.score, expit(logit(test.score) + shift), rtol=1e-12)
    if not balanced:
        np.testing.assert_array_equal(made.samples.score, test.score)


def test_without_word_of_the_weights_there_is_no_prior(planned, films):
    predictions = pd.concat([films([(0, 0.2), (1, 0.4)], split="val"), films([(1, 0.8), (0, 0.6), (1, 0.5)])])
    row = fold_metrics(predictions, planned({}).drop(columns="balanced")).iloc[0]
    assert np.isnan(row["log_loss_prior"])
    assert "how training weighted the classes is not recorded: brier_prior" in row["undefined"]
    assert row["log_loss_platt"] > 0


def test_classes_as_they_are_need_no_validation(planned, films):
    row = fold_metrics(films([(1, 0.8), (0, 0.6), (1, 0.5)]), planned({"balanced": 0.0})).iloc[0]
    for name in ("brier", "ece", "log_loss", "calibration_slope", "calibration_intercept"):
        assert row[f"{name}_prior"] == row[name]
        assert np.isnan(row[f"{name}_platt"])


def test_calibration_is_computed_on_the_test_films_with_recalibrated_scores(planned, films):
    rng = np.random.default_rng(5)
    validation = [(int(rng.random() < p), p) for p in rng.random(40)]
    test = [(int(rng.random() < p), p, f"p{i // 2}") for i, p in enumerate(rng.random(60))]
    row = fold_metrics(pd.concat([films(validation, split="val"), films(test)]), planned({})).iloc[0]
    for ending, patient in (("", False), ("_patient", True)):
        cases = pd.DataFrame(test, columns=["y", "p", "patient"])
        if patient:
            cases = cases.groupby("patient").agg(y=("y", "max"), p=("p", "mean"))
        raw = Sample(cases["y"].to_numpy() == 1, cases["p"].to_numpy(float))
        made = recalibrated(one(validation).samples, raw.samples, np.ones(1))
        for way in ("platt", "prior"):
            score = made[way].samples.score
            assert not np.allclose(score, raw.score)
            for name in ("brier", "log_loss", "ece", "calibration_slope", "calibration_intercept"):
                expected = BY_NAME[name].value(Sample(raw.positive, score))
                assert row[f"{name}{ending}_{way}"] == pytest.approx(expected, abs=1e-9)


def test_many_fits_give_each_the_bits_that_it_has_alone():
    rng = np.random.default_rng(6)
    sets = [(rng.normal(size=n), rng.random(n)) for n in (3, 40, 7, 11)]
    x, target = (np.concatenate(parts) for parts in zip(*sets, strict=True))
    of = np.repeat(np.arange(4), [len(values) for values, _ in sets])
    together = np.array(fit_lines(x, target, of, 4))
    alone = [fit_lines(values, wanted, np.zeros(len(values), int), 1) for values, wanted in sets]
    np.testing.assert_array_equal(together, np.concatenate(alone, axis=1))
