"""Files that are either whole or not there, whatever happens while they are written."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock


def write_in_one_step(path: Path, content: bytes | str) -> None:
    """Write a file beside its place and rename it there; a reader sees the old or the new one, never a part.

    Parameters
    ----------
    path
        The file's final place; its folder is made if needed.
    content
        Bytes, or text that is written as UTF-8 with the line ends it has.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with draft.open("wb") as stream:
            stream.write(content.encode("utf-8") if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def folder_in_one_step(path: Path) -> Iterator[Path]:
    """Fill a folder beside its place, then rename it there.

    Parameters
    ----------
    path
        The folder's final place. A folder that is there already is replaced.

    Yields
    ------
    Path
        An empty folder to fill. If the block raises, it is removed and `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    draft.mkdir()
    try:
        yield draft
        if path.exists():
            # A folder cannot be renamed onto a full one; the old one leaves first.
            old = draft.with_name(draft.name + ".old")
            path.rename(old)
            draft.rename(path)
            shutil.rmtree(old)
        else:
            draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold `path` as a lock; the operating system frees it when the process dies, however it dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(path)):
        yield
