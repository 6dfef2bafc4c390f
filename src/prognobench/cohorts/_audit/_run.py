"""All checks over a cohort; what was found is kept and told again as long as nothing has changed."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import PIL

from prognobench.frame import home, sha256_json, write_in_one_step

from .._cohort import Cohort
from ._check import Check, Finding, Subject
from ._testable import FEW_POSITIVES

_LOG = logging.getLogger(__name__)
_VERSION = 3  # raise it with any change of what is found
_ORDER = ("error", "warning", "note")


@dataclass(frozen=True)
class Audit:
    """What the checks found in a cohort.

    Attributes
    ----------
    cohort
        Its name.
    folds
        Into how many folds it was thought to be cut.
    findings
        The worst first.
    tables
        What some checks tell whatever they find, by their names: `counts`, `duplicates`, `confounds`.
    """

    cohort: str
    folds: int
    findings: tuple[Finding, ...]
    tables: Mapping[str, list[dict[str, Any]]]

    @property
    def stops(self) -> bool:
        """Whether a finding forbids to go on."""
        return any(finding.severity == "error" for finding in self.findings)

    def of_tasks(self, names: Collection[str]) -> Audit:
        """Return what is about these tasks, or about the cohort as a whole."""
        findings = tuple(finding for finding in self.findings if finding.task in ("", *names))
        tables = {
            name: [row for row in rows if row.get("task", "") in ("", *names)] for name, rows in self.tables.items()
        }
        return replace(self, findings=findings, tables=tables)

    def with_planned(self, planned: Sequence[Finding]) -> Audit:
        """Return it with what was counted in planned splits instead of what was estimated without them.

        What is counted stands before other findings of its severity.
        """
        others = [finding for finding in self.findings if finding.check != FEW_POSITIVES]
        ordered = sorted([*planned, *others], key=lambda finding: _ORDER.index(finding.severity))
        return replace(self, findings=tuple(ordered))

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON can say it."""
        findings = [json.loads(json.dumps(asdict(finding))) for finding in self.findings]
        return {
            "schema": _VERSION,
            "cohort": self.cohort,
            "folds": self.folds,
            "findings": findings,
            "tables": dict(self.tables),
        }


def audit(cohort: Cohort, *, folds: int = 5) -> Audit:
    """Look for what would make a number of this cohort wrong.

    Parameters
    ----------
    cohort
        A checked cohort.
    folds
        Into how many folds it will be cut.

    Returns
    -------
    Audit
        Nothing is found in a stand-in, which holds no films.

    Notes
    -----
    The same cohort, which is the same films, table and cohort file, is audited once; the answer is kept in `home()`.
    """
    if cohort.stand_in:
        return Audit(cohort.name, folds, (), {})
    place = home() / "audits" / f"{_key(cohort, folds)}.json"
    known = _read(place)
    if known is None:
        subject = Subject(cohort, folds)
        found = [finding for check in _checks() for finding in check.find(subject)]
        found.sort(key=lambda finding: _ORDER.index(finding.severity))
        tables = {check.name: check.table(subject) for check in _checks() if check.table is not None}
        known = Audit(cohort.name, folds, tuple(found), tables)
        content = known.to_json()
        write_in_one_step(place, json.dumps({"audit": content, "sha256": sha256_json(content)}))
    return known


@cache
def _checks() -> tuple[Check, ...]:
    package = __name__.rpartition(".")[0]
    modules = iter_modules(import_module(package).__path__)
    found = (check for module in modules for check in getattr(import_module(f"{package}.{module.name}"), "CHECKS", ()))
    return tuple(sorted(found, key=lambda check: (check.place, check.name)))


def _key(cohort: Cohort, folds: int) -> str:
    return sha256_json(
        {
            "version": _VERSION,
            "pillow": PIL.__version__,
            "folds": folds,
            "spec": cohort.spec.model_dump(mode="json"),
            "films": cohort.films.astype(str).to_numpy().tolist(),
            "columns": list(cohort.table.columns),
            "table": cohort.table.to_numpy().tolist(),
            "excluded": cohort.excluded.astype(str).to_numpy().tolist(),
            "pairs": cohort.near_duplicates.astype(str).to_numpy().tolist(),
        }
    )


def _read(place: Path) -> Audit | None:
    try:
        document = json.loads(place.read_bytes())
        found = document["audit"]
        if sha256_json(found) != document["sha256"]:
            raise ValueError("its content does not match its SHA-256")
        findings = tuple(
            Finding(**{**one, "columns": tuple(one["columns"]), "rows": tuple(one["rows"])})
            for one in found["findings"]
        )
        return Audit(found["cohort"], found["folds"], findings, found["tables"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        _LOG.warning("%s is damaged (%s); the cohort is audited again", place, error)
        return None
