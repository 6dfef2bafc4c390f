"""What the engine costs beside the work: `python benchmarks/engine.py [--jobs 1000] [--profile]`.

Runs about 1,000 tiny jobs (linear probes on the features of 64 synthetic films) through plan and run with one worker,
and does the same work, solving and scoring, by plain calls. Prints the milliseconds a job of both and what lies between
them, the seconds from a run's start to its first record, and with `--profile` where the time of a job goes.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import os
import pstats
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

STUDY = """\
name: engine
cohorts: [{{path: cohort/cohort.yaml, tasks: [icu]}}]
models: [{{"timm:test_vit": {{weights: random}}}}]
strategies: [lp]
regimes: [full, {{few_shot: {{shots: [1, 2], draws: {draws}}}}}]
validation: {{kfold: {{folds: 5}}}}
protocol: {{base: quick, probe: {{penalties: [0.01]}}}}
controls: []
"""
IMPORTS = ["numpy", "pandas", "prognobench.studies", "prognobench.studies._worker", "prognobench.training", "torch"]


class Clock:
    """Notes when jobs begin and end."""

    def begin(self, jobs: int, done: int) -> None:
        self.began = time.perf_counter()
        self.ends: list[float] = []

    def started(self, job: object) -> None:
        pass

    def ended(self, job: object, error: str | None) -> None:
        if error is not None:
            raise RuntimeError(error)
        self.ends.append(time.perf_counter())


class Stopwatch:
    """Milliseconds of each piece of work by the wall, and of all together by the processor."""

    def __init__(self) -> None:
        self.walls: list[float] = []
        self.cpu = 0.0

    @contextlib.contextmanager
    def piece(self):
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.walls.append(1e3 * (time.perf_counter() - wall))
        self.cpu += 1e3 * (time.process_time() - cpu)


def new_bench(plan):
    """Return a bench in this process, and its store."""
    from prognobench.studies import Store
    from prognobench.studies._kit import kit_of
    from prognobench.studies._worker import Bench, WorkerSettings

    root = Path(tempfile.mkdtemp())
    bench, store = Bench(kit_of(plan), Store(root), WorkerSettings(root, 1, 600.0)), Store(root)
    store.write(bench.run(plan.jobs[0]))  # computes the features, which is no overhead
    return bench, store


def plain(plan) -> Stopwatch:
    """Solve and score by plain calls, films and features at hand."""
    from prognobench.training import fit_probe

    bench, _ = new_bench(plan)
    given = []
    for job in plan.jobs:
        parts = bench.parts_of(job)[job.cohort]
        given.append((parts.films("train"), parts.films("val"), parts.rows("val"), parts.rows("test")))
    protocol, card = plan.protocols[plan.jobs[0].protocol], plan.card(plan.jobs[0])
    watch = Stopwatch()
    for train, val, *scored in given:
        with watch.piece():
            outcome = fit_probe(train, val, 2, protocol, card)
            for rows in scored:
                outcome.score(rows)
    return watch


def as_jobs(plan, profile: cProfile.Profile | None = None) -> Stopwatch:
    """Do the jobs in this process, records and all."""
    bench, store = new_bench(plan)
    watch = Stopwatch()
    with profile or contextlib.nullcontext():
        for job in plan.jobs[1:]:
            with watch.piece():
                store.write(bench.run(job))
    return watch


def import_seconds(module: str) -> float:
    """Return the least seconds of a new Python that loads a module and ends."""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


@contextlib.contextmanager
def tiny_plan(jobs: int):
    """Plan about so many tiny jobs in an empty folder; give the plan and the folder."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("PROGNOBENCH_HOME")
        os.environ["PROGNOBENCH_HOME"] = f"{folder}/home"
        try:
            from prognobench.cohorts import make_phantom
            from prognobench.studies import plan_study, read_study

            make_phantom(Path(folder) / "cohort", 64, 0, size=96)
            path = Path(folder) / "study.yaml"
            path.write_text(STUDY.format(draws=max(1, jobs // 10)), encoding="utf-8")
            yield plan_study(read_study(path)), Path(folder)
        finally:
            os.environ.pop("PROGNOBENCH_HOME")
            if before is not None:
                os.environ["PROGNOBENCH_HOME"] = before


def measured(jobs: int) -> dict[str, object]:
    """Return the milliseconds of each job's work by plain calls, as a job in one process and as a job of a run."""
    from prognobench.studies import run_plan
    from prognobench.training import keep_freed_memory

    keep_freed_memory()  # as workers do
    with tiny_plan(jobs) as (plan, folder):
        work, here, clock = plain(plan), as_jobs(plan), Clock()
        began = time.perf_counter()
        run_plan(plan, folder / "results", workers=1, threads=1, watcher=clock)
        whole = time.perf_counter() - began
        by_run = [1e3 * (after - before) for before, after in pairwise(clock.ends)]
        return {
            "jobs": len(plan.jobs),
            "milliseconds": {
                "solving and scoring, plain calls": quantiles(work.walls),
                "as jobs in one process": quantiles(here.walls),
                "as jobs by run with one worker": quantiles(by_run),
            },
            "overhead_milliseconds": {
                name: quantiles(by_run)[name] - quantiles(work.walls)[name] for name in quantiles(by_run)
            },
            "cpu_milliseconds": {"plain calls": work.cpu / len(work.walls), "jobs": here.cpu / len(here.walls)},
            "seconds_to_first_record": clock.ends[0] - began,
            "seconds": whole,
        }


def quantiles(walls: list[float]) -> dict[str, float]:
    """Return least tenth, median and mean; the first is what a machine without other work would take."""
    return {
        "best_tenth": float(np.quantile(walls, 0.1)),
        "median": float(np.median(walls)),
        "mean": float(np.mean(walls)),
    }


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--jobs", type=int, default=1000)
    arguments.add_argument("--profile", action="store_true")
    arguments.add_argument("--imports", action="store_true", help="also time the imports of a worker")
    chosen = arguments.parse_args()
    if chosen.profile:
        profile = cProfile.Profile()
        with tiny_plan(chosen.jobs) as (plan, _):
            as_jobs(plan, profile)
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    found = measured(chosen.jobs)
    print(f"{found['jobs']} jobs, ms each {'':20} best 10%   median     mean")
    for name, values in {**found["milliseconds"], "overhead of run": found["overhead_milliseconds"]}.items():
        print(f"{name:36}" + "".join(f"{value:9.2f}" for value in values.values()))
    print(f"of the processor: {', '.join(f'{name} {value:.2f}' for name, value in found['cpu_milliseconds'].items())}")
    print(f"{found['seconds_to_first_record']:.2f} s to the first record, the whole run {found['seconds']:.2f} s")
    if chosen.imports:
        for module in IMPORTS:
            print(f"import {module:27} {import_seconds(module):8.2f} s")


if __name__ == "__main__":
    main()
