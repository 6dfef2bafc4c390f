"""One row of means over folds for every cell of the study that was planned."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from ._folds import AT_VAL, NAMES, PATIENT
from ._tables import CELL_KEYS, FOLD_KEYS, planned_jobs

METRIC_COLUMNS = (*NAMES, *AT_VAL, *PATIENT)
_CELL = [*CELL_KEYS, "protocol"]


def summarize(folds: pd.DataFrame, jobs: pd.DataFrame) -> pd.DataFrame:
    """Average the fold metrics of every planned cell, and count what it lacks.

    A fold's value is the mean over its seeds and draws; `_mean`, `_std` and the interval are over folds (those of
    all repeats). A fold counts only where every planned seed and draw of it is there and defined, so means never
    mix folds of different make; in how many of the `n_folds` planned folds that is so stands in `<metric>_n`. A
    mean rests on all that was planned exactly where `<metric>_n` equals `n_folds`.

    Parameters
    ----------
    folds
        What `fold_metrics` returns.
    jobs
        The planned jobs that it was computed from.

    Returns
    -------
    pandas.DataFrame
        The columns of `summary.csv`, one row a planned cell, also where nothing of it is done:

        - the keys `cohort, task, test_cohort, model, strategy, regime, shots, validation`;
        - `n_folds`, the planned folds, and `n_missing`, the planned jobs that are not done;
        - for each metric `<metric>_mean`, `_std` (ddof 1), `_ci_low`, `_ci_high`; NaN where no fold (for std and
          interval: where one fold) counts;
        - `protocol`, a key as well: two protocols are never averaged;
        - `headline`, `patient` where any test fold of the tested cohort holds several films of a patient, else
          `film`;
        - `<metric>_n` for each metric.

    Notes
    -----
    The interval is the 95 % t interval over folds, mean ± t(0.975, n − 1) · std / √n, not cut to the metric's
    range. Training parts of folds overlap, so it is narrower than repeating the whole study would show.
    """
    planned = planned_jobs(jobs)
    values = folds[["job", "test_cohort", "n_test", "n_test_patients", *METRIC_COLUMNS]]
    table = planned.merge(values.astype({"job": "string", "test_cohort": "string"}), "left", ["job", "test_cohort"])
    table[list(METRIC_COLUMNS)] = table[list(METRIC_COLUMNS)].astype(np.float64)
    by_fold = _complete_means(table)
    by_cell = by_fold.groupby(_CELL, dropna=False)
    mean, std, n = (by_cell[list(METRIC_COLUMNS)].agg(how) for how in ("mean", "std", "count"))
    margin = std * stats.t.ppf(0.975, (n - 1).where(n > 1)) / np.sqrt(n)
    parts = {"mean": mean, "std": std, "ci_low": mean - margin, "ci_high": mean + margin}
    statistics = {f"{name}_{part}": parts[part][name] for name in METRIC_COLUMNS for part in parts}
    counts = {f"{name}_n": n[name] for name in METRIC_COLUMNS}
    n_missing = planned.assign(n_missing=planned["state"] != "done").groupby(_CELL, dropna=False)["n_missing"].sum()
    cells = by_cell.size().index.to_frame(index=False)
    several = table.loc[table["n_test_patients"] < table["n_test"], "test_cohort"]
    cells["headline"] = np.where(cells["test_cohort"].isin(several), "patient", "film")
    numbers = pd.concat({"n_folds": by_cell.size(), "n_missing": n_missing, **statistics, **counts}, axis=1)
    summary = pd.concat([cells, numbers.reset_index(drop=True)], axis=1)
    ordered = [*CELL_KEYS, "n_folds", "n_missing", *statistics, "protocol", "headline", *counts]
    return summary.sort_values(_CELL, kind="stable", na_position="first", ignore_index=True)[ordered]


def _complete_means(table: pd.DataFrame) -> pd.DataFrame:
    """Average seeds and draws within each fold, NaN where one of them is missing or undefined."""
    groups = table.groupby([*_CELL, *FOLD_KEYS], dropna=False)
    values = groups[list(METRIC_COLUMNS)]
    complete = values.count().eq(groups.size(), axis=0)
    return values.mean().where(complete)
