"""Intervals: scipy's t, the correction by its formula, the bootstrap by a plain loop; and what is undefined."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn_studies import CELLS, study
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from prognobench.evaluation import PatientBootstrap, fold_metrics, intervals, summarize
from prognobench.evaluation._intervals import ESTIMANDS
from prognobench.evaluation._simulated import default_interval
from prognobench.evaluation._weighted import WEIGHTED


def of(table, **keys):
    for key, value in keys.items():
        table = table[table[key] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_every_cell_has_every_metric_by_every_method_in_their_order():
    table = intervals(*study(CELLS), resamples=20)
    assert len(table) == len(CELLS) * len(WEIGHTED) * 3
    assert table["metric"].tolist() == [name for name in WEIGHTED for _ in range(3)] * len(CELLS)
    assert table["method"].tolist() == ["t", "nadeau_bengio", "bootstrap"] * len(WEIGHTED) * len(CELLS)
    assert (table["estimand"] == table["method"].map(ESTIMANDS)).all()
    known = table[table["undefined"] == ""]
    assert (known["ci_low"] <= known["estimate"]).all()
    assert (known["estimate"] <= known["ci_high"]).all()
    for validation, metric in {(row.validation, row.metric) for row in table.itertuples()}:
        default = table[(table["metric"] == metric) & table["default"]]["method"].unique().tolist()
        assert default == [method for method in [default_interval(validation, metric)] if method]


@pytest.mark.parametrize("metric", WEIGHTED)
def test_estimates_are_the_summary_s_and_t_is_scipy_s(metric):
    predictions, jobs = study(CELLS, most_films=3)
    folds = fold_metrics(predictions, jobs)
    summary = summarize(folds, jobs).set_index("strategy")
    values = folds.loc[folds["strategy"] == "lp", f"{metric}_patient"]
    found = of(intervals(predictions, jobs, resamples=20), strategy="lp", metric=metric, method="t")
    assert found["level"] == "patient"
    assert found["estimate"] == pytest.approx(summary.loc["lp", f"{metric}_patient_mean"], abs=1e-12)
    expected = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    np.testing.assert_allclose([found["ci_low"], found["ci_high"]], expected, atol=1e-12)


def test_the_corrected_interval_is_wider_by_the_share_that_is_tested():
    predictions, jobs = study(CELLS)
    table = intervals(predictions, jobs, resamples=20)
    plain, corrected = (of(table, strategy="lp", metric="roc_auc", method=method) for method in ("t", "nadeau_bengio"))
    # 10 films are tested and, as the jobs say, 60 trained on, in each of three folds.
    wider = (corrected["ci_high"] - corrected["ci_low"]) / (plain["ci_high"] - plain["ci_low"])
    assert wider == pytest.approx(np.sqrt((1 / 3 + 10 / 60) / (1 / 3)), abs=1e-12)


def test_the_bootstrap_is_that_of_a_plain_loop():
    predictions, jobs = study(CELLS, most_films=3, patients=40)
    bootstrap = PatientBootstrap(predictions, jobs, resamples=10)
    (block,) = bootstrap.blocks
    table = intervals(predictions, jobs, bootstrap=bootstrap)
    test = predictions[predictions["job"].str.startswith("m/lp")]
    names = np.sort(test["patient"].unique())
    again = []
    for drawn in block.drawn:
        copies = [
            films.assign(patient=f"{name}#{copy}", image=films["image"] + f"#{copy}")
            for name, films in test.groupby("patient")
            for copy in range(drawn[np.searchsorted(names, name)])
        ]
        again.append(fold_metrics(pd.concat(copies), jobs[jobs["strategy"] == "lp"]))
    sizes = test.groupby("job")["patient"].nunique()
    rarer = test.groupby("patient")["y_true"].max().sum()
    for metric in WEIGHTED:
        found = of(table, strategy="lp", metric=metric, method="bootstrap")
        values = [folds[f"{metric}_patient"].mean() for folds in again]
        error = np.nanstd(values, ddof=1) * np.sqrt((sizes / (sizes - 1)).mean())
        end = -1 if metric == "mcc" else 0
        # Fisher's z of the metric stretched to −1 to 1.
        r = 2 * (found["estimate"] - end) / (1 - end) - 1
        margin = stats.t.ppf(0.975, rarer - 3) * error * 2 / (1 - end) / (1 - r**2)
        expected = [(np.tanh(np.arctanh(r) + side * margin) + 1) * (1 - end) / 2 + end for side in (-1, 1)]
        np.testing.assert_allclose([found["ci_low"], found["ci_high"]], expected, atol=1e-12)
        assert found["n_resamples"] == np.isfinite(values).sum()


def test_what_is_undefined_says_why():
    predictions, jobs = study(CELLS)
    jobs.loc[jobs["strategy"] == "lp", "state"] = ["failed", "done", "done"]
    table = intervals(predictions, jobs, resamples=20)
    lacking = table[table["strategy"] == "lp"]
    assert set(lacking["undefined"]) == {"1 of 3 jobs are not done"}
    assert lacking[["estimate", "ci_low", "ci_high"]].isna().all(axis=None)
    loco = intervals(predictions, jobs.assign(validation="loco"), resamples=20)
    row = of(loco, strategy="random", metric="mcc", method="nadeau_bengio")
    assert "loco" in row["undefined"]
    assert np.isnan(row["ci_low"])
    assert not np.isnan(row["estimate"])
    one_fold = intervals(*study(CELLS, folds=1), resamples=20)
    assert of(one_fold, strategy="lp", metric="mcc", method="t")["undefined"] == "one fold has no spread"
    assert of(one_fold, strategy="lp", metric="mcc", method="bootstrap")["undefined"] == ""
    well = intervals(*study(CELLS, share=0.0), resamples=20)
    assert of(well, strategy="lp", metric="mcc", method="bootstrap")["undefined"].startswith("no test fold holds")
    assert of(well, strategy="lp", metric="specificity", method="t")["undefined"] == ""
    for some in (table, loco, one_fold, well):
        assert not some.loc[some["ci_low"].isna(), "default"].any()


def test_what_was_not_simulated_has_no_default_interval():
    predictions, jobs = study(CELLS)
    few = intervals(predictions, jobs.assign(validation="holdout", regime="few_shot", shots=4, draw=0), resamples=20)
    assert not few["default"].any()
    # Three centers are fewer than the six that were simulated, for what rests on centers.
    loco = intervals(predictions, jobs.assign(validation="loco"), resamples=20)
    assert set(loco.loc[loco["default"], "method"]) == {"bootstrap"}


def test_centers_made_again_are_other_centers():
    told = intervals(*study(CELLS, folds=6, patients=60), resamples=20)
    assert not told["estimand"].str.contains("center").any()
    predictions, jobs = study(CELLS, folds=6, patients=60)
    loco = intervals(predictions, jobs.assign(validation="loco"), resamples=20)
    row = of(loco, strategy="lp", metric="mcc", method="t")
    assert row["default"]
    assert "other centers and patients" in row["estimand"]


def test_nothing_done_at_all_gives_rows_that_say_so():
    predictions, jobs = study(CELLS)
    table = intervals(predictions, jobs.assign(state="failed"), resamples=20)
    assert len(table) == len(CELLS) * len(WEIGHTED) * 3
    assert set(table["undefined"]) == {"3 of 3 jobs are not done"}


def test_seeds_and_repeats_add_no_patients():
    """The same predictions under another seed, or dealt a second time, make the bootstrap no narrower."""
    predictions, jobs = study(CELLS[:1], patients=60)
    again = predictions.assign(job=predictions["job"] + "/again"), jobs.assign(job=jobs["job"] + "/again")
    once = intervals(predictions, jobs)
    # Another seed is drawn alike; folds that are dealt again have draws of their own.
    for change, tolerance in ({"seed": 7}, 1e-12), ({"repeat": 1}, 0.1):
        both = pd.concat([predictions, again[0]]), pd.concat([jobs, again[1].assign(**change)])
        twice = intervals(*both)
        for metric in ("mcc", "pr_auc"):
            one, two = (of(table, metric=metric, method="bootstrap") for table in (once, twice))
            assert two["ci_high"] - two["ci_low"] == pytest.approx(one["ci_high"] - one["ci_low"], rel=tolerance)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=4, deadline=None)
def test_the_order_of_rows_and_other_cells_change_no_bit(seed):
    predictions, jobs = study(CELLS, seed=seed % 5, most_films=2)
    alone = intervals(predictions, jobs, resamples=20)
    rng = np.random.default_rng(seed)
    shuffled = predictions.sample(frac=1, random_state=rng), jobs.sample(frac=1, random_state=rng)
    pd.testing.assert_frame_equal(intervals(*shuffled, resamples=20), alone, check_exact=True)
    larger = intervals(*study([*CELLS, ("z", "fft", 1.0)], seed=seed % 5, most_films=2), resamples=20)
    same = larger[larger["model"] != "z"].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, alone, check_exact=True)
