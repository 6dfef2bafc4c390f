"""Whole studies of linear probes, run as a user runs them: what a grid takes, and how its cost grows."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rivals import bare_pass, films, online_linear
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from prognobench.cohorts import Preprocessing, load_cohort, make_phantom, open_pixels
from prognobench.protocols import resolve_protocol
from prognobench.training import Films, Rows, fit_probe

FOLDS, DRAWS, SHOTS = 5, 5, (1, 2, 4, 8, 16)
EPOCHS = 10
STUDY = """\
name: grid
cohorts: [{{path: {cohort}/cohort.yaml, tasks: [icu]}}]
models: [{models}]
strategies: [lp]
regimes: [full{shots}]
validation: {{kfold: {{folds: {folds}}}}}
protocol: quick
controls: []
"""


@contextmanager
def own_home() -> Iterator[Path]:
    """Give an empty folder in which caches lie, so that nothing was computed before."""
    before = os.environ.get("PROGNOBENCH_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROGNOBENCH_HOME"] = f"{folder}/home"
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["PROGNOBENCH_HOME"]
            else:
                os.environ["PROGNOBENCH_HOME"] = before


def cohort_of(folder: Path, count: int) -> Path:
    """Make a phantom of so many films, one a patient."""
    cohort = folder / f"phantom-{count}"
    if not cohort.exists():
        make_phantom(cohort, count, 0, films_per_patient=(1, 1), size=256)
    return cohort


def pixels_of(cohort: Path, size: int = 224) -> Any:
    """Return the pixel cache of a cohort, made where it lacks."""
    return open_pixels(load_cohort(cohort / "cohort.yaml"), Preprocessing(name="standard", size=size))


def run(folder: Path, cohort: Path, models: Sequence[str], folds: int, shots: Sequence[int]) -> dict[str, Any]:
    """Run a study by the command line; return its seconds, and what its records say of forwards and memory."""
    results = Path(tempfile.mkdtemp(dir=folder))
    few = f", {{few_shot: {{shots: {list(shots)}, draws: {DRAWS}}}}}" if shots else ""
    named = ", ".join(f'{{"{model}": {{weights: random}}}}' for model in models)
    study = results / "study.yaml"
    study.write_text(STUDY.format(cohort=cohort, models=named, folds=folds, shots=few), encoding="utf-8")
    command = [sys.executable, "-m", "prognobench.cli", "run", str(study), "--results", str(results / "results")]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    seconds = time.perf_counter() - began
    costs = [json.loads(path.read_text(encoding="utf-8")) for path in (results / "results").rglob("cost.json")]
    return {
        "seconds": seconds,
        "jobs": len(costs),
        "forwards": sum(cost["shared"]["forwards_here"] for cost in costs),
        "features_seconds": max(cost["shared"]["seconds"] for cost in costs),
        "peak_memory_bytes": max(cost["peak_memory_bytes"] for cost in costs),
    }


def splits(labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield training, validation and test films of each fold, full and few-shot; validation is few as training is."""
    random = np.random.default_rng(0)
    fold_of = random.permutation(np.arange(len(labels)) % FOLDS)
    for fold in range(FOLDS):
        test, val = (np.flatnonzero(fold_of == (fold + step) % FOLDS) for step in (0, 1))
        train = np.flatnonzero(~np.isin(fold_of, (fold, (fold + 1) % FOLDS)))
        yield train, val, test
        for shots in SHOTS:
            for _ in range(DRAWS):
                yield some(random, train, labels, shots), some(random, val, labels, shots), test


def some(random: np.random.Generator, part: np.ndarray, labels: np.ndarray, shots: int) -> np.ndarray:
    """Draw so many films of each class."""
    return np.concatenate([random.permutation(part[labels[part] == label])[:shots] for label in (0, 1)])


