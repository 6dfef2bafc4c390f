"""The cohorts of a study: each is loaded once, with all that any grid asks of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from prognobench.cohorts import Cohort, Preprocessing, Task, load_cohort, places_file, published_cohort, task_names
from prognobench.frame import InputError, Problem, Problems

from ._spec import Block, CohortEntry, Study

Recipes = Callable[[Block], list[Preprocessing]]
Progress = Callable[[int, int], None]
_MOST_NAMED = 5  # films, in an error


def load_cohorts(
    study: Study, recipes: Recipes, progress: Progress | None, problems: Problems, outline: bool = False
) -> dict[str, Cohort]:
    """Load the cohorts that a study trains on, then those that it tests on, by their place.

    Parameters
    ----------
    study
        The study.
    recipes
        Which pixels a grid needs.
    progress
        Called with films done and films in all.
    problems
        Takes every fault.
    outline
        Whether published counts may stand in for a cohort whose place nobody knows.
    """
    entries: dict[str, list[tuple[Block, CohortEntry]]] = {}
    for block in study.blocks:
        for entry in block.cohorts:
            entries.setdefault(_place(study, entry), []).append((block, entry))
    cohorts: dict[str, Cohort] = {}
    for place, asked in entries.items():
        pixels = dict.fromkeys(recipe for block, _ in asked for recipe in recipes(block))
        _take(study, place, cohorts, problems, partial(_load, study, asked, list(pixels), progress, outline))
        if place in cohorts and any(count > 1 for count in Counter(id(block) for block, _ in asked).values()):
            what = f"the cohort '{cohorts[place].name}' is listed twice"
            problems.add(study.path, what, "List it once, with all its tasks")
    _load_tested(study, recipes, progress, cohorts, problems)
    return cohorts


def tasks_of(study: Study, block: Block, cohorts: Mapping[str, Cohort]) -> Iterator[tuple[Cohort, Task]]:
    """Yield the tasks that a grid trains on."""
    for entry in block.cohorts:
        cohort = cohorts.get(_place(study, entry))
        if cohort is not None:
            for task in dict.fromkeys(cohort.tasks if entry.tasks is None else _asked_tasks(entry)):
                yield cohort, cohort.task(task)


def tested_cohorts(study: Study, block: Block, trained: Cohort, cohorts: Mapping[str, Cohort]) -> tuple[str, ...]:
    """Return the names of the cohorts that a grid tests: the trained one itself, or those of `external`."""
    elsewhere = block.validation.kind.elsewhere
    if not elsewhere:
        return (trained.name,)
    places = (_place(study, CohortEntry(path=path)) for path in elsewhere)
    return tuple(dict.fromkeys(cohorts[place].name for place in places if place in cohorts))


def _load_tested(
    study: Study, recipes: Recipes, progress: Progress | None, cohorts: dict[str, Cohort], problems: Problems
) -> None:
    for block in study.blocks:
        trained = list(tasks_of(study, block, cohorts))
        tasks = tuple(dict.fromkeys(task.name for _, task in trained))
        for path in dict.fromkeys(block.validation.kind.elsewhere):
            entry = CohortEntry(path=path, tasks=tasks or None)
            place = _place(study, entry)
            if place not in cohorts:
                load = partial(_load, study, [(block, entry)], recipes(block), progress)
                _take(study, place, cohorts, problems, load)
            if place in cohorts:
                _refuse_unfit(study, trained, cohorts[place], problems)
                if block.validation.kind.ids_are_common:
                    _refuse_common_patients({cohort.name: cohort for cohort, _ in trained}, cohorts[place], problems)


def _refuse_unfit(study: Study, trained: list[tuple[Cohort, Task]], tested: Cohort, problems: Problems) -> None:
    """Refuse a tested cohort that lacks a task, is the trained one, or shares films with it."""
    for cohort, task in trained:
        if cohort is tested:
            what = f"the cohort '{cohort.name}' would be trained on and tested as an external one"
            problems.add(study.path, what, "Test it by kfold, loco or holdout in a grid of its own")
            continue
        try:
            other = tested.task(task.name)
        except InputError as error:
            problems.extend(error)
            continue
        if other.classes != task.classes:
            what = f"task '{task.name}' has other classes than in the cohort '{cohort.name}'"
            problems.add(tested.path, what, "Give both the same classes")
        # All films, not those of the task alone: a patient's other films go where one of them goes.
        own = dict(zip(cohort.films["sha256"], cohort.films["image"], strict=True))
        there = zip(tested.films["sha256"], tested.films["image"], strict=True)
        same = [f"'{image}' is its '{own[content]}'" for content, image in there if content in own]
        if same:
            more = f" and {len(same) - _MOST_NAMED} more" if len(same) > _MOST_NAMED else ""
            what = f"{len(same)} of its films are also in the training cohort '{cohort.name}': "
            problems.add(
                tested.path,
                what + ", ".join(same[:_MOST_NAMED]) + more,
                "Remove all films of these patients from one of the two: who was trained on cannot be tested",
            )


def _refuse_common_patients(trained: Mapping[str, Cohort], tested: Cohort, problems: Problems) -> None:
    """Refuse a tested cohort that holds patients of the trained ones by their ids, where ids are common to them."""
    for cohort in trained.values():
        if cohort is tested:
            continue
        same = sorted(set(tested.films["patient"]) & set(cohort.films["patient"]))
        if same:
            more = f" and {len(same) - _MOST_NAMED} more" if len(same) > _MOST_NAMED else ""
            told = ", ".join(f"'{patient}'" for patient in same[:_MOST_NAMED]) + more
            problems.add(
                tested.path,
                f"{len(same)} of its patients are also in the training cohort '{cohort.name}' by their ids: {told}",
                "Remove them from one of the two, or set `same_ids_same_patient: false` if the ids only look alike",
            )


def _take(study: Study, place: str, cohorts: dict[str, Cohort], problems: Problems, load: Callable[[], Cohort]) -> None:
    try:
        cohort = load()
    except InputError as error:
        problems.extend(error)
        return
    if cohort.name in {other.name for other in cohorts.values()}:
        what, remedy = f"two cohorts are called '{cohort.name}'", "Give one another `name` in its cohort.yaml"
        problems.add(study.path, what, remedy)
    cohorts[place] = cohort


def _load(
    study: Study,
    asked: Sequence[tuple[Block, CohortEntry]],
    recipes: Sequence[Preprocessing],
    progress: Progress | None,
    outline: bool = False,
) -> Cohort:
    entry = asked[0][1]
    path = study.cohort_path(entry)
    every = any(entry.tasks is None for _, entry in asked)
    tasks = None if every else list(dict.fromkeys(task for _, entry in asked for task in _asked_tasks(entry)))
    if path is not None:
        return load_cohort(path, sorted(recipes, key=lambda recipe: recipe.size), tasks=tasks, progress=progress)
    name = entry.name or ""
    if not outline:
        what = f"nobody has said where the cohort '{name}' lies"
        remedy = f"Give --cohort {name}=DIR, or write `{name}: DIR` into {places_file()}"
        raise InputError([Problem(str(study.path), what, remedy)])
    stand_in = published_cohort(name)
    for task in tasks or ():
        stand_in.task(task)
    return stand_in


def _asked_tasks(entry: CohortEntry) -> list[str]:
    """Return the tasks of an entry; a named cohort's also by the names of its card."""
    return list(entry.tasks or ()) if entry.name is None else task_names(entry.name, entry.tasks or ())


def _place(study: Study, entry: CohortEntry) -> str:
    path = study.cohort_path(entry)
    return f"the cohort {entry.name}" if path is None else str(path.resolve())
