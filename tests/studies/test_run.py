"""Studies run, resume, survive failing jobs, and give the same bits however they were run."""

import json
import shutil

import pandas as pd
import pytest

from prognobench.evaluation import fold_metrics
from prognobench.frame import InputError
from prognobench.studies import (
    Store,
    plan_study,
    read_cohorts,
    read_films,
    read_results,
    read_study,
    run_plan,
    study_status,
)
from prognobench.studies._store import read_plan, write_plan

pytestmark = pytest.mark.torch


def run(path, results, *overrides, **settings):
    return run_plan(plan_study(read_study(path, overrides)), results, **{"threads": 1, **settings})


def same_predictions(one, other):
    (a, _), (b, _) = read_results(one), read_results(other)
    pd.testing.assert_frame_equal(a, b, check_exact=True)
    return len(a)


def test_records_hold_what_the_design_says(finished):
    store = Store(finished)
    predictions, jobs = read_results(finished)
    assert jobs["state"].eq("done").all()
    assert len(store.record_keys()) == len(jobs) == 9
    for key in store.record_keys():
        names = {path.name for path in (store.runs / key).iterdir()}
        expected = {"job.json", "status.json", "predictions.parquet", "history.parquet", "cost.json"}
        assert names == expected | {"environment.json"}
        record = store.read(key)
        assert set(record.predictions["split"]) == {"val", "test"}
        assert record.predictions["y_score"].between(0, 1).all()
        assert record.environment["versions"]["torch"]
        assert record.environment["split_sha256"] in {path.stem for path in store.splits.iterdir()}
    tested = predictions[predictions["split"] == "test"]
    films = tested.groupby(tested["job"].map(jobs.set_index("job")["strategy"]))["image"]
    assert films.nunique().nunique() == 1
    assert (films.count() == films.nunique()).all()


def test_frozen_features_are_computed_once_for_all_folds_and_runs(study_file, phantom, tmp_path, monkeypatch):
    monkeypatch.setenv("PROGNOBENCH_HOME", str(tmp_path / "home"))
    assert run(study_file, tmp_path / "results", "strategies=[lp]").done == 6
    costs = [record.cost for record in records(tmp_path / "results", "lp")]
    rows = sum(1 for _ in (phantom.parent / "images").iterdir())
    assert {cost["shared"]["features"] for cost in costs} == {costs[0]["shared"]["features"]}
    assert {cost["shared"]["films"] for cost in costs} == {rows}
    assert {cost["shared"]["jobs"] for cost in costs} == {3}
    assert sum(cost["shared"]["forwards_here"] for cost in costs) == rows
    assert run(study_file, tmp_path / "again", "strategies=[lp]", "name=again").done == 6
    assert sum(record.cost["shared"]["forwards_here"] for record in records(tmp_path / "again", "lp")) == 0


def test_two_studies_in_one_folder_share_records_and_are_reported_apart(study_file, tmp_path):
    results = tmp_path / "results"
    run(study_file, results, "strategies=[lp]", "name=a")
    other = "protocol={base: quick, epochs: 2}"
    summary = run(study_file, results, "strategies=[lp]", "name=b", other)
    assert (summary.found, summary.done) == (6, 0)
    for name, protocol in (("a", "quick[batch_size=32,epochs=1]"), ("b", "quick[epochs=2]")):
        predictions, jobs = read_results(results, name)
        assert set(jobs["protocol"]) == {protocol}
        assert set(fold_metrics(predictions, jobs)["strategy"]) == {"majority", "lp"}
    with pytest.raises(InputError, match=r"several studies\. Known: a, b"):
        read_results(results)
    with pytest.raises(InputError, match="there is no study 'c'"):
        read_results(results, "c")


def test_a_study_from_before_its_films_were_kept_gets_them_when_it_runs_again(study_file, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "results")
    store = Store(tmp_path / "results")
    assert len(read_films(store.root)) > 24
    older = read_plan(store, "tiny")
    del older["cohorts"]
    write_plan(store, "tiny", older)
    assert read_films(store.root).empty
    assert run(study_file, store.root).found == 9
    pd.testing.assert_frame_equal(read_films(store.root), read_films(finished))
    pd.testing.assert_frame_equal(read_cohorts(store.root), read_cohorts(finished))


