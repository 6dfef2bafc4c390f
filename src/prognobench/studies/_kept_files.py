"""Files that a plan seals by their SHA-256: one a cohort, named after its content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from prognobench.frame import InputError, Problem, Problems, canonical_json, sha256_bytes, write_in_one_step

from ._results import chosen_plan
from ._store import Store, read_plans

Kind = Literal["cohorts", "audits"]  # the folder, and the key of the plan


def keep(store: Store, kind: Kind, content: dict[str, Any]) -> str:
    """Write a content into `<kind>/<sha256>.json`, unless it is there, and return the SHA-256."""
    written = canonical_json(content).encode("ascii")
    sha256 = sha256_bytes(written)
    path = _path(store, kind, sha256)
    if not path.exists() or sha256_bytes(path.read_bytes()) != sha256:
        write_in_one_step(path, written)
    return sha256


def forget(store: Store, kind: Kind) -> None:
    """Delete the files of a kind that no plan of the folder names any more.

    Nothing is deleted where a plan cannot be read, since it may name any.
    """
    try:
        named = {sha256 for plan in read_plans(store).values() for sha256 in plan.get(kind, {}).values()}
    except InputError:
        return
    for path in (store.root / kind).glob("*.json"):
        if path.stem not in named:
            path.unlink(missing_ok=True)


def read_kept(results: Path, study: str | None, kind: Kind) -> list[tuple[str, dict[str, Any]]]:
    """Return what a study keeps of its cohorts, by their names; nothing where it ran before that was kept.

    Raises
    ------
    InputError
        There is no such study, or a file is missing or was altered; all of them are named.
    """
    store = Store(results)
    found, problems = [], Problems()
    for name, sha256 in chosen_plan(store, study).get(kind, {}).items():
        try:
            found.append((name, _content(_path(store, kind, sha256), sha256)))
        except InputError as error:
            problems.extend(error)
    problems.raise_if_any()
    return found


def _content(path: Path, sha256: str) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError:
        content = None
    if content is None or sha256_bytes(content) != sha256:
        what = "it is missing" if content is None else "it was altered: its SHA-256 is not its name"
        raise InputError([Problem(str(path), what, "Put it back as it was, or run the study again, which writes it")])
    loaded: dict[str, Any] = json.loads(content)
    return loaded


def _path(store: Store, kind: Kind, sha256: str) -> Path:
    return store.root / kind / f"{sha256}.json"
