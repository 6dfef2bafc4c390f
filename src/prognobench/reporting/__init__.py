"""From numbers to what people read: tables and listings, and later figures and the report."""

from ._builds import print_build
from ._listings import (
    print_cohort,
    print_findings,
    print_matrix,
    print_models,
    print_plan,
    print_run,
    print_status,
    print_strategies,
    print_weights,
    status_rows,
)
from ._progress import RunProgress, film_progress
from ._report import Report, report, report_studies, write_tables
from ._results import print_table, result_table
from ._safe import plain
from ._splits import print_splits, split_rows
from ._tables import StudyTables, study_tables

__all__ = [
    "Report",
    "RunProgress",
    "StudyTables",
    "film_progress",
    "plain",
    "print_build",
    "print_cohort",
    "print_findings",
    "print_matrix",
    "print_models",
    "print_plan",
    "print_run",
    "print_splits",
    "print_status",
    "print_strategies",
    "print_table",
    "print_weights",
    "report",
    "report_studies",
    "result_table",
    "split_rows",
    "status_rows",
    "study_tables",
    "write_tables",
]
