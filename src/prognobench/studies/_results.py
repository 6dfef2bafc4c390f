"""Read what studies left: every number a reader shows comes from here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from prognobench.frame import InputError, Problem, Problems, nearest, sha256_json

from ._job import SCHEMA, ListedJob
from ._store import Store, read_plans

_WORDS = (
    "cohort", "task", "model", "strategy", "regime", "shots", "draw", "validation", "repeat", "fold",
    "test_center", "seed", "protocol", "n_train", "architecture",
)  # fmt: skip
_NO_FACTS = {
    "trainable_params": None, "total_params": None, "train_seconds": None, "peak_memory_bytes": None, "balanced": None,
    "record_sha256": None, "state": "missing",
}  # fmt: skip
_READERS = 4  # records that are read at once
_AT_ONCE = 256  # tables that are held apart


def study_names(results: Path) -> list[str]:
    """List the studies that ran into a results folder; raises InputError where there is none."""
    return list(read_plans(Store(results)))


def read_results(results: Path, study: str | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the predictions and jobs of one study, every file of every record checked against its seal.

    Parameters
    ----------
    results
        The folder that `run` filled.
    study
        The study's name; may be left out where the folder holds one study.

    Returns
    -------
    predictions
        Columns `job, cohort, image, patient, center, split, y_true, y_score`, of all finished jobs; texts are
        categorical.
    jobs
        One row a planned job and cohort that it tests, finished or not: its key as `job`, its words,
        `trainable_params`, `total_params`, `train_seconds` (own time and share of shared work), `peak_memory_bytes`,
        `balanced` (how far training evened the classes out, see `evaluation.fold_metrics`), `record_sha256` (of the
        SHA-256 of the record's files) and `state` (`done`, `failed` or `missing`).

    Raises
    ------
    InputError
        No such study ran into this folder, it holds several and none is named, or records were altered or are of
        several schema versions; all of them are named.
    """
    store = Store(results)
    jobs = [ListedJob.from_json(content) for content in chosen_plan(store, study)["jobs"]]
    problems = Problems()
    predictions, found = _read_all(store, jobs, problems)
    _refuse_other_schemas(store, found, problems)
    problems.raise_if_any()
    return predictions, job_rows(jobs, {key: one.facts for key, one in found.items()})


def read_records(
    results: Path, jobs: Iterable[ListedJob]
) -> tuple[pd.DataFrame, dict[str, dict[str, Any]], tuple[Problem, ...]]:
    """Read some of a study's records, each checked as by `read_results`; what is damaged stops no other one.

    Parameters
    ----------
    results
        The folder that `run` filled.
    jobs
        The jobs to look for.

    Returns
    -------
    predictions
        As `read_results` returns them, of those that are done.
    facts
        By the job's key what `job_rows` takes; not of damaged records.
    problems
        The damaged ones.
    """
    problems = Problems()
    predictions, found = _read_all(Store(results), list(jobs), problems)
    return predictions, {key: one.facts for key, one in found.items()}, tuple(problems)


