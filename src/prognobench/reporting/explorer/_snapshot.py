"""A study at one moment, as the pages show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from prognobench.evaluation import CONTROLS, summarize
from prognobench.frame import Problem
from prognobench.studies import ListedJob, StudyPlan, StudyStatus

from .._results import result_table
from .._shown import CELL, Shown
from .._tables import StudyTables

_LATER = "it is still being computed"


@dataclass(frozen=True)
class _Tables:
    """The tables that are there at once; the others follow."""

    fold_metrics: pd.DataFrame
    summary: pd.DataFrame
    controls: pd.DataFrame
    intervals: pd.DataFrame
    subgroups: pd.DataFrame
    reliability: pd.DataFrame
    jobs: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A study at one moment.

    Attributes
    ----------
    version
        Grows with every change.
    plan
        What is planned.
    jobs, folds
        What `read_results` and `fold_metrics` say of all that is read.
    status
        How far the study is, without the records that are not read yet.
    damaged
        Records that do not match their seal.
    unread
        How many records are there that are not read yet.
    made
        All tables of the report, None before they are made the first time.
    current
        Whether `made` is of the records that are there now.
    made_records
        Of how many finished records `made` is.
    names
        Of films and patients, None before they are known.
    problems
        Why the folder cannot be read, or the tables not be made.
    """

    version: int
    plan: StudyPlan
    jobs: pd.DataFrame
    folds: pd.DataFrame
    status: StudyStatus
    damaged: tuple[Problem, ...]
    unread: int
    made: StudyTables | None
    current: bool
    made_records: int
    names: frozenset[str] | None
    problems: tuple[Problem, ...]

    @cached_property
    def tables(self) -> StudyTables | _Tables:
        """The report's tables where they are of what is there now, else those that are quickly made."""
        if self.current and self.made is not None:
            return self.made
        summary = summarize(self.folds, self.jobs)
        none = pd.DataFrame()
        return _Tables(self.folds, summary, _no_controls(summary), _no_intervals(summary), none, none, self.jobs)

    @cached_property
    def results(self) -> pd.DataFrame:
        """The rows of `result_table`."""
        made = self.tables
        if isinstance(made, StudyTables):
            return made.results
        return result_table(made.summary, made.controls, jobs=self.jobs)

    @cached_property
    def shown(self) -> Shown:
        """The cells as the figures show them."""
        return Shown(self.tables)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The cells of `Shown` with `regime_label`, `family`, and `key` of a finished job, or of one that is not."""
        cells = self.shown.cells.copy()
        kinds = self.shown.families
        cells["family"] = cells["model"].map(lambda name: kinds.get(name, "control"))
        cells.loc[cells["control"], "family"] = "control"
        cells["regime_label"] = regime_labels(cells)
        return cells.merge(self._jobs_of_cells, "left", CELL)

    @cached_property
    def _jobs_of_cells(self) -> pd.DataFrame:
        jobs = self.job_list
        jobs = jobs.assign(_later=jobs["state"] != "done").sort_values("_later", kind="stable")
        first = jobs.drop_duplicates(CELL)[[*CELL, "job"]]
        return first.rename(columns={"job": "key"}).astype(self.shown.cells[CELL].dtypes.to_dict())

    @cached_property
    def job_list(self) -> pd.DataFrame:
        """The planned jobs with `regime_label`, in the order of the plan."""
        jobs = self.jobs.copy()
        jobs["shots"] = jobs["shots"].astype("Int64")
        jobs["regime_label"] = regime_labels(jobs)
        return jobs

    @cached_property
    def planned(self) -> dict[str, ListedJob]:
        """The planned jobs by key."""
        return {job.key: job for job in self.plan.jobs}

    def job(self, key: str) -> dict[str, Any] | None:
        """Return the planned job of a key, or None."""
        rows = self.jobs[self.jobs["job"] == key]
        return None if rows.empty else dict(rows.iloc[0])


def regime_labels(rows: pd.DataFrame) -> pd.Series[Any]:
    """Return the regime with its shots, such as `few_shot 4`."""
    shots = rows["shots"].astype("Int64").astype("string")
    regime = rows["regime"].astype("string")
    return (regime + " " + shots).fillna(regime)


def all_tables(study: str, kept: Mapping[str, pd.DataFrame]) -> StudyTables:
    """Return the tables of a study from those that were kept."""
    results = result_table(kept["summary"], kept["controls"], jobs=kept["jobs"])
    return StudyTables(study=study, **kept, results=results)


def _no_controls(summary: pd.DataFrame) -> pd.DataFrame:
    """Return what `compare_with_controls` returns, with no number yet."""
    rows = summary.loc[~summary["strategy"].isin(CONTROLS), CELL].reset_index(drop=True)
    blank = dict.fromkeys(("mcc", "control_mcc", "difference", "ci_low", "ci_high"), np.nan)
    return rows.assign(
        **blank,
        control=pd.array([pd.NA] * len(rows), "string"),
        above_controls=pd.array([pd.NA] * len(rows), "boolean"),
        undefined=pd.array([_LATER] * len(rows), "string"),
    )


def _no_intervals(summary: pd.DataFrame) -> pd.DataFrame:
    texts = dict.fromkeys(("metric", "level", "method"), pd.array([], "string"))
    numbers = dict.fromkeys(("ci_low", "ci_high"), pd.array([], "float64"))
    return summary.loc[:, CELL].iloc[:0].assign(**texts, **numbers, default=pd.array([], "boolean"))
