"""Read what studies left: every number a reader shows comes from here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prognobench.frame import InputError, Problem, Problems, nearest

from ._job import ListedJob
from ._store import Store, read_plans

_WORDS = (
    "cohort", "task", "model", "strategy", "regime", "shots", "draw", "validation", "repeat", "fold",
    "test_center", "seed", "protocol", "n_train", "architecture",
)  # fmt: skip


def study_names(results: Path) -> list[str]:
    """List the studies that ran into a results folder; raises InputError where there is none."""
    return list(read_plans(Store(results)))


def read_results(results: Path, study: str | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the predictions and jobs of one study, every record checked against its seal.

    Parameters
    ----------
    results
        The folder that `run` filled.
    study
        The study's name; may be left out where the folder holds one study.

    Returns
    -------
    predictions
        Columns `job, cohort, image, patient, center, split, y_true, y_score`, of all finished jobs.
    jobs
        One row a planned job and cohort that it tests, finished or not: its key as `job`, its words,
        `trainable_params`, `total_params`, `train_seconds` (own time and share of shared work) and `state` (`done`,
        `failed` or `missing`).

    Raises
    ------
    InputError
        No such study ran into this folder, it holds several and none is named, or records were altered; all of them
        are named.
    """
    store = Store(results)
    problems = Problems()
    rows: list[dict[str, Any]] = []
    tables: list[pd.DataFrame] = []
    for job in _planned(store, study):
        row: dict[str, Any] = {"job": job.key, **{word: getattr(job, word) for word in _WORDS}}
        row |= {"trainable_params": None, "total_params": None, "train_seconds": None}
        try:
            status = store.status(job.key)
            row["state"] = "missing" if status is None else status.state
            if row["state"] == "done":
                record = store.read(job.key)
                tables.append(record.predictions.assign(job=job.key))
                row["trainable_params"] = record.cost["trainable_parameters"]
                row["total_params"] = record.cost["total_parameters"]
                row["train_seconds"] = record.cost["own_seconds"] + record.cost["shared_seconds"]
        except InputError as error:
            problems.extend(error)
        rows += [row | {"test_cohort": cohort} for cohort in job.test_cohorts]
    problems.raise_if_any()
    columns = ["job", "cohort", "image", "patient", "center", "split", "y_true", "y_score"]
    predictions = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    return predictions[columns], pd.DataFrame(rows)


@dataclass(frozen=True)
class StudyStatus:
    """How far a study is.

    Attributes
    ----------
    name
        The study's name.
    planned, done
        Counts of jobs.
    failed
        Failed jobs with their error and the number of attempts.
    missing
        Jobs without a record.
    left_out
        What could not work at planning, with the reason.
    """

    name: str
    planned: int
    done: int
    failed: tuple[tuple[ListedJob, str, int], ...]
    missing: tuple[ListedJob, ...]
    left_out: tuple[dict[str, str], ...]


def study_status(results: Path) -> list[StudyStatus]:
    """Say how far each study of a results folder is; reads states only, so it is quick while a study runs.

    Raises
    ------
    InputError
        No study ran into this folder.
    """
    store = Store(results)
    found = []
    for name, plan in read_plans(store).items():
        jobs = [ListedJob.from_json(content) for content in plan["jobs"]]
        states = {job.key: store.status(job.key) for job in jobs}
        failed = [
            (job, status.error or "", status.attempts)
            for job in jobs
            if (status := states[job.key]) is not None and status.state == "failed"
        ]
        done = sum(1 for status in states.values() if status is not None and status.state == "done")
        missing = tuple(job for job in jobs if states[job.key] is None)
        found.append(StudyStatus(name, len(jobs), done, tuple(failed), missing, tuple(plan["left_out"])))
    return found


def _planned(store: Store, study: str | None) -> list[ListedJob]:
    plans = read_plans(store)
    if study is None and len(plans) == 1:
        (study,) = plans
    if study not in plans:
        what = "the folder holds several studies" if study is None else f"there is no study '{study}'"
        raise InputError([Problem(str(store.root), what, nearest(study or "", list(plans)))])
    return [ListedJob.from_json(content) for content in plans[study]["jobs"]]
