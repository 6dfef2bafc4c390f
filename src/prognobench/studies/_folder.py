"""A results folder that is looked at while a study fills it: what is planned, and which records came or changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prognobench.frame import InputError, Problem, nearest, sha256_file

from ._job import ListedJob
from ._store import Store, read_plan


@dataclass(frozen=True, eq=False)
class StudyPlan:
    """What a study planned, as its folder keeps it.

    Attributes
    ----------
    study
        The study's name.
    jobs
        The planned jobs.
    left_out
        What could not work at planning, with the reason.
    overrides
        What was laid over the study file.
    cohort_files
        Where the cohorts lay when it was planned; a path of the study file counts from that file's folder.
    sha256
        Of the plan's file.
    """

    study: str
    jobs: tuple[ListedJob, ...]
    left_out: tuple[dict[str, Any], ...]
    overrides: tuple[str, ...]
    cohort_files: tuple[str, ...]
    sha256: str


class ResultsFolder:
    """The folder of one or more studies, finished or not, and possibly still empty.

    Parameters
    ----------
    root
        The folder that `run` fills.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._store = Store(root)

    def studies(self) -> list[str]:
        """List the studies by name; none where nothing has run yet."""
        with suppress(FileNotFoundError):
            names = (Path(entry.name) for entry in os.scandir(self._store.plans))
            return sorted(name.stem for name in names if name.suffix == ".json" and not name.name.startswith("."))
        return []

    def plan_print(self, study: str) -> str:
        """Return what changes when the plan does."""
        return _print_of([self._store.plans / f"{study}.json"])

    def plan(self, study: str) -> StudyPlan:
        """Read what a study planned.

        Raises
        ------
        InputError
            There is no such study, or its plan was altered.
        """
        # A name from outside must not lead out of the folder.
        content = read_plan(self._store, study) if study in self.studies() else None
        if content is None:
            what = f"there is no study '{study}'"
            raise InputError([Problem(str(self.root), what, nearest(study, self.studies()))])
        settings = content.get("basis", {}).get("settings", [])
        return StudyPlan(
            study,
            tuple(ListedJob.from_json(job) for job in content["jobs"]),
            tuple(content.get("left_out", ())),
            tuple(content.get("overrides", ())),
            tuple(
                dict.fromkeys(file for block in settings for file in _cohort_files(block, content.get("source") or {}))
            ),
            sha256_file(self._store.plans / f"{study}.json"),
        )

    def records(self) -> dict[str, int]:
        """Return each record's key with the number of its folder, which another record in its place would not have."""
        with suppress(FileNotFoundError):
            entries = os.scandir(self._store.runs)
            return {entry.name: entry.inode() for entry in entries if not entry.name.startswith(".")}
        return {}

    def prints(self, keys: Iterable[str]) -> dict[str, str]:
        """Return what changes when a file of a record does: names, sizes, times and numbers of its files.

        Reading is dear and this is cheap. It is what make, rsync and git go by: whoever alters a file and sets its
        size and its time of change back is found by the SHA-256 alone. A record that cannot be looked at has a print,
        too, so that it is read and refused by name.
        """
        found = {}
        for key in keys:
            try:
                found[key] = _print_of(sorted(os.scandir(self._store.runs / key), key=lambda entry: entry.name))
            except OSError as error:
                found[key] = f"it cannot be looked at: {error.errno}"
        return found


def _print_of(files: Iterable[os.DirEntry[str] | Path]) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for file in files:
        with suppress(OSError):
            state = file.stat()
            told = (file.name, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
            digest.update(repr(told).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _cohort_files(block: dict[str, Any], source: dict[str, Any]) -> list[str]:
    """Return where the cohorts of a grid lie: those that are trained on, and those that are tested besides."""
    tested = block.get("validation.external", {}).get("test", [])
    named = [name for name in (*block.get("cohorts", ()), *tested) if isinstance(name, str)]
    # As a study reads them: a name has its place, and a path counts from the file that it stands in.
    file, places = Path(source.get("file", "")), source.get("places", {})
    return [places.get(name) or str(file.parent / name) for name in named]
