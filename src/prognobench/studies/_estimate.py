"""How long a plan will take, guessed from its floating-point operations."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ._plan import Plan

# Share of the matrix-multiplication peak that forward and backward passes reach on processors; measured between
# 0.3 and 0.6 on ViT-S and EfficientNet. The estimate is called one wherever it is shown.
_SHARE_OF_PEAK = 0.35


@dataclass(frozen=True)
class Estimate:
    """An estimate of a plan's work, not a measurement.

    Attributes
    ----------
    gflops
        10⁹ floating-point operations if no training stops early.
    seconds
        That work at a share of this machine's float32 matrix-multiplication speed.
    """

    gflops: float
    seconds: float


def estimate(plan: Plan) -> Estimate:
    """Estimate the work of a plan from the cards' operation counts.

    Each film goes once through each frozen backbone; a trained job passes its training films forward and backward
    (counted as three forwards) and its validation films forward, every epoch.
    """
    epochs = plan.study.spec.protocol.epochs
    total = 0.0
    frozen: set[tuple[str, str]] = set()
    for job in plan.jobs:
        if job.kind == "control":
            continue
        gflops = plan.backbones[job.model].card.gflops
        if job.kind == "probe":
            if (job.cohort, job.model) not in frozen:
                frozen.add((job.cohort, job.model))
                total += gflops * len(plan.cohorts[job.cohort].films)
            continue
        total += gflops * (epochs * (3 * job.n_train + job.n_val) + job.n_val + job.n_test)
    return Estimate(total, total / (_SHARE_OF_PEAK * _gflops_a_second()))


def _gflops_a_second(size: int = 1024) -> float:
    matrix = np.ones((size, size), dtype=np.float32)
    best = np.inf
    for _ in range(5):
        began = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - began)
    return float(2 * size**3 / best / 1e9)
