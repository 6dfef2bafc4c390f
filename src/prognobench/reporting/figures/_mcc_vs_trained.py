"""MCC against the share of parameters trained: figure 4 of Ruffini et al."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from .._shown import CELL, Shown, short
from ._figure import Drawing, Figure, NothingToShow
from ._page import Mark, dots, legend, legend_room, limits, log_axis, marks, mcc_axis_y, pages

_HEIGHT = 1.75  # inches
_COLUMNS = [*CELL, "level", "trainable_percent", "mcc", "folds", "n_folds", "n_missing"]


def _caption(shown: Shown) -> str:
    foundation = sum(family == "foundation" for family in shown.families.values())
    return (
        f"Mean MCC × 100 over test folds (of {shown.unit}, at 0.5) against the share of the parameters, head included, "
        "that is trained, on a logarithmic axis; of each task the regime with the most training films. Each mark is "
        f"one model with one strategy, filled for foundation models ({foundation} of {len(shown.models)}), hollow for "
        "the others. Dashed: the best control of any architecture."
    )


def _draw(shown: Shown) -> list[Drawing]:
    known = shown.learned[shown.learned["mcc"].notna() & (shown.learned["trainable_percent"] > 0)]
    if known["strategy"].nunique() < 2:
        raise NothingToShow("there are results of fewer than two strategies")
    looks = marks(shown.strategies)
    parts = [(block, shown.of(block, known)) for block in shown.largest]
    parts = [(block, part) for block, part in parts if len(part)]
    entries = {short(name): mark for name, mark in looks.items()}
    bounds, columns = limits(100 * shown.cells["mcc"]), 2 if len(parts) > 1 else 1
    share = known["trainable_percent"]
    width = (share.min() / 1.8, max(100.0, share.max()) * 1.8)
    drawings = []
    for canvas, panels in pages(
        [block.title for block, _ in parts], [_HEIGHT] * len(parts), columns=columns, left=0.5,
        top=legend_room(list(entries)),
    ):  # fmt: skip
        legend(canvas, entries)
        for place, axes in panels:
            block, part = parts[place]
            _panel(axes, part, looks, shown)
            axes.axhline(0, color="#6b6b6b", linewidth=0.7, zorder=1)
            axes.axhline(shown.best_control(block), color="#333333", linewidth=0.7, linestyle="--")
            mcc_axis_y(axes, bounds, first=place % 2 == 0)
            log_axis(axes, *width, "parameters trained (%)")
        drawings.append(
            Drawing(canvas, pd.concat([parts[place][1] for place, _ in panels], ignore_index=True)[_COLUMNS])
        )
    return drawings


def _panel(axes: Axes, part: pd.DataFrame, looks: dict[str, Mark], shown: Shown) -> None:
    share, mcc = part["trainable_percent"].to_numpy(float), 100 * part["mcc"].to_numpy(float)
    strategy = part["strategy"].to_numpy()
    foundation = (part["model"].map(shown.families) == "foundation").to_numpy(bool)
    for name in np.unique(strategy.astype(str)):
        own = strategy == name
        dots(axes, share[own], mcc[own], looks[name], foundation[own], 4.0)


FIGURES = (Figure("mcc_vs_trained", "MCC against the share of parameters trained", _caption, 50, _draw),)
