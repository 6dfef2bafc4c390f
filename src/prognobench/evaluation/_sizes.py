"""How many films, patients and positives a task has: what decides how far its numbers carry."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ._tables import planned_jobs

_COLUMNS = [
    *("cohort", "task", "n_films", "n_patients", "n_positive_films", "n_positive_patients", "n_centers"),
    *("n_all_films", "several_films", "n_cases", "share_positive"),
]


def task_sizes(predictions: pd.DataFrame, jobs: pd.DataFrame) -> pd.DataFrame:
    """Count the films, patients and positives of every task, in each cohort whose films were predicted.

    Parameters
    ----------
    predictions, jobs
        As `fold_metrics` takes them.

    Returns
    -------
    pandas.DataFrame
        One row a cohort and task, sorted:

        - `n_films`, `n_patients`, `n_centers`: what was validated or tested, all of the task under k-fold;
          `n_positive_films`, `n_positive_patients` (with any positive film);
        - `n_all_films`: of a cohort that was trained on, the most films that one job trained, validated and tested of
          it, wherever else it tested; never fewer than `n_films`;
        - `several_films`: whether any patient has several;
        - `n_cases`: patients where `several_films`, else films; scaled up by `n_all_films` / `n_films`;
        - `share_positive` of the cases that were validated or tested.
    """
    planned = planned_jobs(jobs)
    done = planned[planned["state"] == "done"]
    tasks = done.drop_duplicates("job").set_index("job")["task"]
    columns = ["job", "cohort", "image", "patient", "center", "y_true"]
    films = predictions.loc[predictions["job"].isin(tasks.index), columns]
    films = films.assign(task=films["job"].map(tasks)).drop_duplicates(["cohort", "task", "image"])
    trained = _all_films(predictions, done)
    rows = []
    for (cohort, task), part in films.groupby(["cohort", "task"], sort=True):
        sick = part.groupby("patient")["y_true"].max()
        several = len(sick) < len(part)
        known = max(len(part), trained.get((str(cohort), str(task)), 0))
        rows.append(
            {
                "cohort": cohort,
                "task": task,
                "n_films": len(part),
                "n_patients": len(sick),
                "n_positive_films": int(part["y_true"].sum()),
                "n_positive_patients": int(sick.sum()),
                "n_centers": int(part["center"].nunique()),
                "n_all_films": known,
                "several_films": several,
                "n_cases": round((len(sick) if several else len(part)) * known / len(part)),
                "share_positive": float(sick.mean() if several else part["y_true"].mean()),
            }
        )
    table = pd.DataFrame(rows, columns=_COLUMNS)
    return table.astype({"cohort": "string", "task": "string", "share_positive": np.float64})


def _all_films(predictions: pd.DataFrame, done: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Return the most films that any job trained, validated and tested of its own cohort, by cohort and task."""
    # A job has a row for every cohort that it tests, but trained once.
    own = done[done["n_train"].notna()].drop_duplicates("job")
    counted = predictions.groupby(["job", "cohort"]).size().rename("_films").reset_index()
    both = own.merge(counted.astype({"job": "string", "cohort": "string"}), "left", on=["job", "cohort"])
    both["_films"] = both["_films"].fillna(0).astype("int64") + both["n_train"].astype("int64")
    most = both.groupby(["cohort", "task"])["_films"].max().reset_index()
    return {(str(cohort), str(task)): int(count) for cohort, task, count in most.itertuples(index=False, name=None)}
