"""Learning curves: MCC against the number of training films of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ._figure import Drawing, Figure, NothingToShow
from ._page import GRAY, Mark, legend, legend_room, limits, marks, mcc_axis_y, pages, sample
from ._shown import BLOCK, CELL, Shown, short

_HEIGHT = 1.45  # inches
_SERIES = ["cohort", "task", "test_cohort", "validation", "protocol", "model"]
_COLUMNS = [*CELL, "level", "control", "mcc", "ci_low", "ci_high", "ci_method", "folds", "n_folds", "n_missing"]
_CONTROL = Mark(GRAY, "D", (0, (4, 2)))


def _caption(shown: Shown) -> str:
    return (
        f"Mean MCC × 100 over test folds and draws (of {shown.unit}, at 0.5) against the number of training films of "
        "each class, on a logarithmic axis; `all` is the whole training part. One panel a task, kind of few-shot "
        f"regime and model. Bands: 95 % interval, {shown.interval}. Hollow marks rest on fewer folds than planned; a "
        "curve is broken where a result is missing. Gray: the best control at each size."
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
    sizes = sorted(int(shots) for shots in few["shots"].unique())
    entries = {short(name): sample(look, line=True) for name, look in looks.items() if name in set(few["strategy"])}
    entries |= {"best control": sample(_CONTROL, line=True)} if cells["control"].any() else {}
    bounds = limits(100 * pd.concat([few["mcc"], few["ci_low"].clip(-0.3)]))
    drawings = []
    for canvas, drawn in pages(
        [title for title, _ in panels], [_HEIGHT] * len(panels), columns=2 if len(panels) > 1 else 1, left=0.5,
        top=legend_room(list(entries)),
    ):  # fmt: skip
        legend(canvas, entries)
        for place, axes in drawn:
            _panel(axes, panels[place][1], looks, sizes)
            mcc_axis_y(axes, bounds)
        data = pd.concat([panels[place][1] for place, _ in drawn], ignore_index=True)
        drawings.append(Drawing(canvas, data[_COLUMNS]))
    return drawings


def _curves(cells: pd.DataFrame, first: tuple[object, ...]) -> pd.DataFrame:
    """Return the cells of one panel: this regime's, those with all data, and the controls of both."""
    chosen = pd.Series(True, index=cells.index)
    for key in _SERIES[:-1]:
        chosen &= (cells[key] == getattr(first, key)).fillna(False)
    chosen &= ((cells["regime"] == first.regime) | (cells["regime"] == "full")).fillna(False)  # type: ignore[attr-defined]
    own = (cells["model"] == first.model) | (cells["control"] & (cells["strategy"] != "random"))  # type: ignore[attr-defined]
    return cells[chosen & own.fillna(False)]


def _panel(axes: Axes, part: pd.DataFrame, looks: Mapping[str, Mark], sizes: Sequence[int]) -> None:
    places = {size: place for place, size in enumerate([*sizes, None])}
    part = part.assign(_x=[places[None if pd.isna(shots) else int(shots)] for shots in part["shots"]])
    for name, own in part[~part["control"]].groupby("strategy", sort=False):
        x, mcc, low, high, whole = _series(own, len(places))
        look = looks[str(name)]
        axes.fill_between(x, low, high, color=look.color, alpha=0.10, linewidth=0)
        _line(axes, x, mcc, look, whole)
    controls = part[part["control"]].groupby("_x")["mcc"].max()
    if len(controls):
        y = np.full(len(places), np.nan)
        y[controls.index.to_numpy(int)] = 100 * controls.to_numpy(float)
        _line(axes, np.arange(len(places)), y, _CONTROL, np.ones(len(places), dtype=bool))
    axes.axhline(0, color=GRAY, linewidth=0.6, zorder=1)
    axes.set_xticks(range(len(places)), [*map(str, sizes), "all"])
    axes.set_xlim(-0.3, len(places) - 0.7)
    axes.set_xlabel("training films of each class", labelpad=2)


def _series(own: pd.DataFrame, length: int) -> tuple[np.ndarray, ...]:
    numbers = np.full((3, length), np.nan)
    whole = np.ones(length, dtype=bool)
    place = own["_x"].to_numpy(int)
    numbers[:, place] = 100 * own[["mcc", "ci_low", "ci_high"]].to_numpy(float).T
    whole[place] = (own["folds"] == own["n_folds"]).to_numpy(bool)
    return np.arange(length), *numbers, whole


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, look: Mark, whole: np.ndarray) -> None:
    # All data is no number of shots: the last stretch is dotted for every curve.
    axes.plot(x[:-1], y[:-1], color=look.color, linestyle=look.dashes, linewidth=1.0)
    axes.plot(x[-2:], y[-2:], color=look.color, linestyle=":", linewidth=0.6)
    for chosen, fill in ((whole, look.color), (~whole, "white")):
        if (chosen & np.isfinite(y)).any():
            axes.plot(
                x[chosen], y[chosen], linestyle="none", marker=look.marker, markersize=3,
                markerfacecolor=fill, markeredgecolor=look.color, markeredgewidth=0.6,
            )  # fmt: skip


FIGURES = (Figure("learning_curves", "Learning curves over shots", _caption, 60, _draw),)
