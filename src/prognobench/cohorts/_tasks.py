"""The outcomes of a cohort: which films count for each and what their labels are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from ._spec import TaskSpec

_MOST_VALUES = 10  # of a column, in an error


@dataclass(frozen=True, eq=False)
class Task:
    """One outcome with the films it is about.

    Parameters
    ----------
    name
        As in `cohort.yaml`.
    classes
        The names of the classes; a label is a position in it.
    rows
        One row a film of the task: `image, patient, group, center, sha256, label, film`; `film` is the position in
        `Cohort.films`.
    left_out
        How many films the task leaves out, by reason.
    """

    name: str
    classes: tuple[str, ...]
    rows: pd.DataFrame
    left_out: Mapping[str, int]


def build_task(name: str, spec: TaskSpec, films: pd.DataFrame, table: pd.DataFrame) -> Task:
    """Return the task that `spec` describes over the kept films and their table rows (same index)."""
    spellings = (spec.negative, spec.positive)
    left_out: dict[str, int] = {}
    kept = pd.Series(True, index=films.index)
    for column, values in spec.where.items():
        _leave_out(
            f"{column} is not {' or '.join(repr(value) for value in values)}",
            ~table[column].isin(values),
            kept,
            left_out,
        )
    labels = table[spec.label]
    _leave_out("blank label", labels == "", kept, left_out)
    unlisted = ~labels.isin([value for values in spellings for value in values])
    # The spellings are told: 'Yes' beside a listed 'yes' is more often a slip than another class.
    _leave_out(f"label not listed: {_values(labels[kept & unlisted])}", unlisted, kept, left_out)
    class_of = {value: place for place, values in enumerate(spellings) for value in values}
    rows = films.loc[kept, ["image", "patient", "group", "center", "sha256"]].copy()
    rows["label"] = labels[kept].map(class_of).astype("int64")
    rows["film"] = rows.index.to_numpy(dtype="int64")
    return Task(name, ("negative", "positive"), rows.reset_index(drop=True), left_out)


def lack_of_classes(task: Task, spec: TaskSpec, table: pd.DataFrame) -> tuple[str, str] | None:
    """Say what a task lacks and what to do, or None when every class has a film."""
    counts = Counter(task.rows["label"])
    if all(counts[label] for label in range(len(task.classes))):
        return None
    found = " and ".join(f"{counts[label]} {task.classes[label]}" for label in reversed(range(len(task.classes))))
    asked = table
    for column, values in spec.where.items():
        asked = asked[asked[column].isin(values)]
    what = f"task '{task.name}' has {found} films and needs both; '{spec.label}' holds {_values(asked[spec.label])}"
    if spec.where:
        what += f" in the {len(asked)} of {len(table)} rows that `where` keeps"
    return what, "Write in `positive:` and `negative:` what the table says, widen `where:`, or remove the task"


def _leave_out(reason: str, out: pd.Series[bool], kept: pd.Series[bool], left_out: dict[str, int]) -> None:
    newly = kept & out
    if newly.any():
        left_out[reason] = int(newly.sum())
    kept &= ~out


def _values(column: pd.Series[str]) -> str:
    counts = Counter(column)
    if not counts:
        return "nothing"
    listed = [f"{repr(value) if value else 'blank'} ({count})" for value, count in counts.most_common(_MOST_VALUES)]
    more = len(counts) - len(listed)
    return ", ".join(listed) + (f" and {more} other values" if more else "")
