"""Score against time, parameters and memory, and what no other cell beats in both."""

from __future__ import annotations

from string import ascii_letters

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from .._shown import CELL, Shown, short
from ._figure import Drawing, Figure, NothingToShow
from ._page import (
    GRAY,
    TEXT,
    Floats,
    Mark,
    dots,
    fitted,
    legend,
    legend_room,
    limits,
    log_axis,
    marks,
    mcc_axis_y,
    pages,
)

_HEIGHT = 1.6  # inches
# Column of the cells, its name on the axis, and what one unit of the axis is.
_COSTS = {
    "train_seconds": ("training of one job (s)", 1.0),
    "trainable_params": ("parameters trained (millions)", 1e6),
    "peak_memory": ("peak memory (GiB)", 2.0**30),
}
_FRONT = [f"front_{name}" for name in _COSTS]


def _caption(shown: Shown) -> str:
    memory = "" if "peak_memory" in shown.cells else " Peak memory was not recorded."
    return (
        f"Mean MCC × 100 over test folds (of {shown.unit}, at 0.5) against what a cell costs: the mean time of a job's "
        "training with its share of shared work, the number of parameters trained, and the most memory a job took; "
        "logarithmic axes; of each task the regime with the most training films. The line joins the cells that no "
        "other beats in both; they are filled, and letters name them below. Cells with missing jobs are left out. "
        f"Dashed: the best control of any architecture. Times are those of the machine that ran it.{memory}"
    )


def _draw(shown: Shown) -> list[Drawing]:
    known = shown.learned[shown.learned["mcc"].notna() & (shown.learned["folds"] == shown.learned["n_folds"])]
    costs = [name for name in _COSTS if name in known and (known[name] > 0).any()]
    if len(known) < 2 or not costs:
        raise NothingToShow("fewer than two models or strategies have all their results and a known cost")
    looks = marks(shown.strategies)
    blocks = [block for block in shown.largest if len(shown.of(block, known)) > 1]
    if not blocks:
        raise NothingToShow("no task has two complete results to choose from")
    parts = [_fronts(shown.of(block, known), costs) for block in blocks]
    names = [_letters(part) for part in parts]
    lines = max(-(-len(own) // 2) for own in names)
    entries = {short(name): mark for name, mark in looks.items()}
    titles = [title for block in blocks for title in (block.title, *[""] * (len(costs) - 1))]
    bounds = limits(100 * shown.cells["mcc"], 0, 100)
    drawings = []
    for canvas, panels in pages(
        titles, [_HEIGHT] * len(titles), columns=len(costs), left=0.46, right=0.1, below=0.4 + 0.13 * lines,
        top=legend_room(list(entries)),
    ):  # fmt: skip
        legend(canvas, entries)
        for place, axes in panels:
            which, cost = divmod(place, len(costs))
            _panel(axes, parts[which], costs[cost], looks, names[which])
            axes.axhline(shown.best_control(blocks[which]), color="#333333", linewidth=0.7, ls="--")
            mcc_axis_y(axes, bounds, first=not cost)
            if not cost:
                _key(axes, names[which], len(costs))
        chosen = dict.fromkeys(place // len(costs) for place, _ in panels)
        data = pd.concat([parts[which] for which in chosen], ignore_index=True)
        drawings.append(Drawing(canvas, data[[*CELL, "level", "mcc", *costs, *(f"front_{name}" for name in costs)]]))
    return drawings


def _fronts(part: pd.DataFrame, costs: list[str]) -> pd.DataFrame:
    """Mark for each cost which cells no other one beats: cheaper and at least as good, or better at the same cost."""
    part = part.copy()
    mcc = part["mcc"].to_numpy(float)
    for name in costs:
        cost = part[name].to_numpy(float)
        cheaper, better = cost[None] < cost[:, None], mcc[None] > mcc[:, None]
        beaten = (cheaper & (mcc[None] >= mcc[:, None])) | (better & (cost[None] <= cost[:, None]))
        part[f"front_{name}"] = ~beaten.any(axis=1) & np.isfinite(cost) & (cost > 0)
    return part


def _letters(part: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Give each cell of a front a letter, from the best on."""
    on_front = part[[name for name in _FRONT if name in part]].any(axis=1)
    best_first = part[on_front].sort_values("mcc", ascending=False, kind="stable")
    cells = best_first[["model", "strategy"]].itertuples(index=False, name=None)
    return {cell: ascii_letters[place % len(ascii_letters)] for place, cell in enumerate(cells)}


def _panel(
    axes: Axes, part: pd.DataFrame, cost: str, looks: dict[str, Mark], names: dict[tuple[str, str], str]
) -> None:
    label, unit = _COSTS[cost]
    x: Floats = part[cost].to_numpy(float) / unit
    y = 100 * part["mcc"].to_numpy(float)
    front = part[f"front_{cost}"].to_numpy(bool)
    strategy = part["strategy"].to_numpy()
    for name in dict.fromkeys(strategy):
        own = (strategy == name) & (x > 0)
        dots(axes, x[own], y[own], looks[name], front[own], 3.4)
    order = np.argsort(x[front], kind="stable")
    axes.step(x[front][order], y[front][order], where="post", color=GRAY, linewidth=0.8, zorder=1.5)
    for cell, cost_of, score in zip(
        part.loc[front, ["model", "strategy"]].itertuples(index=False, name=None), x[front], y[front], strict=True
    ):
        axes.annotate(
            names[cell], (cost_of, score), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=TEXT
        )
    there = x[x > 0]
    if len(there):
        log_axis(axes, there.min() / 2, there.max() * 2, label)


def _key(axes: Axes, names: dict[tuple[str, str], str], columns: int) -> None:
    """Name the letters below a row of panels, in two columns."""
    entries = [
        fitted(f"{letter}  {short(model, 18)} {short(strategy, 14)}", 1.95)
        for (model, strategy), letter in names.items()
    ]
    half = -(-len(entries) // 2)
    for column, part in enumerate((entries[:half], entries[half:])):
        axes.annotate(
            "\n".join(part), (0, 0), xycoords="axes fraction", xytext=(column * (200 if columns > 1 else 150), -30),
            textcoords="offset points", va="top", fontsize=TEXT - 0.5, linespacing=1.25,
        )  # fmt: skip


FIGURES = (Figure("pareto", "Score against time, parameters and memory", _caption, 70, _draw),)
