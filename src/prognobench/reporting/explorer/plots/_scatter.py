"""Score against what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from dash import html

from ...page._answer import BLOCK, blocks_of
from ...page._parts import is_missing
from .._page import Context, Control, State
from .._view import Component
from ._plot import GRAY, SYMBOLS, Plot, Scores, graph, looks, of_block, ordered, panels, safe, values

COSTS = {
    "trainable_percent": ("trained, % of all numbers", 1.0),
    "train_seconds": ("training of one job, s", 1.0),
    "peak_memory": ("peak memory, GiB", 2.0**-30),
    "trainable_params": ("numbers trained, millions", 1e-6),
}
KEYS = {
    "strategy": "strategy",
    "model": "model",
    "family": "CNN or foundation",
    "task": "task",
    "cohort": "cohort",
    "test_cohort": "tested cohort",
    "regime_label": "regime",
    "validation": "validation",
    "protocol": "protocol",
}
_NONE = "none"  # an empty value would be lost on the way to the address and back
_X = Control("x", "Against", tuple((name, label) for name, (label, _) in COSTS.items()), "one", "trainable_percent")


def _controls(context: Context) -> Sequence[Control]:
    keys = tuple(KEYS.items())
    several = {key: context.now.job_list[key].nunique() > 1 for key in ("task", "regime_label")}
    return (
        _X,
        Control("color", "Color", keys, "one", "strategy"),
        Control(
            "shape",
            "Shape",
            ((_NONE, "as the color"), *keys),
            "one",
            "regime_label" if several["regime_label"] else _NONE,
        ),
        Control("facet", "Panels", ((_NONE, "one"), *keys), "one", "task" if several["task"] else _NONE),
    )


def _draw(context: Context, scores: Scores, state: State) -> list[Component]:
    chosen = (control.chosen(state)[0] for control in _controls(context))
    x, color, shape, facet = ("" if value == _NONE else value for value in chosen)
    label, unit = COSTS[x]
    rows = scores.rows[scores.rows["score"].notna()]
    # Panels keep tasks apart even where nobody asked: scores of different tasks are not to be held against each other.
    groups, note = panels(rows, [facet] if facet else [])
    colors = looks(ordered(context, color, rows.loc[~rows["control"], color]))
    shapes = {name: SYMBOLS[place % len(SYMBOLS)] for place, name in enumerate(ordered(context, shape, rows[shape]))
              } if shape else {}  # fmt: skip
    drawn = []
    for title, part in groups:
        traces = [*_learned(part, x, unit, scores, color, shape, colors, shapes), *_controls_of(part, x, unit, scores)]
        drawn.append(
            graph(
                f"scatter-{title}" if title else "scatter",
                f"{scores.name} against {label}" + (f" · {safe_title(title)}" if title else ""),
                _caption(context, part, scores, x),
                traces,
                xaxis={"type": "log", "title": {"text": label}, "dtick": 1, "exponentformat": "power"},
                yaxis={"title": {"text": safe(scores.name)}},
            )
        )
    return [html.Div(drawn, className="plots"), *([html.P(note, className="quiet")] if note else [])]


def safe_title(title: str) -> str:
    """Return a panel's title for people; Dash escapes it."""
    from ..._safe import printable

    return printable(title)


def _caption(context: Context, part: pd.DataFrame, scores: Scores, x: str) -> str:
    told = ["Each mark leads to its job. Hollow: fewer folds than planned.", _of_controls(part, scores)]
    placeless = int((~(part.loc[~part["control"], x].astype("Float64") > 0).fillna(False)).sum())
    if placeless:
        told.append(f"Not drawn, as what they cost is not recorded or 0: {placeless:,}; they are in the table.")
    if part[["low", "high"]].notna().any(axis=None):
        told.append(f"Bars: 95 % interval ({context.now.shown.interval}).")
    elif not context.now.current:
        told.append("Intervals follow when they are computed.")
    several = part[["cohort", "task", "test_cohort"]].drop_duplicates()
    if len(several) > 1:
        told.append("Several tasks stand in one panel: their scores are not to be held against one another.")
    return " ".join(filter(None, told))


def _of_controls(part: pd.DataFrame, scores: Scores) -> str:
    blocks = _blocks_of_controls(part, scores)
    if not any(block["score"].notna().any() for block in blocks):
        return ""
    if scores.better == "neither":
        return "No line of the controls: neither end of this score is the better one."
    if len(blocks) > 1:
        return "No line of the controls, as the panel holds several comparisons; they are in the table."
    return f"Gray: controls{', mean over folds' if scores.of_jobs else ''}."


