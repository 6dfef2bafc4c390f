"""What the rows of a study can be filtered by, on whichever page."""

from __future__ import annotations

import pandas as pd

from .._safe import printable
from ..page._parts import Prose
from ._page import Context, Control, State
from ._view import Component, parts
from .plots._plot import ordered

_FILTERS = {
    "cohort": "Cohort", "task": "Task", "model": "Model", "strategy": "Strategy", "regime_label": "Regime",
    "validation": "Validation",
}  # fmt: skip
_MOST_UNKNOWN = 10


def filters(context: Context) -> list[Control]:
    """Return what rows can be filtered by, where there is something to choose."""
    jobs = context.now.job_list
    listed = [
        Control(key, label, tuple((name, name) for name in ordered(context, key, jobs[key].unique())))
        for key, label in _FILTERS.items()
    ]
    return [one for one in listed if len(one.options) > 1]


def chosen_rows(context: Context, rows: pd.DataFrame, state: State) -> pd.DataFrame:
    """Return the rows that the filters of the address leave; what the study does not plan filters nothing.

    What is planned and not done yet leaves no row.
    """
    for key, planned in _planned(context).items():
        wanted = [value for value in state.get(key, ()) if value in planned]
        if wanted:
            rows = rows[rows[key].astype("string").isin(wanted)]
    return rows


def unknown_filters(context: Context, state: State) -> list[Component]:
    """Say which filters of the address, as of an old link, filter nothing because the study has no such thing."""
    told = [
        f"This study has no {_FILTERS[key].lower()} `{printable(value)[:60]}`; by that nothing is filtered."
        for key, planned in _planned(context).items()
        for value in state.get(key, ())
        if value not in planned
    ]
    return parts([Prose(tuple(told[:_MOST_UNKNOWN]), points=True, look="doubt")]) if told else []


def _planned(context: Context) -> dict[str, set[str]]:
    jobs = context.now.job_list
    return {key: set(jobs[key].astype("string").dropna().unique()) for key in _FILTERS}
