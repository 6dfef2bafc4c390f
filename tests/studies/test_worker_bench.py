"""One backbone in memory serves all strategies of a worker, and lies between two jobs as it was loaded."""

import pandas as pd
import pytest
import torch

from prognobench.models import load_backbone
from prognobench.studies import Store, plan_study, read_study
from prognobench.studies._kit import kit_of
from prognobench.studies._worker import Bench, WorkerSettings

pytestmark = pytest.mark.torch
STUDY = """\
name: bench
cohorts: [{path: %s, tasks: [icu]}]
models: [{"timm:test_vit": {weights: "random:11"}}, {"timm:test_resnet": {weights: "random:11"}}]
strategies: [lp, {lora: {rank: 2}}, fft, {vera: {rank: 2}}, ia3, bitfit]
validation: {kfold: {folds: 3}}
protocol: {base: quick, epochs: 1, batch_size: 8}
controls: []
"""
PLAIN = 'models=[{"timm:test_vit": {weights: "random:11"}}]'


def test_every_strategy_in_turn_gives_the_backbone_back_bit_for_bit(phantom, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY % phantom, encoding="utf-8")
    plan = plan_study(read_study(tmp_path / "study.yaml"))
    bench = Bench(kit_of(plan), Store(tmp_path / "results"), WorkerSettings(tmp_path / "results", 1, 600.0))
    assert len(plan.jobs) == 3 * 12
    for name, backbone in plan.backbones.items():
        loaded = tensors(load_backbone(backbone.card, backbone.weights))
        held = []
        # Forth and back, so that each strategy follows others.
        jobs = [job for job in plan.jobs if job.model == name and job.fold == 0]
        for job in [*jobs, *reversed(jobs)]:
            bench.run(job)
            bench.checkpoint_of(job).unlink(missing_ok=True)
            if bench.loaded is None:
                continue  # a probe reads stored features
            assert bench.loaded[0] == name
            held.append(bench.loaded[1])
            now = tensors(held[-1])
            assert now.keys() == loaded.keys(), job.strategy
            assert all(torch.equal(now[key], tensor) for key, tensor in loaded.items()), job.strategy
            assert not held[-1].training or job.strategy == "lp"
        assert len(held) >= 10
        assert all(module is held[0] for module in held)


def test_the_cost_counts_every_film_that_went_through_the_backbone_and_a_lost_state_is_in_the_record(phantom, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY % phantom, encoding="utf-8")
    plan = plan_study(read_study(tmp_path / "study.yaml", ["strategies=[{lora: {rank: 2}}]"]))
    bench = Bench(kit_of(plan), Store(tmp_path / "results"), WorkerSettings(tmp_path / "results", 1, 600.0))
    job = plan.jobs[0]
    sent = []
    module = load_backbone(plan.card(job), plan.backbone(job).weights)
    module.register_forward_pre_hook(lambda _, images: sent.append(len(images[0])))
    bench.loaded = (plan.backbone(job).name, module)
    honest = bench.run(job)
    passes = honest.cost["film_passes"]
    assert passes == {"forward": sum(sent), "backward": job.n_train}
    # One epoch with its validation, and in the end the validation and test films once more.
    assert passes["forward"] == job.n_train + 2 * job.n_val + job.n_test
    assert honest.cost["gflops"] == pytest.approx(plan.card(job).gflops * (passes["forward"] + 2 * job.n_train))
    assert "warnings" not in honest.environment
    bench.checkpoint_of(job).parent.mkdir(parents=True, exist_ok=True)
    bench.checkpoint_of(job).write_bytes(b"of another version")
    begun_anew = bench.run(job)
    pd.testing.assert_frame_equal(begun_anew.predictions, honest.predictions, check_exact=True)
    assert "put aside as" in begun_anew.environment["warnings"][0]


def tensors(module):
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def test_features_that_lie_ready_are_read_without_their_backbone(phantom, tmp_path, monkeypatch):
    monkeypatch.setenv("PROGNOBENCH_HOME", str(tmp_path / "home"))
    (tmp_path / "study.yaml").write_text(STUDY % phantom, encoding="utf-8")
    plan = plan_study(read_study(tmp_path / "study.yaml", ["strategies=[lp]"]))
    job = plan.jobs[0]
    first, second = (
        Bench(kit_of(plan), Store(tmp_path / "results"), WorkerSettings(tmp_path / "results", 1, 600.0))
        for _ in range(2)
    )
    there = first.run(job).predictions
    assert first.loaded is not None
    pd.testing.assert_frame_equal(second.run(job).predictions, there, check_exact=True)
    assert second.loaded is None


def test_what_a_network_has_freed_is_given_back_before_the_next_job_is_measured(phantom, tmp_path, monkeypatch):
    monkeypatch.setenv("PROGNOBENCH_HOME", str(tmp_path / "home"))
    (tmp_path / "study.yaml").write_text(STUDY % phantom, encoding="utf-8")
    plan = plan_study(read_study(tmp_path / "study.yaml", [PLAIN, "strategies=[lp, fft]"]))
    probes, trained = ([job for job in plan.jobs if job.strategy == name] for name in ("lp", "fft"))
    bench = Bench(kit_of(plan), Store(tmp_path / "results"), WorkerSettings(tmp_path / "results", 1, 600.0))
    done = []
    monkeypatch.setattr("prognobench.training.give_back_freed_memory", lambda: done.append("given back"))
    monkeypatch.setattr("prognobench.studies._worker._reset_peak_memory", lambda: done.append("counted from here"))
    for job in (probes[0], probes[1], trained[0], probes[2]):
        done.append(job.strategy)
        bench.run(job)
    expected = ["lp", "counted from here"]  # sends the films through the backbone
    expected += ["lp", "given back", "counted from here"]  # finds their features
    expected += ["fft", "counted from here"]
    expected += ["lp", "given back", "counted from here"]
    assert done == expected