def job_rows(jobs: Iterable[ListedJob], facts: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return the table of jobs of `read_results`: one row a planned job and cohort that it tests.

    Parameters
    ----------
    jobs
        The planned jobs.
    facts
        By their keys what their records tell: state, parameters, time, memory. A job without is missing.
    """
    rows = [
        {"job": job.key, **{word: getattr(job, word) for word in _WORDS}, **facts.get(job.key, _NO_FACTS),
         "test_cohort": cohort}
        for job in jobs
        for cohort in job.test_cohorts
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _read_all(store: Store, jobs: Sequence[ListedJob], problems: Problems) -> tuple[pd.DataFrame, dict[str, _Found]]:
    once = {job.key: job for job in jobs}
    gathered, found = _Predictions(), dict[str, _Found]()
    with ThreadPoolExecutor(_READERS) as pool:
        for key, one in zip(once, pool.map(partial(_read, store), once.values()), strict=True):
            if isinstance(one, InputError):
                problems.extend(one)
            else:
                gathered.add(key, one.table)
                found[key] = replace(one, table=None)
    return gathered.table(), found


@dataclass(frozen=True)
class _Found:
    """What the folder holds of one job."""

    facts: dict[str, Any]
    schema: Any = None
    table: pa.Table | None = None


def _read(store: Store, job: ListedJob) -> _Found | InputError:
    key = job.key
    facts: dict[str, Any] = dict(_NO_FACTS)
    try:
        status = store.status(key)
        facts["state"] = "missing" if status is None else status.state
        if status is None or status.state != "done":
            return _Found(facts)
        contents = store.contents(key, status)
    except InputError as error:
        return error
    try:
        identity, cost = json.loads(contents["job.json"])["identity"], json.loads(contents["cost.json"])
        facts["trainable_params"] = cost["trainable_parameters"]
        facts["total_params"] = cost["total_parameters"]
        facts["train_seconds"] = cost["own_seconds"] + cost["shared_seconds"]
        facts["record_sha256"] = sha256_json(dict(status.files))
        facts["peak_memory_bytes"] = cost.get("peak_memory_bytes")
        facts["balanced"] = _balanced(job, identity.get("protocol"))
        return _Found(facts, identity.get("schema"), _table(contents["predictions.parquet"]))
    except (AttributeError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        what = f"it is not as this version writes records ({type(error).__name__}: {error})"
        remedy = "Read it with the version that wrote it, or delete the record's folder and run the study again"
        return InputError([Problem(f"record {key} in {store.runs}", what, remedy)])


def _balanced(job: ListedJob, protocol: dict[str, Any] | None) -> float | None:
    """Return how much of the log-odds of the classes training took away, None where the record does not say."""
    if job.strategy == "majority":
        return 0.0  # predicts the classes as they are
    if job.shots is not None:
        return 1.0  # as many films of each class
    if protocol is None or "class_weights" not in protocol:
        return None
    weights = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[protocol["class_weights"]]
    return weights + (protocol.get("sampler") == "balanced")


_TEXTS = ("cohort", "image", "patient", "center", "split")
_COLUMNS = (*_TEXTS, "y_true", "y_score")
_TYPES = {name: pa.dictionary(pa.int32(), pa.string()) for name in _TEXTS} | {
    "y_true": pa.int64(),
    "y_score": pa.float64(),
}


def _table(content: bytes) -> pa.Table:
    file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=list(_TEXTS))
    table = file.read(columns=list(_COLUMNS), use_threads=False)
    columns = [table[name] for name in _COLUMNS]
    for place, name in enumerate(_COLUMNS):
        # Other versions of pandas wrote texts of another Arrow type.
        if columns[place].type != _TYPES[name]:
            plain = columns[place].cast(pa.string() if name in _TEXTS else _TYPES[name])
            columns[place] = plain.dictionary_encode() if name in _TEXTS else plain
    return pa.table(columns, names=list(_COLUMNS))


class _Predictions:
    """The tables of records, put together a few hundred at a time: ten thousand small tables would fill the memory."""

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._sizes: list[int] = []
        self._whole: list[pa.Table] = []
        self._loose: list[pa.Table] = []

    def add(self, key: str, table: pa.Table | None) -> None:
        if table is None:
            return
        self._keys.append(key)
        self._sizes.append(len(table))
        self._loose.append(table)
        if len(self._loose) == _AT_ONCE:
            self._whole, self._loose = [*self._whole, _together(self._loose)], []

    def table(self) -> pd.DataFrame:
        if not self._keys:
            return pd.DataFrame(columns=["job", *_COLUMNS])
        table: pd.DataFrame = _together([*self._whole, *self._loose]).to_pandas()
        codes = np.repeat(np.arange(len(self._keys)), self._sizes)
        job = pd.Categorical.from_codes(codes, pd.Index(self._keys))
        table.insert(0, "job", pd.Series(job))
        return table


def _together(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def _refuse_other_schemas(store: Store, found: dict[str, _Found], problems: Problems) -> None:
    """Refuse a study whose records follow several rules: their numbers would be averaged as if of one make."""
    versions: dict[Any, list[str]] = {}
    for key, one in found.items():
        if one.facts["state"] == "done":
            versions.setdefault(one.schema, []).append(key)
    remedy = "Run the study again with one version, into a folder of its own"
    if len(versions) > 1:
        told = (f"{len(keys)} of version {version}, such as {keys[0]}" for version, keys in versions.items())
        problems.add(
            store.runs, f"records of {len(versions)} schema versions are in one study: {'; '.join(told)}", remedy
        )
    for version, keys in versions.items():
        if isinstance(version, int) and version > SCHEMA:
            what = f"{len(keys)} records have schema version {version}, and this program reads up to {SCHEMA}"
            problems.add(store.runs, f"{what}; the first is {keys[0]}", "Read them with the program that wrote them")


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


def chosen_plan(store: Store, study: str | None) -> dict[str, Any]:
    """Return the plan of a study, which may be left unnamed where there is one.

    Raises
    ------
    InputError
        There is no such study, or there are several and none is named.
    """
    plans = read_plans(store)
    if study is None and len(plans) == 1:
        (study,) = plans
    if study is None or study not in plans:
        what = "the folder holds several studies" if study is None else f"there is no study '{study}'"
        raise InputError([Problem(str(store.root), what, nearest(study or "", list(plans)))])
    return plans[study]
