"""Every model with every strategy."""

from __future__ import annotations

from typing import Any

import pandas as pd
from dash import html

from ..._safe import printable
from ...page._answer import BLOCK, block_title, blocks_of
from ...page._parts import is_missing
from .._page import Context, State
from .._view import Component
from ._plot import MOST_PANELS, NothingToShow, Plot, Scores, graph, ordered, safe


def _draw(context: Context, scores: Scores, state: State) -> list[Component]:
    scores.refuse_jobs()
    learned = scores.rows[~scores.rows["control"]]
    if learned["score"].isna().all():
        raise NothingToShow("no result of a model that is chosen is there yet")
    blocks = blocks_of(learned)
    drawn = [_panel(context, scores, block) for block in blocks[:MOST_PANELS] if block["score"].notna().any()]
    left = len(blocks) - MOST_PANELS
    note = (
        [html.P(f"{left} more comparisons are not shown; filter to see them.", className="quiet")] if left > 0 else []
    )
    return [html.Div(drawn, className="plots wide"), *note]


def _panel(context: Context, scores: Scores, block: pd.DataFrame) -> Component:
    models = ordered(context, "model", block["model"])
    strategies = ordered(context, "strategy", block["strategy"])
    rows = {(str(row["model"]), str(row["strategy"])): row for row in block.to_dict("records")}
    grid = [[_number(rows.get((model, strategy)), scores) for strategy in strategies] for model in models]
    texts = [[_text(rows.get((model, strategy)), scores) for strategy in strategies] for model in models]
    keys = [[_key(rows.get((model, strategy))) for strategy in strategies] for model in models]
    title = printable(block_title(block.iloc[0]))
    trace = {
        "type": "heatmap", "z": grid, "x": [safe(name) for name in strategies], "y": [safe(name) for name in models],
        "text": texts, "texttemplate": "%{text}", "customdata": keys, "colorscale": "Cividis", "xgap": 1, "ygap": 1,
        "hovertemplate": "%{y} %{x}: %{text}<extra></extra>", "colorbar": {"thickness": 10, "outlinewidth": 0},
    }  # fmt: skip
    caption = "○ not above its controls in MCC · blank: not planned · – : not done or undefined."
    return graph(
        f"heat-{'-'.join(str(block.iloc[0][key]) for key in BLOCK)}", f"{scores.name} · {title}", caption, [trace],
        height=110 + 30 * len(models), xaxis={"type": "category", "side": "bottom", "showgrid": False},
        yaxis={"type": "category", "autorange": "reversed", "showgrid": False},
    )  # fmt: skip


def _number(row: dict[Any, Any] | None, scores: Scores) -> float | None:
    return None if row is None or is_missing(row["score"]) else float(row["score"]) * scores.times


def _text(row: dict[Any, Any] | None, scores: Scores) -> str:
    if row is None:
        return ""
    number = _number(row, scores)
    if number is None:
        return "–"
    doubtful = not is_missing(row["above_controls"]) and not row["above_controls"]
    return f"{number:.{scores.digits}f}{' ○' if doubtful else ''}"


def _key(row: dict[Any, Any] | None) -> str:
    return "" if row is None or is_missing(row["key"]) else str(row["key"])


PLOT = Plot("heat", "Heat map", 20, _draw)
