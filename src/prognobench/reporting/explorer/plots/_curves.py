"""Learning curves: score against the number of training films of each class."""

from __future__ import annotations

from typing import Any

import pandas as pd
from dash import html

from ..._safe import printable
from ...page._parts import words
from .._page import Context, State
from .._view import Component
from ._plot import GRAY, NothingToShow, Plot, Scores, graph, looks, ordered, panels, safe, values

_SERIES = ["cohort", "task", "test_cohort", "validation", "protocol", "model"]


def _draw(context: Context, scores: Scores, state: State) -> list[Component]:
    scores.refuse_jobs()
    rows = scores.rows
    few = rows[rows["shots"].notna() & rows["score"].notna() & ~rows["control"]]
    if few.empty:
        raise NothingToShow("no few-shot regime is among what is chosen, or no result of one is there yet")
    colors = looks(ordered(context, "strategy", few["strategy"]))
    groups, note = panels(few, [*_SERIES, "regime"])
    drawn = [_panel(rows, part, colors, scores) for _, part in groups]
    return [html.Div(drawn, className="plots"), *([html.P(note, className="quiet")] if note else [])]


def _panel(
    rows: pd.DataFrame, part: pd.DataFrame, colors: dict[str, tuple[str, str, str]], scores: Scores
) -> Component:
    first = part.iloc[0]
    same = pd.Series(True, index=rows.index)
    for key in _SERIES[:-1]:
        same &= (rows[key] == first[key]).fillna(False)
    whole = rows[same & (rows["regime"] == "full") & (rows["model"] == first["model"]) & ~rows["control"]]
    sizes = sorted({int(shots) for shots in part["shots"]})
    names = [*map(str, sizes), *(["all"] if whole["score"].notna().any() else [])]
    traces: list[dict[str, Any]] = []
    for strategy, (color, symbol, dash) in colors.items():
        own = pd.concat([part[part["strategy"] == strategy].sort_values("shots"),
                         whole[whole["strategy"] == strategy]])  # fmt: skip
        if own.empty:
            continue
        x = ["all" if pd.isna(shots) else str(int(shots)) for shots in own["shots"]]
        y, low, high = (values(own[name], scores.times) for name in ("score", "low", "high"))
        trace: dict[str, Any] = {
            "type": "scatter", "mode": "lines+markers", "name": safe(strategy), "x": x, "y": y,
            "line": {"color": color, "dash": dash, "width": 1.6},
            "marker": {"color": color, "symbol": symbol, "size": 7},
            "customdata": own["key"].astype(object).where(own["key"].notna(), "").tolist(),
        }  # fmt: skip
        if any(bound is not None for bound in low):
            reach = [[0.0 if a is None or b is None else abs(a - b) for a, b in zip(y, ends, strict=True)]
                     for ends in (high, low)]  # fmt: skip
            trace["error_y"] = {"type": "data", "symmetric": False, "array": reach[0], "arrayminus": reach[1],
                                "color": color, "thickness": 0.8, "width": 3}  # fmt: skip
        traces.append(trace)
    controls = rows[same & rows["control"] & rows["regime"].isin([first["regime"], "full"])]
    places = controls["shots"].map(lambda shots: "all" if pd.isna(shots) else str(int(shots)))
    best = controls["score"].groupby(places).agg(scores.best).reindex(names).dropna()
    if len(best):
        traces.append({"type": "scatter", "mode": "lines+markers", "name": "best control", "x": list(best.index),
                       "y": values(best, scores.times), "line": {"color": GRAY, "dash": "dash", "width": 1.2},
                       "marker": {"color": GRAY, "symbol": "diamond", "size": 6}})  # fmt: skip
    told = [words(first[key]) for key in ("cohort", "task", "regime", "model")]
    return graph(
        f"curves-{'-'.join(str(first[key]) for key in (*_SERIES, 'regime'))}",
        f"{scores.name} · {printable(' · '.join(told))}",
        "Training films of each class; all: the whole training part. Bars: 95 % interval where one is known.",
        traces, xaxis={"type": "category", "categoryorder": "array", "categoryarray": names,
                       "title": {"text": "training films of each class"}},
        yaxis={"title": {"text": safe(scores.name)}},
    )  # fmt: skip


PLOT = Plot("curves", "Learning curves", 30, _draw)
