"""MCC by strategy and task: figure 2 of Ruffini et al."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from .._palette import COLORS
from .._shown import CELL, Shown, short
from ._figure import Drawing, Figure, NothingToShow
from ._page import GRAY, Mark, beside, boxes, dots, label_room, limits, mcc_axis, pages, rows, vertical

_ROW = 0.17  # inches
_COLUMNS = [*CELL, "level", "control", "mcc", "folds", "n_folds", "n_missing"]


def _caption(shown: Shown) -> str:
    counts = shown.learned.groupby("strategy")["model"].nunique()
    models = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    return (
        f"MCC × 100 of {shown.unit} at 0.5. Each dot is the mean over test folds of one model; the boxes are their "
        f"quartiles and median ({models} models a strategy; no box below three), whiskers reach to the furthest mean "
        "within 1.5 box lengths. Hollow dots rest on fewer folds than planned; at the right, how many models have a "
        "mean, of those planned. Gray, below the line: the controls, each dot one architecture. Dashed: the best "
        "control of any architecture."
    )


def _draw(shown: Shown) -> list[Drawing]:
    if not shown.learned["mcc"].notna().any():
        raise NothingToShow("no model has an MCC yet")
    blocks = shown.blocks
    parts = [shown.of(block) for block in blocks]
    names = [_rows(shown, part) for part in parts]
    columns = 2 if len(blocks) > 2 else 1
    labels = [short(name, 14 if columns == 2 else 24) for name in {name for rows in names for name in rows}]
    bounds = limits(100 * shown.cells["mcc"])
    drawings = []
    heights = [_ROW * len(rows) for rows in names]
    titles = [block.title for block in blocks]
    for canvas, panels in pages(titles, heights, columns=columns, left=label_room(labels), right=0.45):
        for place, axes in panels:
            _panel(axes, parts[place], names[place], 14 if columns == 2 else 24)
            mcc_axis(axes, bounds)
        drawings.append(_drawing(canvas, [parts[place] for place, _ in panels]))
    return drawings


def _drawing(canvas: Canvas, parts: list[pd.DataFrame]) -> Drawing:
    return Drawing(canvas, pd.concat(parts, ignore_index=True)[_COLUMNS])


def _rows(shown: Shown, part: pd.DataFrame) -> list[str]:
    there = set(part["strategy"])
    controls = list(part.loc[part["control"], "strategy"].drop_duplicates())
    return [name for name in shown.strategies if name in there] + controls


def _panel(axes: Axes, part: pd.DataFrame, names: list[str], limit: int) -> None:
    row = part["strategy"].map({name: place for place, name in enumerate(names)}).to_numpy(int)
    mcc, control = 100 * part["mcc"].to_numpy(float), part["control"].to_numpy(bool)
    whole = (part["folds"] == part["n_folds"]).to_numpy(bool)
    boxes(axes, [mcc[row == place] for place in range(len(names))], range(len(names)), 0.62)
    for chosen, mark, size in ((~control, Mark(COLORS[0], "o", "-"), 3.2), (control, Mark(GRAY, "D", "-"), 2.6)):
        dots(axes, mcc[chosen], row[chosen], mark, whole[chosen], size)
    vertical(axes, 0)
    vertical(axes, np.nanmax(mcc, initial=-np.inf, where=control), (0, (4, 2)), "#333333")
    learned = len(set(row[~control]))
    if learned < len(names):
        axes.axhline(learned - 0.5, color=GRAY, linewidth=0.5)
    for place in range(len(names)):
        there, planned = int(np.isfinite(mcc[row == place]).sum()), int((row == place).sum())
        text = f"n={there}" if there == planned else f"n={there}/{planned}"
        beside(axes, place, text, warn=there < planned)
    rows_of = [(float(place), short(name, limit)) for place, name in enumerate(names)]
    rows(axes, (len(names) - 0.5, -0.5), rows_of)


FIGURES = (Figure("mcc_by_strategy", "MCC by strategy and task", _caption, 10, _draw),)
