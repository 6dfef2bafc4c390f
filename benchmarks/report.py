"""How long a report takes and how much memory it holds: `python benchmarks/report.py [RECORDS] [--keep DIR]`.

Makes a results folder of synthetic records, written by the store as studies write them: up to 11 models × 9 strategies
× 5 folds for each task and their controls, about 50 films tested and as many in validation, of patients with one to
three films. Makes the whole report of it in a process of its own: tables, figures and page. Prints for each step the
seconds that go by and those of a core, and the peak memory. The folder given with `--keep` stays, and is used again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count, islice, pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import psutil

FOLDS = 5
PATIENTS = 125
FILMS = 3  # of a patient at most
CNNS = ["densenet121", "efficientnet_lite0", "resnet18", "resnet50"]
FOUNDATION = ["biomedclip", "clip_l", "dinov2_b", "dinov2_l", "dinov2_s", "medclip_resnet", "pubmedclip"]
MODELS = [*CNNS, *FOUNDATION]
STRATEGIES = ["lp", "fft", "lora_r4", "lora_r8", "lora_r16", "vera_r8", "ia3", "bitfit", "vera_r16"]
CONTROLS = [("none", "majority", 42), ("none", "metadata", 42)]
CONTROLS += [(model, "random", seed) for model in MODELS for seed in (0, 1, 2)]


def make_store(root: Path, records: int) -> None:
    """Write synthetic records."""
    from prognobench.studies._store import Store, write_plan

    store, jobs, started = Store(root), [], time.perf_counter()
    for record in islice(synthetic_records(), records):
        store.write(record)
        jobs.append({"key": record.job.key, "words": record.job.words()})
    plan = {"study": "synthetic", "overrides": [], "weights": {}, "jobs": jobs, "left_out": []}
    write_plan(store, "synthetic", {**plan, "cohorts": {"synthetic": keep_films(root)}})
    print(f"{records} synthetic records written in {time.perf_counter() - started:.0f} s")


def keep_films(root: Path) -> str:
    """Write what is known about the films of all tasks, as a study leaves it, and return its SHA-256."""
    from prognobench.frame import canonical_json, sha256_bytes, write_in_one_step

    films = [f"images/{patient:04}-{film}.png" for patient in range(PATIENTS) for film in range(FILMS)]
    numbers = [place // FILMS for place in range(len(films))]
    known = {
        "image": films,
        "view": ["PA" if place % 5 < 2 else "AP" for place in range(len(films))],
        "center": ["ABCDE"[number % 5] for number in numbers],
        "sex": ["FM"[number % 2] for number in numbers],
        "age": [str(20 + number * 7 % 75) for number in numbers],
    }
    counts = {"films": len(films), "patients": PATIENTS, "groups": PATIENTS}
    described = {**counts, "excluded": {"films": 0}, "tasks": {}}
    content = canonical_json({"description": described, "films": known}).encode("ascii")
    write_in_one_step(root / "cohorts" / f"{sha256_bytes(content)}.json", content)
    return sha256_bytes(content)


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
                    {"schema": 1, "task": {"name": task, "classes": ["negative", "positive"]}, "fold": fold,
                     "model": {"architecture": model}, "strategy": {"name": strategy.split("_")[0], "label": strategy},
                     "seed": seed,
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
                "total_parameters": 22_000_000, "peak_memory_bytes": 1_000_000_000, "gflops": 100.0, "device": "cpu",
            }  # fmt: skip
            yield Record(
                job, predictions, history, cost, {"versions": {f"library_{place}": "1.0" for place in range(30)}}
            )


def synthetic_films(rng: np.random.Generator) -> pd.DataFrame:
    """Return about 250 synthetic films of one task with their test folds."""
    rows = []
    for patient in range(PATIENTS):
        ill = int(rng.random() < 0.3)
        center = "ABCDE"[rng.integers(5)]
        for film in range(rng.integers(1, FILMS + 1)):
            rows.append(("synthetic", f"images/{patient:04}-{film}.png", f"patient-{patient:04}", center, ill))
    films = pd.DataFrame(rows, columns=["cohort", "image", "patient", "center", "y_true"])
    return films.assign(fold=films["patient"].str[-4:].astype(int) % FOLDS)


def measure(root: Path, out: Path) -> None:
    """Make the report, and print what each of its steps takes."""
    from prognobench.reporting import _report

    steps: list[tuple[str, Clocks]] = []

    @contextmanager
    def noting(_: object) -> Iterator[Callable[[str], None]]:
        yield lambda step: steps.append((step, clocks()))

    began = clocks()
    # Nothing is printed with `console=None`, and the steps are told all the same.
    _report.report_progress = noting
    made = _report.report(root, out)
    steps.append(("", clocks()))
    print(f"{'step':32} {'wall s':>7} {'CPU s':>7} {'of it other processes':>22}")
    for (step, since), (_, until) in pairwise([("start", began), *steps]):
        print(told(step, since, until))
    print(told("in all", began, steps[-1][1]), flush=True)
    counts = {"jobs": made.tables.jobs, **dict(made.tables.files())}
    print("rows:", ", ".join(f"{name} {len(table)}" for name, table in counts.items()))


class Clocks(NamedTuple):
    """Seconds that went by, that this process used of its cores, and that others did that it started and awaited."""

    wall: float
    own: float
    others: float


def clocks() -> Clocks:
    """Read the clocks."""
    times = os.times()
    own, others = times.user + times.system, times.children_user + times.children_system
    return Clocks(time.perf_counter(), own, others)


def told(step: str, since: Clocks, until: Clocks) -> str:
    """Give one line of the table."""
    wall, own, others = (now - then for now, then in zip(until, since, strict=True))
    return f"{step:32} {wall:7.1f} {own + others:7.1f} {others:22.1f}"


def watch(command: list[str]) -> int:
    """Run a command and return the most memory in bytes that it and all it starts hold at one time."""
    peak = 0
    with subprocess.Popen(command, env=os.environ) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            held = 0
            for one in (watched, *watched.children(recursive=True)):
                with suppress(psutil.Error):
                    held += one.memory_info().rss
            peak = max(peak, held)
            time.sleep(0.1)
    if process.returncode:
        sys.exit(process.returncode)
    return peak


def main() -> None:
    """Make the folder where it is not there, and measure in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("records", type=int, nargs="?", default=10_000)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(*given.measure)
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = given.keep or Path(scratch) / "results"
        if not (root / "plans").exists():
            make_store(root, given.records)
        peak = watch([sys.executable, __file__, "--measure", str(root), str(Path(scratch) / "report")])
        print(f"peak memory of all processes together {peak >> 20} MiB")


if __name__ == "__main__":
    main()