def online_forwards(labels: np.ndarray) -> int:
    """Count the films that an evaluation with the backbone in the loop sends through it for the whole grid."""
    return sum(EPOCHS * len(train) + len(val) + len(test) for train, val, test in splits(labels))


def solved(features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the seconds of solving the whole grid here, and of scikit-learn on one fold of it, extrapolated to all."""
    protocol = resolve_protocol("quick")
    every = list(splits(labels))
    began = time.perf_counter()
    for train, val, _ in every:
        fit_probe(*(Films(Rows(features, part), labels[part]) for part in (train, val)), 2, protocol)
    here = time.perf_counter() - began
    fold = every[: len(every) // FOLDS]
    began = time.perf_counter()
    for train, _, _ in fold:
        for penalty in protocol.probe.penalties:
            solver = LogisticRegression(C=1 / (penalty * len(train)), class_weight="balanced", max_iter=1000)
            make_pipeline(StandardScaler(), solver).fit(features[train], labels[train])
    return {
        "heads": len(every) * len(protocol.probe.penalties),
        "prognobench": here,
        "scikit_learn": FOLDS * (time.perf_counter() - began),
    }


def grid(model: str, count: int, whole: bool) -> dict[str, Any]:
    """Measure the grid of linear probes on one model beside one bare pass and the evaluation online.

    Parameters
    ----------
    model
        The backbone, with random weights.
    count
        How many films.
    whole
        Whether the bare pass is measured on all films; else on 640 of them, before and after, and extrapolated.
    """
    with own_home() as folder:
        cohort = cohort_of(folder, count)
        array = pixels_of(cohort).array
        labels = (np.random.default_rng(1).random(count) < 0.4).astype(np.int64)
        part = films(model, np.asarray(array[: count if whole else 640]))
        passes = [bare_pass(model, part)]
        study = run(folder, cohort, [model], FOLDS, SHOTS)
        passes.append(bare_pass(model, part))
        one_pass = statistics.mean(passes) * count / len(part)
        batch, targets = films(model, np.asarray(array[:64])), torch.from_numpy(labels[:64])
        online = {}
        for name, bf16 in (("float32", False), ("autocast", True)):
            step = online_linear(model, batch, targets, bf16)
            step()
            online[name] = statistics.median(step() for _ in range(3)) * online_forwards(labels) / len(batch)
        features = np.random.default_rng(0).normal(size=(count, 384)).astype(np.float32)
        features[:, :40] += labels[:, None] * np.float32(0.3)
        heads = solved(features, labels)
    allowed = 1.2 * one_pass + heads["heads"] / 1000
    return {
        "model": model,
        "films": count,
        **study,
        "one_pass_seconds": one_pass,
        "one_pass_extrapolated": not whole,
        "share_of_what_is_allowed": study["seconds"] / allowed,
        "online_forwards": online_forwards(labels),
        "online_seconds_extrapolated": online,
        "times_as_fast_as_online": {name: seconds / study["seconds"] for name, seconds in online.items()},
        "heads": heads,
    }


def costs() -> dict[str, list[dict[str, Any]]]:
    """Measure whole studies along each of four axes, the other three held fixed."""
    found: dict[str, list[dict[str, Any]]] = {}
    usual: dict[str, Any] = {"films": 500, "folds": 5, "shots": 5, "models": 1}
    axes = {"films": (250, 500, 1000, 2000), "folds": (3, 5, 10), "shots": (0, 2, 5), "models": (1, 2, 3)}
    models = ("resnet18", "timm:resnet18d", "timm:resnet26")
    with own_home() as folder:
        for axis, values in axes.items():
            for value in values:
                at = usual | {axis: value}
                cohort = cohort_of(folder, at["films"])
                with own_home() as _:
                    pixels_of(cohort)  # a cohort is read once, whatever is studied on it
                    measured = run(folder, cohort, models[: at["models"]], at["folds"], SHOTS[: at["shots"]])
                found.setdefault(axis, []).append({axis: value} | measured)
    return found
