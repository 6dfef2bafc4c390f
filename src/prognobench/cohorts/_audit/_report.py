"""What of an audit may be shown and kept: no name of a film or patient, no line of a table."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

from prognobench.frame import InputError, Problem, pseudonyms

from .._cohort import Cohort
from .._thumbnails import film_thumbnails
from . import _after_outcome, _leaks
from ._check import Finding, Severity
from ._run import Audit

_SCHEMA = 2
_READABLE = (1, 2)  # 1 had neither counts nor `idle`
_MOST_PAIRS = 60  # with pictures
_LEAKS = frozenset(check.name for check in (*_leaks.CHECKS, *_after_outcome.CHECKS))


@dataclass(frozen=True)
class ToldFinding:
    """A finding with the number of films that it is about, and not which.

    Attributes
    ----------
    check, severity, task, what, remedy
        As in `Finding`.
    films
        How many lines of the table it names; 0 where it is about none.
    idle
        Whether it is about a column without a role, which nothing uses.
    """

    check: str
    severity: Severity
    task: str
    what: str
    remedy: str
    films: int
    idle: bool = False

    @property
    def is_leak(self) -> bool:
        """Whether it says that something which is used, a column or the films, knows the outcome."""
        return self.check in _LEAKS and self.severity != "note" and not self.idle


@dataclass(frozen=True)
class SuspectedPair:
    """Two films that may be one.

    Attributes
    ----------
    kind
        `identical` or `near`.
    likeness
        Correlation of their detail.
    one_group
        Whether they stay together in every split.
    patients
        Their pseudonyms, which are one where the patient is.
    pictures
        Both films as small PNG files in Base64.
    """

    kind: str
    likeness: float
    one_group: bool
    patients: tuple[str, str]
    pictures: tuple[str, str]


@dataclass(frozen=True)
class AuditReport:
    """What of an audit is told to people.

    Attributes
    ----------
    cohort
        Its name.
    findings
        The worst first.
    confounds
        How well each column alone predicts each outcome: `task, rank, column, role, values, auc, low, high`.
    n_pairs, n_apart
        How many pairs of films look the same, and of how many the films are in two groups.
    pairs
        The first of them: of two patients before those of one, the most alike first.
    counts
        Films and patients: `task, by, value, films, patients`, and of each class `<class>_films, <class>_patients`.
    """

    cohort: str
    findings: tuple[ToldFinding, ...]
    confounds: tuple[Mapping[str, Any], ...]
    n_pairs: int
    n_apart: int
    pairs: tuple[SuspectedPair, ...]
    counts: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON can say it."""
        return {"schema": _SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> AuditReport:
        """Read what `to_json` returned, of this version or an earlier one.

        Raises
        ------
        InputError
            Another version of prognobench wrote it.
        """
        if content.get("schema") not in _READABLE:
            what = f"another version of prognobench wrote it (schema {content.get('schema')})"
            raise InputError([Problem(f"the audit of '{content.get('cohort')}'", what, "Run the study again")])
        pairs = (
            SuspectedPair(**{**pair, "patients": tuple(pair["patients"]), "pictures": tuple(pair["pictures"])})
            for pair in content["pairs"]
        )
        return cls(
            content["cohort"],
            tuple(ToldFinding(**finding) for finding in content["findings"]),
            tuple(content["confounds"]),
            content["n_pairs"],
            content["n_apart"],
            tuple(pairs),
            tuple(content.get("counts", ())),
        )


def audit_report(audit: Audit, cohort: Cohort) -> AuditReport:
    """Return what of an audit may be shown, with small pictures of the films that may be one.

    Parameters
    ----------
    audit
        What `audit` found.
    cohort
        In this cohort.

    Raises
    ------
    InputError
        Films look the same, and the key of the pseudonyms cannot be used.
    """
    pairs = audit.tables.get("duplicates", [])
    return AuditReport(
        audit.cohort,
        tuple(map(_told, audit.findings)),
        tuple(audit.tables.get("confounds", ())),
        len(pairs),
        sum(not pair["one_group"] for pair in pairs),
        tuple(_shown(pairs, cohort)),
        tuple(audit.tables.get("counts", ())),
    )


def _told(finding: Finding) -> ToldFinding:
    told = (finding.check, finding.severity, finding.task, finding.what, finding.remedy)
    return ToldFinding(*told, len(finding.rows), finding.numbers.get("role") == _leaks.NO_ROLE)


def _shown(pairs: list[dict[str, Any]], cohort: Cohort) -> Iterator[SuspectedPair]:
    if not pairs:
        return
    names, patients = pseudonyms(), cohort.films["patient"].tolist()
    place_of = {int(row): place for place, row in enumerate(cohort.films["row"])}
    for pair in sorted(pairs, key=lambda pair: (pair["one_patient"], -pair["likeness"]))[:_MOST_PAIRS]:
        film, other = (place_of[row] for row in pair["rows"])
        first, second = film_thumbnails(cohort, [film, other])
        yield SuspectedPair(
            pair["kind"],
            pair["likeness"],
            pair["one_group"],
            (names("patient", patients[film]), names("patient", patients[other])),
            (_png(first), _png(second)),
        )


def _png(picture: NDArray[Any]) -> str:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode("ascii")
