"""Convolutional networks against foundation models: figure 3 of Ruffini et al."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from .._palette import COLORS
from .._shown import CELL, Shown, short
from ._figure import Drawing, Figure, NothingToShow
from ._page import (
    Mark,
    beside,
    boxes,
    dots,
    label_room,
    legend,
    legend_room,
    limits,
    mcc_axis,
    pages,
    rows,
    vertical,
)

_ROW = 0.3  # inches
_LOOKS = {"cnn": Mark(COLORS[1], "s", "-"), "foundation": Mark(COLORS[0], "o", "-")}
_NAMES = {"cnn": "CNN, pretrained on ImageNet", "foundation": "foundation model"}
_OFFSET = {"cnn": -0.2, "foundation": 0.2}


def _caption(shown: Shown) -> str:
    chosen = {
        family: [m for m, f in shown.families.items() if f == family] for family in ("cnn", "foundation", "other")
    }
    named = [f"{len(chosen[family])} {_NAMES[family]}s" for family in _NAMES]
    others = (
        f" Of neither family, and not shown: {', '.join(short(m) for m in chosen['other'])}." if chosen["other"] else ""
    )
    return (
        f"Mean MCC × 100 over test folds, of {shown.unit} at 0.5, on the strategies that models of both families have: "
        f"{' and '.join(named)}. A dot is a model; boxes from three models on, whiskers to 1.5 box lengths. Hollow: "
        "fewer folds than planned. At the right, the number of models with a mean, CNN and foundation. Dashed: the "
        f"best control of any architecture. A foundation model is one that was pretrained on more than the labels of "
        f"ImageNet.{others}"
    )


def _draw(shown: Shown) -> list[Drawing]:
    learned = shown.learned.assign(family=shown.learned["model"].map(shown.families))
    learned = learned[learned["family"].isin(_LOOKS) & learned["mcc"].notna()]
    lacking = [_NAMES[family] for family in _LOOKS if not (learned["family"] == family).any()]
    if lacking:
        raise NothingToShow(f"the study has no result of a {lacking[0]}")
    titles, parts, names, controls = [], [], [], []
    for block in shown.blocks:
        part = shown.of(block, learned)
        both = part.groupby("strategy")["family"].nunique() == 2
        if both.any():
            titles.append(block.title)
            names.append([name for name in shown.strategies if both.get(name, False)])
            parts.append(part[part["strategy"].isin(names[-1])])
            controls.append(shown.best_control(block))
    if not parts:
        raise NothingToShow("no strategy has results of both a CNN and a foundation model")
    columns = 2 if len(parts) > 2 else 1
    limit = 14 if columns == 2 else 24
    labels = [short(name, limit) for own in names for name in own]
    bounds = limits(100 * shown.cells["mcc"])
    entries = {_NAMES[family]: look for family, look in _LOOKS.items()}
    drawings = []
    for canvas, panels in pages(
        titles, [_ROW * len(own) for own in names], columns=columns, left=label_room(labels), right=0.45,
        top=legend_room(list(entries)),
    ):  # fmt: skip
        legend(canvas, entries)
        for place, axes in panels:
            _panel(axes, parts[place], names[place], limit)
            vertical(axes, 0)
            vertical(axes, controls[place], (0, (4, 2)), "#333333")
            mcc_axis(axes, bounds)
        data = pd.concat([parts[place] for place, _ in panels], ignore_index=True)
        drawings.append(Drawing(canvas, data[[*CELL, "family", "level", "mcc", "folds", "n_folds", "n_missing"]]))
    return drawings


def _panel(axes: Axes, part: pd.DataFrame, names: list[str], limit: int) -> None:
    row = part["strategy"].map({name: place for place, name in enumerate(names)}).to_numpy(int)
    mcc, family = 100 * part["mcc"].to_numpy(float), part["family"].to_numpy()
    whole = (part["folds"] == part["n_folds"]).to_numpy(bool)
    for kind, look in _LOOKS.items():
        own = family == kind
        places = [place + _OFFSET[kind] for place in range(len(names))]
        boxes(axes, [mcc[own & (row == place)] for place in range(len(names))], places, 0.34, look.color, "#f2f2f2")
        dots(axes, mcc[own], row[own] + _OFFSET[kind], look, whole[own], 3.0)
    for place in range(len(names)):
        counts = (int((own & (row == place)).sum()) for own in (family == kind for kind in _LOOKS))
        beside(axes, place, "n={}, {}".format(*counts))
    rows(axes, (len(names) - 0.5, -0.5), [(float(place), short(name, limit)) for place, name in enumerate(names)])


FIGURES = (Figure("cnn_vs_foundation", "CNN against foundation models", _caption, 30, _draw),)
