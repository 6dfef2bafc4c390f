"""Pages and marks: narrow enough for a phone, told apart without color, without state of pyplot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from ._shown import short

WIDTH = 5.4  # inches; at 160 dots an inch what a phone shows without scaling its text away
HEIGHT = 9.6  # inches that a page takes at most, to fit A4 and Letter
TEXT = 7.0  # points
_DPI = 160
_TITLE = 0.24  # inches above a panel
GRAY = "#6b6b6b"
LIGHT = "#c9c9c9"
WARN = "#a84300"
Floats = npt.NDArray[np.float64]
# Okabe & Ito 2008 (https://jfly.uni-koeln.de/color/) without its yellow, which white paper swallows.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (7, 2)), (0, (2, 2)))
_SETTINGS = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so that every machine draws the same
    "font.size": TEXT,
    "axes.titlesize": TEXT + 0.5,
    "axes.labelsize": TEXT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": TEXT - 0.5,
    "ytick.labelsize": TEXT - 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.visible": False,
    "legend.fontsize": TEXT,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "figure.dpi": _DPI,
    "savefig.dpi": _DPI,
    "figure.facecolor": "white",
    "pdf.fonttype": 42,  # letters stay letters
    "text.parse_math": False,  # a dollar in a name is a dollar
    "text.usetex": False,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw and save in one look, whatever the user's own settings of matplotlib are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


@dataclass(frozen=True)
class Mark:
    """How one strategy, model or family looks: color, marker and dashes each tell it from its neighbors."""

    color: str
    marker: str
    dashes: Any


def marks(names: Sequence[str]) -> dict[str, Mark]:
    """Give each name a look of its own."""
    return {
        name: Mark(COLORS[i % len(COLORS)], _MARKERS[i % len(_MARKERS)], _DASHES[i % len(_DASHES)])
        for i, name in enumerate(names)
    }


@dataclass(frozen=True)
class Panel:
    """A place for axes: which one it is, how high the axes are, in inches."""

    place: int
    height: float


def pages(
    titles: Sequence[str],
    heights: Sequence[float],
    *,
    columns: int = 1,
    left: float = 0.9,
    right: float = 0.12,
    below: float = 0.36,
    top: float = 0.05,
) -> Iterator[tuple[Canvas, list[tuple[int, Axes]]]]:
    """Set titled panels of given heights row by row on as few pages as hold them.

    Parameters
    ----------
    titles, heights
        Of each panel; the height is that of its axes.
    columns
        Panels beside one another.
    left, right, below
        Room around each panel's axes: for labels of the y axis, at the right, for the x axis.
    top
        Room above all panels, for a legend.

    Yields
    ------
    The page, and for each panel on it its place among `heights` and its axes. All lengths are in inches.
    """
    frame = _Frame(columns, left, right, below, top)
    page: list[list[int]] = []
    used = top
    for start in range(0, len(heights), columns):
        row = list(range(start, min(start + columns, len(heights))))
        needed = _TITLE + below + max(heights[place] for place in row)
        if page and used + needed > HEIGHT:
            yield _page(page, titles, heights, frame)
            page, used = [], top
        page.append(row)
        used += needed
    if page:
        yield _page(page, titles, heights, frame)


@dataclass(frozen=True)
class _Frame:
    columns: int
    left: float
    right: float
    below: float
    top: float


def _page(
    rows: list[list[int]], titles: Sequence[str], heights: Sequence[float], frame: _Frame
) -> tuple[Canvas, list[tuple[int, Axes]]]:
    room = [max(heights[place] for place in row) for row in rows]
    total = frame.top + sum(room) + len(rows) * (_TITLE + frame.below)
    canvas = Canvas(figsize=(WIDTH, total))
    each = WIDTH / frame.columns
    width = each - frame.left - frame.right
    letters = int((each - 0.1) / (0.0094 * (TEXT + 0.5)))
    y, found = total - frame.top, []
    for row, height in zip(rows, room, strict=True):
        y -= _TITLE
        for column, place in enumerate(row):
            x, bottom = column * each + frame.left, y - heights[place]
            box = (x / WIDTH, bottom / total, width / WIDTH, heights[place] / total)
            found.append((place, canvas.add_axes(box)))
            at = ((column * each + 0.08) / WIDTH, (y + 0.07) / total)
            canvas.text(*at, short(titles[place], letters), fontsize=TEXT + 0.5, weight="bold")
        y -= height + frame.below
    return canvas, found


def label_room(names: Sequence[str], size: float = TEXT, least: float = 0.45) -> float:
    """Return how many inches the longest of some labels takes."""
    return max([least, *(0.0088 * size * len(name) + 0.1 for name in names)])


def legend_rows(names: Sequence[str]) -> tuple[int, int]:
    """Return how many entries of a legend stand beside one another, and in how many rows."""
    width = max((len(name) for name in names), default=1) * 0.0092 * TEXT + 0.36
    across = max(1, min(len(names), int((WIDTH - 0.2) / width)))
    return across, -(-len(names) // across)


def legend_room(names: Sequence[str]) -> float:
    """Return how many inches a legend of these names takes."""
    return 0.16 * legend_rows(names)[1] + 0.1


def legend(canvas: Canvas, entries: Mapping[str, Line2D]) -> None:
    """Put a legend at the top of a page, in the room that `legend_room` says."""
    across, _ = legend_rows(list(entries))
    total = canvas.get_figheight()
    canvas.legend(
        list(entries.values()),
        list(entries),
        loc="upper left",
        bbox_to_anchor=(0.1 / WIDTH, 1 - 0.03 / total),
        ncols=across,
        borderaxespad=0,
        borderpad=0,
        handlelength=1.8,
        handletextpad=0.5,
        columnspacing=1.2,
        labelspacing=0.3,
    )


def limits(values: npt.ArrayLike, least: float = 0.0, most: float = 100.0) -> tuple[float, float]:
    """Return the range of an axis of MCC × 100: to tens, with what is at least shown in it."""
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    low = min([least, *numbers])
    high = max([most, *numbers])
    return 10 * np.floor(low / 10) - (2 if low >= least else 0), 10 * np.ceil(high / 10) + 2


def mcc_axis(axes: Axes, bounds: tuple[float, float], label: str = "MCC × 100") -> None:
    """Make the x axis one of MCC × 100."""
    axes.set_xlim(*bounds)
    step = 20 if axes.bbox.width / axes.get_figure(root=True).dpi > 2.2 else 50  # type: ignore[union-attr]
    axes.set_xticks(np.arange(step * np.ceil(bounds[0] / step), bounds[1], step))
    axes.set_xlabel(label, labelpad=2)


def row_axis(axes: Axes, labels: Sequence[str]) -> None:
    """Make the y axis one of named rows, the first at the top."""
    axes.set_yticks(range(len(labels)), list(labels))
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def beside(axes: Axes, row: float, text: str, warn: bool = False) -> None:
    """Write to the right of a row."""
    axes.annotate(
        text,
        (1, row),
        xycoords=("axes fraction", "data"),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        fontsize=TEXT - 1,
        color=WARN if warn else "black",
    )


def boxes(
    axes: Axes,
    groups: Sequence[Floats],
    rows: Sequence[float],
    height: float,
    color: str = "#333333",
    fill: str = "#ebebeb",
) -> None:
    """Draw lying boxes of at least three values each: quartiles, median, whiskers to 1.5 times the box (Tukey)."""
    corners, lines, medians = [], [], []
    for values, row in zip(groups, rows, strict=True):
        numbers = values[np.isfinite(values)]
        if len(numbers) < 3:
            continue
        first, median, third = np.percentile(numbers, [25, 50, 75])
        reach = 1.5 * (third - first)
        low, high = numbers[numbers >= first - reach].min(), numbers[numbers <= third + reach].max()
        half = height / 2
        corners.append([(first, row - half), (third, row - half), (third, row + half), (first, row + half)])
        lines += [[(low, row), (first, row)], [(third, row), (high, row)]]
        medians.append([(median, row - half), (median, row + half)])
    axes.add_collection(PolyCollection(corners, facecolors=fill, edgecolors=color, linewidths=0.7, zorder=1.5))
    axes.add_collection(LineCollection(lines, colors=color, linewidths=0.7, zorder=1.4))
    axes.add_collection(LineCollection(medians, colors=color, linewidths=1.8, zorder=1.6))


def dots(
    axes: Axes, x: npt.ArrayLike, y: npt.ArrayLike, mark: Mark, whole: npt.NDArray[np.bool_], size: float = 3.2
) -> None:
    """Draw dots of one look, hollow where what they tell is not whole."""
    places = np.column_stack([np.asarray(x, float), np.asarray(y, float)])
    for chosen, fill in ((whole, mark.color), (~whole, "white")):
        if chosen.any():
            axes.plot(
                *places[chosen].T,
                linestyle="none",
                marker=mark.marker,
                markersize=size,
                markerfacecolor=fill,
                markeredgecolor=mark.color,
                markeredgewidth=0.7,
                zorder=3,
            )


def spans(
    axes: Axes, low: npt.ArrayLike, high: npt.ArrayLike, rows: npt.ArrayLike, colors: Any, width: float = 1.0
) -> None:
    """Draw lying intervals, those that are known."""
    ends = np.column_stack([np.asarray(low, float), np.asarray(high, float), np.asarray(rows, float)])
    segments = [[(a, y), (b, y)] for a, b, y in ends]
    axes.add_collection(LineCollection(segments, colors=colors, linewidths=width, zorder=2))


def vertical(axes: Axes, x: float, dashes: Any = "-", color: str = GRAY, width: float = 0.7) -> None:
    """Draw a line of reference over the height of a panel."""
    if np.isfinite(x):
        axes.axvline(x, color=color, linestyle=dashes, linewidth=width, zorder=1)


def sample(mark: Mark, *, line: bool = False, hollow: bool = False) -> Line2D:
    """Return what a legend shows of a mark."""
    return Line2D(
        [],
        [],
        color=mark.color,
        marker=mark.marker,
        markersize=4.2,
        markerfacecolor="white" if hollow else mark.color,
        linestyle=mark.dashes if line else "none",
    )


def mcc_axis_y(axes: Axes, bounds: tuple[float, float]) -> None:
    """Make the y axis one of MCC × 100."""
    axes.set_ylim(*bounds)
    axes.set_yticks(np.arange(20 * np.ceil(bounds[0] / 20), bounds[1], 20))
    axes.set_ylabel("MCC × 100", labelpad=2)


def log_axis(axes: Axes, low: float, high: float, label: str) -> None:
    """Make the x axis logarithmic, with plain numbers at powers of ten."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    powers = np.arange(np.ceil(np.log10(low)), np.floor(np.log10(high)) + 1)
    powers = powers[:: max(1, -(-len(powers) // 5))]
    axes.set_xticks(10.0**powers, [f"{10.0**power:,g}" for power in powers])
    axes.minorticks_off()
    axes.set_xlabel(label, labelpad=2)
