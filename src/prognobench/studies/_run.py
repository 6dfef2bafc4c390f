"""Do the jobs of a plan in worker processes; to run again is to resume."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from prognobench.frame import InputError, Problem, Problems, file_lock

from ._again import told_source
from ._audit_files import keep_audits
from ._changes import basis, told_changes
from ._cohort_files import keep_cohorts
from ._groups import Dealer, chunks_of
from ._job import Job
from ._kept_files import forget
from ._kit import kit_of
from ._plan import Plan
from ._store import Store, read_plan, write_plan
from ._worker import WorkerSettings, work

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Watcher(Protocol):
    """Who is told how a run goes."""

    def begin(self, jobs: int, done: int) -> None:
        """Take note of the jobs of the plan and of how many have a record already."""

    def started(self, job: Job) -> None:
        """Take note that a worker takes a job."""

    def ended(self, job: Job, error: str | None) -> None:
        """Take note that a job is done, or failed with `error`."""


@dataclass
class RunSummary:
    """How a run ended.

    Attributes
    ----------
    planned
        Jobs of the study.
    found
        Jobs that had a record before.
    done
        Jobs done by this run.
    failed
        Jobs that failed in this run, with their error.
    interrupted
        Whether Ctrl-C ended it.
    """

    planned: int
    found: int
    done: int = 0
    failed: list[tuple[Job, str]] = field(default_factory=list)
    interrupted: bool = False


def run_plan(
    plan: Plan,
    results: Path,
    *,
    workers: int = 1,
    threads: int | None = None,
    checkpoint_seconds: float = 600.0,
    watcher: Watcher | None = None,
) -> RunSummary:
    """Do every job of a plan that has no record yet.

    Parameters
    ----------
    plan
        What `plan_study` returned.
    results
        The results folder; several studies and machines may share it.
    workers
        Processes that do jobs side by side.
    threads
        Threads of each; by default the cores are shared out evenly. The same number gives the same bits.
    checkpoint_seconds
        A job that lasts longer keeps its state this often, and is gone on with after an interruption.
    watcher
        Told how it goes.

    Returns
    -------
    RunSummary
        A failed job is recorded with its error, and the others go on.

    Raises
    ------
    InputError
        The folder cannot be written, or holds a record that was altered; nothing is run then.
    """
    if workers < 1 or (threads is not None and threads < 1):
        what = f"{workers} workers with {threads} threads cannot work"
        raise InputError([Problem("arguments --workers and --threads", what, "Give whole numbers from 1 on")])
    if plan.outlines:
        raise InputError(
            [Problem(str(plan.study.path), outline, "Plan it again with all at hand") for outline in plan.outlines]
        )
    store = Store(results)
    pending = _prepare(store, plan)
    summary = RunSummary(len(plan.jobs), len(plan.jobs) - len(pending))
    if watcher is not None:
        watcher.begin(summary.planned, summary.found)
    threads = threads or max(1, (os.cpu_count() or 1) // workers)
    settings = WorkerSettings(results, threads, checkpoint_seconds)
    crew = _Crew(plan, settings, store, pending, summary, watcher)
    with _thread_variables(threads):
        try:
            crew.start(min(workers, len(pending)))
            crew.attend()
        except KeyboardInterrupt:
            summary.interrupted = True
        finally:
            crew.dismiss()
    store.clear_leftovers()
    return summary


def _prepare(store: Store, plan: Plan) -> list[Job]:
    """Check the store, lay down splits and plan, and list what is to be done."""
    problems = Problems()
    pending: list[Job] = []
    try:
        for folder in (store.runs, store.splits, store.plans, store.tmp):
            folder.mkdir(parents=True, exist_ok=True)
        store.clear_leftovers()
    except OSError as error:
        what = f"the results folder cannot be written ({error.strerror})"
        raise InputError([Problem(str(store.root), what, "Choose another --results, or make it writable")]) from None
    for job in plan.jobs:
        try:
            status = store.status(job.key)
            if status is not None and status.state == "done":
                store.verify(job.key)
            else:
                pending.append(job)
        except InputError as error:
            problems.extend(error)
    for split in plan.splits.values():
        try:
            split.save(store.splits)
        except InputError as error:
            problems.extend(error)
    try:
        _refuse_other_plan(store, plan, problems)
    except InputError as error:
        problems.extend(error)
    problems.raise_if_any()
    # Between keeping and naming, another study in this folder would take the files for forgotten ones.
    with file_lock(store.plans / ".lock"):
        _keep_plan(store, plan)
    return pending


def _keep_plan(store: Store, plan: Plan) -> None:
    kept = {
        "basis": basis(plan),
        "cohorts": keep_cohorts(store, plan.cohorts.values()),
        "audits": keep_audits(store, plan.audits, plan.cohorts),
        "source": told_source(plan.study),
    }
    write_plan(store, plan.study.name, plan.to_json() | kept)
    # They hold pictures of films: who has left the cohort is not to stay here.
    forget(store, "audits")


def _refuse_other_plan(store: Store, plan: Plan, problems: Problems) -> None:
    """Let a study grow in its folder, and refuse another one under its name: results would vanish from the tables."""
    name = plan.study.name
    before = read_plan(store, name)
    gone = {job["key"] for job in before["jobs"]} - {job.key for job in plan.jobs} if before else set()
    if gone:
        changes = told_changes(before.get("basis", {}) if before else {}, basis(plan))
        what = f"this folder holds another plan of the study '{name}': {len(gone)} of its jobs are not in this one"
        remedy = (
            f"Choose another --results, call this one otherwise (name={name}-2), "
            f"or delete {store.plans / name}.json to give the older plan up"
        )
        problems.add(store.root, f"{what} ({changes})", remedy)


class _Crew:
    """The worker processes and what each of them is at."""

    def __init__(
        self,
        plan: Plan,
        settings: WorkerSettings,
        store: Store,
        pending: Sequence[Job],
        summary: RunSummary,
        watcher: Watcher | None,
    ) -> None:
        self.settings, self.store, self.kit = settings, store, kit_of(plan, pending)
        self.summary, self.watcher = summary, watcher
        # Told apart by what they are in memory: a key takes long to make where there are a hundred thousand.
        left = {id(job) for job in pending}
        # Chunks are those of the whole plan, whatever is left of them.
        self.dealer = Dealer([job for job in chunk if id(job) in left] for chunk in chunks_of(plan.jobs))
        # Spawned, not forked: torch's threads do not survive a fork.
        self.context = get_context("spawn")
        self.members: dict[Connection, BaseProcess] = {}
        self.at: dict[Connection, Job] = {}

    def start(self, count: int) -> None:
        for _ in range(count):
            here, there = self.context.Pipe()
            process = self.context.Process(target=work, args=(there, self.kit, self.settings), daemon=True)
            process.start()
            there.close()
            self.members[here] = process
            self._hand_out(here)

    def attend(self) -> None:
        while self.at:
            for ready in wait(list(self.at)):
                assert isinstance(ready, Connection)
                job = self.at.pop(ready)
                try:
                    _, _, error = ready.recv()
                except (EOFError, OSError):
                    error = self._bury(ready, job)
                    self._note(job, error)
                    if self.dealer:
                        self.start(1)
                    continue
                self._note(job, error)
                self._hand_out(ready)

    def dismiss(self) -> None:
        for connection, process in self.members.items():
            if connection in self.at:
                process.terminate()
            connection.close()
        for process in self.members.values():
            process.join(timeout=10)
            if process.is_alive():
                process.kill()
                process.join()

    def _hand_out(self, connection: Connection) -> None:
        job = self._next(connection)
        if job is None:
            connection.send(None)
            return
        self.at[connection] = job
        if self.watcher is not None:
            self.watcher.started(job)
        try:
            connection.send(job)
        except (BrokenPipeError, OSError):
            # The worker died before its first job; `attend` will find the closed pipe and say so.
            return

    def _next(self, connection: Connection) -> Job | None:
        while (job := self.dealer.next(connection)) is not None:
            status = self.store.status(job.key)
            if status is None or status.state != "done":
                return job
            # Another machine that shares the folder has done it meanwhile.
            self.summary.found += 1
        return None

    def _note(self, job: Job, error: str | None) -> None:
        if error is None:
            self.summary.done += 1
        else:
            self.summary.failed.append((job, error))
        if self.watcher is not None:
            self.watcher.ended(job, error)

    def _bury(self, connection: Connection, job: Job) -> str:
        process = self.members.pop(connection)
        process.join()
        code = process.exitcode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"
        error = f"the worker process {how}; if memory ran out, use fewer --workers or a smaller batch_size"
        self.store.write_failure(job, error)
        self.dealer.leave(connection)
        return error


@contextmanager
def _thread_variables(threads: int) -> Iterator[None]:
    """Set the thread counts that libraries read when they are loaded, for the workers only."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
