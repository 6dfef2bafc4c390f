"""Every film is decoded once, for all that is wanted of it."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from prognobench.frame import InputError, Problem, file_lock, sha256_bytes, sha256_json

from ._facts import FilmFacts, read_facts, save_facts
from ._film_tags import text_tags
from ._films import BadFilm, Fault, decode
from ._packs import PackDraft, images_folder, open_pack
from ._preprocessing import Preprocessing, render, scale_to_unit

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Decoded:
    content: str
    found: FilmFacts | Fault
    squares: list[NDArray[np.uint16]]


def survey(
    paths: Mapping[str, Path],
    preprocessings: Sequence[Preprocessing],
    *,
    packs_despite_faults: bool,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, FilmFacts | Fault]:
    """Learn the facts of films and see to it that their packs are there, decoding each film at most once.

    Parameters
    ----------
    paths
        A file for each film, by the SHA-256 of its bytes.
    preprocessings
        The packs that are wanted of the films without fault.
    packs_despite_faults
        Whether the packs are wanted when some film has a fault.
    progress
        Called with the number of films done and that of all films to decode.
    """
    contents = sorted(paths)
    key = sha256_json(contents)
    # Who comes second finds the work done: the lock is the same for the same films.
    with file_lock(images_folder() / "locks" / f"films-{key}.lock"), ExitStack() as stack:
        facts = read_facts(contents)
        missing = _missing_packs(contents, facts, list(dict.fromkeys(preprocessings)), packs_despite_faults)
        todo = [content for content in contents if content not in facts]
        if missing:
            todo = [content for content in contents if not isinstance(facts.get(content), Fault)]
        room = images_folder() / "drafts" / key
        shutil.rmtree(room, ignore_errors=True)  # left by a process that was killed
        stack.callback(shutil.rmtree, room, ignore_errors=True)
        drafts = [stack.enter_context(PackDraft(room / recipe.key, recipe)) for recipe in missing]
        fresh: dict[str, FilmFacts | Fault] = {}
        jobs = [(content, paths[content], missing) for content in todo]
        for done, film in enumerate(in_order(_decode, jobs), start=1):
            fresh[film.content] = film.found
            for draft, square in zip(drafts, film.squares, strict=False):  # a film with a fault has no squares
                draft.add(film.content, square)
            if progress is not None:
                progress(done, len(todo))
        save_facts({content: found for content, found in fresh.items() if facts.get(content) != found})
        facts |= fresh
        faults = sum(isinstance(found, Fault) for found in facts.values())
        if faults < len(facts) and (packs_despite_faults or not faults):
            for draft in drafts:
                draft.finish()
    return facts


def in_order(function: Callable[[Item], Result], items: Iterable[Item], ahead: int = 0) -> Iterator[Result]:
    """Yield `function(item)` in the order of the items, computed by threads that run only a little ahead.

    They are ahead by two items a thread, or by `ahead` items where that is more.
    """
    threads = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > max(2 * threads, ahead):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _missing_packs(
    contents: list[str],
    facts: Mapping[str, FilmFacts | Fault],
    preprocessings: list[Preprocessing],
    packs_despite_faults: bool,
) -> list[Preprocessing]:
    faults = {content for content, found in facts.items() if isinstance(found, Fault)}
    if faults and not packs_despite_faults:
        return []
    if len(facts) < len(contents):
        return preprocessings  # a pack of these films would have left their facts
    whole = [content for content in contents if content not in faults]
    return [recipe for recipe in preprocessings if whole and open_pack(whole, recipe) is None]


def _decode(job: tuple[str, Path, Sequence[Preprocessing]]) -> _Decoded:
    content, path, preprocessings = job
    try:
        data = path.read_bytes()
    except OSError as error:
        again = f"the film could be read before and cannot now ({error.strerror})"
        raise InputError([Problem(str(path), again, "Put the file back and run again")]) from None
    if sha256_bytes(data) != content:
        changed = Problem(
            str(path), "the film has changed since it was first read", "Run again when nothing writes to it"
        )
        raise InputError([changed])
    try:
        scaled = scale_to_unit(decode(data))
    except BadFilm as bad:
        return _Decoded(content, bad.fault, [])
    height, width = scaled.shape
    facts = FilmFacts(width, height, float(scaled.mean(dtype=np.float64)), text_tags(data))
    return _Decoded(content, facts, [render(scaled, recipe) for recipe in preprocessings])
