"""The decision map: which strategy, on which evidence, with which doubts."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from prognobench.evaluation import (
    Budget,
    PatientBootstrap,
    compare_with_controls,
    decision_map,
    fold_metrics,
    summarize,
    task_sizes,
)

JOB = {
    "cohort": "typed", "task": "icu", "test_cohort": "typed", "regime": "full", "shots": None, "draw": None,
    "validation": "kfold2", "repeat": 0, "test_center": None, "seed": 42, "protocol": "quick", "n_train": 20,
    "trainable_params": 10, "total_params": 100, "train_seconds": 1.0, "state": "done",
}  # fmt: skip
KEYS = ["cohort", "task", "test_cohort", "regime", "shots", "validation", "protocol", "model", "strategy"]


def study(cells, positives=10, negatives=10, folds=2):
    """Make predictions and jobs of cells (model, strategy, right films of each class[, what is special])."""
    jobs, films = [], []
    for model, strategy, right, *special in cells:
        for fold in range(folds):
            number = right[fold] if isinstance(right, tuple) else right
            job = JOB | {"job": f"{model}/{strategy}/{fold}", "model": model, "strategy": strategy, "fold": fold}
            jobs.append(job | dict(*special) | {"state": "missing" if number is None else "done"})
            if special and "centers" in special[0]:
                jobs[-1] |= {"test_center": special[0]["centers"][fold]}
            if number is None:
                continue
            cases = [(1, place) for place in range(positives)] + [(0, place) for place in range(negatives)]
            rows = [
                (job["job"], "typed", f"{y}-{place}-{fold}", f"{y}-{place}-{fold}", "A", "test", y,
                 0.9 if (y == 1) == (place < number) else 0.1)
                for y, place in cases
            ]  # fmt: skip
            films.append(pd.DataFrame(rows, columns=FILM))
    return pd.concat(films), pd.DataFrame(jobs).drop(columns="centers", errors="ignore")


FILM = ["job", "cohort", "image", "patient", "center", "split", "y_true", "y_score"]
CELLS: list[Any] = [
    ("dinov2_s", "lora_r8", 10, {"train_seconds": 30.0, "trainable_params": 50}),
    ("resnet18", "lora_r8", 6),
    ("dinov2_s", "lp", 9, {"train_seconds": 2.0}),
    ("dinov2_s", "fft", 5, {"train_seconds": 90.0, "trainable_params": 100}),
    ("none", "majority", 5),
]
TOP = {("dinov2_s", "lora_r8"): True, ("dinov2_s", "lp"): True, ("dinov2_s", "fft"): False}


def decide(predictions, jobs, tops=TOP, width=0.1, winner=None, **options) -> pd.DataFrame:
    folds = fold_metrics(predictions, jobs)
    summary = summarize(folds, jobs)
    controls = compare_with_controls(predictions, jobs, bootstrap=PatientBootstrap(predictions, jobs, resamples=200))
    learned = summary.loc[summary["strategy"] != "majority", KEYS].reset_index(drop=True)
    names = list(zip(learned["model"], learned["strategy"], strict=True))
    ranking = learned.assign(
        rank=range(1, len(learned) + 1), rank_low=1, rank_high=3, undefined="" if tops else "jobs are missing",
        top_group=pd.array([tops.get(name, False) if tops else None for name in names], "boolean"),
    )  # fmt: skip
    intervals = learned.assign(metric="mcc", default=True, ci_low=0.5, ci_high=0.5 + width)
    selection = learned.assign(n_candidates=4, naive=0.9, corrected=0.8, above_controls=True)
    selection = selection[[name == winner for name in names]]
    sizes = task_sizes(predictions, jobs)
    return decision_map(folds, jobs, summary, controls, intervals, ranking, selection, sizes, **options)


def only(table, strategy):
    (row,) = table[table["strategy"] == strategy].to_dict("records")
    return row


def test_one_row_a_strategy_with_its_best_model_the_best_first():
    table = decide(*study(CELLS))
    assert table[["strategy", "model"]].values.tolist() == [
        ["lora_r8", "dinov2_s"],
        ["lp", "dinov2_s"],
        ["fft", "dinov2_s"],
    ]
    assert list(table["in_top_group"]) == [True, True, False]
    assert list(table["above_controls"]) == [True, True, False]
    assert table["mcc"].tolist() == pytest.approx([1.0, 0.8, 0.0])
    assert only(table, "lora_r8")["trainable_percent"] == 50


def test_the_cheapest_of_the_top_group_is_marked_within_the_budget():
    table = decide(*study(CELLS))
    assert list(table["cheapest"]) == [False, True, False]
    assert table["within_budget"].isna().all()
    tight = decide(*study(CELLS), budget=Budget(trained_parameters=60, seconds=100))
    assert list(tight["within_budget"]) == [True, True, False]
    none = decide(*study(CELLS), budget=Budget(seconds=0.5))
    assert not none["within_budget"].any() and not none["cheapest"].any()


def test_the_budget_comes_before_the_choice_of_the_model():
    cells = [("large", "lp", 10, {"train_seconds": 90.0}), ("small", "lp", 9), ("none", "majority", 5)]
    assert only(decide(*study(cells), tops={("large", "lp"): True}), "lp")["model"] == "large"
    tops = {("large", "lp"): True, ("small", "lp"): True}
    row = only(decide(*study(cells), tops=tops, budget=Budget(seconds=60)), "lp")
    assert (row["model"], row["within_budget"], row["cheapest"]) == ("small", True, True)
    assert (
        "passed over, since it does not keep to the budget or its cost is unknown: large with 100.0" in row["evidence"]
    )
    alone = only(decide(*study(cells), tops=tops, budget=Budget(seconds=0.1)), "lp")
    assert (alone["model"], alone["within_budget"]) == ("large", False)
    assert "passed over" not in alone["evidence"]


def test_no_best_model_is_named_where_one_of_several_lacks_jobs():
    cells = [("a", "lp", 9), ("b", "lp", (10, None)), ("a", "fft", 8), ("none", "majority", 5)]
    table = decide(*study(cells), tops={})
    row = only(table, "lp")
    assert table[["model", "mcc", "ci_low", "rank", "train_seconds"]].isna().all(axis=1).tolist() == [False, True]
    assert row["evidence"] == (
        "No best model is named: 1 job is not done, and a model that lacks some may be the best."
    )
    assert row["doubts"] == "Not ranked: jobs are missing."
    assert only(table, "fft")["model"] == "a"
    budget = only(decide(*study(cells), tops={}, budget=Budget(seconds=60)), "lp")
    assert pd.isna(budget["model"]) and pd.isna(budget["within_budget"])


def test_a_budget_of_memory_is_unknown_where_no_record_tells_it():
    assert decide(*study(CELLS), budget=Budget(memory_bytes=1e9))["within_budget"].isna().all()
    predictions, jobs = study(CELLS)
    jobs["peak_memory_bytes"] = [2e9 if strategy == "fft" else 1e8 for strategy in jobs["strategy"]]
    table = decide(predictions, jobs, budget=Budget(memory_bytes=1e9))
    assert list(table["within_budget"]) == [True, True, False]


def test_the_evidence_says_score_interval_rank_and_controls():
    evidence = only(decide(*study(CELLS)), "lora_r8")["evidence"]
    assert evidence == (
        "MCC × 100 is 100.0 [50.0, 60.0] with dinov2_s; rank 2, 95 % interval 1 to 3, controls counted; the best "
        "learned result; above its controls."
    )


def test_only_another_than_the_best_is_held_against_the_best():
    table = decide(*study(CELLS))
    beside = "told apart from the best learned result (paired interval, not corrected for the number of results)"
    assert beside in only(table, "lp")["evidence"]
    assert "; below the best learned result (paired" in only(table, "fft")["evidence"]
    assert table["evidence"].str.contains("; the best learned result").sum() == 1


class TestDoubts:
    def test_none(self):
        assert only(decide(*study(CELLS)), "lora_r8")["doubts"] == ""

    def test_few_of_the_rarer_class(self):
        few = only(decide(*study([("m", "lp", 3)], positives=3)), "lp")["doubts"]
        assert "Few to go by: 3 positive films in a test fold on average." in few
        few = only(decide(*study([("m", "lp", 3)], negatives=3)), "lp")["doubts"]
        assert "3 negative films" in few

    def test_a_wide_interval(self):
        assert "The interval is 40 points of MCC wide." in only(decide(*study(CELLS), width=0.4), "lp")["doubts"]

    def test_not_above_controls(self):
        assert "Not above the control majority" in only(decide(*study(CELLS)), "fft")["doubts"]
        assert "Not compared with its controls." in only(decide(*study([("m", "lp", 9)])), "lp")["doubts"]

    def test_holes(self):
        doubts = only(decide(*study([("m", "lp", (9, None))]), tops={}), "lp")["doubts"]
        assert "1 of its jobs is not done." in doubts
        assert "Not ranked: jobs are missing." in doubts

    def test_folds_of_one_class(self):
        predictions, jobs = study(CELLS)
        predictions.loc[predictions["image"].str.endswith("-1"), "y_true"] = 0
        assert "1 of 2 test folds hold one class and do not count." in only(decide(predictions, jobs), "lp")["doubts"]

    def test_chosen_among_many(self):
        doubts = only(decide(*study(CELLS), winner=("dinov2_s", "lora_r8")), "lora_r8")["doubts"]
        assert doubts == (
            "Chosen as the best of 4 on the same folds: corrected for that, its MCC × 100 is 80.0 instead of 90.0."
        )

    def test_centers_far_apart(self):
        doubts = only(decide(*study([("m", "lp", (10, 6), {"centers": ["A", "B"]})])), "lp")["doubts"]
        assert "Between centers MCC × 100 goes from 20.0 to 100.0." in doubts


class TestSizes:
    def test_counts_of_a_task(self):
        (row,) = task_sizes(*study(CELLS, positives=3)).to_dict("records")
        assert row == {
            "cohort": "typed", "task": "icu", "n_films": 26, "n_patients": 26, "n_positive_films": 6,
            "n_positive_patients": 6, "n_centers": 1, "n_all_films": 33, "several_films": False, "n_cases": 33,
            "share_positive": pytest.approx(6 / 26),
        }  # fmt: skip

    def test_patients_are_the_cases_where_they_have_several_films(self):
        predictions, jobs = study(CELLS)
        twice = pd.concat([predictions, predictions.assign(image=predictions["image"] + "b")])
        (row,) = task_sizes(twice, jobs.assign(n_train=0)).to_dict("records")
        assert (row["n_films"], row["n_cases"], row["several_films"]) == (80, 40, True)

    @pytest.mark.parametrize("also_own", [False, True])
    def test_a_cohort_tested_elsewhere_is_as_large_as_its_training_and_validation(self, also_own):
        predictions, jobs = study([("m", "lp", 9)], folds=1)
        jobs = jobs.assign(test_cohort="elsewhere", validation="external", n_train=640)
        name = jobs["job"].iloc[0]
        told = {"job": name, "cohort": "typed", "patient": "", "center": "A", "y_score": 0.5}
        val = pd.DataFrame([told | {"image": f"v{i}", "split": "val", "y_true": i % 2} for i in range(160)])
        val["patient"] = val["image"]
        tables = [predictions.assign(cohort="elsewhere"), val]
        if also_own:
            tables.append(predictions.assign(image="own" + predictions["image"]))
            jobs = pd.concat([jobs, jobs.assign(test_cohort="typed")])
        sizes = task_sizes(pd.concat(tables, ignore_index=True), jobs).set_index("cohort")
        own = 20 if also_own else 0
        assert sizes.loc["typed", "n_films"] == 160 + own
        assert sizes.loc["typed", "n_all_films"] == sizes.loc["typed", "n_cases"] == 640 + 160 + own
        assert sizes.loc["elsewhere", "n_all_films"] == 20

    def test_nothing_done_is_no_row(self):
        predictions, jobs = study(CELLS)
        assert task_sizes(predictions, jobs.assign(state="missing")).empty
