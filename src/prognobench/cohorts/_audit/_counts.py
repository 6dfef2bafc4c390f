"""How many films and patients there are, by task, class, center, view and patient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from ._check import Check, Finding, Subject


def _table(subject: Subject) -> list[dict[str, Any]]:
    cohort = subject.cohort
    view = cohort.spec.columns.view
    rows: list[dict[str, Any]] = []
    for task in cohort.tasks.values():
        films = task.rows.assign(view=cohort.table[view].to_numpy()[task.rows["film"]] if view else "")
        rows += [{"task": task.name, **row} for row in _lines(films, task.classes)]
    return rows


def _lines(films: pd.DataFrame, classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    yield {"by": "all", "value": "", **_sizes(films, classes)}
    for column in ("center", "view"):
        if films[column].nunique() > 1:
            for value, part in films.groupby(column, sort=True):
                yield {"by": column, "value": str(value), **_sizes(part, classes)}
    a_patient = films.groupby("patient").size()
    for value, part in films.groupby(films["patient"].map(a_patient).map(_how_many), sort=True):
        yield {"by": "films a patient", "value": str(value), **_sizes(part, classes)}


def _how_many(films: int) -> str:
    return next(told for most, told in ((1, "1"), (3, "2–3"), (9, "4–9"), (films, "≥ 10")) if films <= most)


def _sizes(films: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    sizes: dict[str, Any] = {"films": len(films), "patients": int(films["patient"].nunique())}
    for label, name in enumerate(classes):
        part = films[films["label"] == label]
        sizes |= {f"{name}_films": len(part), f"{name}_patients": int(part["patient"].nunique())}
    return sizes


def _find(subject: Subject) -> list[Finding]:
    return []


CHECKS = (Check("counts", 10, _find, _table),)
