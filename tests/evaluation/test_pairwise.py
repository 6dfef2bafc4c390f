"""Paired tests: plain loops, statsmodels and published examples; laws of swapping; what cannot be told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn_studies import CELLS, only, study
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import matthews_corrcoef
from statsmodels.stats.multitest import multipletests

from prognobench.evaluation import PatientBootstrap, fold_metrics, pairwise_tests
from prognobench.evaluation._pairwise import TESTS, _swaps, corrected
from prognobench.evaluation._resampling import drawn_error

TWO = [("m", "fft", 1.5), ("m", "lp", 1.0)]


def test_holm_and_benjamini_hochberg_are_those_of_published_examples():
    # Holm 1979 as worked in Wright 1992 (https://doi.org/10.2307/2532694), and the table of Benjamini & Hochberg 1995.
    found = corrected("p", np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(found["p_holm"], [0.03, 0.06, 0.06, 0.02])
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
         0.7590, 1.0]  # fmt: skip
    found = corrected("p", np.array([*p, np.nan]))
    assert (found["p_bh"] <= 0.05).sum() == 4
    assert (found["p_holm"] <= 0.05).sum() == 3
    assert np.isnan(found["p_bh"][-1])


@pytest.mark.parametrize("n", [1, 2, 33, 500])
def test_both_corrections_are_bit_for_bit_those_of_statsmodels(n):
    p = np.round(np.random.default_rng(n).random(n) ** 3, 2)  # some of them equal
    found = corrected("p", np.concatenate([[np.nan], p]))
    np.testing.assert_array_equal(found["p_holm"][1:], multipletests(p, method="holm")[1])
    np.testing.assert_array_equal(found["p_bh"][1:], multipletests(p, method="fdr_bh")[1])


def test_the_corrected_t_is_that_of_nadeau_and_bengio_on_the_folds_differences():
    predictions, jobs = study(TWO, patients=45)
    found = only(pairwise_tests(predictions, jobs, resamples=20))
    folds = fold_metrics(predictions, jobs)
    values = folds.pivot(index="fold", columns="strategy", values="mcc")
    differences = values["fft"] - values["lp"]
    error = np.sqrt((1 / 3 + 15 / 60) * differences.var(ddof=1))
    assert found["p_corrected_t"] == pytest.approx(2 * stats.t.sf(abs(differences.mean() / error), 2), abs=1e-12)
    assert found["difference"] == pytest.approx(differences.mean(), abs=1e-12)


def test_the_bootstrap_is_the_spread_of_the_paired_differences():
    predictions, jobs = study(TWO, patients=45)
    bootstrap = PatientBootstrap(predictions, jobs, resamples=300)
    (block,) = bootstrap.blocks
    found = only(pairwise_tests(predictions, jobs, bootstrap=bootstrap))
    places = {cell.strategy: cell.place for cell in block.cells}
    differences = block.drawn_mcc[:, places["fft"]] - block.drawn_mcc[:, places["lp"]]
    error = np.std(differences, ddof=1) * np.sqrt(15 / 14)
    # Of 45 patients 18 are ill; there are 3 folds.
    t = stats.t(18 - 3)
    low, high = found["difference"] + np.array([-1, 1]) * t.ppf(0.975) * error
    np.testing.assert_allclose([found["ci_low"], found["ci_high"]], [low, high], atol=1e-12)
    assert found["p_bootstrap"] == pytest.approx(2 * t.sf(abs(found["difference"]) / error), abs=1e-12)
    assert found["smallest_difference"] == pytest.approx((t.ppf(0.975) + t.ppf(0.8)) * error, abs=1e-12)
    assert drawn_error(block.folds).freedom == 15


@pytest.mark.parametrize("level", ["film", "patient"])
def test_the_permutation_is_that_of_a_plain_loop(level):
    cells = [(*cell, {"seed": seed}) for cell in TWO for seed in (1, 2)]
    predictions, jobs = study(cells, patients=24, most_films=3)
    bootstrap = PatientBootstrap(predictions, jobs, resamples=25, level=level)
    (block,) = bootstrap.blocks
    found = only(pairwise_tests(predictions, jobs, bootstrap=bootstrap))
    swaps, names = _swaps(block), np.sort(predictions["patient"].unique())
    as_large = 0
    for swapped in swaps:
        again = predictions.copy()
        other = again["job"].map(lambda job: job.replace("lp", "x").replace("fft", "lp").replace("x", "fft"))
        moves = swapped[np.searchsorted(names, again["patient"])] == 1
        again.loc[moves, "job"] = other[moves]
        means = {}
        for strategy in ("fft", "lp"):
            values = []
            for _, job in again[again["job"].str.contains(f"/{strategy}/")].groupby("job"):
                rows = job
                if level == "patient":
                    rows = job.groupby("patient").agg(y_true=("y_true", "max"), y_score=("y_score", "mean"))
                values.append(matthews_corrcoef(rows["y_true"], rows["y_score"] >= 0.5))
            means[strategy] = np.mean(values)
        as_large += abs(means["fft"] - means["lp"]) >= abs(found["difference"]) - 1e-12
    assert found["p_permutation"] == pytest.approx((1 + as_large) / 26, abs=1e-12)


def test_a_result_without_seeds_is_permuted_as_one_with_several_equal_ones():
    seeds = [(*TWO[0], {"seed": seed, "draw": draw}) for draw in (0, 1) for seed in (1, 2, 3)]
    predictions, jobs = study([*seeds, *((*TWO[1], {"seed": 1, "draw": draw}) for draw in (0, 1))])
    jobs = jobs.assign(regime="few_shot", shots=4)
    once = only(pairwise_tests(predictions, jobs, resamples=60))
    probe = jobs[jobs["strategy"] == "lp"]
    own = predictions[predictions["job"].isin(probe["job"])]
    tables = [predictions, *(own.assign(job=own["job"] + f"/{k}") for k in (2, 3))]
    several = pd.concat([jobs, *(probe.assign(job=probe["job"] + f"/{k}", seed=k) for k in (2, 3))])
    thrice = only(pairwise_tests(pd.concat(tables), several, resamples=60))
    assert not np.isnan(once["p_permutation"])
    assert once["p_permutation"] == pytest.approx(thrice["p_permutation"], abs=1e-12)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=6, deadline=None)
def test_to_swap_the_two_negates_the_difference_and_keeps_every_p(seed):
    predictions, jobs = study(TWO, seed=seed)
    turned = jobs.assign(strategy=jobs["strategy"].map({"fft": "lp", "lp": "fft"}))
    one, other = (only(pairwise_tests(predictions, j, resamples=100)) for j in (jobs, turned))
    np.testing.assert_allclose(
        [one["difference"], one["ci_low"], one["ci_high"], one["a"]],
        [-other["difference"], -other["ci_high"], -other["ci_low"], other["b"]],
        atol=1e-12,
    )
    for test in TESTS:
        assert one[test] == pytest.approx(other[test], abs=1e-12, nan_ok=True)


def test_equal_predictions_differ_by_nothing():
    predictions, jobs = study([(*TWO[0], {"seed": seed}) for seed in (1, 2, 3)])
    twin = predictions.assign(job=predictions["job"].str.replace("fft", "lp"))
    twin_jobs = jobs.assign(job=jobs["job"].str.replace("fft", "lp"), strategy="lp")
    found = only(pairwise_tests(pd.concat([predictions, twin]), pd.concat([jobs, twin_jobs]), resamples=100))
    assert found["difference"] == 0
    assert found["ci_low"] == found["ci_high"] == 0
    assert [found[test] for test in TESTS] == [1, 1, 1]
    assert found["undefined"] == ""


def test_a_clear_difference_is_found_by_every_test_and_none_is_not():
    clear = only(pairwise_tests(*study([("m", "fft", 6.0), ("m", "lp", 0.0)], patients=150, folds=5)))
    assert clear[list(TESTS)].max() < 0.01
    assert clear["smallest_difference"] < clear["difference"]
    alike = only(pairwise_tests(*study([("m", "fft", 1.0), ("m", "lp", 1.0)], patients=150, folds=5)))
    assert alike[list(TESTS)].min() > 0.05


def test_the_family_is_that_of_learned_pairs_in_a_block_and_protocol():
    cells = [*CELLS, ("m", "fft", 1.0), ("n", "lp", 0.5)]
    table = pairwise_tests(*study(cells), resamples=100)
    pairs = list(zip(table["model_a"], table["strategy_a"], table["model_b"], table["strategy_b"], strict=True))
    assert pairs == [("m", "fft", "m", "lp"), ("m", "fft", "n", "lp"), ("m", "lp", "n", "lp")]
    for test in TESTS:
        np.testing.assert_allclose(table[f"{test}_holm"], corrected(test, table[test].to_numpy())[f"{test}_holm"])
    predictions, jobs = study(cells)
    apart = pairwise_tests(predictions, jobs.assign(protocol=jobs["model"].map(str)), resamples=100)
    assert len(apart) == 1
    assert apart["p_bootstrap_holm"].tolist() == apart["p_bootstrap"].tolist()


def test_what_is_not_compared_says_why():
    predictions, jobs = study([*TWO, ("n", "lp", 1.0)])
    hole = jobs.assign(state=["failed", *["done"] * (len(jobs) - 1)])
    table = pairwise_tests(predictions, hole, resamples=50)
    assert table["undefined"].tolist() == ["of m fft 1 of 3 jobs are not done"] * 2 + [""]
    assert table.loc[:1, ["difference", "p_bootstrap", "p_permutation_bh", "smallest_difference"]].isna().all(axis=None)
    others = pairwise_tests(predictions.iloc[1:], jobs, resamples=50)
    assert others["undefined"].tolist() == ["they were tested on other films"] * 2 + [""]
    loco = pairwise_tests(predictions, jobs.assign(validation="loco"), resamples=50)
    assert loco["undefined"].str.contains("p_corrected_t: .*loco").all()
    assert loco["p_corrected_t"].isna().all()
    cells = [(*TWO[0], {"seed": seed}) for seed in (1, 2)] + [(*TWO[1], {"seed": seed}) for seed in (1, 2, 3)]
    predictions, jobs = study(cells)
    seeds = only(pairwise_tests(predictions, jobs, resamples=50))
    assert seeds["undefined"] == "p_permutation: the numbers of seeds and draws of the two are no multiples"
    assert not np.isnan(seeds["p_bootstrap"])
    well = only(pairwise_tests(*study(TWO, share=0.0), resamples=50))
    assert well["undefined"] == "no test fold holds both classes"


def test_too_few_swaps_for_the_number_of_pairs_are_told():
    few = pairwise_tests(*study([*TWO, ("n", "lp", 1.0)]), resamples=30)
    assert few["warning"].str.contains("p_permutation_holm cannot fall below 0.05 with 3 pairs and 30 swaps").all()
    assert (pairwise_tests(*study([*TWO, ("n", "lp", 1.0)]), resamples=100)["warning"] == "").all()


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=4, deadline=None)
def test_the_order_of_rows_changes_no_bit(seed):
    predictions, jobs = study([*CELLS, ("m", "fft", 1.0)], seed=seed % 5, most_films=2)
    rng = np.random.default_rng(seed)
    shuffled = predictions.sample(frac=1, random_state=rng), jobs.sample(frac=1, random_state=rng)
    pd.testing.assert_frame_equal(
        pairwise_tests(*shuffled, resamples=40), pairwise_tests(predictions, jobs, resamples=40), check_exact=True
    )


def test_no_pair_gives_an_empty_table():
    table = pairwise_tests(*study(CELLS))
    assert table.empty
    assert "p_bootstrap_holm" in table
