"""Estimates with their intervals below one another, in named groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from .._shown import short
from ._page import GRAY, WARN, Mark, beside, dots, spans
from ._page import rows as rows_of

# From this many rows of a panel on a row is told by its mark alone, and a legend tells the marks.
_MANY = 32
_PITCH, _CLOSE = 0.15, 0.062  # inches from row to row


@dataclass(frozen=True)
class Row:
    """One estimate: where it stands, how it looks, what is written beside it; NaN where it is not known."""

    label: str
    estimate: float
    low: float
    high: float
    mark: Mark
    filled: bool = True
    text: str = ""


Groups = Sequence[tuple[str, Sequence[Row]]]


def is_close(panels: Sequence[Groups]) -> bool:
    """Tell whether the rows of a figure are too many to be labeled one by one."""
    return any(sum(len(rows) for _, rows in groups) > _MANY for groups in panels)


def height(groups: Groups, close: bool) -> float:
    """Return how many inches the rows of a panel take."""
    return float(sum(_group_height(len(rows), close) for _, rows in groups))


def _group_height(rows: int, close: bool) -> float:
    return max(_PITCH, _CLOSE * (rows + 1)) if close else _PITCH * (rows + 1)


def places_of(groups: Groups) -> list[float]:
    """Return where the rows of a panel stand that are labeled one by one, in inches from the top."""
    places, start = [], 0.0
    for _, rows in groups:
        places += [start + _PITCH * (row + 1.5) for row in range(len(rows))]
        start += _group_height(len(rows), close=False)
    return places


def forest(axes: Axes, groups: Groups, bounds: tuple[float, float], close: bool, limit: int) -> None:
    """Draw one panel; the y axis counts inches from the top."""
    ticks: list[tuple[float, str]] = []
    bold: list[int] = []
    placed: list[tuple[float, Row]] = []
    start = 0.0
    for name, rows in groups:
        size = _group_height(len(rows), close)
        if close:
            placed += [(start + size / 2 + _CLOSE * (i - (len(rows) - 1) / 2), row) for i, row in enumerate(rows)]
            ticks.append((start + size / 2, short(name, limit)))
            axes.axhline(start, color=GRAY, linewidth=0.3)
        else:
            ticks.append((start + 0.55 * _PITCH, short(name, limit)))
            bold.append(len(ticks) - 1)
            own = [(start + _PITCH * (i + 1.5), row) for i, row in enumerate(rows)]
            ticks += [(y, short(row.label, limit)) for y, row in own]
            placed += own
        start += size
    rows_of(axes, (start + 0.02, 0), ticks, [place in bold for place in range(len(ticks))])
    _marks(axes, placed, bounds, close)


def _marks(axes: Axes, placed: Sequence[tuple[float, Row]], bounds: tuple[float, float], close: bool) -> None:
    rows = [row for _, row in placed]
    y = np.array([place for place, _ in placed])
    low, high = np.clip([[row.low for row in rows], [row.high for row in rows]], *bounds)
    spans(axes, low, high, y, [row.mark.color for row in rows], 1.1)
    x = np.array([row.estimate for row in rows], dtype=np.float64)
    filled = np.array([row.filled for row in rows], dtype=bool)
    for mark in dict.fromkeys(row.mark for row in rows):
        chosen = np.array([row.mark == mark for row in rows]) & np.isfinite(x)
        dots(axes, x[chosen], y[chosen], mark, filled[chosen], 3.0 if close else 3.6)
    unknown = y[~np.isfinite(x)]
    axes.plot(np.full(len(unknown), bounds[0]), unknown, "x", color=WARN, markersize=3, clip_on=False)
    for place, row in placed if not close else ():
        beside(axes, place, row.text, warn=not np.isfinite(row.estimate))
