"""A study that ran, read again from its file: to go on with what its records alone do not hold, its films."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prognobench.frame import InputError, Problem

from ._results import chosen_plan
from ._spec import Study, read_study
from ._store import Store, read_plans


def told_source(study: Study) -> dict[str, Any]:
    """Return what the results folder keeps of where a study came from."""
    path = study.path.as_posix() if study.preset else str(study.path.resolve())
    return {"file": path, "places": {name: str(place.resolve()) for name, place in study.places.items()}}


def study_as_run(
    results: Path, study: str | None = None, file: Path | None = None, cohorts: Sequence[str] = ()
) -> Study:
    """Read the file of a study again, with what the command line laid over it when it ran.

    Parameters
    ----------
    results
        The folder that `run` filled.
    study
        The study's name; may be left out where the folder holds one study, or that of the file.
    file
        The study file; by default the one that the folder names.
    cohorts
        `NAME=DIR` texts, as `read_study` takes them; by default the places that the folder names.

    Raises
    ------
    InputError
        There is no such study in the folder, its file is not where it was, or it has faults.
    """
    store = Store(results)
    if study is None and file is not None and (own := read_study(file).name) in read_plans(store):
        study = own
    plan = chosen_plan(store, study)
    source = plan.get("source") or {}
    if file is None and not source:
        what = "the folder does not say which file its study came from"
        raise InputError([Problem(str(results), what, "Give the study file, and the folder as --results")])
    path = Path(source["file"]) if file is None else file
    if file is None and path.is_absolute() and not path.exists():
        what = f"the study file '{path}' is not there any more"
        raise InputError([Problem(str(results), what, "Give the study file, and the folder as --results")])
    given = {text.partition("=")[0] for text in cohorts}
    places = [f"{name}={place}" for name, place in source.get("places", {}).items() if name not in given]
    known = read_study(path, plan["overrides"]).blocks
    named = {entry.name for block in known for entry in block.cohorts if entry.name is not None}
    wanted = [*cohorts, *(text for text in places if text.partition("=")[0] in named)]
    return read_study(path, plan["overrides"], wanted)
