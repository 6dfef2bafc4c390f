"""A cohort in numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from ._cohort import Cohort
from ._tasks import Task


def describe(cohort: Cohort) -> dict[str, Any]:
    """Return what a cohort holds, as numbers that JSON can say.

    Returns
    -------
    dict
        `name`; `synthetic`, as the cohort declares it; `films`, `distinct_films`, `patients`, `groups` as counts;
        `centers` with their films; `excluded` with its `rows` and the count by `reasons`; `tasks`, each with `films`,
        `patients`, `groups`, its `classes` and `centers` with their counts, and the films that it leaves out by reason.
    """
    films, excluded = cohort.films, cohort.excluded
    return {
        "name": cohort.name,
        "synthetic": cohort.spec.synthetic,
        "films": len(films),
        "distinct_films": int(films["sha256"].nunique()),
        "patients": int(films["patient"].nunique()),
        "groups": int(films["group"].nunique()),
        "centers": _counts(films["center"]),
        "excluded": {
            "films": len(excluded),
            "reasons": _counts(excluded["reason"]),
            "rows": [
                {"row": int(row), "image": str(image), "reason": str(reason)}
                for row, image, reason in zip(excluded["row"], excluded["image"], excluded["reason"], strict=True)
            ],
        },
        "tasks": {name: _describe_task(task) for name, task in cohort.tasks.items()},
    }


def _describe_task(task: Task) -> dict[str, Any]:
    rows = task.rows
    names = rows["label"].map(dict(enumerate(task.classes)))
    return {
        **_sizes(rows),
        "classes": {name: _sizes(rows[names == name]) for name in task.classes},
        "centers": {
            center: {name: int(((rows["center"] == center) & (names == name)).sum()) for name in task.classes}
            for center in sorted(rows["center"].unique())
        },
        "left_out": dict(task.left_out),
    }


def _sizes(rows: pd.DataFrame) -> dict[str, int]:
    return {
        "films": len(rows),
        "patients": int(rows["patient"].nunique()),
        "groups": int(rows["group"].nunique()),
    }


def _counts(column: pd.Series[Any]) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(column).items())}
