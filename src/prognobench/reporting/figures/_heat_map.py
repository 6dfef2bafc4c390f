"""MCC of every model and strategy as a map."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from .._shown import CELL, Shown, short, signed
from ._figure import Drawing, Figure, NothingToShow
from ._page import TEXT, WARN, label_room, pages, rows

_ROW = 0.19  # inches
_COLUMNS = [*CELL, "level", "control", "mcc", "folds", "n_folds", "n_missing", "best", "above_controls"]
_NO_IMAGE = "no image"


def _caption(shown: Shown) -> str:
    return (
        f"Mean MCC × 100 over test folds, of {shown.unit} at 0.5; darker is lower. Of each task the regime with the "
        "most training films. Hatched: how many of the planned folds have a value, where not all have. A frame marks "
        "the highest mean of a task, where no job is missing. A ring (°) marks what is not above its best control. "
        "After the gap: the controls; `random` is the row's architecture with random weights, `majority` and "
        "`metadata` look at no image."
    )


def _draw(shown: Shown) -> list[Drawing]:
    if not shown.learned["mcc"].notna().any():
        raise NothingToShow("no model has an MCC yet")
    if len(shown.models) * len(shown.strategies) < 2:
        raise NothingToShow("there is one model with one strategy")
    blocks = shown.largest
    parts = [shown.of(block) for block in blocks]
    places = [shown.rows_of(block) for block in blocks]
    models = [list(dict.fromkeys(name for own in of.values() for name in own)) for of in places]
    # That of a model's own architecture stands beside the model's strategies.
    controls = sorted(shown.cells.loc[shown.cells["control"], "strategy"].unique(), key=lambda name: name != "random")
    strategies = [*shown.strategies, *controls]
    named = [[*own, _NO_IMAGE] if _looks_at_no_image(part) else own for own, part in zip(models, parts, strict=True)]
    labels = [short(name, 18) for own in named for name in own]
    slanted = sum(len(short(name, 10)) for name in strategies) * 0.075 > 3.9
    drawings = []
    for canvas, panels in pages(
        [block.title for block in blocks], [_ROW * len(own) for own in named], left=label_room(labels),
        below=0.62 if slanted else 0.3,
    ):  # fmt: skip
        for place, axes in panels:
            _panel(axes, parts[place], named[place], places[place], strategies, len(shown.strategies), slanted)
        drawings.append(Drawing(canvas, pd.concat([parts[place] for place, _ in panels], ignore_index=True)[_COLUMNS]))
    return drawings


def _looks_at_no_image(part: pd.DataFrame) -> bool:
    return bool((part["control"] & (part["strategy"] != "random")).any())


def _panel(
    axes: Axes,
    part: pd.DataFrame,
    models: list[str],
    rows_of: Mapping[str, list[str]],
    strategies: list[str],
    learned: int,
    slanted: bool,
) -> None:
    row_of = {name: place for place, name in enumerate(models)}
    # A gap sets the controls apart.
    x_of = {name: place + (0.25 if place >= learned else 0) for place, name in enumerate(strategies)}
    colors, squares, empty, framed = [], [], [], []
    map_of = mpl.colormaps["cividis"]
    columns = ["model", "strategy", "mcc", "folds", "n_folds", "best", "above_controls"]
    placed = [
        (row_of[name], row)
        for row in part[[*columns, "control"]].itertuples(index=False, name=None)
        for name in _names(row[0], row[1], row[-1], rows_of)
    ]
    for y, (_, strategy, mcc, folds, planned, best, above, *_) in placed:
        x = x_of[strategy]
        square = [(x - 0.5, y - 0.5), (x + 0.5, y - 0.5), (x + 0.5, y + 0.5), (x - 0.5, y + 0.5)]
        if np.isnan(mcc) or folds < planned:
            empty.append(square)
            text, color = f"{folds}/{planned}", WARN
        else:
            squares.append(square)
            shade = float(np.clip(mcc, 0, 0.9)) / 0.9
            colors.append(map_of(0.12 + 0.88 * shade))
            text, color = signed(mcc), "white" if shade < 0.42 else "black"
            text += "°" if not pd.isna(above) and not above else ""
        if best:
            framed.append([(a + (0.06 if a < x else -0.06), b + (0.08 if b < y else -0.08)) for a, b in square])
        axes.text(x, y, text, ha="center", va="center_baseline", fontsize=TEXT - 0.8, color=color)
    axes.add_collection(PolyCollection(squares, facecolors=colors, edgecolors="white", linewidths=0.8))
    axes.add_collection(
        PolyCollection(empty, facecolors="#f6f6f6", edgecolors="#bdbdbd", linewidths=0.4, hatch="////////", zorder=0.5)
    )
    axes.add_collection(PolyCollection(framed, facecolors="none", edgecolors="black", linewidths=1.4, zorder=2))
    axes.set_xlim(-0.5, max(x_of.values()) + 0.5)
    rows(axes, (len(models) - 0.5, -0.5), [(float(place), short(name, 18)) for place, name in enumerate(models)])
    for name, x in x_of.items():
        where = {"ha": "right", "rotation": 35} if slanted else {"ha": "center"}
        below = len(models) - (0.3 if slanted else 0.2)
        axes.text(x, below, short(name, 10), va="top", rotation_mode="anchor", fontsize=TEXT - 0.5, **where)


def _names(model: str, strategy: str, control: bool, rows_of: Mapping[str, list[str]]) -> list[str]:
    """Name the rows that a cell stands in."""
    if control and strategy != "random":
        return [_NO_IMAGE]
    return rows_of[model] if control else [model]


FIGURES = (Figure("heat_map", "MCC of every model and strategy", _caption, 15, _draw),)
