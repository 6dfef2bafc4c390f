"""A folder of raw files, walked: its DICOM headers, its other files, and what must not be followed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ._dicom import Header, is_dicom, read_header
from ._films import Fault
from ._processes import in_processes

Progress = Callable[[int, int], None]
_AT_ONCE = 32  # headers that a process reads before it answers


@dataclass(frozen=True)
class Tree:
    """What lies in a raw folder.

    Parameters
    ----------
    headers
        Of the DICOM files, in the order of their names.
    others
        The other files, relative to the folder.
    faults
        What was not read, with the reason.
    """

    headers: tuple[Header, ...]
    others: tuple[str, ...]
    faults: tuple[tuple[str, Fault], ...]


def walk(root: Path) -> tuple[list[str], list[tuple[str, Fault]]]:
    """Return the files below a folder, sorted, and the links that are not followed; names have `/` between folders.

    A link to a file inside of the folder is left out too, since that file is found by itself.
    """
    root = root.resolve()
    files: list[str] = []
    faults: list[tuple[str, Fault]] = []
    for place, folders, names in os.walk(root, followlinks=False):
        folders.sort()
        for name in sorted([*names, *(folder for folder in folders if (Path(place) / folder).is_symlink())]):
            path = Path(place) / name
            source = path.relative_to(root).as_posix()
            if path.is_symlink():
                faults.append((source, _link(path, root)))
            elif path.is_file():
                files.append(source)
    return sorted(files), faults


def _link(path: Path, root: Path) -> Fault:
    copy = "Copy what it leads to into the folder; nothing outside of it is read"
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return Fault("a symbolic link leads nowhere", "Remove it")
    if target.is_relative_to(root):
        return Fault("a symbolic link to another place of the folder", "Nothing is to be done: that place is read")
    return Fault("a symbolic link leads out of the folder", copy)


def read_tree(root: Path, sources: Sequence[str], workers: int, progress: Progress | None = None) -> Tree:
    """Read the headers of the DICOM files among `sources`, which `walk` found."""
    headers: list[Header] = []
    others: list[str] = []
    faults: list[tuple[str, Fault]] = []
    jobs = ((root, chunk) for chunk in _chunks(sources))
    done = 0
    # Few files are read sooner than processes are started.
    for found in in_processes(_read, jobs, 1 if len(sources) < 4 * _AT_ONCE else workers, _crashed):
        for source, what in found:
            if isinstance(what, Header):
                headers.append(_compact(what))
            elif what is None:
                others.append(source)
            else:
                faults.append((source, what))
        done += len(found)
        if progress is not None:
            progress(done, len(sources))
    return Tree(tuple(headers), tuple(others), tuple(faults))


def _compact(header: Header) -> Header:
    """Let the many headers of a tree share the words that they have in common."""
    return Header(header.source, {sys.intern(keyword): sys.intern(text) for keyword, text in header.tags.items()})


def _chunks(sources: Sequence[str]) -> Iterator[tuple[str, ...]]:
    rest = iter(sources)
    while chunk := tuple(islice(rest, _AT_ONCE)):
        yield chunk


def _read(job: tuple[Path, tuple[str, ...]]) -> list[tuple[str, Header | Fault | None]]:
    root, sources = job
    return [(source, _header(root, source)) for source in sources]


def _header(root: Path, source: str) -> Header | Fault | None:
    try:
        if not is_dicom(root / source):
            return None
    except OSError as error:
        return Fault(f"the file cannot be read ({error.strerror or error})", "Check its permissions")
    return read_header(root, source)


def _crashed(job: tuple[Path, tuple[str, ...]]) -> list[tuple[str, Header | Fault | None]]:
    fault = Fault("reading the headers of this and its neighbors ended the process", "Look for the damaged file")
    return [(source, fault) for source in job[1]]
