"""What goes with the outcome and is no disease: a model may read it off a film."""

from __future__ import annotations

from typing import Any

from .._cohort import Cohort
from .._spec import Role
from .._tasks import Task
from ._check import Check, Finding, Severity, Subject
from ._columns import film_columns, power
from ._single_column import Power

STRONG = 0.6  # an AUC below this is not told of as a finding, only in the table
# It is no column but the film itself: disease makes a film brighter or darker.
_PIXELS = "film.brightness"


def _candidates(cohort: Cohort) -> dict[str, tuple[str, list[str]]]:
    """Return the role and cells of every column that could be a confound, by its name."""
    found: dict[str, tuple[str, list[str]]] = {}
    if cohort.spec.columns.center is not None:
        found[cohort.spec.columns.center] = ("center", cohort.films["center"].tolist())
    roles: tuple[Role, ...] = ("acquisition", "demographic", "clinical")
    for role in roles:
        for column in cohort.columns_of(role):
            found.setdefault(column, (role, cohort.table[column].tolist()))
    return found | {name: ("film", cells) for name, cells in film_columns(cohort).items()}


def _ranked(task: Task, candidates: dict[str, tuple[str, list[str]]]) -> list[tuple[str, str, Power]]:
    powers = [(name, role, power(task, cells)) for name, (role, cells) in candidates.items()]
    # A column of one value tells nothing about anyone; it is no candidate.
    powers = [one for one in powers if one[2].values > 1]
    return sorted(powers, key=lambda one: (-one[2].auc if one[2].auc == one[2].auc else 1, one[0]))


def _table(subject: Subject) -> list[dict[str, Any]]:
    """Return every column with its AUC, ranked; what is read off the pixels stands on the same scale without a rank."""
    candidates = _candidates(subject.cohort)
    rows: list[dict[str, Any]] = []
    for task in subject.cohort.tasks.values():
        rank = 0
        for name, role, one in _ranked(task, candidates):
            rank += name != _PIXELS
            numbers = {key: _rounded(getattr(one, key)) for key in ("auc", "low", "high")}
            place = None if name == _PIXELS else rank
            rows.append(
                {"task": task.name, "rank": place, "column": name, "role": role, "values": one.values, **numbers}
            )
    return rows


def _find(subject: Subject) -> list[Finding]:
    candidates = _candidates(subject.cohort)
    return [
        _finding(task, name, role, one)
        for task in subject.cohort.tasks.values()
        for name, role, one in _ranked(task, candidates)
        if one.auc >= STRONG and one.surely_above(0.5, len(candidates))
    ]


def _finding(task: Task, name: str, role: str, one: Power) -> Finding:
    severity: Severity = "note" if name == _PIXELS or role == "clinical" else "warning"
    what = f"'{name}' alone predicts the outcome with an AUC of {one.auc:.2f} ({one.low:.2f} to {one.high:.2f})"
    remedy = "Hold every result against the control `metadata`, and look at the results within each value of it"
    if name == _PIXELS:
        what += "; this may be the exposure, or the disease itself"
    if role == "clinical":
        remedy = "A model of films must be better than this column to be of use"
    numbers = {"auc": _rounded(one.auc), "low": _rounded(one.low), "high": _rounded(one.high)}
    return Finding("confound", severity, what, remedy, task.name, (name,), numbers=numbers)


def _rounded(number: float) -> float | None:
    return round(number, 4) if number == number else None


CHECKS = (Check("confounds", 60, _find, _table),)
