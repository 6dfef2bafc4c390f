"""Results folders with made-up predictions, written through the store as jobs do, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prognobench.studies import Job, Record, Store
from prognobench.studies._job import identity_fragments
from prognobench.studies._store import write_plan

CELLS = (("dinov2_s", "lp"), ("dinov2_s", "lora_r8"), ("resnet18", "fft"), ("none", "majority"), ("none", "metadata"))
SKILL = {"lora_r8": 1.6, "fft": 1.0, "lp": 0.8, "metadata": 0.3, "majority": 0.0}
FOLDS = 2


def make_results(
    folder: Path,
    name: str = "made",
    *,
    cells: tuple[tuple[str, str], ...] = CELLS,
    cohort: str = "typed",
    tasks: tuple[str, ...] = ("icu",),
    patients: int = 24,
    missing: int = 0,
    error: str = "",
    overrides: tuple[str, ...] = (),
    left_out: tuple[dict[str, Any], ...] = (),
    films: pd.DataFrame | None = None,
    rows: str | None = None,
) -> Path:
    """Write a study of one record a cell, task and fold; the first `missing` are not there, and the next one failed.

    `films`, with `image` and `patient`, are tested one after the other in place of made-up ones; `rows` is the
    hash of the rows of their task.
    """
    patients = patients if films is None else len(films)
    store, random, jobs = Store(folder), np.random.default_rng(0), []
    for task in tasks:
        sick = np.arange(patients) % 5 < 2
        for model, strategy in cells:
            for fold in range(FOLDS):
                job = _job(cohort, task, model, strategy, fold, patients, rows)
                jobs.append(job)
                if len(jobs) <= missing:
                    continue
                if error and len(jobs) == missing + 1:
                    store.write_failure(job, error)
                    continue
                tested = pd.concat(
                    _films(cohort, part, sick, (np.arange(patients) // 5 + shift) % FOLDS == fold, strategy, random)
                    for part, shift in (("val", 1), ("test", 0))
                )
                if films is not None:
                    place = tested["image"].str[4:7].astype(int)
                    tested = tested.assign(**{name: films[name].to_numpy()[place] for name in ("image", "patient")})
                store.write(Record(job, tested, _HISTORY, _cost(strategy), _environment(model)))
    listed = [{"key": job.key, "words": job.words()} for job in jobs]
    plan = {"study": name, "overrides": list(overrides), "weights": {}, "jobs": listed, "left_out": list(left_out)}
    write_plan(store, name, plan)
    return folder


_HISTORY = pd.DataFrame({"candidate": ["only"], "val_loss": [0.5]})


def _films(cohort, part, sick, chosen, strategy, random):
    places = np.flatnonzero(chosen)
    known = np.full(len(sick), 0.4) if strategy == "majority" else None
    score = 1 / (1 + np.exp(-SKILL.get(strategy, 0.5) * (2 * sick - 1) - random.normal(size=len(sick))))
    columns = {
        "cohort": cohort, "image": [f"FILM{place:03d}.png" for place in places],
        "patient": [f"PATIENT{place:03d}" for place in places], "center": "A", "split": part,
        "y_true": sick[places].astype(int), "y_score": (score if known is None else known)[places],
    }  # fmt: skip
    return pd.DataFrame(columns)


def _job(cohort, task, model, strategy, fold, patients, rows) -> Job:
    control = strategy in ("majority", "metadata", "random")
    kind = "control" if control else {"lp": "probe", "fft": "backbone"}.get(strategy, "adapter")
    identity = {
        "cohort": cohort, "task": {"name": task, "classes": ["no", "yes"]}, "schema": 1, "split": f"{task}{fold}",
        "regime": {"name": "full", "shots": None, "draw": None}, "strategy": {"name": strategy.partition("_")[0]},
        "protocol": {} if control else {"epochs": 3, "schedule": {"kind": "cosine", "minimum": 0.0}}, "seed": 42,
    }  # fmt: skip
    if rows is not None:
        identity["rows"] = rows
    if not control:
        identity |= {"model": {"architecture": model, "weights": "ab" * 32}, "targets": ["attention.qkv"],
                     "preprocessing": {"name": "standard", "size": 224, "steps": [{"step": "gray"}]},
                     "precision": "fp32", "head": {"blocks": 1, "patch_mean": False}}  # fmt: skip
    return Job(
        cohort=cohort, task=task, test_cohorts=(cohort,), model=model, strategy=strategy, regime="full", shots=None,
        draw=None, validation="kfold2", repeat=0, fold=fold, test_center=None, seed=42, protocol="quick", kind=kind,
        weights=None if control else f"{model}.w", architecture=model, n_train=patients // 2, n_val=patients // 2,
        n_test=patients // 2, fragments=identity_fragments(identity),
    )  # fmt: skip


def _cost(strategy: str) -> dict[str, Any]:
    seconds = {"lp": 1.0, "fft": 60.0}.get(strategy, 20.0)
    return {
        "own_seconds": seconds, "shared_seconds": 0.5, "shared": {"films_share": 4}, "gflops": 12.5,
        "peak_memory_bytes": 3 * 2**30, "trainable_parameters": 100, "total_parameters": 1000,
        "film_passes": {"forward": 10, "backward": 5},
    }  # fmt: skip


def _environment(model: str) -> dict[str, Any]:
    return {
        "versions": {"python": "3.11.0", "prognobench": "9.9.9"},
        "device": {"device": "cpu", "processor": "Some CPU", "cores": 2},
        "precision": "fp32",
        "weights": None if model == "none" else {"id": f"{model}.w", "sha256": "ab" * 32},
    }
