"""Films that were taken when the outcome had happened, so that they may show it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from .._cohort import Cohort
from .._tasks import Task
from ._check import Check, Finding, Subject, count
from ._columns import power, undeclared, words_of
from ._leaks import AT_LEAST, GIVES_AWAY
from ._single_column import as_numbers

_SPANS = {"day", "days", "hour", "hours", "week", "weeks", "time", "dt", "delta", "interval", "offset"}
_OF_FILM = {
    "film",
    "image",
    "study",
    "exam",
    "examination",
    "acquisition",
    "scan",
    "xray",
    "cxr",
    "radiograph",
    "taken",
}
_FORMATS = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y%m%d", "%d.%m.%Y", "%m/%d/%Y",
            "%d/%m/%Y", "%m-%d-%Y", "%Y/%m/%d")  # fmt: skip


def _find(subject: Subject) -> list[Finding]:
    return [finding for task in subject.cohort.tasks.values() for finding in _of_a_task(subject, task)]


def _of_a_task(subject: Subject, task: Task) -> Iterator[Finding]:
    films = task.rows["film"].to_numpy()
    positive = task.rows["label"].to_numpy() > 0
    for columns, late in _late_films(subject.cohort, task):
        chosen = films[late[films] & positive]
        if len(chosen):
            patients = int(task.rows.loc[late[films] & positive, "patient"].nunique())
            named = " and ".join(f"'{column}'" for column in columns)
            yield Finding(
                "film after the outcome",
                "warning",
                f"{count(len(chosen), 'positive film')} of {count(patients, 'patient')} were taken after the outcome, "
                f"by {named}: they may show it, or its treatment",
                "Keep films before the outcome only, by a column and `where`, if it is to be predicted",
                task.name,
                columns,
                subject.rows_of(chosen.tolist()),
                {"films": len(chosen), "patients": patients},
            )


def _late_films(cohort: Cohort, task: Task) -> Iterator[tuple[tuple[str, ...], NDArray[np.bool_]]]:
    """Yield columns that tell when the outcome of a task came, and which films they say are later."""
    events = [column for column in _later_known(cohort) if _is_of(cohort, task, column)]
    for column in events:
        numbers = as_numbers(cohort.table[column].tolist())
        if numbers is not None and words_of(column) & _SPANS:
            yield (column,), np.nan_to_num(numbers, nan=0.0) < 0
    taken = [
        (str(column), dates)
        for column in cohort.table.columns
        if words_of(str(column)) & _OF_FILM and (dates := as_dates(cohort.table[column].tolist())) is not None
    ]
    for column in events:
        came = as_dates(cohort.table[column].tolist())
        if came is not None:
            for name, dates in taken:
                if name != column:
                    yield (name, column), dates > came  # a comparison with a missing date is false


def _later_known(cohort: Cohort) -> list[str]:
    labels = {task.label for task in cohort.spec.tasks.values()}
    columns = [*cohort.columns_of("outcome"), *undeclared(cohort), *cohort.columns_of("clinical")]
    return [column for column in dict.fromkeys(columns) if column not in labels]


def _is_of(cohort: Cohort, task: Task, column: str) -> bool:
    """Tell whether a column is filled in where the outcome of the task came, and hardly elsewhere."""
    filled = np.array([bool(cell.strip()) for cell in cohort.table[column]])[task.rows["film"].to_numpy()]
    positive = task.rows["label"].to_numpy() > 0
    one = power(task, ["filled in" if cell.strip() else "" for cell in cohort.table[column].tolist()])
    told = one.auc >= GIVES_AWAY and one.low >= AT_LEAST
    return told and float(filled[positive].mean()) > float(filled[~positive].mean())


def as_dates(cells: list[str]) -> NDArray[np.datetime64] | None:
    """Return a column as dates, a blank cell as NaT; None where no one format reads every cell, or all are blank."""
    told = [cell.strip() for cell in cells]
    if not any(told):
        return None
    for form in _FORMATS:
        try:
            dates = [datetime.strptime(cell, form) if cell else None for cell in told]
        except ValueError:
            continue
        return np.array(
            [np.datetime64("NaT") if date is None else np.datetime64(date) for date in dates], "datetime64[s]"
        )
    return None


CHECKS = (Check("film after the outcome", 17, _find),)
