"""Which result of a block may be called its best, and which controls are a model's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Best:
    """The learned cell with the highest mean MCC of a block, or why none is named.

    Parameters
    ----------
    cell
        Its row, as a mapping; None where no best is named.
    why
        The reason, blank where one is named.
    """

    cell: dict[Any, Any] | None
    why: str = ""


def best_cell(block: pd.DataFrame, mcc: str = "mcc_mean") -> Best:
    """Name the best learned cell of one block, if it may be named.

    While jobs of the block are missing none is named: the means rest on different folds, and the one that is missing
    may be the best. Of equal ones the first is named, in the order of model and strategy.

    Parameters
    ----------
    block
        The rows of one block of `result_table`, controls among them.
    mcc
        The column of the mean MCC.
    """
    missing = int(block["n_missing"].sum())
    if missing:
        return Best(None, f"{missing:,} {'job is' if missing == 1 else 'jobs are'} not done")
    learned = block[~block["control"]]
    if learned.empty:
        return Best(None, "no model was run")
    known = learned[learned[mcc].notna()]
    if known.empty:
        return Best(None, "no test fold gives an MCC")
    ordered = known.sort_values(["model", "strategy"], kind="stable")
    return Best(ordered.sort_values(mcc, ascending=False, kind="stable").iloc[0].to_dict())


def above_as_chosen(best: Mapping[Any, Any], selection: pd.DataFrame) -> tuple[bool | None, dict[Any, Any] | None]:
    """Tell whether the best of a block is above its controls, and what is known of it as one chosen among several.

    A chosen one is above them where it is so by itself and when corrected for the choice, too.

    Parameters
    ----------
    best
        Its row, with `above_controls` as `compare_with_controls` says it.
    selection
        The rows of `selection` of its block.

    Returns
    -------
    tuple
        Whether it is above its controls, None where that is not known; and the row of the choice, None where it was
        chosen among none or cannot be corrected for it.
    """
    rows = selection[(selection["n_candidates"] > 1) & selection["above_controls"].notna()]
    chosen: dict[Any, Any] | None = None if rows.empty else rows.iloc[0].to_dict()
    if pd.isna(best["above_controls"]):
        return None, chosen
    return bool(best["above_controls"]) and (chosen is None or bool(chosen["above_controls"])), chosen


def own_controls(block: pd.DataFrame, architecture: Any) -> pd.DataFrame:
    """Return the controls of a block that a model is measured against: `random` only of its own architecture."""
    own = block["control"] & ((block["strategy"] != "random") | (block["model"] == architecture))
    controls: pd.DataFrame = block[own.fillna(False).astype(bool)]
    return controls


def architectures(jobs: pd.DataFrame | None, models: pd.Series[Any]) -> pd.Series[Any]:
    """Return each model's architecture as the jobs name it, else the model's own name."""
    if jobs is None or "architecture" not in jobs:
        return models
    known = jobs.loc[jobs["architecture"].notna(), ["model", "architecture"]].drop_duplicates("model")
    told = dict(zip(known["model"].astype("string"), known["architecture"].astype("string"), strict=True))
    return models.map(told).astype("string").fillna(models.astype("string"))
