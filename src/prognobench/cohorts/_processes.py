"""Work on many films in as many processes as there are processors, in order and with little in memory."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from prognobench.frame import InputError, Problem

Item = TypeVar("Item")
Result = TypeVar("Result")


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, crashed: Callable[[Item], Result]
) -> Iterator[Result]:
    """Yield `function(item)` in the order of the items, computed by processes that run only a little ahead.

    Parameters
    ----------
    function
        Of a module, so that another process finds it.
    items
        Taken as they are needed.
    workers
        How many processes; with 1 the work is done in this one.
    crashed
        What to yield for an item that ends its process, as a decoder may that is fed with damaged bytes.

    Raises
    ------
    InputError
        No process can be started, as from a script that does not guard what it does.
    """
    if workers == 1:
        yield from map(function, items)
        return
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    pool = _pool(workers)
    try:
        _refuse_still_born(pool)
        for item in items:
            waiting.append((item, _submit(pool, function, item)))
            if len(waiting) > 2 * workers:
                if _broken(waiting[0][1]):
                    pool.shutdown()
                    pool = _pool(workers)
                    waiting = _again(waiting, function, crashed)
                yield waiting.popleft()[1].result()
        if any(_broken(future) for _, future in waiting):
            waiting = _again(waiting, function, crashed)
        while waiting:
            yield waiting.popleft()[1].result()
    finally:
        pool.shutdown(cancel_futures=True)


def _refuse_still_born(pool: ProcessPoolExecutor) -> None:
    """Tell processes that cannot start from items that end them."""
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool:
        what = "the worker processes end before they begin"
        remedy = "In a script of your own put the call below `if __name__ == '__main__':`, or say workers=1"
        raise InputError([Problem("processes", what, remedy)]) from None


def _broken(future: Future[Result]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


def _again(
    waiting: Iterable[tuple[Item, Future[Result]]],
    function: Callable[[Item], Result],
    crashed: Callable[[Item], Result],
) -> deque[tuple[Item, Future[Result]]]:
    """Try each unfinished item by itself: which of those under way ended its process is not told."""
    done: deque[tuple[Item, Future[Result]]] = deque()
    for item, future in waiting:
        if _broken(future):
            future = Future()
            future.set_result(_alone(function, item, crashed))
        done.append((item, future))
    return done


def _alone(function: Callable[[Item], Result], item: Item, crashed: Callable[[Item], Result]) -> Result:
    with _pool(1) as pool:
        try:
            return pool.submit(function, item).result()
        except BrokenProcessPool:
            return crashed(item)


def _submit(pool: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item) -> Future[Result]:
    try:
        return pool.submit(function, item)
    except BrokenProcessPool as error:
        future: Future[Result] = Future()
        future.set_exception(error)
        return future


def _pool(workers: int) -> ProcessPoolExecutor:
    """Start processes that share what they import, where the system can, and never inherit threads or locks."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["pydicom.pixels", "prognobench.cohorts._films", "prognobench.cohorts._dicom"])
    return ProcessPoolExecutor(workers, mp_context=context)
