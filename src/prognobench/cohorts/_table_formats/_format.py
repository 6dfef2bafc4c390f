"""What a kind of table must offer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prognobench.frame import Problems

Records = list[tuple[int, list[str]]]


@dataclass(frozen=True)
class Place:
    """Where in a file the table stands.

    Parameters
    ----------
    sheet
        The sheet of a workbook, as written on its tab; None where it has one sheet only.
    header
        The row of the header, from 1; None for the first row that holds anything.
    """

    sheet: str | None = None
    header: int | None = None


@dataclass(frozen=True)
class TableFormat:
    """One kind of table.

    Parameters
    ----------
    suffixes
        The endings of its files' names, in lower case.
    records
        Reads a file into rows of texts, each with its number, the header first and nothing before it. None, or no
        rows, where it cannot; each fault is added to the problems.
    """

    suffixes: tuple[str, ...]
    records: Callable[[Path, Place, Problems], Records | None]
