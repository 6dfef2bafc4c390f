"""Ranks with intervals, groups of ties, holes; and the winner corrected for having been chosen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn_studies import CELLS, only, study
from scipy.stats import rankdata

from prognobench.evaluation import PatientBootstrap, compare_with_controls, pairwise_tests, ranking, selection
from prognobench.evaluation._ranking import tie_groups
from prognobench.evaluation._selection import corrected_scores

FIELD = [("m", "fft", 3.0), ("m", "lp", 2.8), ("n", "fft", 0.6), ("n", "lp", 0.5), ("none", "majority", -2.0)]


def test_ranks_are_those_of_the_means_and_their_intervals_those_of_the_resamples():
    predictions, jobs = study(FIELD, patients=60)
    bootstrap = PatientBootstrap(predictions, jobs, resamples=200)
    (block,) = bootstrap.blocks
    table = ranking(predictions, jobs, bootstrap=bootstrap)
    assert table["strategy"].tolist() == ["fft", "lp", "fft", "lp", "majority"]
    np.testing.assert_array_equal(table["rank"], rankdata(-table["mcc"]))
    ranks = rankdata(-block.drawn_mcc.round(11), axis=1)
    places = [cell.place for cell in block.cells]
    low, high = np.quantile(ranks, [0.025, 0.975], axis=0, method="inverted_cdf")[:, places]
    np.testing.assert_array_equal(table["rank_low"], low)
    np.testing.assert_array_equal(table["rank_high"], high)
    assert (table["rank_low"] <= table["rank"]).all()
    assert (table["rank"] <= table["rank_high"]).all()
    assert table["p_best"].sum() == pytest.approx(1)


def test_the_top_group_is_what_the_paired_interval_does_not_tell_from_the_best():
    predictions, jobs = study(FIELD, patients=150, folds=5)
    table = ranking(predictions, jobs)
    assert table["top_group"].tolist() == [True, True, False, False, pd.NA]
    assert table["group"].tolist() == [1, 1, 2, 2, pd.NA]
    pairs = pairwise_tests(predictions, jobs)
    best = table.loc[table["rank"].idxmin()]
    for pair in pairs.itertuples():
        sides = {(pair.model_a, pair.strategy_a), (pair.model_b, pair.strategy_b)}
        if (best["model"], best["strategy"]) in sides:
            (other,) = sides - {(best["model"], best["strategy"])}
            row = only(table[(table["model"] == other[0]) & (table["strategy"] == other[1])])
            assert row["top_group"] == (pair.ci_low <= 0 <= pair.ci_high)


def test_groups_begin_with_the_best_of_the_rest():
    mcc = np.array([0.5, 0.9, 0.7, 0.8, 0.45])
    assert tie_groups(mcc, lambda best: np.full(5, 0.11)).tolist() == [3, 1, 2, 1, 3]
    assert tie_groups(np.array([0.3, 0.3]), lambda best: np.zeros(2)).tolist() == [1, 1]


def test_a_control_on_top_is_ranked_first_and_groups_are_those_without_it():
    field = [("m", "fft", 3.0), ("m", "lp", 2.8), ("n", "lp", 0.5), ("none", "metadata", 9.0)]
    predictions, jobs = study(field, patients=150, folds=5)
    table = ranking(predictions, jobs, resamples=300).set_index("strategy")
    assert table.loc["metadata", "rank"] == 1
    assert table.loc["metadata", "p_best"] > 0.9
    assert table.loc["metadata", ["top_group", "group"]].isna().all()
    learned = jobs["strategy"] != "metadata"
    alone = ranking(predictions[predictions["job"].isin(jobs.loc[learned, "job"])], jobs[learned], resamples=300)
    assert alone["group"].tolist() == [1, 1, 2]
    assert table["group"].dropna().tolist() == alone["group"].tolist()
    assert table["top_group"].dropna().tolist() == alone["top_group"].tolist()


def test_controls_alone_are_ranked_and_in_no_group():
    table = ranking(*study(CELLS[1:]), resamples=50)
    assert sorted(table["rank"]) == [1, 2, 3]
    assert table[["top_group", "group"]].isna().all(axis=None)


def test_equal_ones_share_rank_and_chance_to_be_best():
    predictions, jobs = study([("m", "fft", 1.0)])
    twin = predictions.assign(job=predictions["job"] + "/twin"), jobs.assign(job=jobs["job"] + "/twin", strategy="lp")
    table = ranking(pd.concat([predictions, twin[0]]), pd.concat([jobs, twin[1]]), resamples=50)
    assert table["rank"].tolist() == [1.5, 1.5]
    assert table["p_best"].tolist() == [0.5, 0.5]
    assert table["group"].tolist() == [1, 1]


def test_a_hole_refuses_the_ranking_and_the_choice():
    predictions, jobs = study(FIELD)
    jobs = jobs.assign(state=["failed", *["done"] * (len(jobs) - 1)])
    table = ranking(predictions, jobs, resamples=50)
    assert set(table["undefined"]) == {"of m fft 1 of 3 jobs are not done"}
    assert table[["rank", "rank_low", "rank_high", "p_best", "group", "top_group"]].isna().all(axis=None)
    assert table["mcc"].notna().tolist() == [False, True, True, True, True]
    chosen = only(selection(predictions, jobs, resamples=50))
    assert chosen["undefined"] == "of m fft 1 of 3 jobs are not done"
    assert np.isnan(chosen["corrected"])


def test_a_hole_is_imputed_as_mcc_0_on_request_and_marked():
    predictions, jobs = study(FIELD)
    whole = ranking(predictions, jobs, resamples=50)
    holed = jobs.assign(state=["failed", *["done"] * (len(jobs) - 1)])
    table = ranking(predictions, holed, impute="zero", resamples=50)
    assert table["imputed"].tolist() == [True, False, False, False, False]
    assert set(table["undefined"]) == {""}
    # One of three folds counts 0.
    others = fold_mean(predictions, jobs.iloc[1:3])
    assert table.loc[0, "mcc"] == pytest.approx(others * 2 / 3, abs=1e-12)
    same = ["mcc", "model", "strategy"]
    pd.testing.assert_frame_equal(table.loc[1:, same], whole.loc[1:, same], check_exact=True)
    # A fold that no one has done cannot be filled.
    nobody = jobs.assign(state=np.where(jobs["fold"] == 0, "failed", "done"))
    assert ranking(predictions, nobody, impute="zero", resamples=50)["undefined"].str.contains("not done").all()


def fold_mean(predictions, jobs):
    from prognobench.evaluation import fold_metrics

    return fold_metrics(predictions, jobs)["mcc"].mean()


def test_protocols_are_ranked_apart_and_films_of_other_patients_never():
    predictions, jobs = study(FIELD)
    two = ranking(predictions, jobs.assign(protocol=["quick"] * 6 + ["slow"] * 9), resamples=50)
    assert two.groupby("protocol")["rank"].max().to_dict() == {"quick": 2, "slow": 3}
    other = ranking(predictions.iloc[1:], jobs, resamples=50)
    assert set(other["undefined"]) == {"they were tested on different films"}


def test_the_winner_is_chosen_on_the_drawn_and_scored_on_the_others():
    predictions, jobs = study([*CELLS, ("m", "fft", 1.4), ("n", "lp", 1.2)], patients=60)
    bootstrap = PatientBootstrap(predictions, jobs, resamples=40)
    (block,) = bootstrap.blocks
    found = only(selection(predictions, jobs, bootstrap=bootstrap))
    learned = [cell for cell in block.cells if not cell.is_control]
    assert found["n_candidates"] == len(learned) == 3
    scores = []
    for drawn in block.drawn:
        inside = [again(block, cell, drawn.astype(float)) for cell in learned]
        scores.append(again(block, learned[int(np.argmax(inside))], (drawn == 0).astype(float)))
    np.testing.assert_allclose(corrected_scores(block, learned), scores, atol=1e-12)
    assert found["corrected"] == pytest.approx(np.nanmean(scores), abs=1e-12)
    assert found["naive"] == max(block.mcc[cell.place] for cell in learned)
    assert found["corrected_ci_low"] < found["corrected"] < found["corrected_ci_high"]


def again(block, cell, counts):
    """One cell's mean MCC with patients counted as told, by a loop."""
    from sklearn.metrics import matthews_corrcoef

    values = []
    for fold in block.folds:
        weights = counts[fold.patients][fold.of_case]
        called = fold.score[:, fold.cell == cell.place][:, 0] >= 0.5
        if weights[fold.positive].sum() > 0 and weights[~fold.positive].sum() > 0:
            values.append(matthews_corrcoef(fold.positive, called, sample_weight=weights))
    return np.mean(values) if values else np.nan


