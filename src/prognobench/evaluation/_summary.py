"""One row of means over folds for every cell of the study that was planned."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from prognobench.frame import InputError, Problem, nearest

from ._folds import AT_VAL, NAMES, PATIENT, PATIENT_AT_VAL, RECALIBRATED
from ._tables import CELL_KEYS, FOLD_KEYS, group_rows, planned_jobs

METRIC_COLUMNS = (*NAMES, *AT_VAL, *PATIENT, *PATIENT_AT_VAL, *RECALIBRATED)
_ENDINGS = ("_at_val", "_platt", "_prior")
_CELL = [*CELL_KEYS, "protocol"]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def metric_column(name: str, level: Literal["film", "patient"] = "film") -> str:
    """Return the column of a metric at a level, as `fold_metrics` and, with `_mean` and so on, `summarize` have it.

    Parameters
    ----------
    name
        A metric's name, also with `_at_val`, `_platt` or `_prior`.
    level
        `film` or `patient`.

    Raises
    ------
    InputError
        There is no such metric; the nearest one is named.

    Examples
    --------
    >>> metric_column("mcc_at_val", "patient")
    'mcc_patient_at_val'
    """
    ending = next((ending for ending in _ENDINGS if name.endswith(ending)), "")
    column = f"{name.removesuffix(ending)}{'_patient' if level == 'patient' else ''}{ending}"
    known = [*NAMES, *AT_VAL, *(column for column in RECALIBRATED if "_patient" not in column)]
    if name not in known:
        raise InputError([Problem("the metric asked for", f"there is no metric '{name}'", nearest(name, known))])
    return column


def summarize(folds: pd.DataFrame, jobs: pd.DataFrame, intervals: pd.DataFrame | None = None) -> pd.DataFrame:
    """Average the fold metrics of every planned cell, and count what it lacks.

    A fold's value is the mean over its seeds and draws; `_mean` and `_std` are over folds (those of all repeats). A
    fold counts only where every planned seed and draw of it is there and defined, so means never mix folds of
    different make; in how many of the `n_folds` planned folds that is so stands in `<metric>_n`. A mean rests on all
    that was planned exactly where `<metric>_n` equals `n_folds`.

    Parameters
    ----------
    folds
        What `fold_metrics` returns.
    jobs
        The planned jobs that it was computed from.
    intervals
        What `intervals` returns for the same jobs; without it the columns of intervals are empty.

    Returns
    -------
    pandas.DataFrame
        The columns of `summary.csv`, one row a planned cell, also where nothing of it is done:

        - the keys `cohort, task, test_cohort, model, strategy, regime, shots, validation`;
        - `n_folds`, the planned folds, and `n_missing`, the planned jobs that are not done;
        - for each metric `<metric>_mean`, `_std` (ddof 1), `_ci_low`, `_ci_high`; NaN where no fold (for std: where one
          fold) counts. The interval is the `default` of `intervals`, for the metrics and at the level that it has;
        - `protocol`, a key as well: two protocols are never averaged;
        - `headline`, `patient` where any test fold of the tested cohort holds several films of a patient, else
          `film`;
        - `ci_method`, which metrics have which interval, such as `mcc_patient: bootstrap`; missing where none has one;
        - `undefined`, how many jobs are not done, else blank;
        - `<metric>_n` for each metric.
    """
    planned = planned_jobs(jobs)
    values = folds[["job", "test_cohort", "n_test", "n_test_patients", *METRIC_COLUMNS]]
    table = planned.merge(values.astype({"job": "string", "test_cohort": "string"}), "left", ["job", "test_cohort"])
    folds_of_cells, fold_values = _complete_folds(table)
    cells, cell = group_rows(folds_of_cells, _CELL)
    mean, std, n = _moments(fold_values, cell, len(cells))
    low, high, methods = _shown_intervals(cells, intervals)
    parts = {"mean": mean, "std": std, "ci_low": low, "ci_high": high}
    statistics = {f"{m}_{part}": parts[part][:, i] for i, m in enumerate(METRIC_COLUMNS) for part in parts}
    counts = {f"{m}_n": n[:, i].astype(np.int64) for i, m in enumerate(METRIC_COLUMNS)}
    _, planned_cell = group_rows(planned, _CELL)
    cells["n_folds"] = np.bincount(cell, minlength=len(cells))
    cells["n_missing"] = np.bincount(planned_cell[planned["state"] != "done"], minlength=len(cells))
    several = table.loc[table["n_test_patients"] < table["n_test"], "test_cohort"]
    cells["headline"] = np.where(cells["test_cohort"].isin(several), "patient", "film")
    cells["ci_method"] = pd.array(methods, dtype="string")
    jobs_of_cells = np.bincount(planned_cell, minlength=len(cells))
    holes = [
        f"{missing} of {of} jobs are not done" if missing else ""
        for missing, of in zip(cells["n_missing"], jobs_of_cells, strict=True)
    ]
    cells["undefined"] = pd.array(holes, dtype="string")
    summary = pd.concat([cells, pd.DataFrame(statistics), pd.DataFrame(counts)], axis=1)
    columns = ["n_folds", "n_missing", *statistics, "protocol", "headline", "ci_method", "undefined", *counts]
    return summary[[*CELL_KEYS, *columns]]


def _shown_intervals(cells: pd.DataFrame, intervals: pd.DataFrame | None) -> tuple[Floats, Floats, list[str | None]]:
    """Return both ends of each cell's interval of each metric, shape (cells, metrics), and which they are."""
    ends = {name: np.full((len(cells), len(METRIC_COLUMNS)), np.nan) for name in ("ci_low", "ci_high")}
    told: list[list[str]] = [[] for _ in range(len(cells))]
    if intervals is not None and len(cells):
        shown = intervals[intervals["default"].fillna(False).astype(bool) & intervals["ci_low"].notna()]
        placed = shown.merge(cells[_CELL].assign(_place=range(len(cells))), "inner", _CELL)
        column = {name: place for place, name in enumerate(METRIC_COLUMNS)}
        for place, metric, level, method, low, high in placed[
            ["_place", "metric", "level", "method", "ci_low", "ci_high"]
        ].itertuples(index=False, name=None):
            name = metric_column(metric, level)
            ends["ci_low"][place, column[name]], ends["ci_high"][place, column[name]] = low, high
            told[place].append(f"{name}: {method}")
    return ends["ci_low"], ends["ci_high"], ["; ".join(sorted(words)) or None for words in told]


