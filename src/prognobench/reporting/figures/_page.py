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

from .._palette import COLORS
from .._shown import short

WIDTH = 5.4  # inches; at 160 dots an inch what a phone shows without scaling its text away
HEIGHT = 9.6  # inches that a page takes at most, to fit A4 and Letter
TEXT = 7.0  # points
_DPI = 160
_TITLE = 0.24  # inches above a panel
GRAY = "#6b6b6b"
LIGHT = "#c9c9c9"
WARN = "#a84300"
Floats = npt.NDArray[np.float64]
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (7, 2)), (0, (2, 2)))
_SETTINGS: Any = {
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
    y, found = total - frame.top, []
    for row, height in zip(rows, room, strict=True):
        y -= _TITLE
        for column, place in enumerate(row):
            x, bottom = column * each + frame.left, y - heights[place]
            box = (x / WIDTH, bottom / total, width / WIDTH, heights[place] / total)
            found.append((place, canvas.add_axes(box)))
            at = ((column * each + 0.08) / WIDTH, (y + 0.07) / total)
            title = fitted(short(titles[place], 120), each - 0.16, TEXT + 0.5, bold=True)
            canvas.text(*at, title, fontsize=TEXT + 0.5, weight="bold")
        y -= height + frame.below
    return canvas, found


def width_of(text: str, size: float = TEXT, *, bold: bool = False) -> float:
    """Return about how many inches a text takes, rather more; measuring it would take as long as drawing it."""
    ems = sum(0.36 if sign in _NARROW else 0.98 if sign in _WIDE or ord(sign) > 0x2E7F else
              0.75 if sign.isupper() else 0.63 for sign in text)  # fmt: skip
    return ems * size / 72 * (1.12 if bold else 1.0)


_NARROW, _WIDE = frozenset("iljtfr.,:;|!'()[]· "), frozenset("mwMW@%…\N{REPLACEMENT CHARACTER}")


def fitted(text: str, inches: float, size: float = TEXT, *, bold: bool = False) -> str:
    """Shorten a text to what fits."""
    limit = len(text)
    while limit > 4 and width_of(short(text, limit), size, bold=bold) > inches:
        limit -= 1
    return short(text, limit)


def label_room(names: Sequence[str], size: float = TEXT, least: float = 0.45) -> float:
    """Return how many inches the longest of some labels takes."""
    return max([least, *(width_of(name, size) + 0.12 for name in names)])


def legend_room(names: Sequence[str]) -> float:
    """Return how many inches a legend of these names takes."""
    return 0.16 * _legend_grid(names)[1] + 0.12


def _legend_grid(names: Sequence[str]) -> tuple[int, int, float]:
    """Return columns, rows and the width of a column of a legend."""
    width = label_room(names) + 0.45
    across = max(1, min(len(names), int((WIDTH - 0.2) / width)))
    return across, -(-len(names) // across), width


def legend(canvas: Canvas, looks: Mapping[str, Mark], *, line: bool = False) -> None:
    """Put a legend at the top of a page, in the room that `legend_room` says, column by column."""
    # matplotlib's own takes ten times as long.
    _, rows, width = _legend_grid(list(looks))
    inches, top = canvas.dpi_scale_trans, canvas.get_figheight()
    for place, (name, look) in enumerate(looks.items()):
        x, y = 0.12 + width * (place // rows), top - 0.13 - 0.16 * (place % rows)
        line_of: dict[str, Any] = {"linestyle": look.dashes if line else "none", "marker": look.marker}
        xs = [x, x + 0.12, x + 0.24]
        canvas.add_artist(
            Line2D(xs, [y] * 3, color=look.color, transform=inches, markevery=[1], markersize=4.2, **line_of)
        )
        canvas.text(x + 0.32, y, name, transform=inches, va="center_baseline")


def limits(values: npt.ArrayLike, least: float = 0.0, most: float = 100.0) -> tuple[float, float]:
    """Return the range of an axis of MCC × 100: to tens, with what is at least shown in it."""
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    low = min([least, *numbers])
    high = max([most, *numbers])
    return 10 * np.floor(low / 10) - (2 if low >= least else 0), 10 * np.ceil(high / 10) + 2


def axis_x(
    axes: Axes, bounds: tuple[float, float], ticks: Mapping[float, str], name: str = "", *, log: bool = False
) -> None:
    """Draw a panel's x axis: limits, ticks with what stands at them, name."""
    # matplotlib's own axes take more time than all that is drawn in them.
    axes.set_axis_off()
    if log:
        axes.set_xscale("log")
    axes.set_xlim(*bounds)
    _, height = _inches(axes)
    places = _fractions(list(ticks), bounds, log)
    lines = [[(0.0, 0.0), (1.0, 0.0)], *([(x, 0.0), (x, -0.035 / height)] for x in places)]
    _lines(axes, lines)
    for x, text in zip(places, ticks.values(), strict=True):
        _text(axes, x, -0.065 / height, text, ha="center", va="top", fontsize=TEXT - 0.5)
    _text(axes, 0.5, -0.19 / height, name, ha="center", va="top")


def axis_y(axes: Axes, bounds: tuple[float, float], ticks: Mapping[float, str], name: str = "") -> None:
    """Draw a panel's y axis: limits, ticks with what stands at them, name."""
    axes.set_axis_off()
    axes.set_ylim(*bounds)
    width, _ = _inches(axes)
    places = _fractions(list(ticks), bounds)
    lines = [[(0.0, 0.0), (0.0, 1.0)], *([(0.0, y), (-0.035 / width, y)] for y in places)]
    _lines(axes, lines)
    for y, text in zip(places, ticks.values(), strict=True) if any(ticks.values()) else ():
        _text(axes, -0.06 / width, y, text, ha="right", va="center_baseline", fontsize=TEXT - 0.5)
    if name:
        _text(axes, -0.33 / width, 0.5, name, ha="right", va="center", rotation=90)


def rows(
    axes: Axes, bounds: tuple[float, float], labels: Sequence[tuple[float, str]], bold: Sequence[bool] = ()
) -> None:
    """Make the y axis one of named rows, without a line."""
    axes.set_axis_off()
    axes.set_ylim(*bounds)
    width, _ = _inches(axes)
    places = _fractions([y for y, _ in labels], bounds)
    heavy = bold or [False] * len(labels)
    for y, (_, text), is_bold in zip(places, labels, heavy, strict=True):
        weight = "bold" if is_bold else "normal"
        _text(axes, -0.06 / width, y, text, ha="right", va="center_baseline", fontsize=TEXT - 0.5, weight=weight)


def beside(axes: Axes, row: float, text: str, warn: bool = False) -> None:
    """Write to the right of a row."""
    width, _ = _inches(axes)
    where = axes.get_yaxis_transform()
    color = WARN if warn else "black"
    axes.text(1 + 0.05 / width, row, text, transform=where, va="center_baseline", fontsize=TEXT - 1, color=color)


def mcc_axis(axes: Axes, bounds: tuple[float, float], name: str = "MCC × 100") -> None:
    """Make the x axis one of MCC × 100."""
    step = 20 if _inches(axes)[0] > 2.2 else 50
    axis_x(axes, bounds, _steps(bounds, step), name)


def mcc_axis_y(axes: Axes, bounds: tuple[float, float], first: bool = True) -> None:
    """Make the y axis one of MCC × 100; only the first of a row of panels is labeled, since all have the same."""
    ticks = _steps(bounds, 20)
    axis_y(axes, bounds, ticks if first else dict.fromkeys(ticks, ""), "MCC × 100" if first else "")


def log_axis(axes: Axes, low: float, high: float, name: str) -> None:
    """Make the x axis logarithmic, with plain numbers: at powers of ten, or closer where there are few of them."""
    decades = np.log10(high / low)
    parts = (1, 2, 5) if decades < 2 else (1,)
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [part * 10.0**power for power in powers for part in parts if 1.05 * low < part * 10.0**power < high / 1.1]
    ticks = ticks[:: max(1, -(-len(ticks) // max(2, int(2.4 * _inches(axes)[0]))))]
    axis_x(axes, (low, high), {tick: f"{tick:,g}" for tick in ticks}, name, log=True)


def _steps(bounds: tuple[float, float], step: int) -> dict[float, str]:
    places = range(step * int(np.ceil(bounds[0] / step)), int(bounds[1]) + 1, step)
    return {float(place): f"{place}".replace("-", "−") for place in places}


def _inches(axes: Axes) -> tuple[float, float]:
    canvas, box = axes.get_figure(root=True), axes.get_position(original=True)
    assert canvas is not None
    return box.width * canvas.get_figwidth(), box.height * canvas.get_figheight()


def _fractions(values: Sequence[float], bounds: tuple[float, float], log: bool = False) -> list[float]:
    numbers, ends = np.asarray(values, dtype=np.float64), np.asarray(bounds, dtype=np.float64)
    if log:
        numbers, ends = np.log(numbers), np.log(ends)
    return [float(place) for place in (numbers - ends[0]) / (ends[1] - ends[0])]


def _lines(axes: Axes, lines: Sequence[Any]) -> None:
    axes.add_collection(
        LineCollection(lines, colors="black", linewidths=0.6, transform=axes.transAxes, clip_on=False), autolim=False
    )


def _text(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    axes.text(x, y, text, transform=axes.transAxes, **look)


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