def test_another_study_under_the_same_name_is_refused(study_file, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "results")
    with pytest.raises(InputError, match=r"another plan of the study 'tiny': 9 of its jobs") as caught:
        run(study_file, tmp_path / "results", "split_seed=7")
    assert "name=tiny-2" in str(caught.value)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("split_seed=7", "what changed: split_seed: 42 → 7)"),
        ("protocol.epochs=2", "what changed: protocol.epochs: 1 → 2)"),
        ("validation.kfold.folds=4", "what changed: validation: kfold3 → kfold4; validation.kfold.folds: 3 → 4)"),
        ("strategies=[lp, {lora: {rank: 2, alpha: 9}}]", "what changed: strategies: [lp, lora_r2] → [lp, lora_r2_a9])"),
        (
            'models=[{"timm:test_vit": {weights: "random:7"}}]',
            "what changed: models: [timm:test_vit@random] → [timm:test_vit@random:7])",
        ),
    ],
)
def test_the_refusal_says_which_setting_changed(study_file, finished, tmp_path, override, told):
    shutil.copytree(finished, tmp_path / "results")
    with pytest.raises(InputError) as caught:
        run(study_file, tmp_path / "results", override)
    assert told in str(caught.value)


def test_a_changed_label_and_a_plan_that_kept_no_settings_are_told(study_file, finished, phantom, tmp_path):
    shutil.copytree(finished, tmp_path / "results")
    shutil.copytree(phantom.parent, tmp_path / "cohort")
    table = tmp_path / "cohort" / "labels.csv"
    table.write_text(table.read_text().replace(",no,", ",unknown,", 1))
    study_file.write_text(study_file.read_text().replace(str(phantom), "cohort/cohort.yaml"))
    with pytest.raises(InputError, match="the films, labels, groups or centers of phantom · icu"):
        run(study_file, tmp_path / "results")
    path = tmp_path / "results" / "plans" / "tiny.json"
    plan = json.loads(path.read_text())
    del plan["basis"], plan["sha256"]
    write_plan(Store(tmp_path / "results"), "tiny", plan)
    with pytest.raises(InputError, match="the older plan did not keep them"):
        run(study_file, tmp_path / "results")


def test_an_altered_plan_is_refused(study_file, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "results")
    path = tmp_path / "results" / "plans" / "tiny.json"
    honest = path.read_text()
    for altered in (honest.replace("timm:test_vit@random", "dinov2_s"), "{}", "[]", "", '{"jobs": [{}]}'):
        path.write_text(altered)
        for reader in (read_results, study_status):
            with pytest.raises(InputError, match="the plan was altered"):
                reader(tmp_path / "results")


def test_a_job_that_another_machine_has_done_meanwhile_is_not_done_again(study_file, finished, tmp_path):
    results = tmp_path / "results"

    class OtherMachine:
        """Puts all finished records in place as soon as the first job is under way."""

        def begin(self, jobs, done):
            self.jobs = 0

        def started(self, job):
            self.jobs += 1
            for folder in (finished / "runs").iterdir():
                if folder.name != job.key and not (results / "runs" / folder.name).exists():
                    shutil.copytree(folder, results / "runs" / folder.name)

        def ended(self, job, error):
            assert error is None

    other = OtherMachine()
    summary = run(study_file, results, watcher=other)
    assert (other.jobs, summary.done, summary.found) == (1, 1, 8)
    assert same_predictions(finished, results) > 0


def test_to_run_again_does_nothing(finished, study_file):
    store = Store(finished)
    before = {key: (store.runs / key / "status.json").stat().st_mtime_ns for key in store.record_keys()}
    summary = run(study_file, finished)
    assert (summary.planned, summary.found, summary.done) == (9, 9, 0)
    assert {key: (store.runs / key / "status.json").stat().st_mtime_ns for key in store.record_keys()} == before


def test_two_workers_give_the_bits_of_one(finished, study_file, tmp_path):
    summary = run(study_file, tmp_path / "two", workers=2)
    assert summary.done == 9
    assert same_predictions(finished, tmp_path / "two") > 0


def test_a_larger_study_reuses_the_records_of_a_smaller_one(finished, study_file, tmp_path):
    run(study_file, tmp_path / "results", "strategies=[lp]")
    summary = run(study_file, tmp_path / "results")
    assert (summary.found, summary.done) == (6, 3)
    assert same_predictions(finished, tmp_path / "results") > 0


