"""Records are whole, sealed, and refused by name when they were altered."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from prognobench.frame import InputError
from prognobench.studies import Job, Record, Store
from prognobench.studies._job import identity_fragments

WORDS = {
    "cohort": "c", "task": "t", "test_cohorts": ("c",), "model": "none", "strategy": "majority", "regime": "full",
    "shots": None, "draw": None, "validation": "kfold3", "repeat": 0, "fold": 1, "test_center": None, "seed": 42,
    "protocol": "quick", "kind": "control", "weights": None, "architecture": "none", "n_train": 2, "n_val": 1,
    "n_test": 1,
}  # fmt: skip


def record(fold=1, score=0.5):
    job = Job(**{**WORDS, "fold": fold}, fragments=identity_fragments({"fold": fold}))
    predictions = pd.DataFrame(
        {
            "cohort": ["c", "c"],
            "image": ["a", "b"],
            "patient": ["p", "q"],
            "center": ["", ""],
            "split": ["val", "test"],
            "y_true": [0, 1],
            "y_score": [score, 0.25],
        }
    )
    history = pd.DataFrame({"candidate": ["x"], "val_loss": [0.1], "chosen": [True]})
    return Record(job, predictions, history, {"own_seconds": 1.0}, {"versions": {}})


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_a_record_reads_back_as_it_was_written(store):
    written = record()
    store.write(written)
    found = store.read(written.job.key)
    assert found.job == written.job
    pd.testing.assert_frame_equal(found.predictions, written.predictions)
    pd.testing.assert_frame_equal(found.history, written.history)
    assert (found.cost, found.environment) == (written.cost, written.environment)
    assert list(store.tmp.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["job.json", "cost.json", "environment.json", "predictions.parquet", "history.parquet"]
)
def test_an_altered_file_is_refused_by_name(store, name):
    store.write(record())
    key = record().job.key
    path = store.runs / key / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for reader in (store.read, store.verify):
        with pytest.raises(InputError) as caught:
            reader(key)
        assert f"record {key}" in str(caught.value)
        assert f"{name} was altered" in str(caught.value)


def test_missing_added_and_renamed_parts_are_refused(store):
    store.write(record())
    key = record().job.key
    folder = store.runs / key
    (folder / "extra.txt").write_text("x")
    with pytest.raises(InputError, match=r"extra\.txt was added"):
        store.read(key)
    (folder / "extra.txt").unlink()
    (folder / "history.parquet").rename(folder.parent / "history.parquet")
    with pytest.raises(InputError, match=r"history\.parquet is missing"):
        store.read(key)
    (folder.parent / "history.parquet").rename(folder / "history.parquet")
    folder.rename(folder.with_name("0" * 64))
    with pytest.raises(InputError, match="the folder's name is not the key"):
        store.read("0" * 64)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": "done"}'])
def test_a_broken_status_is_refused(store, content):
    store.write(record())
    (store.runs / record().job.key / "status.json").write_text(content)
    with pytest.raises(InputError, match=r"status\.json is missing or not as it was written|does not name"):
        store.read(record().job.key)


def test_who_comes_second_changes_nothing(store):
    store.write(record(score=0.5))
    store.write(record(score=0.9))
    assert store.read(record().job.key).predictions["y_score"].iloc[0] == 0.5
    assert list(store.tmp.iterdir()) == []


def test_a_failure_counts_attempts_and_gives_way_to_a_record(store):
    job = record().job
    store.write_failure(job, "first")
    store.write_failure(job, "second")
    status = store.status(job.key)
    assert (status.state, status.attempts, status.error) == ("failed", 2, "second")
    with pytest.raises(InputError, match="not a finished record"):
        store.read(job.key)
    store.write(record())
    assert (store.status(job.key).state, store.status(job.key).attempts) == ("done", 3)
    store.write_failure(job, "late")
    assert store.status(job.key).state == "done"


def test_a_finished_record_survives_a_failure_that_comes_in_the_same_moment(store, monkeypatch):
    """Between the look at the state and the renaming another process may put its own result there."""
    key, honest = record().job.key, Store.status
    store.write_failure(record().job, "first")

    def status(self, key):
        found = honest(self, key)
        if found is not None and found.state == "failed" and not entered:
            entered.append(True)
            Store(store.root).write(record())
        return found

    entered = []
    monkeypatch.setattr(Store, "status", status)
    store.write_failure(record().job, "second")
    assert entered
    monkeypatch.setattr(Store, "status", honest)
    assert store.status(key).state == "done"
    assert list(store.tmp.iterdir()) == []


def test_a_finished_record_replaces_a_failure_that_came_first(store, monkeypatch):
    honest, entered = Store._settle, []

    def settle(self, draft, final):
        if not entered:
            entered.append(True)
            Store(store.root).write_failure(record().job, "of another machine")
        honest(self, draft, final)

    monkeypatch.setattr(Store, "_settle", settle)
    store.write(record())
    assert store.status(record().job.key).state == "done"
    assert store.read(record().job.key).job == record().job


@pytest.mark.parametrize(("old", "new"), [('"done"', '"faild"'), ('"done"', '"failed"')])
def test_a_finished_record_cannot_be_passed_off_as_unfinished(store, old, new):
    store.write(record())
    path = store.runs / record().job.key / "status.json"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match="not as it was written"):
        store.status(record().job.key)


def test_a_write_that_fails_leaves_nothing(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.write(record())
    assert store.record_keys() == []
    assert list(store.tmp.iterdir()) == []


def test_strange_things_in_tmp_are_left_alone(store):
    store.tmp.mkdir()
    for name in ("x.draft", "a-b.draft", "-@.draft"):
        (store.tmp / name).mkdir()
    store.clear_leftovers()
    assert len(list(store.tmp.iterdir())) == 3


def test_leftovers_of_dead_processes_go_and_those_of_living_ones_stay(store):
    code = (
        "import sys, os, json; from pathlib import Path; from prognobench.studies import Store\n"
        "with Store(Path(sys.argv[1]))._draft('k' * 64) as draft:\n"
        "    (draft / 'half').write_text('x'); os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(store.root)], check=False)
    with store._draft("l" * 64) as mine:
        assert len(list(store.tmp.iterdir())) == 2
        store.clear_leftovers()
        assert list(store.tmp.iterdir()) == [mine]


def test_records_of_the_first_version_stay_readable():
    """`historic/v1` was written by version 0.1.0 and is never written again."""
    store = Store(Path(__file__).parent / "historic" / "v1")
    (key,) = store.record_keys()
    found = store.read(key)
    assert (found.job.task, found.job.strategy, found.job.fold) == ("t", "majority", 1)
    assert found.predictions["y_score"].tolist() == [0.5, 0.25]


def test_words_of_later_versions_do_not_make_a_job_unreadable():
    content = record().job.to_json()
    content["words"] |= {"invented_later": 1}
    del content["words"]["test_center"]
    assert Job.from_json(content) == record().job


def test_a_record_moves_to_its_place_when_all_of_it_is_on_the_disk(store, monkeypatch):
    on_disk, honest, rename = [], os.fsync, Path.rename

    def wait(number):
        honest(number)
        on_disk.append(number)

    def moved(self, target):
        if target.parent == store.runs:
            assert len(on_disk) == len(list(self.iterdir())) == 6
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", wait)
    monkeypatch.setattr(Path, "rename", moved)
    store.write(record())
    assert store.record_keys() == [record().job.key]
