"""Measure this project beside what a user would otherwise run: `make bench`.

Training steps beside a plain timm and peft loop and HF Trainer; a grid of linear probes beside one bare pass through
the backbone, DINOv2's online linear evaluation and scikit-learn; what the engine adds to a job; what a worker holds;
how the cost of a grid grows. All in one run, alternating, on synthetic films and random weights. What is not measured
whole is called extrapolated. Writes `bench.json` and four small plots, from which docs/generate.py makes the tables of
docs/speed.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import engine
import matplotlib
import memory
import numpy as np
import steps
import torch

import studies
from prognobench.training import describe_device, gflops_a_second

PACKAGES = ("prognobench", "torch", "timm", "peft", "transformers", "accelerate", "scikit-learn", "numpy")
AXES = {"films": "films", "folds": "folds", "shots": "kinds of few-shot regimes", "models": "models"}


def machine() -> dict[str, Any]:
    """Say what is measured on, and the speed of its matrix products."""
    return {
        **describe_device(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "gemm_gflops_a_second": {name: gflops_a_second(name, 2048) for name in ("fp32", "bf16")},
        "load_before": os.getloadavg()[0],
    }


def training_steps(rounds: int) -> list[dict[str, Any]]:
    """Measure each case beside its rivals."""
    with studies.own_home() as folder:
        pixels = np.asarray(studies.pixels_of(studies.cohort_of(folder, steps.BATCH)).array)
        return [steps.measured(model, strategy, pixels, rounds) for model, strategy in steps.CASES]


def draw(costs: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw the seconds of whole studies along each axis."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, all_axes = pyplot.subplots(1, 4, figsize=(11, 2.8), layout="constrained")
    for axes, (axis, rows) in zip(all_axes, costs.items(), strict=True):
        values = [row[axis] for row in rows]
        axes.plot(values, [row["seconds"] for row in rows], "o-", color="#0072b2", label="whole study")
        axes.plot(
            values,
            [row["features_seconds"] * (row["forwards"] and 1) for row in rows],
            "s--",
            color="#d55e00",
            label="one model's pass",
        )
        axes.set(xlabel=AXES[axis], ylim=(0, None), xlim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[0].set_ylabel("seconds")
    all_axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, write and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path("docs/measured"))
    arguments.add_argument("--plots", type=Path, default=Path("docs/images"))
    arguments.add_argument("--rounds", type=int, default=3, help="steps of each rival that count")
    arguments.add_argument("--films", type=int, nargs="+", default=[500, 5000], help="of the grids")
    names = ("steps", "grid", "engine", "memory", "costs")
    arguments.add_argument("--only", nargs="+", choices=names, help="print these and write nothing")
    chosen = arguments.parse_args()
    began = time.perf_counter()
    torch.set_num_threads(os.cpu_count() or 1)
    found: dict[str, Any] = {"machine": machine()}
    parts = {
        "steps": lambda: training_steps(chosen.rounds),
        "grid": lambda: [studies.grid("dinov2_s", films, whole=films <= 500) for films in chosen.films],
        "engine": lambda: engine.measured(1000),
        "memory": memory.measured,
        "costs": studies.costs,
    }
    for name, part in parts.items():
        if not chosen.only or name in chosen.only:
            print(f"{name} …", flush=True)
            found[name] = part()
    found["minutes"] = (time.perf_counter() - began) / 60
    if chosen.only:
        print(json.dumps(found, indent=1))
        return
    path = chosen.out / "bench.json"
    chosen.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    chosen.plots.mkdir(parents=True, exist_ok=True)
    draw(found["costs"], chosen.plots / "cost.png")
    print(f"{path} written after {found['minutes']:.1f} minutes; `docs/generate.py` puts it into docs/speed.md")


if __name__ == "__main__":
    main()
