"""How long a report takes and how much memory it holds: `python benchmarks/report.py [RECORDS] [--keep DIR]`.

Makes a results folder of synthetic records, written by the store as studies write them: up to 11 models × 9 strategies
× 5 folds for each task, 48 to 52 films tested and as many in validation, of patients with one to three films. Reads it
and makes the tables in a process of its own. Prints seconds of each step and the peak memory. The folder given with
`--keep` stays, and is used again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import count, islice, product
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import numpy as np
import pandas as pd

FOLDS = 5
MODELS = [f"model_{number:02}" for number in range(11)]
STRATEGIES = ["lp", "fft", "lora_r4", "lora_r8", "lora_r16", "vera_r8", "ia3", "bitfit", "ssf"]
CONTROLS = [("none", "majority", 42), ("none", "metadata", 42)]
CONTROLS += [(model, "random", seed) for model in MODELS for seed in (0, 1, 2)]


def make_store(root: Path, records: int) -> None:
    """Write synthetic records."""
    from prognobench.studies._store import Store, write_plan

    store, jobs, started = Store(root), [], time.perf_counter()
    for record in islice(synthetic_records(), records):
        store.write(record)
        jobs.append({"key": record.job.key, "words": record.job.words()})
    write_plan(store, "synthetic", {"study": "synthetic", "overrides": [], "weights": {}, "jobs": jobs, "left_out": []})
    print(f"{records} synthetic records written in {time.perf_counter() - started:.0f} s")


def synthetic_records() -> Any:
    """Yield synthetic records without end, task after task."""
    from prognobench.studies._job import Job, identity_fragments
    from prognobench.studies._store import Record

    for number in count():
        rng = np.random.default_rng(number)
        films = synthetic_films(rng)
        task = f"task_{number:02}"
        cells = [*CONTROLS, *((model, strategy, 42) for model, strategy in product(MODELS, STRATEGIES))]
        for (model, strategy, seed), fold in product(cells, range(FOLDS)):
            rows = films[(films["fold"] == fold) | (films["fold"] == (fold + 1) % FOLDS)]
            skill = rng.normal(1, 0.5)
            odds = skill * (2 * rows["y_true"] - 1) + rng.normal(size=len(rows))
            control = (model, strategy, seed) in CONTROLS
            job = Job(
                cohort="synthetic", task=task, test_cohorts=("synthetic",), model=model, strategy=strategy,
                regime="full", shots=None, draw=None, validation="kfold5", repeat=0, fold=fold, test_center=None,
                seed=seed, protocol="standard", kind="control" if control else "adapter",
                weights=None, architecture=model, n_train=150, n_val=50, n_test=50,
                fragments=identity_fragments(
                    {"schema": 1, "task": task, "model": model, "strategy": strategy, "fold": fold, "seed": seed,
                     "regime": {"name": "full", "shots": None, "draw": None},
                     "protocol": {} if strategy == "majority" else {"class_weights": "balanced"},
                     "settings": {f"setting_{place}": place for place in range(40)}}
                ),
            )  # fmt: skip
            predictions = pd.DataFrame(
                {
                    **{name: rows[name] for name in ("cohort", "image", "patient", "center")},
                    "split": np.where(rows["fold"] == fold, "test", "val"),
                    "y_true": rows["y_true"],
                    "y_score": 0.3 if strategy == "majority" else 1 / (1 + np.exp(-odds)),
                }
            ).reset_index(drop=True)
            history = pd.DataFrame({"candidate": range(20), "val_loss": rng.random(20), "chosen": np.arange(20) == 3})
            cost = {
                "own_seconds": 12.5, "shared_seconds": 3.5, "trainable_parameters": 100_000,
                "total_parameters": 22_000_000, "peak_memory": 1_000_000_000, "device": "cpu",
            }  # fmt: skip
            yield Record(
                job, predictions, history, cost, {"versions": {f"library_{place}": "1.0" for place in range(30)}}
            )


def synthetic_films(rng: np.random.Generator) -> pd.DataFrame:
    """Return about 250 synthetic films with what is known about them."""
    rows = []
    for patient in range(125):
        ill = int(rng.random() < 0.3)
        center = "ABCDE"[rng.integers(5)]
        for film in range(rng.integers(1, 4)):
            rows.append(("synthetic", f"images/{patient:04}-{film}.png", f"patient-{patient:04}", center, ill))
    films = pd.DataFrame(rows, columns=["cohort", "image", "patient", "center", "y_true"])
    numbers = films["patient"].str[-4:].astype(int)
    return films.assign(
        fold=numbers % FOLDS,
        view=np.where(rng.random(len(films)) < 0.6, "AP", "PA"),
        sex=np.where(numbers % 2, "F", "M"),
        age=(20 + numbers * 7 % 75).astype(str),
    )


def measure(root: Path) -> None:
    """Read and make the tables, and print how long each step takes."""
    from prognobench import evaluation
    from prognobench.studies import read_results

    began = (time.perf_counter(), time.process_time())

    def told(what: str, since: tuple[float, float]) -> None:
        wall, cpu = (now - then for now, then in zip(clocks(), since, strict=True))
        print(f"{what:20} {wall:6.1f} s {cpu:6.1f} s of a core", flush=True)

    def clocks() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    predictions, jobs = read_results(root)
    told("read", began)
    print(f"{len(jobs)} jobs, {len(predictions)} predictions, {predictions.memory_usage(deep=True).sum() >> 20} MiB")
    films = synthetic_films(np.random.default_rng(0))
    steps = {
        "fold_metrics": lambda: evaluation.fold_metrics(predictions, jobs),
        "summarize": lambda: evaluation.summarize(made["fold_metrics"], jobs),
        "reliability": lambda: evaluation.reliability(predictions, jobs),
    }
    if hasattr(evaluation, "subgroups"):
        steps["subgroups"] = lambda: evaluation.subgroups(predictions, jobs, films)
    made: dict[str, pd.DataFrame] = {}
    for name, step in steps.items():
        since = clocks()
        made[name] = step()
        told(name, since)
    told("in all", began)
    print(f"peak memory {getrusage(RUSAGE_SELF).ru_maxrss >> 10} MiB")


def main() -> None:
    """Make the folder where it is not there, and measure in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("records", type=int, nargs="?", default=10_000)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure)
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = given.keep or Path(scratch)
        if not (root / "plans").exists():
            make_store(root, given.records)
        subprocess.run([sys.executable, __file__, "--measure", str(root)], check=True, env=os.environ)


if __name__ == "__main__":
    main()
