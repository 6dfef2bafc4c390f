"""Metrics of resampled folds: scikit-learn's with the multiplicities as sample weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    matthews_corrcoef,
    recall_score,
    roc_auc_score,
)

from prognobench.evaluation import Fold, _weighted
from prognobench.evaluation._weighted import WEIGHTED, drawn_values, fold_mcc, fold_values, weighted_metrics

ORACLES = {
    "mcc": lambda y, s, w: matthews_corrcoef(y, s >= 0.5, sample_weight=w),
    "pr_auc": lambda y, s, w: average_precision_score(y, s, sample_weight=w),
    "roc_auc": lambda y, s, w: roc_auc_score(y, s, sample_weight=w),
    "balanced_accuracy": lambda y, s, w: balanced_accuracy_score(y, s >= 0.5, sample_weight=w),
    "sensitivity": lambda y, s, w: recall_score(y, s >= 0.5, sample_weight=w),
    "specificity": lambda y, s, w: recall_score(y, s >= 0.5, sample_weight=w, pos_label=0),
}


def drawn_fold(seed, patients=9, jobs=2, levels=4):
    """A fold of patients with one to three films and few distinct scores, so that many are tied."""
    rng = np.random.default_rng(seed)
    of_case = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
    positive = rng.random(len(of_case)) < 0.4
    score = rng.integers(0, levels + 1, (len(of_case), jobs)) / levels
    drawn = rng.multinomial(patients, np.full(patients, 1 / patients), size=6).astype(float)
    return Fold((0, 0, None), np.arange(patients), of_case, positive, score, np.arange(jobs)), drawn


@given(seed=st.integers(0, 2**32 - 1), levels=st.integers(1, 30))
@settings(max_examples=12, deadline=None)
def test_every_metric_is_scikit_learn_s_of_the_weights(seed, levels):
    fold, drawn = drawn_fold(seed, levels=levels)
    found = weighted_metrics(fold, drawn)
    assert set(found) == set(WEIGHTED) == set(ORACLES)
    for place, counts in enumerate(drawn):
        there = counts[fold.of_case] > 0
        y, weights = fold.positive[there], counts[fold.of_case][there]
        for job in range(fold.score.shape[1]):
            for name, oracle in ORACLES.items():
                value = found[name][place, job]
                lacks = {"sensitivity": not y.any(), "specificity": y.all()}.get(name, y.all() or not y.any())
                if lacks:
                    assert np.isnan(value)
                else:
                    assert value == pytest.approx(oracle(y, fold.score[there, job], weights), abs=1e-12)


def test_how_many_resamples_are_held_at_once_does_not_show(monkeypatch):
    fold, drawn = drawn_fold(3, patients=12)
    whole = weighted_metrics(fold, drawn)
    monkeypatch.setattr(_weighted, "_AT_ONCE", len(fold.positive))
    for name, values in weighted_metrics(fold, drawn).items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-14)


def test_values_are_averaged_over_jobs_of_a_cell_and_over_the_folds_that_are_defined():
    one, _ = drawn_fold(1, jobs=3)
    two, _ = drawn_fold(2, jobs=2)
    ill = Fold(two.name, two.patients, two.of_case, np.ones_like(two.positive), two.score, np.array([0, 1]))
    one = Fold(one.name, one.patients, one.of_case, one.positive, one.score, np.array([0, 1, 0]))
    values = fold_values([one, ill], 3)
    own = weighted_metrics(one, np.ones((1, 9)))["pr_auc"][0]
    np.testing.assert_allclose(values["pr_auc"][0], [own[[0, 2]].mean(), own[1], np.nan])
    assert np.isnan(values["pr_auc"][1]).all()
    assert not np.isnan(values["sensitivity"][1, :2]).any()
    drawn = drawn_values([one, ill], 3, [np.ones((2, 9))])
    np.testing.assert_allclose(drawn["pr_auc"], np.tile(values["pr_auc"][0], (2, 1)))
    np.testing.assert_allclose(drawn["sensitivity"][0], values["sensitivity"].mean(axis=0))
    np.testing.assert_array_equal(fold_mcc([one, ill], 3), values["mcc"])