def _complete_folds(table: pd.DataFrame) -> tuple[pd.DataFrame, Floats]:
    """Average seeds and draws within each fold, NaN where one of them is missing or undefined."""
    values = table[list(METRIC_COLUMNS)].to_numpy(np.float64, na_value=np.nan)
    folds, fold = group_rows(table, [*_CELL, *FOLD_KEYS])
    mean, _, n = _moments(values, fold, len(folds))
    planned = np.bincount(fold, minlength=len(folds))
    return folds, np.where(n == planned[:, None], mean, np.nan)


def _moments(values: Floats, group: Ints, groups: int) -> tuple[Floats, Floats, Floats]:
    """Return mean, standard deviation (ddof 1) and count of the numbers in each column, by group.

    Written out because the last bits of pandas' grouped mean depend on the other groups: a record that changes must
    change the numbers of its own cell and no others.
    """
    there = ~np.isnan(values)

    def total(numbers: npt.NDArray[Any]) -> Floats:
        result = np.zeros((groups, values.shape[1]))
        np.add.at(result, group, numbers)
        return result

    n = total(there)
    mean = np.divide(total(np.where(there, values, 0)), n, out=np.full_like(n, np.nan), where=n > 0)
    squares = total(np.where(there, values - mean[group], 0) ** 2)
    std = np.sqrt(np.divide(squares, n - 1, out=np.full_like(n, np.nan), where=n > 1))
    return mean, std, n
