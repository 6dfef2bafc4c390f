"""What takes long, in a process of its own, so that the pages answer while it is computed.

A subprocess, because `multiprocessing` would run an unguarded script of the user's anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from prognobench.frame import InputError, Problem

_AT_ONCE = 500  # records that are shown together when they are measured
_TASKS: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {}


class Failed(Exception):
    """The process ended without its result; what it printed stands in the terminal."""


def in_child(task: str, begun: Callable[[subprocess.Popen[str]], None], **given: Any) -> Iterator[dict[str, Any]]:
    """Run a task in a process of its own and yield what it tells.

    Parameters
    ----------
    task
        Its name.
    begun
        Given the process, to end it with this one.
    given
        What it is told; JSON must be able to say it.

    Raises
    ------
    InputError
        The task raised one.
    Failed
        The process died or could not be started.
    """
    places = os.pathsep.join(place for place in sys.path if place)
    # One thread for products of matrices: more would take the cores from the study that is running.
    environment = os.environ | {"PYTHONPATH": places, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, encoding="utf-8"
        )
    except OSError as error:
        raise Failed(str(error)) from None
    with process:
        begun(process)
        assert process.stdin is not None and process.stdout is not None
        with suppress(OSError):
            # It stays open: the process ends with this one, however this one ends.
            process.stdin.write(json.dumps({"task": task, "given": given}) + "\n")
            process.stdin.flush()
        for line in process.stdout:
            told = json.loads(line)
            if "problems" in told:
                raise InputError([Problem(**problem) for problem in told["problems"]])
            yield told
    if process.returncode:
        raise Failed(f"exit status {process.returncode}")


def serve() -> None:
    """Do the task that stands in the standard input."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever prints must not stand between the answers.
    os.dup2(2, 1)
    with suppress(AttributeError, OSError):
        os.nice(15)  # pages and the study itself go first
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        for told in _TASKS[asked["task"]](**asked["given"]):
            print(json.dumps(told), file=answers, flush=True)
    except InputError as error:
        print(json.dumps({"problems": [vars(problem) for problem in error.problems]}), file=answers, flush=True)
    except KeyboardInterrupt:
        sys.exit(130)


def _end_with_parent() -> None:
    # Unbuffered: a reader that waits in a buffer holds up the end of the interpreter.
    while os.read(0, 1 << 10):
        pass
    os._exit(1)


def _measure(results: str, study: str, keys: list[str], out: str) -> Iterator[dict[str, Any]]:
    """Measure records, some hundred at a time, and tell where their tables lie."""
    from prognobench.studies import ResultsFolder

    from ._frames import keep
    from ._measured import measure

    wanted = set(keys)
    jobs = [job for job in ResultsFolder(Path(results)).plan(study).jobs if job.key in wanted]
    for start in range(0, len(jobs), _AT_ONCE):
        part = measure(Path(results), jobs[start : start + _AT_ONCE])
        folder = Path(out) / str(start)
        keep(folder, {"records": part.records, "metrics": part.metrics})
        yield {"part": str(folder), "damaged": [vars(problem) for problem in part.problems]}


def _tables(results: str, study: str, out: str) -> Iterator[dict[str, Any]]:
    """Make all tables of a study as its report does, unless they are kept already; tell all names to be masked."""
    from prognobench.studies import (
        ResultsFolder,
        read_cohorts,
        read_films,
        read_names,
        read_provenance,
        read_results,
    )

    from .._families import families
    from .._tables import study_tables
    from ._frames import keep, kept, tables_folder
    from ._measured import digest

    root = Path(results)
    yield {"step": "reading all records anew"}
    # Before the records: a plan that changes while they are read must not lend its digest to what is of the older one.
    plan = ResultsFolder(root).plan(study)
    predictions, jobs = read_results(root, study)
    films = read_films(root, study)
    names = {*predictions["image"].unique(), *predictions["patient"].unique(), *films["image"], *read_names(root)}
    yield {"names": sorted(map(str, names)), "plan": plan.sha256}
    # Of what was read just now, whatever it was when this was asked for.
    of = digest(plan.sha256, jobs) if ResultsFolder(root).plan(study).sha256 == plan.sha256 else "of no plan"
    folder = Path(out) / tables_folder(of)
    if kept(folder) is None:
        steps: list[str] = []
        made = read_provenance(root, study)
        kinds = {model: str(kind) for model, kind in families(jobs["model"].dropna().unique()).items()}
        tables = study_tables(
            predictions, jobs, films, study=study, cohorts=read_cohorts(root, study), families=kinds,
            methods=made.methods, progress=steps.append,
        )  # fmt: skip
        known = {name: table for name, table in vars(tables).items() if name not in ("study", "results")}
        keep(folder, known)
    done = jobs.loc[jobs["state"] == "done", "job"].nunique()
    yield {"tables": str(folder), "of": of, "records": int(done)}


_TASKS |= {"measure": _measure, "tables": _tables}
