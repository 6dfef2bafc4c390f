"""The grid: plan, execute, resume, record."""

from ._adapters import export_adapter
from ._again import study_as_run
from ._audit_files import read_audits
from ._cohort_files import read_cohorts, read_films
from ._doctor import Finding, examine
from ._estimate import Estimate, estimate
from ._features import export_features
from ._folder import ResultsFolder, StudyPlan
from ._job import Job, ListedJob, job_key
from ._plan import LeftOut, Plan, plan_study, rows_sha256
from ._presets import preset_names, preset_text, preset_titles
from ._provenance import Provenance, read_names, read_provenance
from ._results import StudyStatus, job_rows, read_records, read_results, study_names, study_status
from ._run import RunSummary, Watcher, run_plan
from ._spec import Study, StudySpec, read_study
from ._splits import StudySplit, check_split, export_splits, make_splits, study_splits
from ._store import Record, Store

__all__ = [
    "Estimate",
    "Finding",
    "Job",
    "LeftOut",
    "ListedJob",
    "Plan",
    "Provenance",
    "Record",
    "ResultsFolder",
    "RunSummary",
    "Store",
    "Study",
    "StudyPlan",
    "StudySpec",
    "StudySplit",
    "StudyStatus",
    "Watcher",
    "check_split",
    "estimate",
    "examine",
    "export_adapter",
    "export_features",
    "export_splits",
    "job_key",
    "job_rows",
    "make_splits",
    "plan_study",
    "preset_names",
    "preset_text",
    "preset_titles",
    "read_audits",
    "read_cohorts",
    "read_films",
    "read_names",
    "read_provenance",
    "read_records",
    "read_results",
    "read_study",
    "rows_sha256",
    "run_plan",
    "study_as_run",
    "study_names",
    "study_splits",
    "study_status",
]
