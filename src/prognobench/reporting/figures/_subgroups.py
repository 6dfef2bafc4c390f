"""MCC within views, centers, sexes and age bands."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from .._palette import COLORS
from .._shown import CELL, Block, Shown, short
from ._figure import Drawing, Figure, NothingToShow
from ._forest import Groups, Row, forest, height, places_of
from ._page import LIGHT, WARN, Mark, label_room, limits, mcc_axis, pages, vertical

_LOOK, _WORST = Mark(COLORS[0], "o", "-"), Mark(WARN, "s", "-")
_LIMIT = 18
_COLUMNS = [
    *(*CELL, "level", "attribute", "value", "n_films", "n_patients", "n_positive", "n_folds"),
    *("mcc", "mcc_ci_low", "mcc_ci_high", "worst", "shown", "undefined"),
]


def _caption(shown: Shown) -> str:
    return (
        f"Mean MCC × 100 over test folds within groups of films (of {shown.unit}, at 0.5), with 95 % intervals, of the "
        "cell with the highest mean MCC of each task (in the regime with the most training films), which these folds "
        "chose; its MCC over all is the line. Squares: "
        "the worst group of an attribute. A task with missing jobs is left out, for no best is named. Gray ticks: the "
        "other models and strategies. At the right, patients and positive cases of a group. Small "
        "groups differ by chance; a cross at the left edge: no value."
    )


def _draw(shown: Shown) -> list[Drawing]:
    table = shown.tables.subgroups
    if not len(table):
        raise NothingToShow("the study's folder does not tell view, center, sex or age of its films")
    table = table.merge(shown.learned[[*CELL, "level", "mcc"]], "inner", [*CELL, "level"], suffixes=("", "_all"))
    if not table["mcc"].notna().any():
        raise NothingToShow("no group holds both classes")
    parts, titles, best, unnamed = [], [], [], []
    for block in shown.largest:
        part, found = shown.of(block, table), shown.best(block)
        if len(part) and found.cell is None:
            unnamed.append(f"{block.title}: no best is named, {found.why}")
        elif len(part) and found.cell is not None:
            top = found.cell
            chosen = (part["model"] == top["model"]) & (part["strategy"] == top["strategy"])
            parts.append(part.assign(shown=chosen.astype(bool)))
            titles.append(_title(block, str(top["model"]), str(top["strategy"])))
            best.append(100 * float(top["mcc"]))
    if not parts:
        raise NothingToShow("; ".join(unnamed))
    panels = [_groups(part[part["shown"]]) for part in parts]
    labels = [
        short(name, _LIMIT) for panel in panels for group, rows in panel for name in (group, *(r.label for r in rows))
    ]
    ends = pd.concat([table["mcc"], table["mcc_ci_low"].clip(-0.4), table["mcc_ci_high"].clip(upper=1)])
    bounds = limits(100 * ends)
    drawings = []
    for canvas, drawn in pages(titles, [height(panel, False) for panel in panels], left=label_room(labels), right=1.15):
        for place, axes in drawn:
            forest(axes, panels[place], bounds, False, _LIMIT)
            _others(axes, panels[place], parts[place])
            vertical(axes, 0)
            vertical(axes, best[place], color=COLORS[0])
            mcc_axis(axes, bounds)
        data = pd.concat([parts[place] for place, _ in drawn], ignore_index=True)[_COLUMNS]
        drawings.append(Drawing(canvas, data))
    return drawings


def _title(block: Block, model: str, strategy: str) -> str:
    return f"{block.title} · {short(model, 18)} {short(strategy, 14)}"


def _groups(part: pd.DataFrame) -> Groups:
    rows: dict[str, list[Row]] = {}
    columns = ["attribute", "value", "mcc", "mcc_ci_low", "mcc_ci_high", "worst", "n_patients", "n_positive"]
    for attribute, value, mcc, low, high, worst, patients, positive in part[columns].itertuples(index=False):
        is_worst = not pd.isna(worst) and bool(worst)
        text = f"n={patients}, {positive} positive"
        label = "unknown" if pd.isna(value) or value == "" else str(value)
        row = Row(label, 100 * mcc, 100 * low, 100 * high, _WORST if is_worst else _LOOK, True, text)
        rows.setdefault(str(attribute), []).append(row)
    return list(rows.items())


def _others(axes: Axes, panel: Groups, part: pd.DataFrame) -> None:
    """Draw the other cells' values as ticks in the rows of the groups."""
    places = dict(zip(_keys(part[part["shown"]]), places_of(panel), strict=True))
    others = part[~part["shown"]]
    y = np.array([places.get(key, np.nan) for key in _keys(others)])
    axes.plot(100 * others["mcc"].to_numpy(float), y, "|", color=LIGHT, markersize=5, zorder=1.3)


def _keys(part: pd.DataFrame) -> list[tuple[str, str]]:
    value = part["value"].astype("string").fillna("")
    return list(zip(part["attribute"].astype(str), value, strict=True))


FIGURES = (Figure("subgroups", "MCC within groups of patients", _caption, 90, _draw),)
