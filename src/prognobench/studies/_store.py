"""Records on disk: written whole or not at all, sealed, and refused when they were altered."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from prognobench.frame import InputError, Problem, sha256_bytes, sha256_json, write_in_one_step

from ._job import Job, job_key

_TABLES = ("predictions.parquet", "history.parquet")
_DOCUMENTS = ("job.json", "cost.json", "environment.json")
_SEALED = (*_DOCUMENTS, *_TABLES)
_TENSORS = "weights.safetensors"
_DRAFT = re.compile(r"[0-9a-z]+-(?P<host>\w+)@(?P<pid>\d+)\.draft")


@dataclass(frozen=True)
class Record:
    """What a job leaves.

    Attributes
    ----------
    job
        The job.
    predictions
        Columns `cohort, image, patient, center, split, y_true, y_score`.
    history
        What validation said of each candidate.
    cost, environment
        What it took, and on what.
    tensors
        The bytes of `weights.safetensors`, where the study keeps them.
    """

    job: Job
    predictions: pd.DataFrame
    history: pd.DataFrame
    cost: dict[str, Any]
    environment: dict[str, Any]
    tensors: bytes | None = None


@dataclass(frozen=True)
class Status:
    """State of a job in the store.

    Attributes
    ----------
    state
        `done` or `failed`.
    attempts
        How often it was tried.
    error
        Why it failed.
    files
        SHA-256 of each file of the record.
    """

    state: str
    attempts: int
    error: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


class Store:
    """The results folder of one or more studies.

    Parameters
    ----------
    root
        The folder; `runs/`, `splits/`, `plans/` and `tmp/` are made in it when something is written.

    Notes
    -----
    A record is written in `tmp/` and renamed into `runs/`. Renaming is one step of the file system, so a reader, a
    crash or a second machine sees all of a record or nothing. Who comes second with the same record throws its own
    away; a failure gives way to a later try, and a finished record to nothing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs, self.splits, self.plans, self.tmp = (root / name for name in ("runs", "splits", "plans", "tmp"))

    def record_keys(self) -> list[str]:
        """List the keys of all records, done or failed."""
        if not self.runs.is_dir():
            return []
        return sorted(entry.name for entry in self.runs.iterdir() if not entry.name.startswith("."))

    def status(self, key: str) -> Status | None:
        """Return the state of a job, or None where it has no record.

        Raises
        ------
        InputError
            The record's `status.json` is not one.
        """
        path = self.runs / key / "status.json"
        if not path.parent.exists():
            return None
        status = _status(path)
        if status is not None:
            return status
        if not path.parent.exists():
            return None  # another process took a failed record away in this moment
        raise _damaged(path.parent, "status.json is missing or not as it was written")

    def read(self, key: str) -> Record:
        """Read a finished record, every file checked against its SHA-256.

        Raises
        ------
        InputError
            Not there, not finished, or altered; the record and the file are named.
        """
        contents = self._verified(key)
        job = self._job(key, contents["job.json"])
        tables = {name: pd.read_parquet(io.BytesIO(contents[name])) for name in _TABLES}
        return Record(
            job,
            tables["predictions.parquet"],
            tables["history.parquet"],
            json.loads(contents["cost.json"]),
            json.loads(contents["environment.json"]),
            contents.get(_TENSORS),
        )

    def contents(self, key: str, status: Status | None = None) -> Mapping[str, bytes]:
        """Return the files of a finished record by name, as they are on disk, checked and raised as by `read`.

        Parameters
        ----------
        key
            The job's key.
        status
            What `status` has just said of it, so that it need not be read again.
        """
        contents = self._verified(key, status)
        self._check_key(key, contents["job.json"])
        return contents

    def verify(self, key: str) -> None:
        """Check a finished record's files without reading what they mean; raises InputError as `read`."""
        self.contents(key)

    def write(self, record: Record) -> None:
        """Put a finished record in its place, unless another process has put the same one there."""
        contents = {
            "job.json": _json(record.job.to_json()),
            "cost.json": _json(record.cost),
            "environment.json": _json(record.environment),
            "predictions.parquet": _parquet(record.predictions),
            "history.parquet": _parquet(record.history),
        }
        if record.tensors is not None:
            contents[_TENSORS] = record.tensors
        before = self.status(record.job.key)
        self._place(record.job.key, contents, "done", 1 + (before.attempts if before else 0), None)

    def write_failure(self, job: Job, error: str) -> None:
        """Note that a job failed and why; it is tried again by the next run."""
        before = self.status(job.key)
        self._place(
            job.key, {"job.json": _json(job.to_json())}, "failed", 1 + (before.attempts if before else 0), error
        )

    def draft(self, key: str) -> Path:
        """Return a new name in `tmp/` that tells whose it is, so that leftovers can be cleared."""
        return self.tmp / f"{key[:16]}{secrets.token_hex(4)}-{_host()}@{os.getpid()}.draft"

    def clear_leftovers(self) -> None:
        """Remove what dead processes of this machine left in `tmp/`; checkpoints stay."""
        for draft in self.tmp.glob("*.draft"):
            told = _DRAFT.fullmatch(draft.name)
            if told is None or told["host"] != _host() or _alive(int(told["pid"])):
                continue
            if draft.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                draft.unlink(missing_ok=True)

    def _place(self, key: str, contents: Mapping[str, bytes], state: str, attempts: int, error: str | None) -> None:
        final = self.runs / key
        with self._draft(key) as draft:
            hashes = {name: sha256_bytes(content) for name, content in contents.items()}
            status = {"state": state, "attempts": attempts, "error": error, "files": hashes}
            _write_durably(draft, {**contents, "status.json": _json(status)})
            self.runs.mkdir(parents=True, exist_ok=True)
            self._settle(draft, final)

    def _settle(self, draft: Path, final: Path) -> None:
        """Rename a full draft to its place; what may give way there is first renamed out of it."""
        while True:
            try:
                draft.rename(final)
                return
            except OSError:
                if not final.exists():
                    raise
            present = self.status(final.name)
            if present is not None and present.state == "done":
                return  # who comes second loses nothing: the record there has the same content
            aside = self.draft(final.name)
            with contextlib.suppress(FileNotFoundError):
                final.rename(aside)
                moved = _status(aside / "status.json")
                if moved is not None and moved.state == "done":
                    # In this moment another process had put a finished record there: it is the one to keep.
                    shutil.rmtree(draft)
                    aside.rename(draft)
                else:
                    shutil.rmtree(aside)

    @contextlib.contextmanager
    def _draft(self, key: str) -> Iterator[Path]:
        draft = self.draft(key)
        draft.mkdir(parents=True)
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _verified(self, key: str, status: Status | None = None) -> dict[str, bytes]:
        folder = self.runs / key
        status = status or self.status(key)
        if status is None or status.state != "done":
            raise _damaged(folder, "it is not a finished record")
        missing = [name for name in _SEALED if name not in status.files]
        if missing:
            raise _damaged(folder, f"its seal does not name {missing[0]}")
        try:
            present = {entry.name for entry in folder.iterdir()} - {"status.json"}
        except OSError:
            raise _damaged(folder, "its files cannot be listed") from None
        contents: dict[str, bytes] = {}
        for name in sorted(present | set(status.files)):
            if name not in status.files:
                raise _damaged(folder, f"{name} was added after it was sealed")
            try:
                contents[name] = (folder / name).read_bytes()
            except OSError:
                raise _damaged(folder, f"{name} is missing") from None
            if sha256_bytes(contents[name]) != status.files[name]:
                raise _damaged(folder, f"{name} was altered: its SHA-256 is not the one it was sealed with")
        return contents

    def _job(self, key: str, content: bytes) -> Job:
        self._check_key(key, content)
        try:
            return Job.from_json(json.loads(content))
        except (ValueError, KeyError, TypeError):
            raise self._unreadable(key) from None

    def _check_key(self, key: str, content: bytes) -> None:
        try:
            own = job_key(json.loads(content)["identity"])
        except (ValueError, KeyError, TypeError):
            raise self._unreadable(key) from None
        if own != key:
            raise _damaged(self.runs / key, "the folder's name is not the key of its job.json")

    def _unreadable(self, key: str) -> InputError:
        return _damaged(self.runs / key, "job.json is not as this version writes it")


