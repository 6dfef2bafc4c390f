"""Above its controls: the paired patient bootstrap against a plain loop, and its laws."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn_studies import CELLS, only, study
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import matthews_corrcoef

from prognobench.evaluation import (
    PatientBootstrap,
    _resampling,
    compare_with_controls,
    fold_metrics,
    pairwise_tests,
    summarize,
)


@pytest.mark.parametrize("most_films", [1, 4])
@pytest.mark.parametrize("level", ["film", "patient"])
def test_the_interval_is_that_of_a_plain_loop(most_films, level):
    predictions, jobs = study(CELLS, most_films=most_films)
    found = only(compare_with_controls(predictions, jobs, level=level, resamples=30))
    assert found["control"] == "random"
    # The same draws, patient after patient, with scikit-learn's MCC on the films that are written out.
    draws = compare_with_draws(predictions, jobs, 30)
    test = predictions[predictions["job"].str.startswith("m/")]
    names = np.sort(test["patient"].unique())
    differences = [
        mean_mcc(test, "m/lp", names, counts, level) - mean_mcc(test, "m/random", names, counts, level)
        for counts in draws
    ]
    # Folds of 10 patients; 12 of 30 are ill, in 3 folds.
    margin = stats.t(12 - 3).ppf(0.975) * np.nanstd(differences, ddof=1) * np.sqrt(10 / 9)
    ends = [found["difference"] - margin, found["difference"] + margin]
    np.testing.assert_allclose([found["ci_low"], found["ci_high"]], ends, atol=1e-12)
    everyone = np.ones(len(names), dtype=int)
    assert found["mcc"] == pytest.approx(mean_mcc(test, "m/lp", names, everyone, level), abs=1e-12)
    assert found["control_mcc"] == pytest.approx(mean_mcc(test, "m/random", names, everyone, level), abs=1e-12)
    assert found["difference"] == found["mcc"] - found["control_mcc"]


def compare_with_draws(predictions, jobs, resamples):
    """Return the multiplicities of the patients, in the order of their names."""
    (block,) = PatientBootstrap(predictions, jobs, resamples=resamples).blocks
    return block.drawn.astype(int)


def mean_mcc(predictions, prefix, names, counts, level):
    values = []
    for _, job in predictions[predictions["job"].str.startswith(prefix)].groupby("job"):
        rows = job.groupby("patient").agg(y_true=("y_true", "max"), y_score=("y_score", "mean")).reset_index()
        rows = job if level == "film" else rows
        drawn = rows.loc[np.repeat(rows.index, counts[np.searchsorted(names, rows["patient"])])]
        if drawn["y_true"].nunique() == 2:
            values.append(matthews_corrcoef(drawn["y_true"], drawn["y_score"] >= 0.5))
    return np.mean(values) if values else np.nan


def test_patients_are_drawn_within_their_fold_and_as_many_as_it_has():
    predictions, jobs = study(CELLS, patients=31)
    drawn = compare_with_draws(predictions, jobs, 300)
    fold = np.arange(31) % 3
    for place in range(3):
        assert set(drawn[:, fold == place].sum(axis=1)) == {(fold == place).sum()}
    # As often each as the others: 300 draws give a mean of 1 with a standard error of 0.06.
    assert np.abs(drawn.mean(axis=0) - 1).max() < 0.3
    assert drawn.std() == pytest.approx(1, abs=0.1)


def test_a_patient_counts_alike_in_every_repeat():
    first, second = study(CELLS, patients=30), study(CELLS, patients=30, seed=5)
    predictions = pd.concat([first[0], second[0].assign(job=second[0]["job"] + "/again")])
    jobs = pd.concat([first[1], second[1].assign(job=second[1]["job"] + "/again", repeat=1)])
    drawn = compare_with_draws(predictions, jobs, 50)
    assert drawn.shape == (50, 30)
    assert set(drawn.sum(axis=1)) == {30}


def test_means_are_those_of_the_summary_with_seeds_and_draws_averaged():
    cells = [(*cell, {"seed": seed}) for cell in CELLS[:2] for seed in (1, 2)]
    cells += [(*CELLS[3], {"seed": seed}) for seed in (0, 1, 2)]
    predictions, jobs = study(cells, most_films=3)
    found = only(compare_with_controls(predictions, jobs))
    summary = summarize(fold_metrics(predictions, jobs), jobs).set_index("strategy")
    assert found["level"] == summary.loc["lp", "headline"] == "patient"
    assert found["mcc"] == pytest.approx(summary.loc["lp", "mcc_patient_mean"], abs=1e-12)
    assert found["control_mcc"] == pytest.approx(summary.loc["random", "mcc_patient_mean"], abs=1e-12)


def test_a_cell_without_seeds_is_compared_as_one_with_several_equal_ones():
    once = [(*CELLS[0], {"seed": 1}), (*CELLS[3], {"seed": 0})]
    predictions, jobs = study(once)
    one = compare_with_controls(predictions, jobs)
    twins = jobs[jobs["strategy"] == CELLS[0][1]]
    again = predictions[predictions["job"].isin(twins["job"])]
    more = [
        (again.assign(job=again["job"] + f"/{k}"), twins.assign(job=twins["job"] + f"/{k}", seed=k)) for k in (2, 3)
    ]
    several = compare_with_controls(
        pd.concat([predictions, *(p for p, _ in more)]), pd.concat([jobs, *(j for _, j in more)])
    )
    pd.testing.assert_frame_equal(one, several)


def test_random_weights_are_a_control_of_their_own_architecture_alone():
    strong = ("other", "random", 3.0)
    predictions, jobs = study([*CELLS, strong, ("other", "lp", 0.5)])
    table = compare_with_controls(predictions, jobs, resamples=50).set_index("model")
    assert table.loc["m", "control"] == table.loc["other", "control"] == "random"
    assert table.loc["other", "control_mcc"] > table.loc["m", "control_mcc"]


def test_weights_of_one_architecture_share_its_random_control():
    cells = [("a@one", "lp", 1.5), ("a@two", "lp", 1.0), ("a", "random", 1.2), ("none", "majority", 0.0)]
    predictions, jobs = study(cells)
    without = compare_with_controls(predictions, jobs, resamples=50)
    assert set(without["control"]) == {"majority"}
    jobs["architecture"] = jobs["model"].str.partition("@")[0]
    assert set(compare_with_controls(predictions, jobs, resamples=50)["control"]) == {"random"}


def test_a_clear_difference_is_above_and_none_is_not():
    clear = compare_with_controls(*study([("m", "lp", 5.0), ("none", "metadata", 0.0)], patients=120))
    assert only(clear)["ci_low"] > 0.5
    assert only(clear)["above_controls"]
    alike = compare_with_controls(*study([("m", "lp", 1.0), ("none", "metadata", 1.0)], patients=60))
    assert only(alike)["ci_low"] < 0
    assert not only(alike)["above_controls"]


def test_equal_predictions_are_never_above_whatever_the_rounding():
    predictions, jobs = study([("none", "metadata", 1.0)], patients=90)
    copies = [predictions, *(predictions.assign(job=predictions["job"] + f"/{k}") for k in range(7))]
    more = [jobs.assign(job=jobs["job"] + f"/{k}", model="m", strategy="lp", seed=k) for k in range(7)]
    found = only(compare_with_controls(pd.concat(copies), pd.concat([jobs, *more])))
    assert abs(found["difference"]) < 1e-12
    assert not found["above_controls"]


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        (("m", "lp"), "1 of 3 jobs are not done"),
        (("none", "metadata"), "of the control metadata 1 of 3 jobs are not done"),
    ],
)
def test_a_hole_leaves_the_comparison_undefined_and_says_why(lost, reason):
    predictions, jobs = study(CELLS)
    hole = jobs.index[(jobs["model"] == lost[0]) & (jobs["strategy"] == lost[1])][0]
    jobs.loc[hole, "state"] = "failed"
    found = only(compare_with_controls(predictions, jobs))
    assert found["undefined"] == reason
    assert found[["difference", "ci_low", "ci_high", "above_controls"]].isna().all()


def test_no_control_and_folds_of_one_class_are_said():
    found = only(compare_with_controls(*study(CELLS[:1])))
    assert found["undefined"] == "no control was run"
    assert pd.isna(found["above_controls"])
    found = only(compare_with_controls(*study(CELLS, share=0.0)))
    assert found["undefined"] == "no test fold holds both classes"
    assert found["n_folds"] == 0


def test_a_fold_of_one_class_counts_for_neither():
    # Of 30 patients the first is ill, so two of three folds have no positive patient.
    predictions, jobs = study(CELLS, share=1 / 30)
    found = only(compare_with_controls(predictions, jobs, resamples=400))
    assert found["n_folds"] == 1
    # The one ill patient is absent from (1 − 1/10)^10 = 35 % of the resamples.
    assert 200 < found["n_resamples"] < 320
    summary = summarize(fold_metrics(predictions, jobs), jobs).set_index("strategy")
    assert found["mcc"] == pytest.approx(summary.loc["lp", "mcc_mean"], abs=1e-12)


def test_a_control_on_other_folds_or_films_is_no_control():
    predictions, jobs = study(CELLS[:2])
    expected = "the control majority was tested on other films"
    other_folds = jobs.assign(fold=jobs["fold"] + 10 * (jobs["strategy"] == "majority"))
    assert only(compare_with_controls(predictions, other_folds))["undefined"] == expected
    assert only(compare_with_controls(predictions.iloc[1:], jobs))["undefined"] == expected


def test_a_control_of_another_protocol_stands_in_and_one_of_its_own_goes_first():
    predictions, jobs = study(CELLS)
    jobs.loc[jobs["strategy"] == "lp", "protocol"] = "standard"
    assert only(compare_with_controls(predictions, jobs))["control"] == "random"
    weaker, own = study([("m", "random", -2.0)], seed=3)
    jobs = pd.concat([jobs, own.assign(job=own["job"] + "/own", protocol="standard")])
    predictions = pd.concat([predictions, weaker.assign(job=weaker["job"] + "/own")])
    assert only(compare_with_controls(predictions, jobs))["control"] != "random"


def test_controls_alone_give_an_empty_table():
    table = compare_with_controls(*study(CELLS[1:]))
    assert table.empty
    assert "above_controls" in table


def test_blocks_are_compared_apart():
    full, few = study(CELLS), study([("m", "lp", 0.0), ("none", "metadata", 2.0)])
    change = {"regime": "few_shot", "shots": 4, "draw": 0}
    jobs = pd.concat([full[1], few[1].assign(job=few[1]["job"] + "/few", **change)])
    predictions = pd.concat([full[0], few[0].assign(job=few[0]["job"] + "/few")])
    both = compare_with_controls(predictions, jobs, resamples=100)
    assert both["control"].tolist() == ["metadata", "random"]
    alone = compare_with_controls(*full, resamples=100)
    pd.testing.assert_frame_equal(both[both["regime"] == "full"].reset_index(drop=True), alone, check_dtype=False)


@given(seed=st.integers(0, 2**32 - 1), most_films=st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_the_order_of_rows_and_the_rest_of_the_study_change_no_bit(seed, most_films):
    predictions, jobs = study(CELLS, seed=seed % 7, most_films=most_films)
    alone = compare_with_controls(predictions, jobs, resamples=60)
    rng = np.random.default_rng(seed)
    shuffled = compare_with_controls(
        predictions.sample(frac=1, random_state=rng), jobs.sample(frac=1, random_state=rng), resamples=60
    )
    pd.testing.assert_frame_equal(alone, shuffled, check_exact=True)
    more, more_jobs = study([*CELLS, ("z", "fft", 1.0)], seed=seed % 7, most_films=most_films)
    larger = compare_with_controls(more, more_jobs, resamples=60)
    pd.testing.assert_frame_equal(larger[larger["model"] == "m"], alone, check_exact=True)


def test_the_interval_is_that_of_a_pair_of_the_same_predictions():
    predictions, jobs = study([("m", "lp", 1.0), ("none", "metadata", 0.5)], patients=45)
    found = only(compare_with_controls(predictions, jobs, resamples=100))
    learned = jobs.assign(strategy=jobs["strategy"].replace("metadata", "meta"))
    pair = only(pairwise_tests(predictions, learned, resamples=100))
    same = ["difference", "ci_low", "ci_high"]
    np.testing.assert_allclose(found[same].astype(float), pair[same].astype(float), atol=1e-12)
    assert found["above_controls"] == (pair["difference"] > 0 and pair["p_bootstrap"] < 0.05)


def test_chance_alone_is_seldom_above():
    """Two given models of equal skill: each end of the interval is past 0 in 1 of 40 studies.

    100 studies of 30 patients, both ends counted: 5 are expected, and more than 10 in 1 of 100 runs. The percentile
    interval of the same draws leaves 0 out in 12 of them.
    """
    left_out = 0
    for seed in range(100):
        equal = study([("m", "lp", 1.0), ("none", "metadata", 1.0)], seed=seed)
        found = only(compare_with_controls(*equal, resamples=200))
        left_out += bool(found["ci_low"] > 0 or found["ci_high"] < 0)
    assert left_out <= 10


@given(seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_to_swap_model_and_control_turns_the_interval_around(seed):
    predictions, jobs = study([("m", "lp", 1.0), ("none", "metadata", 0.5)], seed=seed)
    swapped = jobs.assign(strategy=jobs["strategy"].map({"lp": "metadata", "metadata": "lp"}))
    one, other = (only(compare_with_controls(predictions, j, resamples=100)) for j in (jobs, swapped))
    np.testing.assert_allclose(
        [one["difference"], one["ci_low"], one["ci_high"]],
        [-other["difference"], -other["ci_high"], -other["ci_low"]],
        atol=1e-12,
    )
    assert not (one["above_controls"] and other["above_controls"])


def test_how_many_resamples_are_made_at_once_does_not_show(monkeypatch):
    predictions, jobs = study(CELLS)
    at_once = compare_with_controls(predictions, jobs, resamples=500)
    monkeypatch.setattr(_resampling, "_CHUNK", 30 * 7)
    pd.testing.assert_frame_equal(compare_with_controls(predictions, jobs, resamples=500), at_once, check_exact=True)