def test_a_failing_job_is_recorded_and_the_others_go_on(study_file, tmp_path):
    # A learning rate that overflows fails lora and leaves lp and the control alone.
    bad = "protocol={base: quick, epochs: 2, batch_size: 8, adapter_learning_rate: 1e38, head_learning_rates: [1e38]}"
    summary = run(study_file, tmp_path / "results", bad)
    assert (summary.done, len(summary.failed)) == (6, 3)
    (state,) = study_status(tmp_path / "results")
    assert (state.done, len(state.failed), len(state.missing)) == (6, 3, 0)
    assert all("finite" in error for _, error, _ in state.failed)
    predictions, jobs = read_results(tmp_path / "results")
    assert jobs["state"].value_counts().to_dict() == {"done": 6, "failed": 3}
    assert len(fold_metrics(predictions, jobs)) == 6
    again = run(study_file, tmp_path / "results", bad)
    assert (again.found, len(again.failed)) == (6, 3)
    assert {attempts for _, _, attempts in study_status(tmp_path / "results")[0].failed} == {2}


def test_a_worker_that_dies_fails_its_job_alone(study_file, tmp_path):
    import os
    import signal
    import threading
    import time

    import psutil

    class Killer:
        def begin(self, jobs, done):
            self.killed = None

        def started(self, job):
            if job.strategy == "lora_r2" and self.killed is None:
                self.killed = job
                threading.Thread(target=self.kill).start()

        def kill(self):
            time.sleep(0.02)
            for child in psutil.Process().children():
                if "spawn_main" in " ".join(child.cmdline()):
                    os.kill(child.pid, signal.SIGKILL)

        def ended(self, job, error):
            pass

    killer = Killer()
    summary = run(study_file, tmp_path / "results", watcher=killer)
    assert [job.key for job, _ in summary.failed] == [killer.killed.key]
    assert "killed by signal 9" in summary.failed[0][1]
    assert summary.done == 8
    assert run(study_file, tmp_path / "results").done == 1


def test_an_altered_record_stops_the_next_run_and_every_reader(study_file, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "results")
    store = Store(tmp_path / "results")
    first, second = store.record_keys()[:2]
    for key in (first, second):
        path = store.runs / key / "cost.json"
        path.write_text(path.read_text().replace("own_seconds", "own_secondz"))
    for reader in (lambda: run(study_file, tmp_path / "results"), lambda: read_results(tmp_path / "results")):
        with pytest.raises(InputError) as caught:
            reader()
        assert len(caught.value.problems) == 2
        assert first in str(caught.value)
        assert second in str(caught.value)


def test_an_altered_split_file_stops_the_next_run(study_file, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "results")
    path = next(Store(tmp_path / "results").splits.iterdir())
    path.write_text(path.read_text().replace(",test", ",val", 1))
    with pytest.raises(InputError, match="the file was altered"):
        run(study_file, tmp_path / "results")


def test_a_deleted_record_is_a_hole_and_is_done_again_to_the_same_bits(study_file, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "results")
    store = Store(tmp_path / "results")
    shutil.rmtree(store.runs / store.record_keys()[4])
    _, jobs = read_results(tmp_path / "results")
    assert jobs["state"].value_counts().to_dict() == {"done": 8, "missing": 1}
    assert run(study_file, tmp_path / "results").done == 1
    assert same_predictions(finished, tmp_path / "results") > 0


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(InputError, match="no results of a study"):
        read_results(tmp_path)


def test_weights_are_kept_where_the_study_says_so(study_file, tmp_path):
    from safetensors.torch import load

    run(study_file, tmp_path / "results", "save=weights", "controls=[]")
    store = Store(tmp_path / "results")
    for key in store.record_keys():
        record = store.read(key)
        tensors = load(record.tensors)
        assert {"head.weight", "head.bias"} <= tensors.keys()
        assert any("lora_A" in name for name in tensors) == (record.job.strategy == "lora_r2")


@pytest.mark.parametrize("settings", [{"workers": 0}, {"threads": 0}])
def test_numbers_that_cannot_work_are_named(study_file, tmp_path, settings):
    with pytest.raises(InputError, match="cannot work"):
        run(study_file, tmp_path / "results", **settings)


def test_heads_on_several_blocks_have_features_of_their_own(study_file, finished, tmp_path):
    more = "protocol={base: quick, epochs: 1, batch_size: 32, head: {blocks: 4, patch_mean: true}}"
    assert run(study_file, tmp_path / "results", more, "strategies=[lp]").done == 6
    one, four = ({r.job.key: r for r in records(folder, "lp")} for folder in (finished, tmp_path / "results"))
    assert not one.keys() & four.keys()
    (few,), (many,) = ({r.cost["trainable_parameters"] for r in found.values()} for found in (one, four))
    assert (many - 2) == 5 * (few - 2)


def records(folder, strategy):
    store = Store(folder)
    return [r for r in map(store.read, store.record_keys()) if r.job.strategy == strategy]
