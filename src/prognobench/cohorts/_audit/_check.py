"""What a check is, what it looks at and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .._cohort import Cohort

Severity = Literal["error", "warning", "note"]
Number = int | float | str | None


@dataclass(frozen=True)
class Finding:
    """One thing that a person should know before a number of this cohort is believed.

    Attributes
    ----------
    check
        The check that found it.
    severity
        `error` stops a study; `warning` is to be looked at; `note` is to be known.
    what, remedy
        What was found and what to do, as sentences without their final stops; no film or patient is named.
    task
        The task that it is about; empty where it is about the cohort.
    columns
        Columns of the table.
    rows
        Lines of the table, as an editor shows them.
    numbers
        What was measured.
    """

    check: str
    severity: Severity
    what: str
    remedy: str
    task: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    numbers: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """What a check looks at.

    Attributes
    ----------
    cohort
        The cohort.
    folds
        Into how many parts a study would cut it.
    """

    cohort: Cohort
    folds: int

    def rows_of(self, films: Sequence[int]) -> tuple[int, ...]:
        """Return the lines of the table of films that are given by their positions."""
        return tuple(sorted(int(row) for row in self.cohort.films["row"].to_numpy()[list(films)]))


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes
    ----------
    name
        Its name in findings and in `audit.json`.
    place
        Findings of one severity stand in the order of these.
    find
        Returns the findings.
    table
        Returns rows that are told whatever is found, where the check has any.
    """

    name: str
    place: int
    find: Callable[[Subject], Sequence[Finding]]
    table: Callable[[Subject], list[dict[str, Any]]] | None = None


def count(number: int, word: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> count(1, "film"), count(2, "film")
    ('1 film', '2 films')
    """
    return f"{number:,} {word}{'' if number == 1 else 's'}"
