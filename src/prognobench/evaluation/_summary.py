"""One row of means over folds for every cell of the study that was planned."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from prognobench.frame import InputError, Problem, nearest

from ._folds import AT_VAL, NAMES, PATIENT, PATIENT_AT_VAL, RECALIBRATED
from ._nadeau_bengio import nadeau_bengio_lack, nadeau_bengio_margin
from ._tables import CELL_KEYS, FOLD_KEYS, group_rows, planned_jobs

METRIC_COLUMNS = (*NAMES, *AT_VAL, *PATIENT, *PATIENT_AT_VAL, *RECALIBRATED)
_ENDINGS = ("_at_val", "_platt", "_prior")
_CELL = [*CELL_KEYS, "protocol"]
_SIZES = ("n_test", "n_train")
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
        - `ci_method`, which interval `_ci_low` and `_ci_high` are: `nadeau_bengio`, or missing where there is none;
        - `undefined`, why there is no interval and how many jobs are not done, else blank;
        - `<metric>_n` for each metric.

    Notes
    -----
    The interval is the 95 % t interval over folds with the correction of Nadeau & Bengio 2003 for training parts that
    overlap, not cut to the metric's range (see `nadeau_bengio_margin`); tested over trained films are averaged over
    the folds. It is for k-fold and hold-out with the regime `full`; elsewhere there is none, and `intervals` has
    others.
    """
    planned = planned_jobs(jobs)
    values = folds[["job", "test_cohort", "n_test", "n_test_patients", *METRIC_COLUMNS]]
    table = planned.merge(values.astype({"job": "string", "test_cohort": "string"}), "left", ["job", "test_cohort"])
    folds_of_cells, fold_values = _complete_folds(table)
    cells, cell = group_rows(folds_of_cells, _CELL)
    mean, std, n = _moments(fold_values, cell, len(cells))
    lacks = [nadeau_bengio_lack(*words) for words in zip(cells["validation"], cells["regime"], strict=True)]
    has_interval = np.array([not lack for lack in lacks], dtype=bool)
    ratio = np.where(has_interval, _test_per_train(table, cells), np.nan)
    margin = nadeau_bengio_margin(std, n, ratio[:, None])
    parts = {"mean": mean, "std": std, "ci_low": mean - margin, "ci_high": mean + margin}
    statistics = {f"{m}_{part}": parts[part][:, i] for i, m in enumerate(METRIC_COLUMNS) for part in parts}
    counts = {f"{m}_n": n[:, i].astype(np.int64) for i, m in enumerate(METRIC_COLUMNS)}
    _, planned_cell = group_rows(planned, _CELL)
    cells["n_folds"] = np.bincount(cell, minlength=len(cells))
    cells["n_missing"] = np.bincount(planned_cell[planned["state"] != "done"], minlength=len(cells))
    several = table.loc[table["n_test_patients"] < table["n_test"], "test_cohort"]
    cells["headline"] = np.where(cells["test_cohort"].isin(several), "patient", "film")
    cells["ci_method"] = pd.array([pd.NA if lack else "nadeau_bengio" for lack in lacks], dtype="string")
    jobs_of_cells = np.bincount(planned_cell, minlength=len(cells))
    holes = [
        f"{missing} of {of} jobs are not done" if missing else ""
        for missing, of in zip(cells["n_missing"], jobs_of_cells, strict=True)
    ]
    told = ["; ".join(filter(None, reasons)) for reasons in zip(holes, lacks, strict=True)]
    cells["undefined"] = pd.array(told, dtype="string")
    summary = pd.concat([cells, pd.DataFrame(statistics), pd.DataFrame(counts)], axis=1)
    columns = ["n_folds", "n_missing", *statistics, "protocol", "headline", "ci_method", "undefined", *counts]
    return summary[[*CELL_KEYS, *columns]]


def _test_per_train(table: pd.DataFrame, cells: pd.DataFrame) -> Floats:
    """Return tested over trained films of each cell, averaged over its done jobs."""
    tested, trained = (table[name].astype("Float64").to_numpy(np.float64, na_value=np.nan) for name in _SIZES)
    _, cell = group_rows(table, _CELL)
    mean, _, _ = _moments((tested / trained)[:, None], cell, len(cells))
    return mean[:, 0]


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
