"""What the columns of a table are to a task, and what the image files tell besides."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from .._cohort import Cohort
from .._tasks import Task
from ._single_column import Power, predictive_power


def declared(cohort: Cohort) -> set[str]:
    """Return the columns that the cohort file mentions anywhere."""
    key, tasks = cohort.spec.columns, cohort.spec.tasks.values()
    named = {column for _, column in key if column is not None}
    named |= {column for _, columns in cohort.spec.roles for column in columns}
    return named | {task.label for task in tasks} | {column for task in tasks for column in task.where}


def undeclared(cohort: Cohort) -> list[str]:
    """Return the columns of which nobody said what they are."""
    known = declared(cohort)
    return [str(column) for column in cohort.table.columns if column not in known]


def film_columns(cohort: Cohort) -> dict[str, list[str]]:
    """Return what is known of the image files without a table: size, brightness, file type and folder."""
    films = cohort.films
    paths = [PurePosixPath(image) for image in films["image"]]
    return {
        "film.width": [str(width) for width in films["width"]],
        "film.height": [str(height) for height in films["height"]],
        "film.brightness": [repr(float(brightness)) for brightness in films["brightness"]],
        "film.type": [path.suffix.lower() for path in paths],
        "film.folder": [str(path.parent) for path in paths],
    }


def power(task: Task, cells: list[str]) -> Power:
    """Return how well a column, one text for each film of the cohort, predicts whether a task's films are positive."""
    chosen = [cells[film] for film in task.rows["film"]]
    positive: NDArray[np.bool_] = task.rows["label"].to_numpy() > 0
    return predictive_power(chosen, positive, task.rows["group"].tolist())


def words_in_order(column: str) -> list[str]:
    """Return the words of a column's name.

    Examples
    --------
    >>> words_in_order("daysTo_ICU-admission")
    ['days', 'to', 'icu', 'admission']
    """
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column)
    return [word for word in re.split(r"[^a-z0-9]+", parted.lower()) if word]


def words_of(column: str) -> set[str]:
    """Return the words of a column's name without their order."""
    return set(words_in_order(column))