def test_the_best_of_equals_is_corrected_downwards_and_a_lone_one_not():
    equals = [(f"m{place}", "lp", 1.0) for place in range(15)]
    many = only(selection(*study(equals, patients=60)))
    assert many["corrected"] < many["naive"] - 0.03
    alone = only(selection(*study(equals[:1], patients=60)))
    assert alone["n_candidates"] == 1 and alone["n_resamples"] > 0 and not alone["undefined"]
    for end in ("", "_ci_low", "_ci_high"):
        assert alone[f"corrected{end}"] == alone[f"naive{end}"]
    assert alone["corrected_ci_low"] < alone["corrected"] < alone["corrected_ci_high"]


def test_the_difference_to_the_controls_is_corrected_by_what_the_choice_is_worth():
    # Fifteen models that are as good as the control, of which one seems better.
    equals = [(f"m{place:02}", "lp", 1.0) for place in range(15)]
    predictions, jobs = study([*equals, ("none", "metadata", 1.0)], patients=40)
    one = only(selection(predictions, jobs))
    naive = compare_with_controls(predictions, jobs)
    naive = naive[naive["model"] == one["model"]].iloc[0]
    moved = one["corrected"] - one["naive"]
    assert one["control"] == "metadata" and moved < 0
    for end, plain in (("", "difference"), ("_ci_low", "ci_low"), ("_ci_high", "ci_high")):
        assert one[f"corrected_difference{end}"] == pytest.approx(naive[plain] + moved, abs=1e-12)
    assert naive["above_controls"] and not one["above_controls"]


def test_a_lone_candidate_is_above_its_controls_as_everywhere_and_none_without_controls():
    lone = study([("m", "lp", 3.0), ("none", "majority", -2.0)], patients=60)
    one, naive = only(selection(*lone)), only(compare_with_controls(*lone))
    assert one["above_controls"] and naive["above_controls"]
    assert one["corrected_difference_ci_low"] == naive["ci_low"]
    alone = only(selection(*study([("m", "lp", 3.0), ("n", "lp", 1.0)], patients=60)))
    assert pd.isna(alone["above_controls"]) and np.isnan(alone["corrected_difference"])


def test_the_order_of_rows_changes_no_bit():
    predictions, jobs = study(FIELD, most_films=2)
    shuffled = predictions.sample(frac=1, random_state=1), jobs.sample(frac=1, random_state=2)
    for table in (ranking, selection):
        pd.testing.assert_frame_equal(
            table(*shuffled, resamples=60), table(predictions, jobs, resamples=60), check_exact=True
        )
