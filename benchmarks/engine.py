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

    def told(self) -> str:
        return told(self.walls) + f"{self.cpu / len(self.walls):9.2f}"


def told(walls: list[float]) -> str:
    """Return least tenth, median and mean; the first is what a machine without other work would take."""
    return f"{np.quantile(walls, 0.1):9.2f}{np.median(walls):9.2f}{np.mean(walls):9.2f}"


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


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--jobs", type=int, default=1000)
    arguments.add_argument("--profile", action="store_true")
    arguments.add_argument("--imports", action="store_true", help="also time the imports of a worker")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROGNOBENCH_HOME"] = f"{folder}/home"
        from prognobench.cohorts import make_phantom
        from prognobench.studies import plan_study, read_study, run_plan

        make_phantom(Path(folder) / "cohort", 64, 0, size=96)
        path = Path(folder) / "study.yaml"
        path.write_text(STUDY.format(draws=max(1, chosen.jobs // 10)), encoding="utf-8")
        plan = plan_study(read_study(path))
        if chosen.profile:
            profile = cProfile.Profile()
            as_jobs(plan, profile)
            pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
            return
        work, here, clock = plain(plan), as_jobs(plan), Clock()
        began = time.perf_counter()
        run_plan(plan, Path(folder) / "results", workers=1, threads=1, watcher=clock)
        whole = time.perf_counter() - began
        by_run = [1e3 * (after - before) for before, after in pairwise(clock.ends)]
        print(f"{len(plan.jobs)} jobs, ms each {'':16} best 10%   median     mean      CPU")
        print(f"solving and scoring, plain calls {work.told()}")
        print(f"as jobs in one process           {here.told()}")
        print(f"as jobs by run with one worker   {told(by_run)}")
        less = [np.quantile(by_run, q) - np.quantile(work.walls, q) for q in (0.1, 0.5)]
        print(
            f"overhead of run                  {less[0]:9.2f}{less[1]:9.2f}{np.mean(by_run) - np.mean(work.walls):9.2f}"
        )
        print(f"from the start to the first record {clock.ends[0] - began:.2f} s, the whole run {whole:.2f} s")
    if chosen.imports:
        for module in IMPORTS:
            print(f"import {module:27} {import_seconds(module):8.2f} s")


if __name__ == "__main__":
    main()
