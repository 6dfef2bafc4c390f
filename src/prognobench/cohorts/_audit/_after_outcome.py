"""Films that were taken when the outcome had happened, so that they may show it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, time
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from .._cohort import Cohort
from .._tasks import Task
from ._check import Check, Finding, Subject, count
from ._columns import power, undeclared, words_in_order, words_of
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
_TOWARDS, _BACK = {"to", "until", "till", "before"}, {"since", "after", "from", "post"}
# What is no date at all, such as "unknown", does not make a column of dates another one, unless there is much of it.
_DATE = re.compile(r"\d{1,4}([-./])\d{1,2}\1\d{1,4}(?:[T ]\d{1,2}:\d{2}(?::\d{2})?)?|\d{8}")
_MOST_DATES = 0.8  # share of the filled cells
_FORMATS = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y%m%d", "%d.%m.%Y", "%Y/%m/%d",
            "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y")  # fmt: skip


def _find(subject: Subject) -> list[Finding]:
    return [finding for task in subject.cohort.tasks.values() for finding in _of_a_task(subject, task)]


def _of_a_task(subject: Subject, task: Task) -> Iterator[Finding]:
    films = task.rows["film"].to_numpy()
    positive = task.rows["label"].to_numpy() > 0
    events = [column for column in _later_known(subject.cohort) if _is_of(subject.cohort, task, column)]
    for columns, late in _late_films(subject.cohort, events):
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
    for column, numbers in _spans(subject.cohort, events):
        if _sign(column) is None and (numbers < 0).any():
            yield Finding(
                "film after the outcome",
                "note",
                f"'{column}' counts time and its name does not say from what to what: whether films were taken after "
                "the outcome is not known",
                "Call it `days_to_…` (from the film to the outcome) or `days_since_…` (from the outcome to the film)",
                task.name,
                (column,),
            )


def _late_films(cohort: Cohort, events: list[str]) -> Iterator[tuple[tuple[str, ...], NDArray[np.bool_]]]:
    """Yield columns that tell when an outcome came, and which films they say are later."""
    for column, numbers in _spans(cohort, events):
        sign = _sign(column)
        if sign is not None:
            yield (column,), sign * numbers < 0
    films = [str(column) for column in cohort.table.columns if words_of(str(column)) & _OF_FILM]
    readings = _readings(cohort, [*films, *events])
    for column in events:
        for name in films:
            if name != column and name in readings and column in readings:
                # Where days and months may be exchanged, late is what is late in either order; a comparison with a
                # missing date is false.
                pairs = zip(*_in_step(readings[name], readings[column]), strict=True)
                yield (name, column), np.logical_and.reduce([_later(dates, came) for dates, came in pairs])


def _spans(cohort: Cohort, events: list[str]) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield the columns that count time, with 0 for a blank cell."""
    for column in events:
        numbers = as_numbers(cohort.table[column].tolist()) if words_of(column) & _SPANS else None
        if numbers is not None:
            yield column, np.nan_to_num(numbers, nan=0.0)


def _sign(column: str) -> int | None:
    """Return 1 where a column counts from the film to the outcome, -1 where it counts back; None where neither is told.

    Examples
    --------
    >>> _sign("days_to_icu"), _sign("days_since_icu"), _sign("days_from_icu_to_film"), _sign("days_since_film")
    (1, -1, -1, 1)
    >>> _sign("icu_days"), _sign("days_from_admission_to_icu")
    (None, None)
    """
    words, told = words_in_order(column), set()
    for place, word in enumerate(words):
        if word in _TOWARDS | _BACK:
            named = takewhile(lambda one: one not in _TOWARDS | _BACK, words[place + 1 :])
            back = (word in _BACK) != bool(set(named) & _OF_FILM)
            told.add(-1 if back else 1)
    return told.pop() if len(told) == 1 else None


def _later(dates: NDArray[np.datetime64], came: NDArray[np.datetime64]) -> NDArray[np.bool_]:
    """Compare whole days where either column has no time: what came on the day of the film may have come after it."""
    if "datetime64[D]" in (dates.dtype, came.dtype):
        dates, came = dates.astype("datetime64[D]"), came.astype("datetime64[D]")
    later: NDArray[np.bool_] = dates > came
    return later


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
    """Return a column as dates, what is none as NaT; None where no one format reads all dates, or there are few.

    Where several do, day and month may be exchanged.
    """
    return next(iter(dates_by_format(cells).values()), None)


def dates_by_format(cells: list[str]) -> dict[str, NDArray[np.datetime64]]:
    """Return a column as dates by each format that reads all that look like dates; other cells as NaT.

    Its unit is the day where no cell has a time, else the second.
    """
    read: dict[str, NDArray[np.datetime64]] = {}
    told = [cell.strip() for cell in cells]
    dated = {cell for cell in told if _DATE.fullmatch(cell)}
    if not dated or sum(cell in dated for cell in told) < _MOST_DATES * sum(map(bool, told)):
        return read
    for form in _FORMATS:
        try:
            date_of = {cell: datetime.strptime(cell, form) for cell in dated}
        except ValueError:
            continue
        # A time that is midnight in every cell is none: programs add it to dates.
        unit = "s" if any(date.time() != time() for date in date_of.values()) else "D"
        dates = [np.datetime64(date_of[cell]) if cell in dated else np.datetime64("NaT") for cell in told]
        read[form] = np.array(dates, f"datetime64[{unit}]")
    return read


CHECKS = (Check("film after the outcome", 17, _find),)
