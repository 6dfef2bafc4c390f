"""One backbone in memory serves all strategies of a worker, and lies between two jobs as it was loaded."""

import pytest
import torch

from prognobench.models import load_backbone
from prognobench.studies import Store, plan_study, read_study
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


def test_every_strategy_in_turn_gives_the_backbone_back_bit_for_bit(phantom, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY % phantom, encoding="utf-8")
    plan = plan_study(read_study(tmp_path / "study.yaml"))
    bench = Bench(plan, Store(tmp_path / "results"), WorkerSettings(tmp_path / "results", 1, 600.0))
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


def tensors(module):
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
