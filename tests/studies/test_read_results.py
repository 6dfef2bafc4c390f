"""Reading what studies left: the same as record by record, refused by name, and every number where it belongs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from prognobench.evaluation import (
    PatientBootstrap,
    _subgroups,
    compare_with_controls,
    decision_map,
    fold_metrics,
    intervals,
    pairwise_tests,
    ranking,
    reliability,
    selection,
    subgroups,
    summarize,
    task_sizes,
)
from prognobench.frame import InputError
from prognobench.studies import Job, Record, Store, read_results, study_status
from prognobench.studies._job import identity_fragments
from prognobench.studies._store import write_plan

COST = {"own_seconds": 2.0, "shared_seconds": 0.5, "trainable_parameters": 10, "total_parameters": 100}
CELLS = [("m", "lp"), ("m", "fft"), ("none", "majority")]


def job(model, strategy, fold, schema=1, **words):
    identity = {"schema": schema, "model": model, "strategy": strategy, "fold": fold, **words}
    identity["protocol"] = {} if strategy == "majority" else {"class_weights": words.pop("weights", "balanced")}
    told = {
        "cohort": "c", "task": "t", "test_cohorts": ("c",), "model": model, "strategy": strategy, "regime": "full",
        "shots": None, "draw": None, "validation": "kfold3", "repeat": 0, "fold": fold, "test_center": None, "seed": 42,
        "protocol": "quick", "kind": "control" if strategy == "majority" else "probe", "weights": None,
        "architecture": model, "n_train": 20, "n_val": 10, "n_test": 10,
    }  # fmt: skip
    return Job(**{**told, **words}, fragments=identity_fragments(identity))


def record(one, missed=()):
    rng = np.random.default_rng(one.fold)
    parts = [("val", (one.fold + 1) % 3), ("test", one.fold)]
    rows = [("c", f"{f}-{i}.png", f"p{f}-{i // 2}", "", split, (i // 2) % 2) for split, f in parts for i in range(12)]
    table = pd.DataFrame(rows, columns=["cohort", "image", "patient", "center", "split", "y_true"])
    skill = {"lp": 1.0, "fft": 0.5, "majority": 0.0}[one.strategy]
    noise = 0.0 if one.strategy == "majority" else 0.2 * rng.normal(size=len(table))
    table["y_score"] = np.clip(0.45 + 0.2 * skill * (2 * table["y_true"] - 1) + noise, 0, 1)
    table.loc[list(missed), "y_score"] = 0.1
    history = pd.DataFrame({"candidate": ["x"], "val_loss": [0.1], "chosen": [True]})
    return Record(one, table, history, COST, {"versions": {}})


def planned(store, jobs, name="study"):
    listed = [{"key": one.key, "words": one.words()} for one in jobs]
    write_plan(store, name, {"study": name, "overrides": [], "weights": {}, "jobs": listed, "left_out": []})


@pytest.fixture
def jobs():
    return [job(model, strategy, fold) for model, strategy in CELLS for fold in range(3)]


@pytest.fixture
def store(tmp_path, jobs):
    store = Store(tmp_path)
    planned(store, jobs)
    for one in jobs:
        store.write(record(one))
    return store


def test_all_at_once_is_record_by_record(store, jobs):
    predictions, table = read_results(store.root)
    expected = pd.concat([store.read(one.key).predictions.assign(job=one.key) for one in jobs], ignore_index=True)
    pd.testing.assert_frame_equal(predictions.astype(expected.dtypes), expected[list(predictions.columns)])
    assert isinstance(predictions["image"].dtype, pd.CategoricalDtype)
    assert table["job"].tolist() == [one.key for one in jobs]
    assert set(table["train_seconds"]) == {2.5}
    assert table.groupby("strategy")["balanced"].first().to_dict() == {"fft": 1, "lp": 1, "majority": 0}


def test_tables_do_not_depend_on_how_texts_are_held(store):
    predictions, table = read_results(store.root)
    texts = predictions.astype(dict.fromkeys(["job", "cohort", "image", "patient", "center", "split"], object))
    shuffled = texts.sample(frac=1, random_state=0)
    for make in (fold_metrics, reliability):
        one = make(predictions, table)
        for other in (texts, shuffled, shuffled.astype(dict.fromkeys(["image", "patient", "job"], "category"))):
            pd.testing.assert_frame_equal(make(other, table), one, check_exact=True)


@pytest.mark.parametrize(
    ("settings", "balanced"),
    [
        ({"weights": "none"}, 0),
        ({"weights": "sqrt"}, 0.5),
        ({"regime": "few_shot", "shots": 4, "draw": 0}, 1),
        ({"regime": "fraction_0.5", "draw": 0}, 1),
    ],
)
def test_how_training_weighted_the_classes_is_read_from_the_record(tmp_path, settings, balanced):
    one = job("m", "lp", 0, **settings)
    planned(Store(tmp_path), [one])
    Store(tmp_path).write(record(one))
    assert read_results(tmp_path)[1]["balanced"].tolist() == [balanced]


def test_all_altered_and_half_written_records_are_named_at_once(store, jobs):
    first, second, third = (store.runs / one.key for one in jobs[:3])
    content = bytearray((first / "history.parquet").read_bytes())
    content[10] ^= 1
    (first / "history.parquet").write_bytes(content)
    (second / "status.json").unlink()
    (third / "cost.json").unlink()
    with pytest.raises(InputError) as caught:
        read_results(store.root)
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 3
    for problem, (folder, what) in zip(
        told,
        [(first, "history.parquet was altered"), (second, "status.json is missing"), (third, "cost.json is missing")],
        strict=True,
    ):
        assert folder.name in problem
        assert what in problem


def test_a_sealed_record_that_lacks_something_is_named(store, jobs):
    shutil.rmtree(store.runs / jobs[0].key)
    lacking = record(jobs[0])
    store.write(replace(lacking, predictions=lacking.predictions.drop(columns="y_score")))
    with pytest.raises(InputError, match=rf"record {jobs[0].key}.*not as this version writes records"):
        read_results(store.root)


def test_records_of_two_schema_versions_are_named(tmp_path, jobs):
    older = job("m", "lp", 0, schema=0)
    store, every = Store(tmp_path), [older, *jobs[1:]]
    planned(store, every)
    for one in every:
        store.write(record(one))
    with pytest.raises(InputError) as caught:
        read_results(tmp_path)
    assert "records of 2 schema versions are in one study" in str(caught.value)
    assert f"1 of version 0, such as {older.key}; 8 of version 1, such as {jobs[1].key}" in str(caught.value)


def test_records_of_a_later_version_are_named(tmp_path):
    later = job("m", "lp", 0, schema=99)
    planned(Store(tmp_path), [later])
    Store(tmp_path).write(record(later))
    with pytest.raises(InputError, match=rf"1 records have schema version 99.*{later.key}"):
        read_results(tmp_path)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: (path / "runs").mkdir()])
def test_a_folder_without_results_is_named(tmp_path, make):
    make(tmp_path)
    with pytest.raises(InputError, match="there are no results of a study in this folder"):
        read_results(tmp_path)


def test_a_study_with_nothing_done_reads_as_holes(tmp_path, jobs):
    planned(Store(tmp_path), jobs)
    predictions, table = read_results(tmp_path)
    assert (len(predictions), set(table["state"])) == (0, {"missing"})
    folds = fold_metrics(predictions, table)
    assert summarize(folds, table)["n_missing"].tolist() == [3, 3, 3]


def test_a_deleted_record_is_a_hole_and_not_another_mean(store, jobs):
    before, table = read_results(store.root)
    whole = summarize(fold_metrics(before, table), table).set_index("strategy")
    shutil.rmtree(store.runs / jobs[0].key)
    after, table = read_results(store.root)
    holed = summarize(fold_metrics(after, table), table).set_index("strategy")
    assert (holed.loc["lp", "n_missing"], holed.loc["lp", "brier_n"]) == (1, 2)
    assert holed.loc["lp", "undefined"] == "1 of 3 jobs are not done"
    pd.testing.assert_frame_equal(holed.drop("lp"), whole.drop("lp"), check_exact=True)
    compared = compare_with_controls(after, table, resamples=50).set_index("strategy")
    assert compared.loc["lp", "undefined"] == "1 of 3 jobs are not done"
    assert study_status(store.root)[0].missing[0].key == jobs[0].key


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr(_subgroups, "_FEWEST", 1)


def tables_of(store):
    """Make every table that rests on predictions, with what tells its rows apart as index."""
    predictions, table = read_results(store.root)
    folds = fold_metrics(predictions, table)
    bootstrap = PatientBootstrap(predictions, table, resamples=100)
    made = {name: compute(predictions, table, bootstrap=bootstrap) for name, compute in _OF_BOOTSTRAP.items()}
    films = predictions[["cohort", "image"]].drop_duplicates().reset_index(drop=True)
    films["sex"] = np.where(films["image"].str.contains("-[0-5].png"), "F", "M")
    sizes = task_sizes(predictions, table)
    summary = summarize(folds, table, made["intervals"])
    parts = [made[name] for name in ("controls", "intervals", "ranking", "selection")]
    return {
        "folds": folds.set_index("job"),
        "summary": summary.set_index("strategy"),
        "reliability": reliability(predictions, table).set_index("strategy"),
        "subgroups": subgroups(predictions, table, films, resamples=50).set_index("strategy"),
        "decision": decision_map(folds, table, summary, *parts, sizes).set_index("strategy"),
        **{name: of.set_index("strategy_a" if name == "pairwise" else "strategy") for name, of in made.items()},
    }


_OF_BOOTSTRAP = {
    "controls": compare_with_controls,
    "intervals": intervals,
    "pairwise": pairwise_tests,
    "ranking": ranking,
    "selection": selection,
}
# What is said of one result beside others.
_BESIDE = ["rank", "rank_low", "rank_high", "p_best", "top_group", "group", "in_top_group", "cheapest", "evidence"]


def test_a_deleted_record_leaves_its_own_numbers_undefined_and_changes_no_others(store, jobs, small_groups):
    before = tables_of(store)
    shutil.rmtree(store.runs / jobs[0].key)
    after = tables_of(store)
    for name in ("summary", "controls", "intervals", "subgroups", "reliability"):
        others = [table.drop("lp", errors="ignore") for table in (after[name], before[name])]
        pd.testing.assert_frame_equal(*others, check_exact=True)
    hole = "1 of 3 jobs are not done"
    assert set(after["intervals"].loc["lp", "undefined"]) == set(after["subgroups"].loc["lp", "undefined"]) == {hole}
    assert after["intervals"].loc["lp", ["estimate", "ci_low", "ci_high"]].isna().all(axis=None)
    assert after["pairwise"]["undefined"].tolist() == [f"of m lp {hole}"]
    assert after["pairwise"][["difference", "ci_low", "p_bootstrap"]].isna().all(axis=None)
    # The missing one may be the best: nothing is ranked, no winner named.
    assert set(after["ranking"]["undefined"]) == set(after["selection"]["undefined"]) == {f"of m lp {hole}"}
    assert after["ranking"][["rank", "p_best", "top_group", "group"]].isna().all(axis=None)
    assert after["selection"]["corrected"].isna().all()
    assert after["decision"]["in_top_group"].isna().all() and not after["decision"]["cheapest"].any()
    same = ["mcc", "ci_low", "ci_high", "above_controls", "train_seconds"]
    assert after["decision"].loc["fft", same].equals(before["decision"].loc["fft", same])
    assert "1 of its jobs is not done" in after["decision"].loc["lp", "doubts"]


def test_one_altered_prediction_changes_its_own_numbers_and_no_others(store, jobs, small_groups):
    before = tables_of(store)
    shutil.rmtree(store.runs / jobs[0].key)
    # Two of the three patients of the test fold who are ill are called healthy.
    store.write(record(jobs[0], missed=[14, 15, 18, 19]))
    after = tables_of(store)
    for name in before:
        own = jobs[0].key if name == "folds" else "lp"
        if name in ("pairwise", "selection"):
            # One row, of `lp` and another.
            assert not after[name].equals(before[name]), name
            continue
        others = [table[name].drop(own).drop(columns=_BESIDE, errors="ignore") for table in (after, before)]
        pd.testing.assert_frame_equal(*others, check_exact=True)
        assert not after[name].loc[[own]].equals(before[name].loc[[own]]), name
    row, was = after["folds"].loc[jobs[0].key], before["folds"].loc[jobs[0].key]
    row, was = row.astype(object).fillna("missing"), was.astype(object).fillna("missing")
    same = [name for name in row.index if row[name] == was[name]]
    # A test film tells nothing about validation and changes no count.
    assert {"threshold", "threshold_patient", "n_test", "n_test_positive", "trainable_percent"} <= set(same)
    assert not {"brier", "log_loss", "ece", "brier_platt", "log_loss_prior", "brier_patient"} & set(same)


def test_the_plan_itself_is_sealed(store):
    path = store.plans / "study.json"
    content = json.loads(path.read_text())
    content["jobs"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="the plan was altered"):
        read_results(store.root)
