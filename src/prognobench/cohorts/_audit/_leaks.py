"""Columns that give the outcome away: what they say, or that they say anything, is known only later."""

from __future__ import annotations

from collections.abc import Iterator

from .._tasks import Task
from ._check import Check, Finding, Number, Subject, count
from ._columns import power, undeclared

GIVES_AWAY, AT_LEAST = 0.9, 0.6  # the AUC, and the lower end of its interval
FEWEST_FILLED = 10  # groups of patients whose cell is filled in, all of one class
NO_ROLE = "no role"  # of a column that nothing uses
_CHANCE = 1e-3  # that so many are of one class by chance

_REMEDY = "If it is known only later, add it to `outcome` under `roles`; it must never be a predictor"


def _find(subject: Subject) -> list[Finding]:
    cohort = subject.cohort
    # What is of role acquisition or demographic is known when the film is taken: see the confounds.
    roles = dict.fromkeys(undeclared(cohort), NO_ROLE)
    roles |= dict.fromkeys(cohort.columns_of("clinical"), "the role clinical")
    return [
        finding
        for task in cohort.tasks.values()
        for column, role in roles.items()
        for finding in _of_a_column(task, column, role, cohort.table[column].tolist())
    ]


def _of_a_column(task: Task, column: str, role: str, cells: list[str]) -> Iterator[Finding]:
    named = f"'{column}' (of {role}) gives the outcome away by"
    filled_in = [bool(cell.strip()) for cell in cells]
    filled = power(task, ["filled in" if filled else "" for filled in filled_in])
    for how, one in (("being filled in", filled), ("its value", power(task, cells))):
        if one.auc >= GIVES_AWAY and one.low >= AT_LEAST:
            what = f"{named} {how}: AUC {one.auc:.2f} ({one.low:.2f} to {one.high:.2f})"
            numbers: dict[str, Number] = {
                "auc": round(one.auc, 4),
                "low": round(one.low, 4),
                "high": round(one.high, 4),
                "by": how,
                "role": role,
            }
            yield Finding("outcome leak", "warning", what, _REMEDY, task.name, (column,), numbers=numbers)
            return
    told = _only_one_class(task, filled_in)
    if told is not None:
        label, groups = told
        what = f"{named} being filled in for {count(groups, 'group')} of patients, all of them {task.classes[label]}"
        filled_by: dict[str, Number] = {"groups": groups, "by": "being filled in", "role": role}
        yield Finding("outcome leak", "warning", what, _REMEDY, task.name, (column,), numbers=filled_by)


def _only_one_class(task: Task, filled_in: list[bool]) -> tuple[int, int] | None:
    """Return the class of all films whose cell is filled in, and how many groups they are, where that is no chance."""
    here = task.rows[[filled_in[film] for film in task.rows["film"]]]
    groups = int(here["group"].nunique())
    if groups < FEWEST_FILLED or here["label"].nunique() > 1:
        return None
    label = int(here["label"].iloc[0])
    of_class = task.rows.loc[task.rows["label"] == label, "group"].nunique()
    share = of_class / task.rows["group"].nunique()
    return (label, groups) if share**groups < _CHANCE else None


CHECKS = (Check("outcome leak", 16, _find),)
