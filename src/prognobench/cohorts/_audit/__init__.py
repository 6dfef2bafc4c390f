"""The audit: every module of this folder lists its checks in `CHECKS`; a new one is a new module and no edit here."""

from ._check import Check, Finding, Severity
from ._report import AuditReport, SuspectedPair, ToldFinding, audit_report
from ._run import Audit, audit
from ._testable import FEW_POSITIVES, FEWEST_GROUPS

__all__ = [
    "FEWEST_GROUPS",
    "FEW_POSITIVES",
    "Audit",
    "AuditReport",
    "Check",
    "Finding",
    "Severity",
    "SuspectedPair",
    "ToldFinding",
    "audit",
    "audit_report",
]
