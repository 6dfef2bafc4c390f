"""All tables of one study, made once: the report, the figures and the explorer show these and compute nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import pandas as pd

from prognobench.evaluation import (
    Budget,
    PatientBootstrap,
    compare_with_controls,
    conclusions,
    decision_map,
    fold_metrics,
    intervals,
    pairwise_tests,
    ranking,
    reliability,
    selection,
    subgroups,
    summarize,
    task_sizes,
    task_tests,
)

from ._results import result_table


@dataclass(frozen=True, eq=False)
class StudyTables:
    """What is known about one study; none of it names a patient or a film.

    Attributes
    ----------
    study
        The study's name.
    jobs
        One row a planned job and tested cohort, as `prognobench.studies.read_results` returns them.
    cohorts
        Counts of the study's cohorts, empty where the folder does not hold them.
    sizes
        Films, patients and positives of every task, as `prognobench.evaluation.task_sizes` counts them.
    fold_metrics, summary, intervals, controls, pairwise_tests, task_tests, ranking, selection, subgroups, reliability
        What the functions of `prognobench.evaluation` return.
    decision, conclusions
        Which strategy for whom, and the published conclusions held against this study.
    results
        What people read first: the rows of `result_table`, made of `summary` and `controls`.
    """

    study: str
    jobs: pd.DataFrame
    cohorts: pd.DataFrame
    sizes: pd.DataFrame
    fold_metrics: pd.DataFrame
    summary: pd.DataFrame
    intervals: pd.DataFrame
    controls: pd.DataFrame
    pairwise_tests: pd.DataFrame
    task_tests: pd.DataFrame
    ranking: pd.DataFrame
    selection: pd.DataFrame
    subgroups: pd.DataFrame
    reliability: pd.DataFrame
    decision: pd.DataFrame
    conclusions: pd.DataFrame
    results: pd.DataFrame

    @classmethod
    def csv_names(cls) -> list[str]:
        """List the tables that a report writes as CSV."""
        return [one.name for one in fields(cls) if one.name not in ("study", "jobs", "cohorts", "results")]

    @property
    def synthetic(self) -> tuple[str, ...]:
        """The cohorts that show no person, as they declare it, or by their name where nothing was kept of them."""
        names = sorted({str(name) for column in ("cohort", "test_cohort") for name in self.jobs[column].dropna()})
        declared = dict.fromkeys(names, False)
        if "synthetic" in self.cohorts:
            told = self.cohorts.loc[self.cohorts["synthetic"].fillna(False).astype(bool), "cohort"]
            declared |= dict.fromkeys(told, True)
        by_name = {name for name in names if any(word in name.casefold() for word in ("phantom", "synthetic"))}
        return tuple(name for name in names if declared[name] or name in by_name)

    def files(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield the tables that a report writes as CSV, with their names."""
        for name in self.csv_names():
            yield name, getattr(self, name)


def study_tables(
    predictions: pd.DataFrame,
    jobs: pd.DataFrame,
    films: pd.DataFrame | None = None,
    *,
    study: str = "",
    cohorts: pd.DataFrame | None = None,
    families: Mapping[str, str] | None = None,
    methods: Mapping[str, str] | None = None,
    budget: Budget | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> StudyTables:
    """Make all tables of one study.

    Parameters
    ----------
    predictions, jobs
        As `prognobench.evaluation.fold_metrics` takes them.
    films
        One row a film: `cohort, image, view, center, sex, age`; without it there are no subgroups.
    study
        The study's name.
    cohorts
        Counts of the study's cohorts.
    families, methods
        As `prognobench.evaluation.conclusions` takes them: what kind of network each model is, and of which strategy
        each label is a variant.
    budget
        What one training may cost, for the decision map.
    progress
        Told what is being computed.

    Raises
    ------
    InputError
        When the tables do not fit each other.
    """
    known = pd.DataFrame(columns=["cohort", "image"], dtype="string") if films is None else films
    # Needs nothing of the others, and while numpy computes theirs it has a core of its own. On copies, since pandas
    # does not promise that two threads may use one table.
    own = predictions.copy(), jobs.copy()
    with ThreadPoolExecutor(1) as beside:
        groups, bins = beside.submit(subgroups, *own, known.copy()), beside.submit(reliability, *own)
        progress("metrics of every job")
        folds = fold_metrics(predictions, jobs)
        made = {"sizes": task_sizes(predictions, jobs), "fold_metrics": folds}
        progress("patients drawn anew, controls")
        bootstrap = PatientBootstrap(predictions, jobs)
        made["controls"] = compare_with_controls(predictions, jobs, bootstrap=bootstrap)
        progress("intervals")
        made["intervals"] = intervals(predictions, jobs, bootstrap=bootstrap)
        made["summary"] = summarize(folds, jobs, made["intervals"])
        progress("comparisons")
        made["pairwise_tests"] = pairwise_tests(predictions, jobs, bootstrap=bootstrap)
        made["task_tests"] = task_tests(predictions, jobs, bootstrap=bootstrap)
        progress("ranking")
        made["ranking"] = ranking(predictions, jobs, bootstrap=bootstrap)
        made["selection"] = selection(predictions, jobs, bootstrap=bootstrap)
        progress("subgroups, reliability")
        made["subgroups"], made["reliability"] = groups.result(), bins.result()
    progress("decision map and conclusions")
    made["decision"] = decision_map(
        folds, jobs, made["summary"], made["controls"], made["intervals"], made["ranking"], made["selection"],
        made["sizes"], budget,
    )  # fmt: skip
    made["conclusions"] = conclusions(
        bootstrap, made["sizes"], made["controls"], made["ranking"], families or {}, methods
    )
    made["results"] = result_table(made["summary"], made["controls"], jobs=jobs)
    return StudyTables(study=study, jobs=jobs, cohorts=pd.DataFrame() if cohorts is None else cohorts, **made)