def _learned(
    part: pd.DataFrame, x: str, unit: float, scores: Scores, color: str, shape: str,
    colors: dict[str, tuple[str, str, str]], shapes: dict[str, str],
) -> list[dict[str, Any]]:  # fmt: skip
    learned = part[~part["control"]]
    traces, drawn = [], set()
    for name, (ink, symbol, _) in colors.items():
        own = learned[learned[color].astype("string") == name]
        kinds = shapes or {"": symbol}
        for kind, sign in kinds.items():
            rows = own[own[shape].astype("string") == kind] if shape else own
            if len(rows):
                named = name if not kind or kind == name else f"{name} · {kind}"
                traces.append(_trace(rows, x, unit, scores, named, ink, sign) | {"legendgroup": safe(name)})
                drawn.add((name, kind))
    if not shapes or shape == color:
        return traces
    # Colors and shapes are told apart from one another: an entry for each pair is more than anyone reads, and slow.
    for trace in traces:
        trace["showlegend"] = False
    told = [(name, colors[name][0], "circle") for name in colors if any(name == one for one, _ in drawn)]
    told += [(kind, GRAY, sign) for kind, sign in shapes.items() if any(kind == one for _, one in drawn)]
    return [*traces, *(_entry(*one) for one in told)]


def _entry(name: str, color: str, symbol: str) -> dict[str, Any]:
    """Return a trace without marks that stands in the legend; that of a color hides and shows its marks."""
    return {
        "type": "scatter", "mode": "markers", "name": safe(name), "x": [None], "y": [None], "hoverinfo": "skip",
        "legendgroup": safe(name), "marker": {"color": color, "size": 9, "symbol": symbol},
    }  # fmt: skip


def _controls_of(part: pd.DataFrame, x: str, unit: float, scores: Scores) -> list[dict[str, Any]]:
    # A control of one comparison says nothing of another.
    blocks = _blocks_of_controls(part, scores)
    if len(blocks) != 1:
        return []
    traces = []
    # What trains nothing has no place on a logarithmic axis; a line shows it.
    for place, (name, rows) in enumerate(blocks[0].groupby("strategy", sort=True)):
        best = scores.best(rows["score"])
        if np.isnan(best):
            continue
        traces.append({
            "type": "scatter", "mode": "lines", "name": f"control {safe(name)}", "x": _range(part, x, unit),
            "y": [best * scores.times] * 2, "hoverinfo": "name+y",
            "line": {"color": GRAY, "width": 1.2, "dash": ("dot", "dash", "dashdot")[place % 3]},
        })  # fmt: skip
    return traces


def _blocks_of_controls(part: pd.DataFrame, scores: Scores) -> list[pd.DataFrame]:
    """Return the means of the controls of each comparison that a panel shows."""
    return [
        of_block(scores.cells[scores.cells["control"]], block.iloc[0])
        for block in blocks_of(part.drop_duplicates(BLOCK))
    ]


def _range(part: pd.DataFrame, x: str, unit: float) -> list[float]:
    known = [value for value in values(part.loc[~part["control"], x], unit) if value]
    return [min(known), max(known)] if known else [0.1, 10.0]


def _trace(
    rows: pd.DataFrame, x: str, unit: float, scores: Scores, name: str, color: str, symbol: str
) -> dict[str, Any]:
    whole = rows["folds"] >= rows["n_folds"]
    y = values(rows["score"], scores.times)
    low, high = values(rows["low"], scores.times), values(rows["high"], scores.times)
    trace: dict[str, Any] = {
        "type": "scatter", "mode": "markers", "name": safe(name), "x": values(rows[x], unit), "y": y,
        "customdata": rows["key"].astype(object).where(rows["key"].notna(), "").tolist(),
        "text": [_hover(row, scores) for row in rows.to_dict("records")], "hoverinfo": "text",
        "marker": {"color": color, "size": 9, "line": {"width": 1.4},
                   "symbol": [symbol if full else f"{symbol}-open" for full in whole.tolist()]},
    }  # fmt: skip
    if any(bound is not None for bound in low):
        trace["error_y"] = {
            "type": "data", "symmetric": False, "width": 0, "thickness": 0.8, "color": color,
            "array": _difference(high, y), "arrayminus": _difference(y, low),
        }  # fmt: skip
    return trace


def _difference(a: Sequence[float | None], b: Sequence[float | None]) -> list[float]:
    """Return how far a bar reaches, 0 where the bound is not known."""
    return [0.0 if one is None or other is None else one - other for one, other in zip(a, b, strict=True)]


def _hover(row: dict[Any, Any], scores: Scores) -> str:
    where = [row[key] for key in ("cohort", "task", "regime_label")]
    told = [f"<b>{safe(row['model'])} {safe(row['strategy'])}</b>", safe(" · ".join(map(str, where)))]
    told.append(f"{safe(scores.name)} {row['score'] * scores.times:.{scores.digits}f}")
    if not is_missing(row["low"]):
        low, high = (f"{row[name] * scores.times:.{scores.digits}f}" for name in ("low", "high"))
        told[-1] += f" [{low}, {high}]"
    return "<br>".join(told)


PLOT = Plot("scatter", "Score against cost", 0, _draw, _controls)
