"""How long a training step takes, beside a plain loop and HF Trainer, alternating; its own in a process of its own."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from own_process import own_process
from rivals import films, hf_trainer, plain_loop
from torch.utils.flop_counter import FlopCounterMode

from prognobench.models import find_weights, load_backbone, model_card
from prognobench.protocols import resolve_protocol
from prognobench.strategies import parse_strategies
from prognobench.training import Films, Rows, keep_freed_memory, use_threads
from prognobench.training._bodies import Adapted
from prognobench.training._finetune import _runs, _Trainer
from prognobench.training._heads import candidates

BATCH = 32
CASES = (("dinov2_s", "lora"), ("dinov2_s", "fft"), ("resnet18", "lora"), ("resnet18", "fft"))
KINDS = {
    "matrix products and convolutions": ("aten::mm", "aten::addmm", "aten::bmm", "convolution"),
    "softmax": ("softmax",),
    "GELU": ("gelu",),
    "normalization": ("norm",),
    "optimizer": ("adam",),
}
RIVALS = ("plain loop, float32", "plain loop, autocast", "HF Trainer, bf16")


def trainer_of(model: str, strategy: str, pixels: np.ndarray, labels: np.ndarray, precision: str) -> _Trainer:
    """Return this project's trainer, as a job has it."""
    card, (chosen,) = model_card(model), parse_strategies([strategy])
    backbone = load_backbone(card, find_weights(card, "random"))
    module = chosen.apply(backbone, chosen.plan(backbone, card), 0)
    given = Films(Rows(pixels, np.arange(len(pixels))), labels)
    protocol = resolve_protocol({"base": "quick", "batch_size": len(pixels)})
    body = Adapted(module, chosen, card, protocol, precision, "cpu")
    return _Trainer(body, _runs(candidates(card, protocol), protocol), given, given, 2, protocol, 0)


def serve(connection: Connection, model: str, strategy: str, pixels: np.ndarray, labels: np.ndarray) -> None:
    """Do a step of a job each time one is asked for, films read from the cache and all, and answer with its seconds.

    At last answer with the operations of a step and the shares of its time. The process is set up as a worker of `run`
    is; what that sets up is not to serve the rivals.
    """
    keep_freed_memory()
    use_threads(connection.recv())
    trainer, everything = trainer_of(model, strategy, pixels, labels, "bf16"), np.arange(len(labels))
    while connection.recv() == "step":
        began = time.perf_counter()
        trainer._step(everything)
        connection.send(time.perf_counter() - began)
    with FlopCounterMode(display=False) as counter:
        trainer._step(everything)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        trainer._step(everything)
    connection.send((counter.get_total_flops() / 1e9, shares(profile)))


def measured(model: str, strategy: str, pixels: np.ndarray, rounds: int) -> dict[str, Any]:
    """Return the seconds of each one's steps, alternating, and the operations of a step."""
    labels = (np.arange(len(pixels)) % 3 == 0).astype(np.int64)
    images, targets = films(model, pixels), torch.from_numpy(labels)
    with tempfile.TemporaryDirectory() as folder, own_process(serve, model, strategy, pixels, labels) as own:
        own.send(torch.get_num_threads())

        def own_step() -> float:
            own.send("step")
            taken: float = own.recv()
            return taken

        steps: dict[str, Callable[[], float]] = {
            RIVALS[0]: plain_loop(model, strategy, images, targets, bf16=False),
            RIVALS[1]: plain_loop(model, strategy, images, targets, bf16=True),
            RIVALS[2]: hf_trainer(model, strategy, images, targets, Path(folder)),
            "prognobench": own_step,
        }
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for done in range(rounds + 1):
            for name, step in steps.items():
                taken = step()
                if done:  # the first one sets up
                    seconds[name].append(taken)
        own.send("account")
        gflops, profile = own.recv()
    median = {name: statistics.median(each) for name, each in seconds.items()}
    mine = median["prognobench"]
    return {
        "model": model,
        "strategy": strategy,
        "batch": len(pixels),
        "films_a_second": {name: len(pixels) / each for name, each in median.items()},
        "times_as_fast_as": {name: median[name] / mine for name in RIVALS},
        "seconds": seconds,
        "profile": profile,
        "gflops_a_step": gflops,
        "gflops_a_second": gflops / mine,
    }


def shares(profile: Any) -> dict[str, float]:
    """Return which share of a step's processor time each kind of operation took."""
    seconds: dict[str, float] = {}
    for row in profile.key_averages():
        kind = next((kind for kind, names in KINDS.items() if any(name in row.key for name in names)), "the rest")
        seconds[kind] = seconds.get(kind, 0.0) + row.self_cpu_time_total
    total = sum(seconds.values())
    return {kind: seconds.get(kind, 0.0) / total for kind in (*KINDS, "the rest")}
