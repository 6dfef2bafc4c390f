"""Learning curves: MCC against the number of training films of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection

from .._best import own_controls
from .._shown import BLOCK, CELL, Shown, short
from ._figure import Drawing, Figure, NothingToShow
from ._page import GRAY, Floats, Mark, axis_x, dots, legend, legend_room, limits, marks, mcc_axis_y, pages

_HEIGHT = 1.45  # inches
Ints = npt.NDArray[np.int64]
_SERIES = ["cohort", "task", "test_cohort", "validation", "protocol", "model"]
_COLUMNS = [*CELL, "level", "control", "mcc", "ci_low", "ci_high", "ci_method", "folds", "n_folds", "n_missing"]
_CONTROL = Mark(GRAY, "D", (0, (4, 2)))


def _caption(shown: Shown) -> str:
    return (
        f"Mean MCC × 100 over test folds and draws (of {shown.unit}, at 0.5) against the number of training films of "
        "each class, on a logarithmic axis; `all` is the whole training part. One panel a task, kind of few-shot "
        f"regime and model. Bands: 95 % interval, {shown.interval}. Hollow marks rest on fewer folds than planned; a "
        "curve is broken where a result is missing. Gray: the best control at each size, "
        "`random` of the model's own architecture."
    )


def _draw(shown: Shown) -> list[Drawing]:
    cells = shown.cells
    few = cells[cells["shots"].notna() & cells["mcc"].notna() & ~cells["control"]]
    if not len(few):
        raise NothingToShow("the study has no few-shot regime, or no result of one yet")
    looks = marks(shown.strategies)
    panels = []
    for _, series in few.groupby([*_SERIES, "regime"], dropna=False, sort=False):
        first = next(series[[*BLOCK, "model"]].itertuples(index=False))
        panels.append((f"{shown.title(first, without=['shots'])} · {short(first.model)}", _curves(cells, first)))
    entries = {short(name): look for name, look in looks.items() if name in set(few["strategy"])}
    entries |= {"best control": _CONTROL} if cells["control"].any() else {}
    bounds = limits(100 * pd.concat([few["mcc"], few["ci_low"].clip(-0.3)]))
    drawings = []
    for canvas, drawn in pages(
        [title for title, _ in panels], [_HEIGHT] * len(panels), columns=2 if len(panels) > 1 else 1, left=0.5,
        top=legend_room(list(entries)),
    ):  # fmt: skip
        legend(canvas, entries, line=True)
        for place, axes in drawn:
            _panel(axes, panels[place][1], looks)
            mcc_axis_y(axes, bounds, first=place % 2 == 0)
        data = pd.concat([panels[place][1] for place, _ in drawn], ignore_index=True)
        drawings.append(Drawing(canvas, data[_COLUMNS]))
    return drawings


def _curves(cells: pd.DataFrame, first: tuple[object, ...]) -> pd.DataFrame:
    """Return the cells of one panel: this regime's, those with all data, and the controls of both."""
    chosen = pd.Series(True, index=cells.index)
    for key in _SERIES[:-1]:
        chosen &= (cells[key] == getattr(first, key)).fillna(False)
    chosen &= ((cells["regime"] == first.regime) | (cells["regime"] == "full")).fillna(False)  # type: ignore[attr-defined]
    learned = cells[chosen & (cells["model"] == first.model).fillna(False) & ~cells["control"]]  # type: ignore[attr-defined]
    controls = own_controls(cells[chosen], learned["architecture"].iloc[0])
    # In the order of the cells.
    found: pd.DataFrame = cells.loc[cells.index.isin(learned.index.union(controls.index))]
    return found


@dataclass(frozen=True, eq=False)
class _Curve:
    """What one strategy has at each size; NaN where nothing."""

    look: Mark
    mcc: Floats
    low: Floats
    high: Floats
    hollow: npt.NDArray[np.bool_]


def _panel(axes: Axes, part: pd.DataFrame, looks: Mapping[str, Mark]) -> None:
    sizes = sorted({int(shots) for shots in part["shots"].dropna()})
    has_all = bool(part["shots"].isna().any())
    # All data is no number of shots; it stands one doubling behind the last.
    x = np.array([*np.log2(sizes), *([np.log2(sizes[-1]) + 1] if has_all else [])])
    curves = _read_curves(part, sizes, len(x), looks)
    bands = [(curve, run) for curve in curves for run in _runs(np.isfinite(curve.low) & np.isfinite(curve.high))]
    corners = [
        [*zip(x[run], curve.low[run], strict=True), *zip(x[run[::-1]], curve.high[run[::-1]], strict=True)]
        for curve, run in bands
    ]
    colors = [curve.look.color for curve, _ in bands]
    axes.add_collection(PolyCollection(corners, facecolors=colors, alpha=0.09, linewidths=0))
    shots = np.arange(len(x)) < len(sizes)
    runs = [(curve, run) for curve in curves for run in _runs(np.isfinite(curve.mcc) & shots)]
    _lines(axes, [(curve.look, list(zip(x[run], curve.mcc[run], strict=True))) for curve, run in runs], 1.0)
    ends = [(curve.look, list(zip(x[-2:], curve.mcc[-2:], strict=True))) for curve in curves if has_all]
    _lines(axes, ends, 0.5)
    for curve in curves:
        dots(axes, x, curve.mcc, curve.look, ~curve.hollow, 3.2)
    axes.axhline(0, color=GRAY, linewidth=0.6, zorder=1)
    names = [*map(str, sizes), *(["all"] if has_all else [])]
    axis_x(axes, (x[0] - 0.3, x[-1] + 0.3), dict(zip(x.tolist(), names, strict=True)), "training films of each class")


def _read_curves(part: pd.DataFrame, sizes: list[int], length: int, looks: Mapping[str, Mark]) -> list[_Curve]:
    place = np.array([len(sizes) if pd.isna(shots) else sizes.index(int(shots)) for shots in part["shots"]])
    control, strategy = part["control"].to_numpy(bool), part["strategy"].to_numpy()
    numbers = 100 * part[["mcc", "ci_low", "ci_high"]].to_numpy(np.float64)
    less = (part["folds"] != part["n_folds"]).to_numpy(bool)
    curves = []
    for name in dict.fromkeys(strategy[~control]):
        own = (strategy == name) & ~control
        mcc, low, high = (_along(place[own], numbers[own, column], length) for column in range(3))
        curves.append(_Curve(looks[name], mcc, low, high, _along(place[own], less[own], length) > 0))
    if control.any():
        best = pd.Series(numbers[control, 0]).groupby(place[control]).max()
        mcc, unknown = _along(best.index.to_numpy(int), best.to_numpy(float), length), np.full(length, np.nan)
        curves.append(_Curve(_CONTROL, mcc, unknown, unknown, np.zeros(length, dtype=bool)))
    return curves


def _along(place: Ints, values: npt.NDArray[Any], length: int) -> Floats:
    result = np.full(length, np.nan)
    result[place] = values
    return result


def _runs(known: npt.NDArray[np.bool_]) -> list[Ints]:
    """Return the stretches without a gap of at least two places."""
    places = np.flatnonzero(known)
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return [run for run in runs if len(run) > 1]


def _lines(axes: Axes, lines: Sequence[tuple[Mark, Any]], width: float) -> None:
    colors, dashes = [look.color for look, _ in lines], [look.dashes for look, _ in lines]
    axes.add_collection(LineCollection([line for _, line in lines], colors=colors, linestyles=dashes, linewidths=width))


FIGURES = (Figure("learning_curves", "Learning curves over shots", _caption, 60, _draw),)