def _write_durably(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files and wait until all are on the disk: together, for a disk that waits for one can wait for many."""
    with contextlib.ExitStack() as open_files:
        streams = []
        for name, content in contents.items():
            streams.append(open_files.enter_context((folder / name).open("wb", buffering=0)))
            streams[-1].write(content)
        list(_waiters().map(lambda stream: os.fsync(stream.fileno()), streams))


@cache
def _waiters() -> ThreadPoolExecutor:
    """Return threads that do nothing but wait for the disk."""
    return ThreadPoolExecutor(max_workers=8, thread_name_prefix="fsync")


def write_plan(store: Store, name: str, content: dict[str, Any]) -> Path:
    """Keep which jobs a study plans, so that a reader can tell a hole from a study that never asked."""
    path = store.plans / f"{name}.json"
    write_in_one_step(path, _json(content | {"sha256": sha256_json(content)}))
    return path


def read_plan(store: Store, name: str) -> dict[str, Any] | None:
    """Read the plan of one study, or None where there is none.

    Raises
    ------
    InputError
        It is damaged or was altered.
    """
    path = store.plans / f"{name}.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sealed = content.pop("sha256")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        sealed, content = None, {}
    if sealed is None or sha256_json(content) != sealed:
        what = "the plan was altered: its SHA-256 is not the one it was sealed with"
        raise InputError([Problem(str(path), what, "Put it back as it was, or delete it and run the study again")])
    return content


def read_plans(store: Store) -> dict[str, dict[str, Any]]:
    """Read the plans of all studies that ran into a results folder, by name.

    Raises
    ------
    InputError
        There is none, or one is damaged.
    """
    names = sorted(path.stem for path in store.plans.glob("*.json")) if store.plans.is_dir() else []
    plans = {name: plan for name in names if not name.startswith(".") and (plan := read_plan(store, name)) is not None}
    if not plans:
        what = "there are no results of a study in this folder"
        raise InputError([Problem(str(store.root), what, "Give the folder that `prognobench run --results` filled")])
    return plans


def _status(path: Path) -> Status | None:
    """Read a status file, or None where it is missing or no status."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        status = Status(content["state"], content["attempts"], content["error"], content["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # A failure has no predictions: a record that was finished is not to be passed off as one.
    sound = {"done": True, "failed": _TABLES[0] not in status.files and not (path.parent / _TABLES[0]).exists()}
    return status if sound.get(status.state, False) else None


def _damaged(folder: Path, what: str) -> InputError:
    remedy = "Put the file back as it was, or delete the record's folder and run the study again"
    return InputError([Problem(f"record {folder.name} in {folder.parent}", what, remedy)])


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode("utf-8")


def _parquet(table: pd.DataFrame) -> bytes:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    # What `DataFrame.to_parquet` does, without its look for engines and file systems.
    stream = io.BytesIO()
    write_table(pa.Table.from_pandas(table, preserve_index=False, nthreads=1), stream)
    return stream.getvalue()


def _host() -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in socket.gethostname())


def _alive(pid: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(pid))
