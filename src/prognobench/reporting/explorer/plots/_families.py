"""Convolutional networks beside foundation models, on the strategies that both have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from dash import html

from ..._safe import printable
from ...page._answer import BLOCK, block_title, blocks_of
from .._page import Context, State
from .._view import Component
from ._plot import GRAY, LOOKS, MOST_PANELS, NothingToShow, Plot, Scores, graph, of_block, ordered, safe, values

_NAMES = {"cnn": "CNN, pretrained on ImageNet", "foundation": "foundation model"}
_LOOKS = {"cnn": (LOOKS[1], "square"), "foundation": (LOOKS[0], "circle")}


def _draw(context: Context, scores: Scores, state: State) -> list[Component]:
    rows = scores.rows[scores.rows["family"].isin(_NAMES) & scores.rows["score"].notna()]
    lacking = [name for family, name in _NAMES.items() if not (rows["family"] == family).any()]
    if lacking:
        raise NothingToShow(f"no result of a {lacking[0]} is among what is chosen")
    drawn = [panel for block in blocks_of(rows) if (panel := _panel(context, scores, block)) is not None]
    if not drawn:
        raise NothingToShow("no strategy has results of both a CNN and a foundation model")
    left = len(drawn) - MOST_PANELS
    note = (
        [html.P(f"{left} more comparisons are not shown; filter to see them.", className="quiet")] if left > 0 else []
    )
    return [html.Div(drawn[:MOST_PANELS], className="plots"), *note]


def _panel(context: Context, scores: Scores, block: pd.DataFrame) -> Component | None:
    both = block.groupby("strategy")["family"].nunique() == 2
    names = [name for name in ordered(context, "strategy", block["strategy"]) if both.get(name, False)]
    if not names:
        return None
    traces: list[dict[str, Any]] = []
    for family, (color, symbol) in _LOOKS.items():
        own = block[(block["family"] == family) & block["strategy"].isin(names)]
        traces.append({
            "type": "box", "name": _NAMES[family], "x": [safe(name) for name in own["strategy"]],
            "y": values(own["score"], scores.times), "boxpoints": "all", "jitter": 0.4, "pointpos": 0,
            "offsetgroup": family, "fillcolor": "rgba(128,128,128,0.12)", "line": {"color": color, "width": 1},
            "marker": {"color": color, "symbol": symbol, "size": 7}, "hoverinfo": "text",
            "customdata": own["key"].astype(object).where(own["key"].notna(), "").tolist(),
            "text": [f"{safe(model)} {safe(strategy)}" for model, strategy in zip(own["model"], own["strategy"],
                                                                                strict=True)],
        })  # fmt: skip
    best = scores.best(of_block(scores.cells[scores.cells["control"]], block.iloc[0])["score"]) * scores.times
    if not np.isnan(best):
        traces.append({
            "type": "scatter", "mode": "lines", "name": "best control", "x": [safe(name) for name in names],
            "y": [best] * len(names), "line": {"color": GRAY, "dash": "dash", "width": 1.2}, "hoverinfo": "name+y",
        })  # fmt: skip
    title = printable(block_title(block.iloc[0]))
    return graph(
        f"families-{'-'.join(str(block.iloc[0][key]) for key in BLOCK)}", f"{scores.name} · {title}",
        "A mark is a model. Foundation: pretrained on more than the labels of ImageNet. Strategies that both have.",
        traces, boxmode="group", xaxis={"type": "category"}, yaxis={"title": {"text": safe(scores.name)}},
    )  # fmt: skip


PLOT = Plot("families", "CNN against foundation models", 10, _draw)
