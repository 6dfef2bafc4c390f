"""What a study leaves of the audits of its cohorts, sealed by the plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prognobench.cohorts import Audit, AuditReport, Cohort, audit_report

from ._kept_files import keep, read_kept
from ._store import Store


def keep_audits(store: Store, audits: Mapping[str, Audit], cohorts: Mapping[str, Cohort]) -> dict[str, str]:
    """Write what may be shown of each audit into `audits/<sha256>.json`; return the SHA-256 by the cohort's name.

    Patients stand in it by their pseudonyms, films as small pictures and where they may be one film alone.
    """
    return {name: keep(store, "audits", audit_report(found, cohorts[name]).to_json()) for name, found in audits.items()}


def read_audits(results: Path, study: str | None = None) -> dict[str, AuditReport]:
    """Read what the audit found in a study's cohorts.

    Parameters
    ----------
    results
        The folder that `run` filled.
    study
        The study's name; may be left out where the folder holds one study.

    Returns
    -------
    dict
        By the cohort's name; empty where the study ran before audits were kept: to run it again adds them.

    Raises
    ------
    InputError
        There is no such study, or a file is missing or was altered; all of them are named.
    """
    return {name: AuditReport.from_json(content) for name, content in read_kept(results, study, "audits")}
