"""Which result stands where: ranks with their intervals, and groups of those that are not told apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd

from ._resampling import Block, Bools, Cell, Floats, Ints, Level, PatientBootstrap
from ._tables import BLOCK_KEYS, finished

_COLUMNS = [
    *BLOCK_KEYS,
    *("protocol", "level", "model", "strategy", "mcc", "rank", "rank_low", "rank_high", "p_best"),
    *("top_group", "group", "imputed", "undefined"),
]
# Differences of equal predictions may differ from 0 in the last bits.
_TIE = 1e-12


def ranking(
    predictions: pd.DataFrame,
    jobs: pd.DataFrame,
    *,
    impute: Literal["no", "zero"] = "no",
    level: Level = "auto",
    resamples: int = 2000,
    confidence: float = 0.95,
    bootstrap: PatientBootstrap | None = None,
) -> pd.DataFrame:
    """Rank the results of each block and protocol by their mean MCC, controls among them.

    Parameters
    ----------
    impute
        What a job that is not done stands for: `no` leaves the whole block and protocol without ranks, since the
        missing one may be the best; `zero` takes an MCC of 0, that of calling everyone alike, and marks the row.
    predictions, jobs, level, resamples
        As `PatientBootstrap` takes them.
    confidence
        Of the rank intervals, and of the paired intervals that tell two results apart.
    bootstrap
        That of the same tables, where it was made already; its own level and resamples hold.

    Returns
    -------
    pandas.DataFrame
        One row a planned cell, in each block and protocol:

        - `mcc`; `rank` among all, controls counted, 1 for the highest, equal ones sharing the mean of their ranks;
        - `rank_low`, `rank_high`: percentile interval of the rank over resampled patients;
        - `p_best`: in which share of resamples it was the best of all, equal ones sharing;
        - `top_group`: whether the paired bootstrap interval of its difference to the best learned result (as in
          `pairwise_tests`, not corrected for the number of pairs) holds 0; missing for controls, which are no choice,
          however high they rank (`compare_with_controls` holds every result against them);
        - `group`: among learned results, 1 is the top group; 2 holds what is not told apart from the best of the rest,
          and so on; missing for controls. Two members of a group may differ from each other: each is only not told
          apart from the group's best;
        - `imputed`: whether jobs of it were missing and counted as MCC 0;
        - `undefined`: why there is no rank, else blank.

    Raises
    ------
    InputError
        When the tables do not fit each other.
    """
    bootstrap = bootstrap or PatientBootstrap(predictions, jobs, level=level, resamples=resamples)
    tables = []
    for block in bootstrap.blocks:
        whole = bootstrap.filled(block) if impute == "zero" and any(cell.lack for cell in block.cells) else block
        for protocol in dict.fromkeys(cell.protocol for cell in whole.cells):
            tables.append(_table(whole, [cell for cell in whole.cells if cell.protocol == protocol], confidence))
    keys = [*BLOCK_KEYS, "protocol", "model", "strategy"]
    texts = "level model strategy undefined"
    return finished(tables, _COLUMNS, keys, bootstrap.planned, string=texts, boolean="top_group imputed", Int64="group")


def why_no_choice(block: Block, cells: list[Cell]) -> str:
    """Say why cells cannot be put in an order, or nothing."""
    lacking = [f"of {cell.model} {cell.strategy} {cell.lack}" for cell in cells if cell.lack]
    if lacking:
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        # The one that lacks jobs may be the best.
        return lacking[0] + more
    if any(cell.folds != cells[0].folds for cell in cells):
        return "they were tested on different films"
    return "" if block.n_folds(cells[0]) else "no test fold holds both classes"


def _table(block: Block, cells: list[Cell], confidence: float) -> pd.DataFrame:
    why = why_no_choice(block, cells)
    rows = {
        **block.keys,
        "protocol": cells[0].protocol,
        "level": block.level,
        "model": [cell.model for cell in cells],
        "strategy": [cell.strategy for cell in cells],
        "mcc": [block.mcc[cell.place] if cell.place >= 0 else np.nan for cell in cells],
        "imputed": [cell.imputed > 0 for cell in cells],
        "undefined": why,
    }
    if why:
        unknown = dict.fromkeys(["rank", "rank_low", "rank_high", "p_best"], np.nan) | {
            "top_group": None,
            "group": None,
        }
        return pd.DataFrame(rows | unknown, index=range(len(cells)))
    places = np.array([cell.place for cell in cells])
    mcc, drawn = block.mcc[places], block.drawn_mcc[:, places]
    drawn = drawn[~np.isnan(drawn[:, 0])]
    ranks = falling_ranks(drawn)
    tail = round((1 - confidence) / 2, 12)  # 1 - 0.95 is a little more than 0.05
    # A bound lies on a rank that was taken.
    low = np.quantile(ranks, tail, axis=0, method="inverted_cdf")
    high = np.quantile(ranks, 1 - tail, axis=0, method="inverted_cdf")
    best = drawn >= drawn.max(axis=1, keepdims=True) - _TIE
    error = block.drawn_error(cells[0])
    learned = np.flatnonzero([not cell.is_control for cell in cells])
    chosen, of_chosen = mcc[learned], drawn[:, learned]
    groups = tie_groups(
        chosen, lambda one: error.margin(error.standard_error(of_chosen - of_chosen[:, [one]]), confidence)
    )
    group = pd.Series(groups, learned).reindex(range(len(cells))).astype("Int64")
    return pd.DataFrame(
        rows
        | {"rank": falling_ranks(mcc[None])[0], "rank_low": low, "rank_high": high}
        | {"p_best": (best / best.sum(axis=1, keepdims=True)).mean(axis=0), "top_group": group == 1, "group": group}
    )


def falling_ranks(values: Floats) -> Floats:
    """Rank each row, 1 for the highest; equal values share the mean of their ranks."""
    from scipy.stats import rankdata

    # What is equal but for the last bits is equal.
    ranks: Floats = rankdata(-np.round(values, 11), axis=1)
    return ranks


def tie_groups(mcc: Floats, margin: Callable[[int], Floats]) -> Ints:
    """Give the best and all that are not told apart from it group 1, the best of the rest and its equals 2, and so on.

    Parameters
    ----------
    mcc
        Of each result.
    margin
        Returns, for the place of one result, how far the interval of each difference to it reaches.
    """
    group = np.zeros(len(mcc), dtype=np.int64)
    while (group == 0).any():
        best = int(np.argmax(np.where(group == 0, mcc, -np.inf)))
        tied: Bools = mcc[best] - mcc <= margin(best) + _TIE
        group[(group == 0) & tied] = group.max() + 1
    return group
