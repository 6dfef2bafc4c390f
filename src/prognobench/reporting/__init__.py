"""From numbers to what people read: tables and listings, and later figures and the report."""

from ._audit import print_audit, print_audits, write_audit
from ._best import Best, above_as_chosen, best_cell
from ._builds import print_build, print_planted
from ._compare import (
    PAPER_CAVEAT,
    PAPER_SOURCE,
    compare,
    compare_studies,
    compare_with_paper,
    paper_results,
    print_comparison,
)
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
from ._paper_tables import PaperTable, paper_tables
from ._progress import RunProgress, film_progress, report_progress
from ._report import Report, read_tables, report, report_studies, write_tables
from ._results import print_table, result_table
from ._safe import plain
from ._splits import print_splits, split_rows
from ._tables import StudyTables, study_tables

__all__ = [
    "PAPER_CAVEAT",
    "PAPER_SOURCE",
    "Best",
    "PaperTable",
    "Report",
    "RunProgress",
    "StudyTables",
    "above_as_chosen",
    "best_cell",
    "compare",
    "compare_studies",
    "compare_with_paper",
    "film_progress",
    "paper_results",
    "paper_tables",
    "plain",
    "print_audit",
    "print_audits",
    "print_build",
    "print_cohort",
    "print_comparison",
    "print_findings",
    "print_matrix",
    "print_models",
    "print_plan",
    "print_planted",
    "print_run",
    "print_splits",
    "print_status",
    "print_strategies",
    "print_table",
    "print_weights",
    "read_tables",
    "report",
    "report_progress",
    "report_studies",
    "result_table",
    "split_rows",
    "status_rows",
    "study_tables",
    "write_audit",
    "write_tables",
]
