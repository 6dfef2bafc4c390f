"""Tests over tasks: scipy's signed-rank test, and what it cannot tell."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn_studies import study
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from prognobench.evaluation import fold_metrics, task_tests
from prognobench.evaluation._task_tests import signed_rank_p

CELLS = [("m", "fft", 1.2), ("m", "lp", 1.0), ("n", "fft", 0.8), ("n", "lp", 0.9), ("none", "majority", 0.0)]


def tasks(*names, cells=CELLS, cohort="c", **settings):
    """The same films with other labels and scores for each task."""
    made = [study(cells, seed=place, **settings) for place, _ in enumerate(names)]
    predictions = [p.assign(job=name + p["job"], cohort=cohort) for name, (p, _) in zip(names, made, strict=True)]
    jobs = [
        j.assign(job=name + j["job"], task=name, cohort=cohort, test_cohort=cohort)
        for name, (_, j) in zip(names, made, strict=True)
    ]
    return pd.concat(predictions), pd.concat(jobs)


@given(data=st.data(), n=st.sampled_from([1, 2, 5, 9, 14, 40]))
@settings(max_examples=10, deadline=None)
def test_p_is_scipy_s_with_ties_and_zeros(data, n):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    levels = data.draw(st.sampled_from([2, 4, 100]))
    differences = rng.integers(-levels, levels + 1, (n, 3)) / levels
    found = signed_rank_p(differences)
    for column, p in zip(differences.T, found, strict=True):
        expected = wilcoxon(column).pvalue if column.any() else 1.0
        assert p == pytest.approx(expected, abs=1e-9)


def test_the_published_example_of_the_signed_rank_test():
    # Darwin's corn, as worked in Siegel's and in scipy's own documentation: two-sided p of 24 and 96 of 120.
    differences = np.array([6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75], dtype=float)
    assert signed_rank_p(differences[:, None])[0] == pytest.approx(0.041259765625)


def test_blocks_are_folds_of_tasks():
    predictions, jobs = tasks("icu", "death")
    table = task_tests(predictions, jobs)
    cell = table[(table["scope"] == "cell")].iloc[0]
    assert cell[["model_a", "strategy_a", "model_b", "strategy_b"]].tolist() == ["m", "fft", "m", "lp"]
    assert (cell["n_tasks"], cell["n_blocks"], cell["smallest_p"]) == (2, 6, 2 / 2**6)
    values = fold_metrics(predictions, jobs).pivot(index=["task", "fold"], columns=["model", "strategy"], values="mcc")
    differences = values["m", "fft"] - values["m", "lp"]
    assert cell["p_wilcoxon"] == pytest.approx(wilcoxon(differences).pvalue, abs=1e-12)
    assert cell["median_difference"] == pytest.approx(differences.median(), abs=1e-12)
    strategy = table[table["scope"] == "strategy"].iloc[0]
    assert pd.isna(strategy["model_a"])
    mean = (values.xs("fft", axis=1, level=1) - values.xs("lp", axis=1, level=1))[["m", "n"]].mean(axis=1)
    assert strategy["p_wilcoxon"] == pytest.approx(wilcoxon(mean).pvalue, abs=1e-12)
    assert len(table) == 6 + 1


def test_what_the_test_cannot_tell_is_a_warning():
    one = task_tests(*tasks("icu", folds=5))
    assert one["smallest_p"].unique().tolist() == [0.0625]
    films = "folds share training films; simulated error at 5 %: 7 to 26 %"
    assert (one["warning"] == f"so few blocks cannot reach 0.05; {films}").all()
    shared = task_tests(*tasks("icu", "death", "severe"))
    assert shared["warning"].str.endswith(f"{films}; tasks share patients, so blocks are not independent").all()
    here, there = tasks("icu", folds=5), tasks("icu", folds=5, cohort="d")
    apart = task_tests(
        pd.concat([here[0], there[0].assign(job="d" + there[0]["job"])]),
        pd.concat([here[1], there[1].assign(job="d" + there[1]["job"])]),
    )
    assert set(apart["warning"]) == {films}
    assert set(apart["n_tasks"]) == {2}
    # Trained on two cohorts, tested on the patients of one, once each.
    once = pd.concat([here[1], there[1].assign(job="d" + there[1]["job"])]).query("fold == 0")
    outside = pd.concat([here[0], there[0].assign(job="d" + there[0]["job"])])
    outside = outside[outside["job"].isin(once["job"])].assign(cohort="t")
    table = task_tests(outside, once.assign(test_cohort="t", validation="external"))
    assert table["warning"].str.endswith("0.05; tasks share patients, so blocks are not independent").all()
    # Trained on one cohort, tested on two: one task, other patients.
    one_task = once.assign(cohort="c", test_cohort=once["job"].str[0].map({"d": "t2"}).fillna("t1"))
    outside["cohort"] = outside["job"].map(one_task.set_index("job")["test_cohort"])
    table = task_tests(outside, one_task.assign(validation="external"))
    assert set(table["n_tasks"]) == {1}
    assert set(table["n_blocks"]) == {2}
    assert not table["warning"].str.contains("patients").any()


def test_a_hole_is_not_a_smaller_test():
    predictions, jobs = tasks("icu", "death")
    jobs = jobs.assign(state=["failed", *["done"] * (len(jobs) - 1)])
    table = task_tests(predictions, jobs)
    hit = (table["model_a"] == "m") & (table["strategy_a"] == "fft") | (table["scope"] == "strategy")
    assert (table.loc[hit, "undefined"] == "jobs of one of the two are not done").all()
    assert table.loc[hit, "p_wilcoxon"].isna().all()
    assert table.loc[~hit, "p_wilcoxon"].notna().all()
    everything = task_tests(predictions, jobs.assign(state="failed"))
    assert everything["p_wilcoxon"].isna().all()


def test_regimes_and_protocols_are_tested_apart():
    predictions, jobs = tasks("icu", "death")
    few = jobs.assign(job="few" + jobs["job"], regime="few_shot", shots=4, draw=0)
    both = pd.concat([predictions, predictions.assign(job="few" + predictions["job"])]), pd.concat([jobs, few])
    table = task_tests(*both)
    assert len(table) == 2 * 7
    assert set(table["n_blocks"]) == {6}


def test_equal_results_have_p_1_and_the_order_of_rows_does_not_matter():
    predictions, jobs = tasks("icu", "death", cells=[("m", "fft", 1.0)])
    twin = predictions.assign(job=predictions["job"] + "/twin"), jobs.assign(job=jobs["job"] + "/twin", strategy="lp")
    predictions, jobs = pd.concat([predictions, twin[0]]), pd.concat([jobs, twin[1]])
    table = task_tests(predictions, jobs)
    assert table["p_wilcoxon"].tolist() == [1, 1]
    shuffled = task_tests(predictions.sample(frac=1, random_state=1), jobs.sample(frac=1, random_state=2))
    pd.testing.assert_frame_equal(shuffled, table, check_exact=True)
