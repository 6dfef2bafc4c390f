"""A study that is looked at while it runs: what is there is read once, and what comes is added."""

from __future__ import annotations

import logging
import math
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from prognobench.frame import InputError, Problem, sha256_json
from prognobench.studies import ListedJob, ResultsFolder, Store, StudyPlan, StudyStatus, job_rows

from .._tables import StudyTables
from ._child import Failed, in_child
from ._frames import code_key, keep, kept, kept_folder, tables_folder
from ._measured import Measured, digest, measure, study_folds, study_jobs, together
from ._snapshot import Snapshot, all_tables

_LOG = logging.getLogger(__name__)
_SECONDS = 1.0  # between two looks at the folder
_ALL_AGAIN = 60.0  # seconds between two looks at every file
_FEW = 100  # records that are read here and now; more are read by processes
_BETWEEN = 2.0  # seconds between two views of a folder that is still being read
_AGAIN = 60.0  # seconds until tables that could not be made are tried again, though no record changed
_PATIENCE = 3.0  # the tables of a study that runs are made anew after this many times as long as they took
_KEPT_TABLES = 3  # of one study
_KEPT_CODES = 2  # versions of this program whose tables are kept


class Live:
    """One study of a results folder.

    Parameters
    ----------
    folder
        The results folder.
    study
        The study's name.

    Notes
    -----
    Cheap is to list the folder of records, which is done every second, and to ask for sizes and times of all files,
    once a minute. A record is read and checked against its seal when it comes or changes, and its metrics are kept
    under the user's caches for the next start, with what tells a change. All records are checked in full at each
    start, behind the first view, when the tables of the report are made.
    """

    def __init__(self, folder: ResultsFolder, study: str) -> None:
        self._folder, self._study = folder, study
        self._kept = kept_folder(folder.root) / sha256_json(study)[:16] / code_key()
        self._stop, self._looking = threading.Event(), threading.Lock()
        self._children: list[subprocess.Popen[str]] = []
        self._records: dict[str, int] = {}
        self._prints: dict[str, str] = {}
        self._plan_print = ""
        self._plan: StudyPlan | None = None
        self._jobs: dict[str, ListedJob] = {}
        self._planned = pd.DataFrame()
        self._measured = together([])
        self._unread: set[str] = set()
        self._damaged: dict[str, Problem] = {}
        self._all_seen = -math.inf
        self._tables = _Tables()
        self._maker: threading.Thread | None = None
        self._problems: dict[str, tuple[Problem, ...]] = {}
        self._failures: dict[str, tuple[str, int]] = {}
        self._published = -_BETWEEN
        self._version = 0
        self.begun = time.monotonic()
        self.snapshot: Snapshot | None = None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why the folder cannot be read, or the tables not be made."""
        return tuple(one for several in list(self._problems.values()) for one in several)

    def start(self) -> None:
        """Look at the folder from now on."""
        threading.Thread(target=self._watch, name=f"explorer {self._study}", daemon=True).start()

    def stop(self) -> None:
        """Look no more, and end what is computed."""
        self._stop.set()
        for process in self._children:
            with suppress(OSError):
                process.terminate()

    def _watch(self) -> None:
        while True:
            try:
                self.look()
            except (InputError, OSError) as error:
                self._refused("look", error)
            except Exception as error:  # a fault of ours: the pages say so, and the next look may go well
                _LOG.exception("the explorer could not read the results folder")
                self._refused("look", error)
            if self._stop.wait(_SECONDS):
                return

    def look(self) -> None:
        """Look once: read what came, forget what went."""
        with self._looking:
            first = self._plan is None
            changed = self._look_at_plan()
            records = {key: number for key, number in self._folder.records().items() if key in self._jobs}
            if first:
                self._remember(records)
                with _PUBLISHING:
                    self._tables.wanted = self._digest()
                    early = None if self._unread else kept(self._folder_of_tables(self._tables.wanted))
                    if early is not None:
                        done = int((self._measured.records["state"] == "done").sum())
                        self._show(self._tables.wanted, done, all_tables(self._study, early), None)
                    else:
                        self._publish()
                if not self._unread:
                    # All is on the screen; whether a file was altered in its place is looked at behind the first view.
                    return
            fresh, gone = self._look_at_records(records)
            if gone or fresh:
                self._measured = self._measured.without([*gone, *fresh])
                for key in (*gone, *fresh):
                    self._damaged.pop(key, None)
                    self._failures.pop(key, None)
                self._unread = (self._unread - gone) | fresh
                # The tables may be made now of what they could not be made of before.
                self._tables.failed = ""
            healed = self._problems.pop("look", None)
            if (changed and not first) or gone or fresh or healed:
                with _PUBLISHING:
                    self._publish()
            if fresh:
                self._problems.pop("read", None)
                self._read(sorted(fresh))
                # What could not be read is tried again when all files are looked at the next time.
                for key in fresh & self._unread:
                    self._prints.pop(key, None)
                self._save()
            self._make_tables()

    def _look_at_plan(self) -> bool:
        told = self._folder.plan_print(self._study)
        if told == self._plan_print:
            return False
        self._plan = self._folder.plan(self._study)
        self._plan_print = told
        self._jobs = {job.key: job for job in self._plan.jobs}
        self._planned = job_rows(self._plan.jobs, {})
        self._records = {}
        return True

    def _look_at_records(self, records: dict[str, int]) -> tuple[set[str], set[str]]:
        """Return the planned records that came or changed, and those that went."""
        others = {key for key, number in records.items() if self._records.get(key) != number}
        gone = (set(self._prints) | self._unread) - set(records)
        now = time.monotonic()
        due = now - self._all_seen > _ALL_AGAIN
        prints = self._folder.prints(records if due else others)
        if due:
            self._all_seen = now
        fresh = {key for key, told in prints.items() if self._prints.get(key) != told}
        self._records = records
        self._prints = {key: told for key, told in (self._prints | prints).items() if key not in gone}
        return fresh, gone

    def _remember(self, records: dict[str, int]) -> None:
        """Take over what was measured before of the records that are still the same folders."""
        self._unread = set(records)
        tables = kept(self._kept / "measured")
        if tables is None or not {"print", "place"} <= set(tables["records"].columns):
            return
        known = tables["records"]
        same = (known["job"].map(records) == known["place"]).fillna(False).astype(bool)
        self._prints = dict(zip(known.loc[same, "job"], known.loc[same, "print"], strict=True))
        every = Measured(known.drop(columns=["print", "place"]), tables["metrics"])
        self._measured = every.without(known.loc[~same, "job"])
        self._unread -= set(self._prints)

    def _read(self, keys: list[str]) -> None:
        jobs = [self._jobs[key] for key in keys]
        shares = min(2, os.cpu_count() or 1)
        try:
            if len(jobs) <= _FEW:
                self._take(measure(self._folder.root, jobs), keys)
                return
            with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(shares) as pool:
                read = [
                    pool.submit(self._read_in_child, keys[place::shares], str(Path(scratch) / str(place)))
                    for place in range(shares)
                ]
            for one in read:
                one.result()
        except (Failed, InputError, OSError) as error:
            self._refused("read", error)
        except Exception as error:  # a fault of ours: the pages say so, and what is left is tried again
            _LOG.exception("the explorer could not read records")
            self._refused("read", error)

    def _read_in_child(self, keys: list[str], out: str) -> None:
        given = {"results": str(self._folder.root), "study": self._study, "keys": keys, "out": out}
        for told in in_child("measure", self._children.append, **given):
            tables = kept(Path(told["part"]))
            if tables is None:
                raise Failed("what was measured cannot be read")
            problems = tuple(Problem(**problem) for problem in told["damaged"])
            self._take(Measured(tables["records"], tables["metrics"], problems))

    def _take(self, part: Measured, keys: Iterable[str] = ()) -> None:
        with _PUBLISHING:
            self._measured = together([self._measured, replace(part, problems=())])
            for problem in part.problems:
                key = next((key for key in self._unread if key in problem.where), "")
                self._damaged[key] = problem
            self._unread -= {*part.records["job"], *self._damaged, *keys}
            if not self._unread or time.monotonic() - self._published > _BETWEEN:
                self._publish()

    def _save(self) -> None:
        """Keep what was measured; a folder of caches that cannot be written costs time at the next start, no more."""
        if self._unread or not len(self._measured.records):
            return
        known = self._measured.records
        told = known["job"].map(self._prints).astype("string")
        place = known["job"].map(self._records).astype("Int64")
        with suppress(OSError, InputError):
            keep(
                self._kept / "measured",
                {"records": known.assign(print=told, place=place), "metrics": self._measured.metrics},
            )

    def _publish(self) -> None:
        assert self._plan is not None
        records = self._measured.records
        jobs = study_jobs(self._planned, self._measured)
        states = dict(zip(records["job"], records["state"], strict=True))
        self._tables.wanted = self._digest()
        self._version += 1
        self._published = time.monotonic()
        self.snapshot = Snapshot(
            self._version, self._plan, jobs, study_folds(self._measured, jobs), self._status(states),
            tuple(self._damaged.values()), len(self._unread), self._tables.made,
            self._tables.made is not None and self._tables.of == self._tables.wanted and not self._unread,
            self._tables.records,
            # Names of another plan would let names of this one pass.
            self._tables.names if self._tables.names_of == self._plan.sha256 else None,
            self.problems,
        )  # fmt: skip

    def _digest(self) -> str:
        assert self._plan is not None
        return digest(self._plan.sha256, self._measured.records)

    def _status(self, states: dict[str, str]) -> StudyStatus:
        assert self._plan is not None
        store, failed, missing, done = Store(self._folder.root), [], [], 0
        for job in self._plan.jobs:
            state = states.get(job.key, "missing")
            if state == "failed":
                if job.key not in self._failures:
                    with suppress(InputError):
                        status = store.status(job.key)
                        self._failures[job.key] = (status.error or "", status.attempts) if status else ("", 0)
                failed.append((job, *self._failures.get(job.key, ("", 0))))
            elif state == "done":
                done += 1
            elif job.key not in self._unread:  # what it is, is known when it is read
                missing.append(job)
        return StudyStatus(self._study, len(self._plan.jobs), done, tuple(failed), tuple(missing), self._plan.left_out)

    def _make_tables(self) -> None:
        """Make the report's tables anew where records came, but not all the time."""
        wanted, tables = self._tables.wanted, self._tables
        busy = self._maker is not None and self._maker.is_alive()
        if busy or self._unread or wanted == tables.checked or self._damaged:
            return
        if wanted == tables.failed and time.monotonic() < tables.again:
            return
        if tables.seconds and time.monotonic() - tables.ended < _PATIENCE * tables.seconds:
            return
        records = int((self._measured.records["state"] == "done").sum())
        if not records:
            return
        early = kept(self._folder_of_tables(wanted)) if tables.of != wanted else None
        if early is not None:
            # Shown at once, and checked behind the first view.
            self._show(wanted, records, all_tables(self._study, early), None)
        self._maker = threading.Thread(target=self._make, args=(wanted,), daemon=True)
        self._maker.start()

    def _folder_of_tables(self, wanted: str) -> Path:
        return self._kept / tables_folder(wanted)

    def _make(self, wanted: str) -> None:
        begun, tables = time.monotonic(), self._tables
        self._problems.pop("tables", None)
        try:
            with tempfile.TemporaryDirectory() as scratch:
                names, plan, of, made = frozenset[str](), "", "", None
                out = _writable(self._kept, Path(scratch))
                given = {"results": str(self._folder.root), "study": self._study, "out": str(out)}
                for told in in_child("tables", self._children.append, **given):
                    names, plan = frozenset(told.get("names", names)), told.get("plan", plan)
                    if "tables" in told:
                        made, of, records = kept(Path(told["tables"])), told["of"], told["records"]
                if made is not None:
                    # Of what it found, which may be more or less by now than what was there when it was asked.
                    tables.seconds, tables.ended = time.monotonic() - begun, time.monotonic()
                    tables.checked = of
                    self._show(of, records, all_tables(self._study, made), (plan, names))
                    _forget(self._kept.glob("tables-*"), out / tables_folder(of), _KEPT_TABLES)
                    _forget(self._kept.parent.iterdir(), self._kept, _KEPT_CODES)
        except (Failed, InputError, OSError) as error:
            self._failed(wanted, begun, error)
        except Exception as error:  # a fault of ours: the pages say so
            _LOG.exception("the explorer could not make the tables")
            self._failed(wanted, begun, error)

    def _failed(self, wanted: str, begun: float, error: BaseException) -> None:
        now, tables = time.monotonic(), self._tables
        # What was shown early may be of a record that is refused now.
        tables.failed, tables.of, tables.checked = wanted, "", ""
        tables.again = now + max(_AGAIN, _PATIENCE * (now - begun))
        self._refused("tables", error)

    def _show(self, of: str, records: int, made: StudyTables, names: tuple[str, frozenset[str]] | None) -> None:
        with _PUBLISHING:
            tables = self._tables
            tables.of, tables.records, tables.made = of, records, made
            tables.names_of, tables.names = names if names is not None else (tables.names_of, tables.names)
            self._publish()

    def _refused(self, where: str, error: BaseException) -> None:
        if self._stop.is_set():
            return  # what was computed elsewhere was ended
        what = tuple(error.problems) if isinstance(error, InputError) else (Problem("the explorer", str(error), ""),)
        if what == self._problems.get(where):
            return
        self._problems[where] = what
        with _PUBLISHING:
            try:
                if self._plan is not None:
                    self._publish()
            except Exception:
                # Publishing may be what fails, and whoever watches must go on watching.
                if self.snapshot is not None:
                    self._version += 1
                    self.snapshot = replace(self.snapshot, version=self._version, problems=self.problems)


# One at a time: a snapshot is made of several things that must fit each other.
_PUBLISHING = threading.RLock()


@dataclass
class _Tables:
    """The report's tables: of which records they are, of which they were last made or checked, and how long it took."""

    wanted: str = ""
    of: str = ""
    checked: str = ""
    failed: str = ""
    again: float = 0.0  # when what failed is tried again
    records: int = 0
    seconds: float = 0.0
    ended: float = 0.0
    made: StudyTables | None = None
    names: frozenset[str] | None = None
    names_of: str = ""  # the plan that they are of


def _writable(folder: Path, otherwise: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return folder if os.access(folder, os.W_OK) else otherwise
    except OSError:
        return otherwise


def _forget(folders: Iterable[Path], last: Path, most: int) -> None:
    """Remove all but the last of what was kept."""
    with suppress(OSError):
        others = sorted((path for path in folders if path != last), key=lambda path: path.stat().st_mtime)
        for path in others[: max(0, len(others) - most + 1)]:
            shutil.rmtree(path, ignore_errors=True)
