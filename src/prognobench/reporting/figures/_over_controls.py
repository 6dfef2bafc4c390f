"""How far every model and strategy is above its best control."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .._shown import CELL, Shown, short, signed
from ._figure import Drawing, Figure, NothingToShow
from ._forest import Groups, Row, forest
from ._mcc_intervals import LIMIT, forest_pages
from ._page import Mark, limits, marks, mcc_axis, vertical

_COLUMNS = [
    *CELL,
    *("level", "mcc", "best_control", "difference", "difference_ci_low", "difference_ci_high"),
    *("above_controls", "undefined"),
]


def _caption(shown: Shown) -> str:
    above = int(shown.learned["above_controls"].fillna(False).sum())
    return (
        f"Difference of the mean MCC × 100 (of {shown.unit}, at 0.5) to the best control of the same films, with its "
        "95 % interval, a paired bootstrap over patients. Filled: the interval is above 0, the model is above what "
        f"needs no learned image content ({above} of {len(shown.learned)} cells). Hollow: it is not. A cross at the "
        "left edge: not compared; the table of controls says why."
    )


def _draw(shown: Shown) -> list[Drawing]:
    learned = shown.learned
    if not learned["difference"].notna().any():
        reasons = [reason for reason in learned["undefined"].dropna().unique() if reason]
        raise NothingToShow(reasons[0] if len(reasons) == 1 else "no cell could be compared with a control")
    blocks, looks = shown.blocks, marks(shown.strategies)
    parts = [part[~part["control"]] for part in map(shown.of, blocks)]
    panels = [_groups(part, shown, looks) for part in parts]
    ends = [learned[f"difference{end}"] for end in ("", "_ci_low", "_ci_high")]
    bounds = limits(100 * pd.concat(ends).clip(-1, 1), -20, 20)
    drawings = []
    for canvas, drawn in forest_pages([block.title for block in blocks], panels, looks):
        for place, axes, close in drawn:
            forest(axes, panels[place], bounds, close, 16 if close else LIMIT)
            vertical(axes, 0, width=1.0, color="#222222")
            mcc_axis(axes, bounds, "MCC × 100 over best control")
        data = pd.concat([parts[place] for place, _, _ in drawn], ignore_index=True)[_COLUMNS]
        drawings.append(Drawing(canvas, data))
    return drawings


def _groups(part: pd.DataFrame, shown: Shown, looks: dict[str, Mark]) -> Groups:
    rows: dict[str, list[Row]] = {model: [] for model in shown.models}
    order = {name: place for place, name in enumerate(shown.strategies)}
    part = part.assign(_place=part["strategy"].map(order)).sort_values("_place", kind="stable")
    columns = part[["model", "strategy", *_COLUMNS[-6:-1]]]
    for model, strategy, control, difference, low, high, above in columns.itertuples(index=False):
        text = "not compared"
        if not np.isnan(difference):
            text = f"{signed(difference, '+.1f')} over {short(control, 10)}"
        filled = not pd.isna(above) and bool(above)
        row = Row(strategy, 100 * difference, 100 * low, 100 * high, looks[strategy], filled, text)
        rows[model].append(row)
    return [(name, found) for name, found in rows.items() if found]


FIGURES = (Figure("over_controls", "Difference to the best control", _caption, 20, _draw),)
