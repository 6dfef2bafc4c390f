"""Is a model above its controls: the paired difference to the best of what needs no learned image content."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ._resampling import Block, Cell, Level, PatientBootstrap
from ._tables import CELL_KEYS, finished

# Differences of equal predictions may differ from 0 in the last bits.
TIE = 1e-12
_COLUMNS = [
    *CELL_KEYS,
    "protocol",
    *("level", "n_folds", "mcc", "control", "control_mcc"),
    *("difference", "ci_low", "ci_high", "n_resamples", "above_controls", "undefined"),
]


def compare_with_controls(
    predictions: pd.DataFrame,
    jobs: pd.DataFrame,
    *,
    level: Level = "auto",
    resamples: int = 2000,
    confidence: float = 0.95,
    bootstrap: PatientBootstrap | None = None,
) -> pd.DataFrame:
    """Compare every learned cell with its best control on the same patients.

    Parameters
    ----------
    predictions, jobs, level, resamples
        As `PatientBootstrap` takes them.
    confidence
        Of the interval.
    bootstrap
        That of the same tables, where it was made already; its own level and resamples hold.

    Returns
    -------
    pandas.DataFrame
        One row a planned cell that is no control, sorted by its keys (those of `summary.csv`, and `protocol`):

        - `level`: `film` or `patient`;
        - `n_folds`: test folds with both classes, on which everything here rests;
        - `mcc`: mean over folds of the mean over seeds and draws, at 0.5;
        - `control`, `control_mcc`: the control with the highest such mean, `random` being that of the model's own
          architecture. A control that was not planned under the cell's protocol is taken from another one;
        - `difference` = `mcc` − `control_mcc`, with `ci_low` and `ci_high`;
        - `n_resamples` that held both classes in at least one fold;
        - `above_controls`: whether `ci_low` is above 0; missing where it is not known;
        - `undefined`: why it is not known, else blank.

    Raises
    ------
    InputError
        When the tables do not fit each other.

    Notes
    -----
    The interval is that of `pairwise_tests`: the difference ± Student's t times the standard error of a paired
    bootstrap over patients (see `PatientBootstrap` and `DrawnError`). It holds the trained models fixed and says how
    much the result rests on which patients were tested. It is not corrected for how many results are compared.
    """
    bootstrap = bootstrap or PatientBootstrap(predictions, jobs, level=level, resamples=resamples)
    rows = [
        block.keys
        | {"level": block.level}
        | cell.key
        | {"n_folds": block.n_folds(cell)}
        | against_controls(cell, block, confidence)
        for block in bootstrap.blocks
        for cell in block.cells
        if not cell.is_control
    ]
    return finished(
        [pd.DataFrame(rows, columns=_COLUMNS)],
        _COLUMNS,
        [*CELL_KEYS, "protocol"],
        bootstrap.planned,
        string="level control undefined",
        int64="n_folds n_resamples",
        boolean="above_controls",
    )


def against_controls(cell: Cell, block: Block, confidence: float) -> dict[str, Any]:
    """Return a cell's part of a row of `compare_with_controls`."""
    controls, mcc = cell.controls(block.cells), block.mcc
    known: dict[str, Any] = {"n_resamples": 0, "above_controls": None, "undefined": ""}
    if not cell.lack:
        known["mcc"] = mcc[cell.place]
    if cell.lack:
        return known | {"undefined": cell.lack}
    if not controls:
        return known | {"undefined": "no control was run"}
    lacking = [f"of the control {other.strategy} {other.lack}" for other in controls if other.lack]
    if lacking:
        # The one that lacks jobs may be the best.
        return known | {"undefined": "; ".join(lacking)}
    others = [other.strategy for other in controls if other.folds != cell.folds]
    if others:
        return known | {"undefined": f"the control {others[0]} was tested on other films"}
    if np.isnan(mcc[cell.place]):
        return known | {"undefined": "no test fold holds both classes"}
    best = max(controls, key=lambda other: (mcc[other.place], other.strategy))
    differences = block.drawn_mcc[:, cell.place] - block.drawn_mcc[:, best.place]
    differences = differences[~np.isnan(differences)]
    known |= {
        "control": best.strategy,
        "control_mcc": mcc[best.place],
        "difference": mcc[cell.place] - mcc[best.place],
        "n_resamples": len(differences),
    }
    if not len(differences):
        return known | {"undefined": "no resample holds both classes"}
    error = block.drawn_error(cell)
    margin = float(error.margin(error.standard_error(differences[:, None]), confidence)[0])
    if np.isnan(margin):
        return known | {"undefined": "one resample holds both classes and has no spread"}
    low, high = known["difference"] - margin, known["difference"] + margin
    return known | {"ci_low": low, "ci_high": high, "above_controls": bool(low > TIE)}
