"""What a figure of the explorer is, and what all of them share: plain dictionaries that plotly.js draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from dash import dcc, html

from ..._palette import COLORS
from ..._safe import printable
from ...page._answer import BLOCK
from ...page._parts import is_missing
from .._page import Context, Control, State
from .._view import Component

# Black would vanish on a dark page.
LOOKS = (*COLORS[:-1], "#8a6d3b")
GRAY = "#808080"
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star", "hexagon", "pentagon",
           "triangle-left", "triangle-right")  # fmt: skip
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MOST_PANELS = 6
_INK = "#1b1f24"
Better = Literal["higher", "lower", "neither"]


class NothingToShow(Exception):
    """What is chosen cannot fill the figure; the message says why."""


@dataclass(frozen=True)
class Scores:
    """The rows that Compare shows, and what their score is.

    Parameters
    ----------
    rows
        One row a cell or job: the keys, `score`, `low`, `high`, `std`, costs, `key` of its job.
    name
        What the score is called.
    times
        100 for what is shown × 100, else 1.
    cells
        The same as cells: what a control reaches is a mean, and not what its luckiest fold reaches.
    better
        Which end of the score is the good one.
    of_jobs
        Whether each row is a job.
    """

    rows: pd.DataFrame
    name: str
    times: float
    cells: pd.DataFrame
    better: Better = "higher"
    of_jobs: bool = False

    @property
    def digits(self) -> int:
        """How many places behind the point people are shown."""
        return 1 if self.times > 1 else 3

    def best(self, numbers: pd.Series[Any]) -> float:
        """Return the best of some scores, NaN where there is none or the score has no good end."""
        if self.better == "neither":
            return float("nan")
        return float(numbers.min() if self.better == "lower" else numbers.max())

    def refuse_jobs(self) -> None:
        """Refuse rows of single jobs, for a figure that has one number a cell."""
        if self.of_jobs:
            raise NothingToShow("it shows means; choose “mean over folds” under “Each mark”")


Draw = Callable[[Context, Scores, State], Sequence[Component]]


@dataclass(frozen=True)
class Plot:
    """One figure of Compare.

    Parameters
    ----------
    name
        Its value in the address.
    title
        What it is called.
    place
        Where it stands among the others.
    draw
        Draws it; raises NothingToShow.
    controls
        What can be chosen for it alone.
    """

    name: str
    title: str
    place: int
    draw: Draw
    controls: Callable[[Context], Sequence[Control]] = lambda context: ()


def graph(
    name: str, title: str, caption: str, traces: Sequence[Mapping[str, Any]], *, height: int = 420, **layout: Any
) -> Component:
    """Return a figure with its title, its caption and what saves it.

    Parameters
    ----------
    name
        Tells it from the others of the page; also the name of the file.
    title, caption
        What it shows, and what is needed to read it.
    traces
        What plotly.js draws; texts must be `safe`.
    height
        In pixels.
    layout
        Laid over the layout that all figures have.
    """
    axis = {"gridcolor": "#d5dae0", "zerolinecolor": "#a0a8b0", "linecolor": "#a0a8b0", "automargin": True}
    shown = {
        "height": height,
        "margin": {"l": 54, "r": 12, "t": 12, "b": 44},
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": _INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "legend": {"orientation": "h", "y": -0.18, "yanchor": "top", "x": 0},
        "uirevision": name,  # a figure that is drawn anew keeps how far it was zoomed
        **{key: ({**axis, **value} if key.startswith(("xaxis", "yaxis")) else value) for key, value in layout.items()},
    }
    config = {"displaylogo": False, "displayModeBar": False, "responsive": True, "scrollZoom": False}
    drawn = dcc.Graph(id={"graph": name}, figure={"data": list(traces), "layout": shown}, config=config,
                      responsive=True, style={"height": f"{height}px"})  # fmt: skip
    saves = [
        html.Button(kind.upper(), type="button", **{"data-do": kind, "aria-label": f"Save {title} as {kind.upper()}"})
        for kind in ("png", "svg")
    ]
    return html.Figure(
        [html.H3(title), drawn, html.Figcaption([caption, " ", *saves], className="quiet")],
        className="plot", **{"data-name": name},
    )  # fmt: skip


def safe(text: object) -> str:
    """Return text that plotly.js, which reads some HTML, shows as it is."""
    return printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def values(column: Iterable[Any], times: float = 1.0) -> list[float | None]:
    """Return numbers as JSON can say them, None where they are missing."""
    numbers = pd.Series(column).astype("Float64").to_numpy(np.float64, na_value=np.nan) * times
    return [None if np.isnan(number) else float(number) for number in numbers]


def looks(names: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    """Give each name a color, a symbol and a dash of its own."""
    return {
        name: (LOOKS[place % len(LOOKS)], SYMBOLS[place % len(SYMBOLS)], DASHES[place % len(DASHES)])
        for place, name in enumerate(names)
    }


def ordered(context: Context, key: str, found: Iterable[Any]) -> list[str]:
    """Return the distinct values of a key in the order of the report's figures."""
    there = {str(value) for value in found if not is_missing(value)}
    shown = context.now.shown
    known = {"strategy": shown.strategies, "model": shown.models}.get(key, [])
    first = [name for name in known if name in there]
    return [*first, *sorted(there - set(first), key=_natural)]


def panels(rows: pd.DataFrame, keys: Sequence[str]) -> tuple[list[tuple[str, pd.DataFrame]], str]:
    """Cut rows into panels by some keys, and say how many there is no room for."""
    if not keys:
        return [("", rows)], ""
    groups = [(" · ".join(str(one) for one in name if not is_missing(one)), part)
              for name, part in rows.groupby(list(keys), dropna=False, sort=True)]  # fmt: skip
    left = len(groups) - MOST_PANELS
    note = f"{left} more panels are not shown; filter to see them." if left > 0 else ""
    return groups[:MOST_PANELS], note


def of_block(rows: pd.DataFrame, first: Any) -> pd.DataFrame:
    """Return the rows of the comparison that another row belongs to."""
    for key in BLOCK:
        value = first[key]
        rows = rows[rows[key].isna() if is_missing(value) else (rows[key] == value).fillna(False)]
    return rows


def _natural(name: str) -> Any:
    from ..._shown import natural

    return natural(name)
