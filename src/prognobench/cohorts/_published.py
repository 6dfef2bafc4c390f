"""Published cohorts by name: their cards, where they lie on this machine, and stand-ins to plan with."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pandas as pd
import platformdirs
import yaml

from prognobench.frame import InputError, Problem, Problems, nearest, read_text, sha256_bytes

from . import _catalog
from ._cards import CohortCard, PublishedTask
from ._cohort import Cohort
from ._spec import CohortSpec, Columns, TaskSpec
from ._tasks import Task

_CLASSES = ("negative", "positive")


@cache
def cohort_cards() -> dict[str, CohortCard]:
    """Return the card of every published cohort by its id.

    Examples
    --------
    >>> cohort_cards()["covid19ar"].task("CAR").negative[0].films
    70
    """
    modules = pkgutil.iter_modules(_catalog.__path__, f"{_catalog.__name__}.")
    cards = [card for module in modules for card in importlib.import_module(module.name).CARDS]
    return {card.id: card for card in sorted(cards, key=lambda card: card.id)}


def places_file() -> Path:
    """Return the user's file that says where named cohorts lie: lines `NAME: FOLDER`.

    It is `PROGNOBENCH_COHORTS` where that is set, else `cohorts.yaml` in the user's settings folder.
    """
    chosen = os.environ.get("PROGNOBENCH_COHORTS")
    if chosen:
        return Path(chosen).expanduser()
    return Path(platformdirs.user_config_dir("prognobench", appauthor=False)) / "cohorts.yaml"


def cohort_places(arguments: Sequence[str] = ()) -> dict[str, Path]:
    """Return the `cohort.yaml` of every named cohort whose place is known.

    Parameters
    ----------
    arguments
        `NAME=DIR` texts of the command line; they come before the user's file.

    Raises
    ------
    InputError
        An argument is not of that form, or the user's file is not a list of such lines.
    """
    problems = Problems()
    found: dict[str, Path] = {}
    file = places_file()
    if file.exists():
        try:
            content = yaml.safe_load(read_text(file)) or {}
        except yaml.YAMLError:
            content = None
        if not isinstance(content, dict) or not all(isinstance(folder, str) for folder in content.values()):
            problems.add(file, "this is not a list of cohorts with their folders", "Write lines such as name: /folder")
        else:
            found = {str(name): file.parent / Path(folder).expanduser() for name, folder in content.items()}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if not equals or not name or not folder:
            problems.add(f"argument '{argument}'", "it is not of the form NAME=DIR", "Write covid19ar=/folder")
        else:
            found[name] = Path(folder).expanduser()
    problems.raise_if_any()
    return {
        name: place if place.suffix in (".yaml", ".yml") else place / "cohort.yaml" for name, place in found.items()
    }


def published_cohort(name: str) -> Cohort:
    """Return a stand-in for a published cohort: as many films, patients, classes and centers as its card says.

    It holds no image; it is there to plan with before the files are at hand.

    Raises
    ------
    InputError
        No published cohort has that name; the nearest one is named.
    """
    card = cohort_cards().get(name)
    if card is None:
        what = f"no published cohort is called '{name}'"
        raise InputError([Problem(f"cohort '{name}'", what, nearest(name, list(cohort_cards())))])
    tasks = {task.name: Task(task.name, _CLASSES, _rows(task), {}) for task in card.tasks}
    largest = max(tasks.values(), key=lambda task: len(task.rows)).rows
    films = largest.drop(columns=["label", "film"]).assign(row=0, width=0, height=0, brightness=0.0)
    spec = CohortSpec(
        name=card.id,
        manifest="published counts",
        columns=Columns(image="image", patient="patient"),
        tasks={task.name: TaskSpec(label=task.name, positive=["1"], negative=["0"]) for task in card.tasks},
    )
    texts = films[["image", "patient"]].reset_index(drop=True)
    nothing = pd.DataFrame(columns=["row", "image", "reason", "kind"])
    return Cohort(Path(f"published counts of {card.title}"), spec, card.id, films, texts, nothing, tasks, stand_in=True)


def task_names(name: str, tasks: Sequence[str]) -> list[str]:
    """Return tasks of a published cohort by the names of its card; names that it does not know stay as they are."""
    card = cohort_cards().get(name)
    known = {} if card is None else {alias: task.name for task in card.tasks for alias in (task.name, *task.aliases)}
    return [known.get(task, task) for task in tasks]


def _rows(task: PublishedTask) -> pd.DataFrame:
    rows = pd.DataFrame(_films(task), columns=["patient", "center", "label"])
    rows["image"] = [f"film-{number:05d}" for number in range(1, len(rows) + 1)]
    rows["group"] = rows["patient"]
    rows["sha256"] = [sha256_bytes(image.encode()) for image in rows["image"]]
    rows["film"] = range(len(rows))
    return rows


def _films(task: PublishedTask) -> Iterator[tuple[str, str, int]]:
    """Deal the films of each class and center evenly to its patients."""
    patients = 0
    for label, counts in enumerate((task.negative, task.positive)):
        for count in counts:
            for film in range(count.films):
                yield f"patient-{patients + film % count.patients:05d}", count.center, label
            patients += count.patients


def published_notes(cohorts: Mapping[str, Cohort]) -> list[str]:
    """Say in sentences which of these cohorts are stand-ins, and what their counts rest on."""
    notes = []
    for name, cohort in cohorts.items():
        if cohort.stand_in:
            card = cohort_cards()[name]
            assumed = "; ".join(f"{task.name}: {task.assumed}" for task in card.tasks if task.assumed)
            notes.append(
                f"Cohort {name}: its files are not here, so the published counts are used ({card.counts_from})."
                + (f" Assumed: {assumed}." if assumed else "")
            )
    return notes
