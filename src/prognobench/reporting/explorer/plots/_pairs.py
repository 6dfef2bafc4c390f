"""Every pair of a comparison: by how much one is ahead of the other, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from dash import html

from ..._safe import printable
from ...page._answer import BLOCK, block_title, blocks_of
from ...page._parts import is_missing, words
from .._page import Context, Control, State
from .._view import Component
from ._plot import MOST_PANELS, NothingToShow, Plot, Scores, graph, safe

_MOST = 24  # models and strategies of one matrix
_ROOMY = 12  # up to so many every cell has room for its number
_LEVEL = 0.05
_TESTS = {
    "p_bootstrap": "paired bootstrap over patients",
    "p_permutation": "paired permutation over patients",
    "p_corrected_t": "corrected t over folds",
}
_AFTER = {"_holm": "Holm's correction", "": "no correction"}


def _controls(context: Context) -> Sequence[Control]:
    return (
        Control("test", "Test", tuple(_TESTS.items()), "one", "p_bootstrap"),
        Control("after", "After", tuple(_AFTER.items()), "one", "_holm"),
    )


def _draw(context: Context, scores: Scores, state: State) -> list[Component]:
    made = context.now.made
    if made is None:
        raise NothingToShow("the tests are still being computed; they follow here")
    test, after = (control.chosen(state)[0] for control in _controls(context))
    chosen = scores.rows[[*BLOCK, "model", "strategy"]].drop_duplicates()
    pairs = made.pairwise_tests
    for side in ("a", "b"):
        own = chosen.rename(columns={"model": f"model_{side}", "strategy": f"strategy_{side}"})
        keys = [*BLOCK, f"model_{side}", f"strategy_{side}"]
        pairs = pairs.merge(own.astype(pairs[keys].dtypes.to_dict()), "inner", keys)
    blocks = [block for block in blocks_of(pairs) if block["difference"].notna().any()]
    if not blocks:
        raise NothingToShow("no two models or strategies that are chosen were compared")
    drawn = [_panel(block, test + after) for block in blocks[:MOST_PANELS]]
    told = [] if context.now.current else ["These tests are of fewer records than are there now; newer ones follow."]
    if len(blocks) > MOST_PANELS:
        told.append(f"{len(blocks) - MOST_PANELS} more comparisons are not shown; filter to see them.")
    return [*(html.P(one, className="quiet") for one in told), html.Div(drawn, className="plots wide")]


def _panel(block: pd.DataFrame, p: str) -> Component:
    means: dict[tuple[str, str], float] = {}
    for side in ("a", "b"):
        for model, strategy, mean in block[[f"model_{side}", f"strategy_{side}", side]].itertuples(
            index=False, name=None
        ):
            means[str(model), str(strategy)] = float(mean) if not is_missing(mean) else float("-inf")
    best = sorted(means, key=lambda cell: (-means[cell], cell))[:_MOST]
    place = {cell: index for index, cell in enumerate(best)}
    grid: list[list[float | None]] = [[None] * len(best) for _ in best]
    texts = [[""] * len(best) for _ in best]
    for row in block.to_dict("records"):
        a, b = (str(row["model_a"]), str(row["strategy_a"])), (str(row["model_b"]), str(row["strategy_b"]))
        if a in place and b in place and not is_missing(row["difference"]):
            _fill(grid, texts, place[a], place[b], 100 * float(row["difference"]), row[p])
    names = [safe(f"{'' if model == 'none' else words(model) + ' '}{words(strategy)}") for model, strategy in best]
    reach = max((abs(value) for line in grid for value in line if value is not None), default=1.0) or 1.0
    trace: dict[str, Any] = {
        "type": "heatmap", "z": grid, "x": names, "y": names, "text": texts, "zmin": -reach, "zmax": reach,
        "colorscale": [[0, "#d55e00"], [0.5, "#f4f4f4"], [1, "#0072b2"]], "xgap": 1, "ygap": 1,
        "texttemplate": "%{text}", "colorbar": {"thickness": 10},
        "hovertemplate": "%{y} ahead of %{x} by %{text}<extra></extra>",
    }  # fmt: skip
    # In small cells there is room for the mark alone.
    if len(best) > _ROOMY:
        trace |= {
            "customdata": texts,
            "text": [["*" * text.endswith("*") for text in line] for line in texts],
            "hovertemplate": "%{y} ahead of %{x} by %{customdata}<extra></extra>",
        }
    left = len(means) - len(best)
    how = f"{_TESTS[p.removesuffix('_holm')]}, {_AFTER['_holm' if p.endswith('_holm') else '']}"
    caption = (
        f"By how many points of MCC × 100 the row is ahead of the column. * p < {_LEVEL} ({how}), of all pairs of the "
        "comparison."
    )
    caption += f" The best {_MOST}; {left} more are in pairwise_tests.csv." if left > 0 else ""
    return graph(
        f"pairs-{'-'.join(str(block.iloc[0][key]) for key in BLOCK)}",
        f"Pairwise tests · {printable(block_title(block.iloc[0]))}", caption, [trace],
        height=160 + 26 * len(best), xaxis={"type": "category", "showgrid": False, "tickangle": -40},
        yaxis={"type": "category", "autorange": "reversed", "showgrid": False},
    )  # fmt: skip


def _fill(grid: list[list[float | None]], texts: list[list[str]], a: int, b: int, difference: float, p: Any) -> None:
    sure = "*" if not is_missing(p) and p < _LEVEL else ""
    for row, column, value in ((a, b, difference), (b, a, -difference)):
        grid[row][column] = value
        texts[row][column] = f"{value:+.1f}{sure}"


PLOT = Plot("pairs", "Pairwise tests", 40, _draw, _controls)
