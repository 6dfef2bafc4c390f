"""The two tables that evaluation reads, checked and brought to one form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from prognobench.frame import Problems

CELL_KEYS = ["cohort", "task", "test_cohort", "model", "strategy", "regime", "shots", "validation"]
# What cells share that may be compared in one table; the protocol besides.
BLOCK_KEYS = ["cohort", "task", "test_cohort", "regime", "shots", "validation"]
FOLD_KEYS = ["repeat", "fold", "test_center"]
# Everything that tells one planned job from another, in the order of the columns of fold_metrics.csv.
KEYS = [*CELL_KEYS[:-1], "draw", "validation", *FOLD_KEYS, "seed", "protocol"]
_NUMBERS = ["shots", "draw", "repeat", "fold", "seed", "n_train", "trainable_params", "total_params"]
_COSTS = ["n_train", "trainable_params", "total_params", "train_seconds"]
_PREDICTIONS = ["job", "cohort", "image", "patient", "split", "y_true", "y_score"]


def planned_jobs(jobs: pd.DataFrame) -> pd.DataFrame:
    """Return the planned jobs, one row a job and test cohort, sorted by what tells them apart.

    Raises
    ------
    InputError
        When a column is missing, or two rows cannot be told apart: their numbers would be averaged as if they were
        two seeds of one model.
    """
    problems = Problems()
    needed = ["job", *KEYS, *_COSTS, "state"]
    _need_columns(problems, jobs, needed, "the table of jobs")
    problems.raise_if_any()
    result = jobs[needed].copy()
    # How far training evened the classes out; whoever makes tables by hand may not know.
    result["balanced"] = (
        jobs["balanced"].astype("Float64") if "balanced" in jobs else pd.array([pd.NA] * len(jobs), "Float64")
    )
    for column in needed:
        if column in _NUMBERS:
            found = result[column].convert_dtypes()
            # A column that is missing throughout has no type of its own, and would not join with one that has.
            result[column] = found.astype("Int64") if found.isna().all() else found
        elif column != "train_seconds":
            result[column] = result[column].astype("string")
    result["test_cohort"] = result["test_cohort"].fillna(result["cohort"])
    twins = result[result.duplicated(["job", "test_cohort"], keep=False) | result.duplicated(KEYS, keep=False)]
    if len(twins):
        first = twins.iloc[0]
        named = ", ".join(f"{key} {first[key]}" for key in KEYS if not pd.isna(first[key]))
        problems.add(
            "the table of jobs",
            f"{len(twins)} planned jobs cannot be told apart, the first being {named}",
            "Report them from studies of their own, or give their strategies labels of their own",
        )
    problems.raise_if_any()
    # By the job at last, so that the order of the rows given never shows.
    return result.sort_values([*KEYS, "job"], kind="stable", na_position="first", ignore_index=True)


def group_rows(table: pd.DataFrame, keys: list[str]) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    """Return the distinct values of `keys`, sorted with missing ones first, and the place of each row among them."""
    groups = table[keys].drop_duplicates().sort_values(keys, kind="stable", na_position="first", ignore_index=True)
    place = table[keys].merge(groups.assign(_place=range(len(groups))), "left", keys)["_place"]
    return groups, place.to_numpy(np.int64)


def finished(
    tables: Sequence[pd.DataFrame], columns: Sequence[str], keys: Sequence[str], planned: pd.DataFrame, **kinds: str
) -> pd.DataFrame:
    """Return one table of several, with its types, sorted by its keys.

    Parameters
    ----------
    tables
        The parts; rows with the same keys keep their order.
    columns
        All columns, in their order.
    keys
        The columns of `planned` to sort by, missing values first.
    planned
        The planned jobs, whose types the keys have.
    kinds
        The columns of each type that is not `float64`, separated by blanks.
    """
    types: dict[Any, Any] = dict.fromkeys(columns, "float64")
    types |= {name: kind for kind, names in kinds.items() for name in names.split()}
    types |= planned[list(keys)].dtypes.to_dict()
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(columns))
    table = table[list(columns)].astype(types)
    return table.sort_values(list(keys), kind="stable", na_position="first", ignore_index=True)


def check_predictions(predictions: pd.DataFrame, done: pd.DataFrame) -> None:
    """Refuse predictions from which a number would come out wrong.

    Parameters
    ----------
    predictions
        The predictions of done jobs.
    done
        The done jobs, as `planned_jobs` returns them.

    Raises
    ------
    InputError
        With every kind of fault, how many rows have it and the first job of them.
    """
    problems = Problems()
    _need_columns(problems, predictions, _PREDICTIONS, "the table of predictions")
    problems.raise_if_any()
    score = predictions["y_score"].to_numpy(dtype=np.float64, na_value=np.nan)
    is_test = (predictions["split"] == "test").to_numpy(bool)
    (job, jobs), (cohort, cohorts), (image, images) = (
        text_codes(predictions[name]) for name in ("job", "cohort", "image")
    )
    where = job * (len(cohorts) + 1) + cohort + 1  # a missing cohort is −1
    film = where * (len(images) + 1) + image + 1
    tested = set(zip(done["job"], done["test_cohort"], strict=True))
    _, first, of_pair = np.unique(where[is_test], return_index=True, return_inverse=True)
    found = [
        (jobs[job[row]], cohorts[cohort[row]]) if cohort[row] >= 0 else None for row in np.flatnonzero(is_test)[first]
    ]
    strange = np.zeros(len(predictions), bool)
    strange[is_test] = np.array([pair is not None and pair not in tested for pair in found], bool)[of_pair]
    faults = {
        "has no image, patient or cohort": predictions[["image", "patient", "cohort"]].isna().any(axis=1),
        "is of a part other than val and test": ~predictions["split"].isin(["val", "test"]),
        "has a true class other than 0 and 1": ~predictions["y_true"].isin([0, 1]),
        "has a score outside 0 to 1": ~((score >= 0) & (score <= 1)),
        "stands twice in one job": pd.Series(film).duplicated(),
        "is a test film of a cohort that its job does not test": strange,
    }
    for fault, rows in faults.items():
        wrong = np.asarray(rows, dtype=bool)
        if wrong.any():
            told = predictions["job"].iloc[int(np.argmax(wrong))]
            problems.add(f"the predictions of job {told}", f"a film {fault} ({wrong.sum()} in all)", _RERUN)
    for key, name in sorted(tested - set(found)):
        problems.add(f"the predictions of job {key}", f"no test film of cohort {name} is there", _RERUN)
    problems.raise_if_any()


def text_codes(column: pd.Series[Any]) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return the place of each text among the distinct ones, and these in ascending order; missing is −1.

    A categorical column is not gone through text by text, and the order of its categories does not show.
    """
    if not isinstance(column.dtype, pd.CategoricalDtype):
        codes, distinct = pd.factorize(column, sort=True)
        return codes.astype(np.int64), list(distinct)
    texts = column.cat.categories.astype(object).to_numpy()
    order = np.argsort(texts, kind="stable")
    place = np.empty(len(texts) + 1, np.int64)
    place[order], place[-1] = np.arange(len(texts)), -1
    return place[column.cat.codes.to_numpy()], list(texts[order])


_RERUN = "Delete the job's folder in `runs/` and run the study again"


def _need_columns(problems: Problems, table: pd.DataFrame, needed: list[str], where: str) -> None:
    missing = [column for column in needed if column not in table.columns]
    if missing:
        problems.add(where, f"these columns are missing: {', '.join(missing)}", "Read the study with this version")
