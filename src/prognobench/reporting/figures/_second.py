"""A second process that draws figures beside the first, for studies with many cells."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from types import SimpleNamespace
from typing import IO, Any

from .._shown import Shown, Tables
from ._figure import Figure
from ._write import WrittenFigure, write_figure

_TABLES = ("fold_metrics", "summary", "controls", "intervals", "subgroups", "reliability", "jobs")


def write_by_two(figures: Sequence[Figure], tables: Tables, folder: Path) -> list[WrittenFigure]:
    """Write figures with this and one more process; each takes the next one when it is done with one.

    A subprocess, because `multiprocessing` would run an unguarded script of the user's anew. It draws what this one
    would: where it cannot be started or dies, this process draws all.
    """
    waiting: SimpleQueue[str] = SimpleQueue()
    for figure in figures:
        waiting.put(figure.name)
    done: dict[str, WrittenFigure] = {}
    second = threading.Thread(target=_feed, args=(waiting, done, tables, folder), daemon=True)
    second.start()
    shown, by_name = Shown(tables), {figure.name: figure for figure in figures}
    while (name := _next(waiting)) is not None:
        done[name] = write_figure(by_name[name], shown, folder)
    second.join()
    return [done[figure.name] if figure.name in done else write_figure(figure, shown, folder) for figure in figures]


def _next(waiting: SimpleQueue[str]) -> str | None:
    try:
        return waiting.get_nowait()
    except Empty:
        return None


def _feed(waiting: SimpleQueue[str], done: dict[str, WrittenFigure], tables: Tables, folder: Path) -> None:
    """Start the second process and hand it figure by figure."""
    places = os.pathsep.join(place for place in sys.path if place)
    command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
    environment = os.environ | {"PYTHONPATH": places}
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    except OSError:
        return
    with process:
        assert process.stdin is not None and process.stdout is not None
        try:
            _send(process.stdin, ({name: getattr(tables, name) for name in _TABLES}, folder))
            # Both ends of the pipe are this program; nothing from outside is ever unpickled.
            pickle.load(process.stdout)  # it is up # noqa: S301
            while (name := _next(waiting)) is not None:
                _send(process.stdin, name)
                done[name] = pickle.load(process.stdout)  # noqa: S301
            process.stdin.close()
        except (OSError, EOFError, pickle.UnpicklingError):
            process.kill()


def _send(stream: IO[bytes], what: Any) -> None:
    pickle.dump(what, stream)
    stream.flush()


def serve() -> None:
    """Draw the figures whose names come in, until none comes."""
    from . import FIGURES

    answers = os.fdopen(os.dup(1), "wb")
    # Whatever prints must not stand between the answers.
    os.dup2(2, 1)
    tables, folder = pickle.load(sys.stdin.buffer)  # noqa: S301
    shown, by_name = Shown(SimpleNamespace(**tables)), {figure.name: figure for figure in FIGURES}
    _send(answers, None)
    while True:
        try:
            name = pickle.load(sys.stdin.buffer)  # noqa: S301
        except EOFError:
            return
        _send(answers, write_figure(by_name[name], shown, folder))
