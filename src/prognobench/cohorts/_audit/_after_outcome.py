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
_FORMATS = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y%m%d", "%d.%m.%Y", "%Y/%m/%d",
            "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y")  # fmt: skip


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
    films = [str(column) for column in cohort.table.columns if words_of(str(column)) & _OF_FILM]
    readings = _readings(cohort, [*films, *events])
    for column in events:
        for name in films:
            if name != column and name in readings and column in readings:
                # Where days and months may be exchanged, late is what is late in either order; a comparison with a
                # missing date is false.
                pairs = zip(*_in_step(readings[name], readings[column]), strict=True)
                yield (name, column), np.logical_and.reduce([dates > came for dates, came in pairs])


_Readings = dict[str, NDArray[np.datetime64]]


def _readings(cohort: Cohort, columns: list[str]) -> dict[str, _Readings]:
    """Return what each column that holds dates says, by the formats that it may be written in.

    One table is taken to be written in one order of day and month: where one column tells it, it holds for those that
    do not.
    """
    read = {column: dates_by_format(cohort.table[column].tolist()) for column in dict.fromkeys(columns)}
    read = {column: known for column, known in read.items() if known}
    told = {form for known in read.values() if len(known) == 1 for form in known}
    for column, known in read.items():
        chosen = {form: dates for form, dates in known.items() if form in told}
        if len(chosen) == 1:
            read[column] = chosen
    return read


def _in_step(one: _Readings, other: _Readings) -> tuple[list[NDArray[np.datetime64]], list[NDArray[np.datetime64]]]:
    """Return the readings of two columns in pairs: by the same format where both may have it, else all with all."""
    shared = [form for form in one if form in other]
    if shared:
        return [one[form] for form in shared], [other[form] for form in shared]
    return [dates for dates in one.values() for _ in other], [*other.values()] * len(one)


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
    """Return a column as dates, a blank cell as NaT; None where no one format reads every cell, or all are blank.

    Where several do, day and month may be exchanged.
    """
    return next(iter(dates_by_format(cells).values()), None)


def dates_by_format(cells: list[str]) -> dict[str, NDArray[np.datetime64]]:
    """Return a column as dates by each format that reads every cell; a blank cell as NaT."""
    read: dict[str, NDArray[np.datetime64]] = {}
    told = [cell.strip() for cell in cells]
    if not any(told):
        return read
    for form in _FORMATS:
        try:
            dates = [datetime.strptime(cell, form) if cell else None for cell in told]
        except ValueError:
            continue
        read[form] = np.array(
            [np.datetime64("NaT") if date is None else np.datetime64(date) for date in dates], "datetime64[s]"
        )
    return read


CHECKS = (Check("film after the outcome", 17, _find),)
