"""Reliability diagrams: how often the outcome came where a model said how likely it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from prognobench.evaluation import CONTROLS

from .._best import Best
from .._palette import COLORS
from .._shown import CELL, Shown, short
from ._figure import Drawing, Figure, NothingToShow
from ._page import GRAY, LIGHT, TEXT, WARN, Mark, axis_x, axis_y, fitted, legend, legend_room, pages

_HEIGHT = 1.9  # inches
_KINDS = {"raw": "as the model gives it", "platt": "recalibrated on validation (Platt)"}
_LOOK, _OTHER = Mark(COLORS[0], "o", "-"), Mark(LIGHT, "", "-")
_COLUMNS = ["bin_low", "bin_high", "n", "mean_score", "share_positive", "share_ci_low", "share_ci_high"]


def _caption(shown: Shown) -> str:
    return (
        "Share of positives against the mean score in bins of the score, on the test films of all folds, of each task "
        "in the regime with the most training films: at the left as the model gives it (class weights push scores up), "
        "at the right recalibrated on the validation part by Platt's method. On the diagonal a score means what it "
        "says. Blue: the cell with the highest mean MCC of the task, which these folds chose, with 95 % intervals; the "
        "area of a dot grows with the bin's count, and n is the sum; where jobs are missing no best is named. Gray: "
        "every other model and strategy."
    )


def _draw(shown: Shown) -> list[Drawing]:
    table = shown.tables.reliability
    if not len(table):
        raise NothingToShow("there is no table of reliability")
    table = table[~table["strategy"].isin(CONTROLS) & table["calibration"].isin(_KINDS) & table["mean_score"].notna()]
    headline = shown.learned[[*CELL, "level", "mcc"]]
    table = table.merge(headline, "inner", [*CELL, "level"])
    if not len(table):
        raise NothingToShow("no model has scores yet")
    panels = []
    for block in shown.largest:
        part = shown.of(block, table)
        if len(part):
            panels.append((block, part, shown.best(block)))
    entries = {"highest MCC of the task": _LOOK, "other cells": _OTHER}
    kinds = [kind for kind in _KINDS if (table["calibration"] == kind).any()]
    titles = [block.title if kind == kinds[0] else "" for block, _, _ in panels for kind in kinds]
    drawings = []
    for canvas, drawn in pages(
        titles, [_HEIGHT] * len(titles), columns=len(kinds), left=0.55, right=0.2, top=legend_room(list(entries))
    ):
        legend(canvas, entries, line=True)
        for place, axes in drawn:
            which, kind = divmod(place, len(kinds))
            _panel(axes, panels[which][1], panels[which][2], kinds[kind])
        chosen = dict.fromkeys(place // len(kinds) for place, _ in drawn)
        data = pd.concat([panels[which][1] for which in chosen], ignore_index=True)
        drawings.append(Drawing(canvas, data[[*CELL, "level", "calibration", *_COLUMNS]]))
    return drawings


def _panel(axes: Axes, part: pd.DataFrame, found: Best, kind: str) -> None:
    part = part[part["calibration"] == kind]
    best = None if found.cell is None else (str(found.cell["model"]), str(found.cell["strategy"]))
    is_best = np.zeros(len(part), dtype=bool)
    if best is not None:
        is_best = ((part["model"] == best[0]) & (part["strategy"] == best[1])).to_numpy(bool)
    others = part[~is_best].groupby(["model", "strategy"], dropna=False, sort=False)[["mean_score", "share_positive"]]
    lines = [own.to_numpy(float) for _, own in others]
    axes.plot([0, 1], [0, 1], color=GRAY, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1)
    axes.add_collection(LineCollection(lines, colors=LIGHT, linewidths=0.6, zorder=1.2))
    own = part[is_best]
    x, y = own["mean_score"].to_numpy(float), own["share_positive"].to_numpy(float)
    bars = zip(x, own["share_ci_low"].to_numpy(float), own["share_ci_high"].to_numpy(float), strict=True)
    axes.add_collection(LineCollection([[(at, a), (at, b)] for at, a, b in bars], colors=COLORS[0], linewidths=0.9))
    axes.plot(x, y, color=COLORS[0], linewidth=1.2)
    n = own["n"].to_numpy(float)
    axes.scatter(x, y, s=6 + 40 * n / max(n.max(initial=0), 1), color=COLORS[0], linewidths=0, zorder=3)
    ticks = {place / 4: f"{place / 4:.2f}" for place in range(5)}
    axis_x(axes, (-0.02, 1.02), ticks, f"score, {_KINDS[kind]}")
    axis_y(axes, (-0.02, 1.02), ticks, "share of positives")
    if best is None:
        axes.text(0.0, 0.94, fitted(f"no best: {found.why}", 1.5), color=WARN, fontsize=TEXT - 0.5)
        return
    named = f"{short(best[0], 18)} {short(best[1], 14)}"
    axes.text(0.0, 0.94, named, color=COLORS[0], fontsize=TEXT - 0.5)
    axes.text(1.0, 0.02, f"n={int(n.sum()):,}", ha="right", fontsize=TEXT - 0.5)


FIGURES = (Figure("reliability", "Reliability", _caption, 80, _draw),)
