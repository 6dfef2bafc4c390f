"""95 % intervals of MCC of every model and strategy: the appendix of Ruffini et al."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from .._shown import CELL, Shown, short, signed
from ._figure import Drawing, Figure, NothingToShow
from ._forest import Groups, Row, forest, height, is_close
from ._page import GRAY, Mark, label_room, legend, legend_room, limits, marks, mcc_axis, pages, vertical

_COLUMNS = [*CELL, "level", "control", "mcc", "ci_low", "ci_high", "ci_method", "folds", "n_folds", "n_missing"]
_NO_IMAGE = "no image"
LIMIT = 20  # letters of a label


def _caption(shown: Shown) -> str:
    return (
        f"Mean MCC × 100 over test folds, of {shown.unit} at 0.5, with its 95 % interval: {shown.interval}; no line "
        "where it is not defined. Hollow: it rests on fewer folds than planned. A cross at the left edge: no value. "
        "Gray: the controls; `random` is the same architecture with random weights. Dashed: the best control "
        "of any architecture. Intervals that overlap do not show that two cells are alike; the pairwise tests compare "
        "them. Intervals end at the edge of the axis where they are wider."
    )


def _draw(shown: Shown) -> list[Drawing]:
    if not shown.learned["mcc"].notna().any():
        raise NothingToShow("no model has an MCC yet")
    blocks, looks = shown.blocks, control_looks() | marks(shown.strategies)
    parts = [shown.of(block) for block in blocks]
    panels = [_groups(part, shown.rows_of(block), shown, looks) for block, part in zip(blocks, parts, strict=True)]
    cells = shown.cells
    bounds = limits(100 * pd.concat([cells["mcc"], cells["ci_low"].clip(-0.4), cells["ci_high"].clip(upper=1)]))
    drawings = []
    for canvas, drawn in forest_pages([block.title for block in blocks], panels, looks):
        for place, axes, close in drawn:
            forest(axes, panels[place], bounds, close, 16 if close else LIMIT)
            vertical(axes, 0)
            vertical(axes, shown.best_control(blocks[place]), (0, (4, 2)), "#333333")
            mcc_axis(axes, bounds)
        data = pd.concat([parts[place] for place, _, _ in drawn], ignore_index=True)[_COLUMNS]
        drawings.append(Drawing(canvas, data))
    return drawings


def control_looks() -> dict[str, Mark]:
    """Return how controls look, all gray."""
    return {"majority": Mark(GRAY, "s", ":"), "metadata": Mark(GRAY, "d", ":"), "random": Mark(GRAY, "D", ":")}


def forest_pages(
    titles: Sequence[str], panels: Sequence[Groups], looks: dict[str, Mark]
) -> Iterator[tuple[Canvas, list[tuple[int, Axes, bool]]]]:
    """Yield pages for forests: each panel's place, its axes, and whether its rows stand close, told by a legend."""
    close = is_close(panels)
    limit = 16 if close else LIMIT
    groups = [short(name, limit) for panel in panels for name, _ in panel]
    rows = [short(row.label, limit) for panel in panels for _, rows in panel for row in rows]
    used = {row.mark for panel in panels for _, rows in panel for row in rows}
    entries = {short(name): mark for name, mark in looks.items() if mark in used}
    for canvas, drawn in pages(
        titles,
        [height(panel, close) for panel in panels],
        columns=2 if close and len(panels) > 1 else 1,
        left=max(label_room(groups) * (1 if close else 1.1), label_room([] if close else rows)),
        right=0.15 if close else 1.2,
        top=legend_room(list(entries)) if close else 0.05,
    ):
        if close:
            legend(canvas, entries)
        yield canvas, [(place, axes, close) for place, axes in drawn]


def _groups(part: pd.DataFrame, rows_of: Mapping[str, list[str]], shown: Shown, looks: dict[str, Mark]) -> Groups:
    order = {name: place for place, name in enumerate([*shown.strategies, *control_looks()])}
    rows: dict[str, list[tuple[int, Row]]] = {model: [] for model in shown.models}
    columns = ["model", "strategy", "mcc", "ci_low", "ci_high", "folds", "n_folds"]
    for model, strategy, mcc, low, high, folds, planned in part[columns].itertuples(index=False):
        text = "no value" if np.isnan(mcc) else signed(mcc, ".1f")
        text += "" if np.isnan(low) else f" [{signed(low)}, {signed(high)}]"
        text += "" if folds == planned else f" {folds}/{planned}"
        row = Row(strategy, 100 * mcc, 100 * low, 100 * high, looks[strategy], folds == planned, text)
        for name in rows_of.get(model, [_NO_IMAGE]) if strategy in control_looks() else [model]:
            rows.setdefault(name, []).append((order[strategy], row))
    return [
        (name, [row for _, row in sorted(found, key=lambda pair: pair[0])]) for name, found in rows.items() if found
    ]


FIGURES = (Figure("mcc_intervals", "95 % intervals of MCC", _caption, 40, _draw),)
