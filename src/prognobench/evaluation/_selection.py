"""The winner's score, which is too high because it was chosen as the highest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ._controls import TIE, against_controls
from ._pairwise import learned_by_protocol
from ._ranking import why_no_choice
from ._resampling import Block, Bools, Cell, Floats, Level, PatientBootstrap, mean_mcc
from ._tables import BLOCK_KEYS, finished

_COLUMNS = [
    *BLOCK_KEYS,
    *("protocol", "level", "n_candidates", "model", "strategy", "naive", "naive_ci_low", "naive_ci_high"),
    *("corrected", "corrected_ci_low", "corrected_ci_high", "control", "corrected_difference"),
    *("corrected_difference_ci_low", "corrected_difference_ci_high", "above_controls", "n_resamples", "undefined"),
]


def selection(
    predictions: pd.DataFrame,
    jobs: pd.DataFrame,
    *,
    level: Level = "auto",
    resamples: int = 2000,
    confidence: float = 0.95,
    bootstrap: PatientBootstrap | None = None,
) -> pd.DataFrame:
    """Correct the best result of each block and protocol for having been chosen among many on the same patients.

    Parameters
    ----------
    predictions, jobs, level, resamples
        As `PatientBootstrap` takes them.
    confidence
        Of the intervals.
    bootstrap
        That of the same tables, where it was made already; its own level and resamples hold.

    Returns
    -------
    pandas.DataFrame
        One row a block and protocol:

        - `n_candidates`: learned results, controls not among them; `model`, `strategy`: the one with the highest MCC;
        - `naive`: its mean MCC, with the bootstrap interval that forgets the choice;
        - `corrected`: what the choice would give on patients that had no say in it, with its interval; of a lone
          candidate, which nothing was chosen from, `naive` itself;
        - `control`, `corrected_difference`: its best control, and `corrected` less that control's mean MCC, with its
          interval; `above_controls`: whether that interval is above 0. Missing where the winner is not compared with
          its controls, see `compare_with_controls`;
        - `n_resamples` on which it rests;
        - `undefined`: why there is none, else blank. Jobs that are not done refuse it: the missing one may win.

    Raises
    ------
    InputError
        When the tables do not fit each other.

    Notes
    -----
    Bootstrap bias-corrected cross-validation (Tsamardinos, Greasidou & Borboudakis 2018,
    https://doi.org/10.1007/s10994-018-5714-4), on patients: in every resample the candidate with the highest mean MCC
    on the drawn patients is chosen, and scored on those who were not drawn, here as elsewhere by fold and then
    averaged. `corrected` is the mean of these scores. Its interval is made of the winner's own bootstrap standard
    error: the percentiles of the scores, which the authors take, rest on a third of the patients, and in the
    simulation of `docs/statistics.md` held the truth almost always. In the same way the interval of
    `corrected_difference` is as wide as that of the winner's paired difference in `compare_with_controls`, moved by
    what the choice is worth.
    """
    bootstrap = bootstrap or PatientBootstrap(predictions, jobs, level=level, resamples=resamples)
    rows = [_row(block, cells, confidence) for block in bootstrap.blocks for cells in learned_by_protocol(block)]
    return finished(
        [pd.DataFrame(rows, columns=_COLUMNS)],
        _COLUMNS,
        [*BLOCK_KEYS, "protocol"],
        bootstrap.planned,
        string="level model strategy control undefined",
        int64="n_candidates n_resamples",
        boolean="above_controls",
    )


def corrected_scores(block: Block, cells: list[Cell]) -> Floats:
    """Return the score of each resample's winner on the patients who were not drawn; shape (resamples,)."""
    places = np.array([cell.place for cell in cells])
    drawn = block.drawn_mcc[:, places]
    known: Bools = ~np.any(np.isnan(drawn), axis=1)
    # Of equal ones the first in the order of model and strategy.
    chosen = np.argmax(np.where(known[:, None], drawn, 0), axis=1)
    left_out = mean_mcc(
        block.folds, len(block.complete), ((chunk == 0).astype(np.float64) for chunk in block.chunks())
    )[:, places]
    scores: Floats = np.where(known, left_out[np.arange(len(chosen)), chosen], np.nan)
    return scores


@dataclass(frozen=True)
class Chosen:
    """The winner among cells, and its scores with their intervals; NaN where it cannot be corrected."""

    winner: Cell
    naive: float
    naive_interval: tuple[float, float]
    corrected: float
    corrected_interval: tuple[float, float]
    n_resamples: int


def chosen(block: Block, cells: list[Cell], confidence: float) -> Chosen:
    """Choose the best of complete cells with the same folds, and score the choice."""
    winner = max(cells, key=lambda cell: block.mcc[cell.place])
    naive = float(block.mcc[winner.place])
    # A lone candidate was not chosen: there is nothing to correct.
    lone = len(cells) == 1
    scores = block.drawn_mcc[:, winner.place] if lone else corrected_scores(block, cells)
    scores = scores[~np.isnan(scores)]
    both = np.array([naive, naive if lone else scores.mean() if len(scores) else np.nan])
    error = block.drawn_error(winner)
    spread = error.standard_error(block.drawn_mcc[:, [winner.place]])
    low, high = error.interval(both, spread, confidence)
    bounds = list(zip(low.tolist(), high.tolist(), strict=True))
    return Chosen(winner, naive, bounds[0], float(both[1]), bounds[1], len(scores))


def _row(block: Block, cells: list[Cell], confidence: float) -> dict[str, object]:
    row: dict[str, object] = block.keys | {
        "protocol": cells[0].protocol,
        "level": block.level,
        "n_candidates": len(cells),
        "n_resamples": 0,
        "above_controls": None,
        "undefined": why_no_choice(block, cells),
    }
    if row["undefined"]:
        return row
    found = chosen(block, cells, confidence)
    return (
        row
        | _over_controls(block, found, confidence)
        | {
            "model": found.winner.model,
            "strategy": found.winner.strategy,
            "naive": found.naive,
            "naive_ci_low": found.naive_interval[0],
            "naive_ci_high": found.naive_interval[1],
            "corrected": found.corrected,
            "corrected_ci_low": found.corrected_interval[0],
            "corrected_ci_high": found.corrected_interval[1],
            "n_resamples": found.n_resamples,
            "undefined": "" if found.n_resamples else "in no resample both classes are drawn and left out",
        }
    )


def _over_controls(block: Block, found: Chosen, confidence: float) -> dict[str, object]:
    """Return how far the winner is above its best control once it is corrected for the choice."""
    told = against_controls(found.winner, block, confidence)
    if told["above_controls"] is None or np.isnan(found.corrected):
        return {}
    moved = found.corrected - found.naive
    low = told["ci_low"] + moved
    return {
        "control": told["control"],
        "corrected_difference": told["difference"] + moved,
        "corrected_difference_ci_low": low,
        "corrected_difference_ci_high": told["ci_high"] + moved,
        "above_controls": bool(low > TIE),
    }
