"""summarize: means over folds that say what they rest on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from prognobench.evaluation import METRIC_COLUMNS, fold_metrics, metric_column, summarize
from prognobench.evaluation._tables import CELL_KEYS
from prognobench.frame import InputError

# Twelve films whose sensitivity and specificity a reader sees: `right` of six positives and of six negatives.
SIX = 6


@pytest.fixture
def study(planned, films):
    """Make a study from jobs; each is right about the number of positives and negatives that `right` says."""

    def make(*jobs: dict) -> tuple[pd.DataFrame, pd.DataFrame]:
        tables = [films([])]
        for place, job in enumerate(jobs):
            right = job.pop("right", SIX)
            truths = job.pop("truths", (1, 0))
            rows = [(y, 0.9 if (y == 1) == (i < right) else 0.1) for y in truths for i in range(SIX)]
            if job.get("state", "done") == "done":
                tables.append(films(rows, job=f"job{place}"))
        table = planned(*jobs)
        folds = fold_metrics(pd.concat(tables), table)
        return folds, table

    return make


@pytest.mark.parametrize("name", ["mcc", "ppv_at_val", "log_loss_platt", "ece_prior"])
def test_every_metric_is_found_at_both_levels(study, name):
    columns = summarize(*study({})).columns
    for level in ("film", "patient"):
        assert f"{metric_column(name, level)}_mean" in columns
    assert metric_column(name) == name


@pytest.mark.parametrize("name", ["mc", "auc_at_val", "mcc_platt", "mcc_patient", ""])
def test_an_unknown_metric_is_named_with_those_there_are(name):
    with pytest.raises(InputError, match=f"there is no metric '{name}'.*Known: mcc, pr_auc"):
        metric_column(name)


def test_the_columns_are_the_promised_ones(study):
    keys = ["cohort", "task", "test_cohort", "model", "strategy", "regime", "shots", "validation"]
    statistics = [f"{name}_{part}" for name in METRIC_COLUMNS for part in ("mean", "std", "ci_low", "ci_high")]
    expected = [*keys, "n_folds", "n_missing", *statistics, "protocol", "headline", "ci_method", "undefined"]
    assert list(summarize(*study({})).columns) == expected + [f"{name}_n" for name in METRIC_COLUMNS]


def test_mean_and_standard_deviation_over_folds(study):
    # Sensitivity 3/6, 4/6, 5/6: mean 4/6, std 1/6.
    row = summarize(*study({"fold": 0, "right": 3}, {"fold": 1, "right": 4}, {"fold": 2, "right": 5})).iloc[0]
    assert row["sensitivity_mean"] == pytest.approx(4 / 6)
    assert row["sensitivity_std"] == pytest.approx(1 / 6)
    assert (row["n_folds"], row["n_missing"], row["sensitivity_n"]) == (3, 0, 3)
    # Without the table of intervals there is none.
    assert row[[f"{name}_ci_low" for name in METRIC_COLUMNS]].isna().all()
    assert pd.isna(row["ci_method"])


def test_the_interval_is_the_one_that_is_known_to_hold_and_is_named(study):
    folds, jobs = study({"fold": 0, "right": 3}, {"fold": 1, "right": 4})
    cell = summarize(folds, jobs).iloc[0]
    rows = [
        ("mcc", "t", 0.1, 0.2, False),
        ("mcc", "bootstrap", 0.3, 0.4, True),
        ("pr_auc", "t", 0.5, 0.6, False),
        ("sensitivity", "t", 0.7, 0.8, True),
        ("specificity", "t", np.nan, np.nan, True),
    ]
    known = pd.DataFrame(rows, columns=["metric", "method", "ci_low", "ci_high", "default"]).assign(
        level="film", **{key: cell[key] for key in [*CELL_KEYS, "protocol"]}
    )
    known = known.astype(summarize(folds, jobs)[CELL_KEYS].dtypes.to_dict())
    row = summarize(folds, jobs, known).iloc[0]
    assert (row["mcc_ci_low"], row["mcc_ci_high"]) == (0.3, 0.4)
    assert (row["sensitivity_ci_low"], row["sensitivity_ci_high"]) == (0.7, 0.8)
    assert row[["pr_auc_ci_low", "specificity_ci_low", "mcc_patient_ci_low"]].isna().all()
    assert row["ci_method"] == "mcc: bootstrap; sensitivity: t"
    # Another cell's intervals are not this one's.
    assert pd.isna(summarize(folds, jobs, known.assign(model="another")).iloc[0]["ci_method"])


def test_seeds_and_draws_are_averaged_before_the_spread_over_folds_is_taken(study):
    few = {"regime": "few_shot", "shots": 4}
    jobs = [
        few | {"fold": fold, "seed": seed, "draw": draw, "right": right}
        for fold, rights in enumerate([(1, 2, 3, 4), (3, 4, 5, 6)])
        for (seed, draw), right in zip([(1, 0), (1, 1), (2, 0), (2, 1)], rights, strict=True)
    ]
    summary = summarize(*study(*jobs))
    assert len(summary) == 1
    row = summary.iloc[0]
    # Fold means 2.5/6 and 4.5/6; over all eight jobs the spread would be another.
    assert row["sensitivity_mean"] == pytest.approx(3.5 / 6)
    assert row["sensitivity_std"] == pytest.approx(np.std([2.5 / 6, 4.5 / 6], ddof=1))
    assert (row["n_folds"], row["sensitivity_n"]) == (2, 2)


def test_a_strategy_that_draws_nothing_has_one_job_a_fold_beside_others_with_several_seeds(study):
    rights = [(0, 3), (1, 5)]
    once = [{"fold": fold, "seed": 1, "right": right} for fold, right in rights]
    drawn = [
        {"fold": fold, "seed": seed, "strategy": "lora_r8", "right": right + seed - 1}
        for fold, right in rights
        for seed in (0, 1, 2)
    ]
    table = summarize(*study(*once, *drawn)).set_index("strategy")
    assert table["n_folds"].to_dict() == {"lp": 2, "lora_r8": 2}
    assert table["n_missing"].to_dict() == {"lp": 0, "lora_r8": 0}
    assert table["sensitivity_n"].to_dict() == {"lp": 2, "lora_r8": 2}
    assert table["sensitivity_mean"].to_list() == pytest.approx([4 / 6, 4 / 6])
    assert table["sensitivity_std"].to_list() == pytest.approx([np.std([3 / 6, 5 / 6], ddof=1)] * 2)


def test_folds_of_repeats_and_of_centers_are_folds_of_their_own(study):
    assert summarize(*study(*({"repeat": r, "fold": f} for r in (0, 1) for f in (0, 1))))["n_folds"].tolist() == [4]
    centers = [{"fold": 0, "test_center": name, "validation": "loco"} for name in ("A", "B", "C")]
    assert summarize(*study(*centers))["n_folds"].tolist() == [3]


def test_a_fold_with_a_hole_counts_nowhere_and_is_said(study):
    jobs = [
        {"fold": 0, "seed": 1, "right": 3},
        {"fold": 0, "seed": 2, "right": 5},
        {"fold": 1, "seed": 1, "right": 6},
        {"fold": 1, "seed": 2, "state": "failed"},
    ]
    row = summarize(*study(*jobs)).iloc[0]
    assert (row["n_folds"], row["n_missing"], row["sensitivity_n"]) == (2, 1, 1)
    assert row["sensitivity_mean"] == pytest.approx(4 / 6)  # fold 1 with one of two seeds is not mixed in
    assert np.isnan(row["sensitivity_std"])


def test_a_fold_where_a_metric_is_undefined_is_counted_for_that_metric(study):
    row = summarize(*study({"fold": 0}, {"fold": 1}, {"fold": 2, "truths": (0,)})).iloc[0]
    assert (row["n_folds"], row["n_missing"]) == (3, 0)
    assert (row["mcc_n"], row["pr_auc_n"], row["specificity_n"], row["brier_n"]) == (2, 2, 3, 3)
    assert row["mcc_mean"] == pytest.approx(1)


def test_a_cell_with_nothing_done_keeps_its_row(study):
    summary = summarize(
        *study({"strategy": "lp"}, *({"strategy": "lora_r8", "fold": f, "state": "missing"} for f in range(3)))
    ).set_index("strategy")
    row = summary.loc["lora_r8"]
    assert (row["n_folds"], row["n_missing"], row["mcc_n"]) == (3, 3, 0)
    assert row[[f"{name}_mean" for name in METRIC_COLUMNS]].isna().all()
    assert summary.loc["lp", "mcc_mean"] == 1


def test_a_study_with_nothing_done_is_all_holes(study):
    row = summarize(*study({"state": "missing"}, {"fold": 1, "state": "failed"})).iloc[0]
    assert (row["n_folds"], row["n_missing"]) == (2, 2)
    assert np.isnan(row["mcc_mean"])


def test_deleting_a_record_makes_a_hole_and_leaves_the_other_cells_alone(study):
    jobs = [{"strategy": s, "fold": f, "right": 3 + f} for s in ("lp", "fft") for f in range(3)]
    before = summarize(*study(*(dict(job) for job in jobs))).set_index("strategy")
    jobs[0]["state"] = "missing"
    after = summarize(*study(*jobs)).set_index("strategy")
    assert (after.loc["lp", "n_missing"], after.loc["lp", "mcc_n"]) == (1, 2)
    pd.testing.assert_series_equal(after.loc["fft"], before.loc["fft"], check_exact=True)


@pytest.mark.parametrize("key", ["cohort", "task", "model", "strategy", "regime", "validation", "protocol"])
def test_two_values_of_a_key_are_never_averaged(study, key: str):
    jobs = ({key: value, "test_cohort": "hannover", "fold": f} for value in ("hannover", "other") for f in (0, 1))
    summary = summarize(*study(*jobs)) if key != "cohort" else _two_cohorts(study)
    assert summary[key].tolist() == ["hannover", "other"]
    assert summary["n_folds"].tolist() == [2, 2]


def _two_cohorts(study) -> pd.DataFrame:
    # The films of both are Hannover's: what differs is the cohort that trained.
    return summarize(
        *study(*({"cohort": c, "test_cohort": "hannover", "fold": f} for c in ("hannover", "other") for f in (0, 1)))
    )


def test_different_shots_are_cells_of_their_own(study):
    summary = summarize(*study(*({"regime": "few_shot", "shots": k, "fold": f} for k in (8, 2) for f in (0, 1))))
    assert summary["shots"].tolist() == [2, 8]


def test_patients_are_the_headline_where_any_of_them_has_several_films(planned, films):
    jobs = planned({"fold": 0}, {"fold": 1}, {"cohort": "brixia", "test_cohort": "brixia"})
    single, several = [(1, 0.9), (0, 0.1)], [(1, 0.9, "ann"), (0, 0.1, "bob"), (0, 0.2, "bob")]
    predictions = pd.concat([films(single), films(several, job="job1"), films(single, job="job2", cohort="brixia")])
    summary = summarize(fold_metrics(predictions, jobs), jobs).set_index("cohort")
    assert summary["headline"].to_dict() == {"brixia": "film", "hannover": "patient"}
