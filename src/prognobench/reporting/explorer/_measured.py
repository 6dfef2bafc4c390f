"""The metrics of single records: computed once, kept, and put together to the tables of a study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from prognobench.evaluation import KEYS, fold_metrics, planned_jobs
from prognobench.frame import InputError, Problem, sha256_json
from prognobench.studies import ListedJob, Store, job_rows, read_records

# What a plan says of a job; the same record may bear other words in another study.
_OF_PLAN = [*(key for key in KEYS if key != "test_cohort"), "n_train", "trainable_params", "total_params"]
_WHOLE = ("trainable_params", "total_params", "peak_memory_bytes")


@dataclass(frozen=True, eq=False)
class Measured:
    """What is known of some records.

    Attributes
    ----------
    records
        One row a record: `job`, and what `prognobench.studies.read_records` returns as its facts.
    metrics
        The columns of `fold_metrics` that do not come from the plan, by `job` and `test_cohort`.
    problems
        Damaged records.
    """

    records: pd.DataFrame
    metrics: pd.DataFrame
    problems: tuple[Problem, ...] = ()

    def without(self, keys: Iterable[str]) -> Measured:
        """Return all but some records."""
        gone = set(keys)
        if not gone:
            return self
        records, metrics = (table[~table["job"].isin(gone)] for table in (self.records, self.metrics))
        return replace(self, records=records, metrics=metrics)


def measure(results: Path, jobs: Sequence[ListedJob]) -> Measured:
    """Read some records, each file checked against its seal, and compute their metrics.

    No number of a record depends on the others that are computed with it, and one that does not fit, such as one with
    a score that is no number, is named as damaged and stops no other one.
    """
    try:
        return _measure(results, jobs)
    except InputError as error:
        if len(jobs) > 1:
            half = len(jobs) // 2
            return together([measure(results, jobs[:half]), measure(results, jobs[half:])])
        where = f"record {jobs[0].key} in {Store(results).runs}"
        return replace(together([]), problems=tuple(replace(one, where=where) for one in error.problems))


def _measure(results: Path, jobs: Sequence[ListedJob]) -> Measured:
    predictions, facts, problems = read_records(results, jobs)
    known = job_rows([job for job in jobs if job.key in facts], facts)
    records = pd.DataFrame([{"job": key, **told} for key, told in facts.items()])
    metrics = fold_metrics(predictions, known) if len(known) and (known["state"] == "done").any() else None
    if metrics is None:
        return Measured(_typed(records), pd.DataFrame(columns=["job", "test_cohort"], dtype="string"), problems)
    return Measured(_typed(records), metrics.drop(columns=_OF_PLAN), problems)


def together(parts: Sequence[Measured]) -> Measured:
    """Put measured records together; the columns are those of the first part that has metrics."""
    parts = [part for part in parts if len(part.records) or part.problems]
    if not parts:
        return Measured(_typed(pd.DataFrame()), pd.DataFrame(columns=["job", "test_cohort"], dtype="string"))
    metrics = [part.metrics for part in parts if len(part.metrics)] or [parts[0].metrics]
    problems = tuple(problem for part in parts for problem in part.problems)
    records = pd.concat([part.records for part in parts], ignore_index=True)
    return Measured(records, pd.concat(metrics, ignore_index=True), problems)


def digest(plan: str, records: pd.DataFrame) -> str:
    """Return what changes when a table of the report may: the plan, and every file of every record.

    Parameters
    ----------
    plan
        The SHA-256 of the plan.
    records
        Columns `job`, `state` and `record_sha256`; one row a record or, of missing ones too, a row of `job_rows`.
    """
    there = records.loc[records["state"] != "missing", ["job", "state", "record_sha256"]].drop_duplicates("job")
    return sha256_json([plan, sorted(there.astype(object).fillna("").itertuples(index=False, name=None))])


def study_jobs(planned: pd.DataFrame, measured: Measured) -> pd.DataFrame:
    """Return the table of jobs with what the records tell.

    Parameters
    ----------
    planned
        What `job_rows` returns of the plan alone.
    measured
        What is known of the records.
    """
    told = measured.records.astype({"job": object, "state": object})
    jobs = planned.drop(columns=[name for name in told.columns if name != "job"]).merge(told, "left", "job")
    return jobs.assign(state=jobs["state"].fillna("missing"))


def study_folds(measured: Measured, jobs: pd.DataFrame) -> pd.DataFrame:
    """Return what `fold_metrics` returns for all jobs of a study."""
    empty = fold_metrics(_NO_PREDICTIONS, jobs.iloc[:0])
    if not len(measured.metrics):
        return empty
    planned = planned_jobs(jobs)
    done = planned.loc[planned["state"] == "done", ["job", "test_cohort", *_OF_PLAN]]
    return done.merge(measured.metrics, "inner", ["job", "test_cohort"])[list(empty.columns)]


_NO_PREDICTIONS = pd.DataFrame(
    columns=["job", "cohort", "image", "patient", "center", "split", "y_true", "y_score"], dtype=object
)


def _typed(records: pd.DataFrame) -> pd.DataFrame:
    types: dict[str, Any] = {"job": "string", "state": "string", "record_sha256": "string"}
    types |= dict.fromkeys(_WHOLE, "Int64") | dict.fromkeys(("train_seconds", "balanced"), "Float64")
    return records.reindex(columns=list(types)).astype(types)
