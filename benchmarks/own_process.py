"""A process of its own for what would change, or be changed by, the process that measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any


@contextmanager
def own_process(work: Callable[..., None], *given: Any) -> Iterator[Connection]:
    """Start `work(connection, *given)` in a new process, and end it with the block; yield this side of the pipe.

    `recv` raises EOFError where the process ended without an answer.
    """
    spawn = get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=work, args=(there, *given), daemon=True)
    process.start()
    there.close()
    try:
        yield here
    except BaseException:
        process.terminate()
        raise
    finally:
        here.close()
        process.join(timeout=60)
        process.terminate()
        process.join()
