"""A plan's hours rest on speeds of earlier jobs, where there are any."""

import json

import pytest

from prognobench.frame import home
from prognobench.studies._speeds import Work, known_speed, note_speed

WORK = Work("a processor", 2, "resnet18", "adapter", "fp32")


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("PROGNOBENCH_HOME", str(tmp_path))


def test_what_was_never_done_is_not_known():
    note_speed(WORK, 100.0, 10.0)
    for other in (
        Work("another", 2, "resnet18", "adapter", "fp32"),
        Work("a processor", 4, "resnet18", "adapter", "fp32"),
        Work("a processor", 2, "resnet50", "adapter", "fp32"),
        Work("a processor", 2, "resnet18", "backbone", "fp32"),
        Work("a processor", 2, "resnet18", "adapter", "bf16"),
    ):
        assert known_speed(other) is None
    assert known_speed(WORK) == pytest.approx(10.0)


def test_jobs_weigh_by_their_length_and_older_ones_fade():
    note_speed(WORK, 100.0, 10.0)
    note_speed(WORK, 900.0, 30.0)
    assert known_speed(WORK) == pytest.approx(1000 / 40)
    for _ in range(20):
        note_speed(WORK, 50.0 * 600, 600.0)
    assert known_speed(WORK) == pytest.approx(50.0, rel=0.01)


def test_a_moment_says_nothing():
    note_speed(WORK, 1.0, 0.5)
    note_speed(WORK, 0.0, 100.0)
    assert known_speed(WORK) is None


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', '{"a": {"gflops": 1}}'])
def test_a_damaged_file_is_measured_anew(content):
    (home() / "speeds.json").write_text(content)
    assert known_speed(WORK) is None
    note_speed(WORK, 100.0, 10.0)
    assert known_speed(WORK) == pytest.approx(10.0)
    assert list(json.loads((home() / "speeds.json").read_text())) == [WORK.key]


@pytest.mark.torch
def test_a_job_has_a_fixed_cost_however_fast_the_machine_is(study_file, monkeypatch):
    from prognobench.studies import estimate, plan_study, read_study

    monkeypatch.setattr("prognobench.training.gflops_a_second", lambda precision: 1e15)
    monkeypatch.setattr("prognobench.studies._estimate.known_speed", lambda work: None)
    plan = plan_study(read_study(study_file))
    # Three controls and three probes at 0.1 s, three adapters at 0.6 s, and the start of the worker.
    assert estimate(plan).seconds == pytest.approx(5.0 + 6 * 0.1 + 3 * 0.6, abs=1e-3)


@pytest.mark.torch
def test_heads_that_train_by_steps_take_their_time(study_file, monkeypatch):
    from prognobench.studies import estimate, plan_study, read_study

    monkeypatch.setattr("prognobench.training.gflops_a_second", lambda precision: 1e15)
    monkeypatch.setattr("prognobench.studies._estimate.known_speed", lambda work: None)

    def seconds(*overrides):
        return estimate(plan_study(read_study(study_file, overrides))).seconds

    solved = seconds()
    short, long = (seconds("protocol.probe={solver: heads}", f"protocol.epochs={epochs}") for epochs in (100, 200))
    assert solved < short
    assert long - short == pytest.approx(short - solved, rel=1e-6)
