"""The audit: every module of this folder lists its checks in `CHECKS`; a new one is a new module and no edit here."""

from ._check import Check, Finding, Severity
from ._run import Audit, audit

__all__ = ["Audit", "Check", "Finding", "Severity", "audit"]
