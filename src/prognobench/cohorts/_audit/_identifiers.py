"""Columns that may say who a patient is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .._cohort import Cohort
from ._after_outcome import as_dates
from ._check import Check, Finding, Subject
from ._columns import words_of

MOST = 0.5  # share of a column's filled cells that must look like an identifier

# Names of columns, by the identifiers of 45 CFR 164.514(b)(2) (HIPAA, safe harbor).
_NAMED = {
    "a name": (
        {"name"},
        {"surname"},
        {"lastname"},
        {"firstname"},
        {"forename"},
        {"initials"},
        {"vorname"},
        {"nachname"},
    ),
    "a date of birth": ({"birth"}, {"dob"}, {"birthdate"}, {"birthday"}, {"geburtsdatum"}),
    "a record number": ({"mrn"}, {"medical", "record"}, {"hospital", "number"}, {"accession"}, {"case", "number"}),
    "a social security or insurance number": ({"ssn"}, {"social", "security"}, {"insurance"}, {"nhs"}),
    "a telephone number": ({"phone"}, {"telephone"}, {"fax"}),
    "an address": ({"address"}, {"street"}, {"zip"}, {"postcode"}, {"postal"}, {"email"}, {"mail"}),
}
_NO_PERSON = {
    "file",
    "image",
    "procedure",
    "protocol",
    "view",
    "ward",
    "hospital",
    "center",
    "centre",
    "site",
    "column",
    "study",
    "series",
    "test",
    "drug",
    "model",
    "scanner",
    "concept",  # of OMOP's data model, which names codes
}
# Words with which a name is harmless; a mobile unit is no telephone, whose numbers are told by their look.
_HARMLESS = {"a name": _NO_PERSON, "a date of birth": {"weight", "order", "length"}}
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")
_PHONE = re.compile(r"(?=(?:\D*\d){7,15}\D*$)(?:\+\d|\(?0\d|\(\d|\d{3}[-. ]\d{3})[\d ()./-]*")
_DICOM_NAME = re.compile(r"[^\W\d_][\w .'-]*\^[^\W\d_][\w .'^-]*")
_TWO_WORDS = re.compile(r"[^\W\d_][^\W\d_'-]+(?:, ?| )(?:[^\W\d_]\.? )?[^\W\d_][^\W\d_'-]+")
_SIGNS = re.compile(r"[, ]+")
_RECORD = re.compile(r"[A-Z]{0,3}[-]?\d{6,10}")


@dataclass(frozen=True)
class _Look:
    """What the cells of a column look like, and how that is told."""

    what: str
    why: str
    fits: Callable[[Cohort, str, Sequence[str]], bool]


def _find(subject: Subject) -> list[Finding]:
    cohort, found = subject.cohort, []
    for column in map(str, cohort.table.columns):
        cells = [cell.strip() for cell in cohort.table[column] if cell.strip()]
        told = _by_name(column) or _by_cells(cohort, column, cells)
        if not cells or told is None:
            continue
        what, why = told
        found.append(
            Finding(
                "identifier",
                "warning",
                f"the column '{column}' may hold {what}: {why}",
                "Remove it from the table, or replace it by a pseudonym or a number of days; prognobench needs none",
                columns=(column,),
                numbers={"cells": len(cells), "values": len(set(cells))},
            )
        )
    return found


def _by_name(column: str) -> tuple[str, str] | None:
    words = words_of(column)
    for what, names in _NAMED.items():
        if any(name <= words for name in names) and not words & _HARMLESS.get(what, set()):
            return what, "its name says so"
    return None


def _by_cells(cohort: Cohort, column: str, cells: Sequence[str]) -> tuple[str, str] | None:
    return next(((look.what, look.why) for look in _LOOKS if cells and look.fits(cohort, column, cells)), None)


def _match(pattern: re.Pattern[str]) -> Callable[[Cohort, str, Sequence[str]], bool]:
    return lambda cohort, column, cells: sum(bool(pattern.fullmatch(cell)) for cell in cells) > MOST * len(cells)


def _many_names(cohort: Cohort, column: str, cells: Sequence[str]) -> bool:
    # Findings and hospitals are two words as well, and few; names are nearly as many as patients.
    words = [cell for cell in cells if _TWO_WORDS.fullmatch(cell) and all(map(_begins_large, _SIGNS.split(cell)))]
    return len(words) > MOST * len(cells) and len(set(words)) > MOST * cohort.films["patient"].nunique()


def _begins_large(word: str) -> bool:
    return word[:1].isupper()


def _births(cohort: Cohort, column: str, cells: Sequence[str]) -> bool:
    if column in {task.label for task in cohort.spec.tasks.values()}:
        return False
    return as_dates(list(cells)) is not None


def _one_a_patient(cohort: Cohort, column: str, cells: Sequence[str]) -> bool:
    key = cohort.spec.columns
    if column in (key.patient, key.image):
        return False
    told = [
        (who, cell) for who, cell in zip(cohort.films["patient"], cohort.table[column], strict=True) if cell.strip()
    ]
    pairs, patients = len(set(told)), len({who for who, _ in told})
    values = len({cell for _, cell in told})
    return pairs == patients == values > 1 and _match(_RECORD)(cohort, column, cells)


_LOOKS = (
    _Look("an e-mail address", "most of its cells are of that form", _match(_EMAIL)),
    _Look("a name", "most of its cells are of the form FAMILY^GIVEN, as DICOM writes names", _match(_DICOM_NAME)),
    _Look("a name", "most of its cells are capitalized words, nearly one for each patient", _many_names),
    _Look("a date of a person", "nearly all of its cells are full dates, which are identifiers by themselves", _births),
    _Look("a telephone number", "most of its cells are of that form", _match(_PHONE)),
    _Look("a record number", "each patient has one long number of its own", _one_a_patient),
)

CHECKS = (Check("identifier", 18, _find),)
