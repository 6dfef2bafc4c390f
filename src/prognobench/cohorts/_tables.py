"""The manifest: a table read as text, each row with its number in the file."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prognobench.frame import Problems

from . import _table_formats
from ._table_formats._format import Place, TableFormat


@dataclass(frozen=True)
class Table:
    """A table as spelled: `cells[i]` are the texts of a row under `columns`, `rows[i]` is the line where it begins."""

    path: Path
    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    rows: tuple[int, ...]
    ragged: int  # how many rows were left out because their cells do not fit the header
    header: int = 1  # the row of the header

    def column(self, name: str) -> list[str]:
        """Return the texts of one column, in the order of the rows."""
        place = self.columns.index(name)
        return [row[place] for row in self.cells]


def read_table(path: Path, problems: Problems, *, sheet: str | None = None, header: int | None = None) -> Table | None:
    """Read a CSV (comma, or semicolon where the header has no comma), TSV, XLSX or Parquet file as text.

    Parameters
    ----------
    path
        The file; the ending of its name says what it is. CSV and TSV are UTF-8 with or without byte order mark.
    problems
        Takes every fault, each with the file and the row. A row with too few or too many cells is noted and left
        out of the answer, so that the others can be checked.
    sheet
        The sheet of a workbook; needed where it has several.
    header
        The row of the header, from 1; by default the first row that holds anything.

    Returns
    -------
    Table or None
        None where there are no rows to go by.
    """
    before = len(problems)
    records = _records(path, Place(sheet, header), problems)
    if not records:
        if len(problems) == before:
            problems.add(path, "the table is empty", "Give it a header line and one row for each image")
        return None
    (first_line, names), *body = records
    if not _check_header(path, first_line, names, problems):
        return None
    if not body:
        problems.add(path, "the table has a header and no rows", "Add one row for each image", first_line)
        return None
    whole = [(line, tuple(cells)) for line, cells in body if len(cells) == len(names)]
    for line, cells in body:
        if len(cells) != len(names):
            what = f"the row has {len(cells)} cells, the header has {len(names)}"
            problems.add(path, what, "Give each column one cell and put cells that hold the separator in quotes", line)
    lines, cells_of = tuple(line for line, _ in whole), tuple(cells for _, cells in whole)
    return Table(path, tuple(names), cells_of, lines, len(body) - len(whole), first_line)


def table_suffixes() -> tuple[str, ...]:
    """Return the endings of the files that are read as tables."""
    return tuple(sorted(_formats()))


@cache
def _formats() -> dict[str, TableFormat]:
    names = [module.name for module in pkgutil.iter_modules(_table_formats.__path__, f"{_table_formats.__name__}.")]
    modules = [importlib.import_module(name) for name in names]
    found = [module.FORMAT for module in modules if hasattr(module, "FORMAT")]
    return {suffix: kind for kind in found for suffix in kind.suffixes}


def _records(path: Path, place: Place, problems: Problems) -> list[tuple[int, list[str]]] | None:
    kind = _formats().get(path.suffix.lower())
    if kind is None:
        *others, last = table_suffixes()
        what = f"only tables that end in {', '.join(others)} or {last} are read"
        problems.add(path, what, "Save the table as CSV in UTF-8, or as .xlsx")
        return None
    try:
        return kind.records(path, place, problems)
    except OSError as error:
        problems.add(path, f"the table cannot be read ({error.strerror or error})", "Check `manifest:` and the file")
        return None


def _check_header(path: Path, line: int, header: list[str], problems: Problems) -> bool:
    before = len(problems)
    for place, name in enumerate(header, start=1):
        if not name.strip():
            problems.add(path, f"column {place} has no name", "Name it in the header line", line)
    for name in dict.fromkeys(header):
        if name.strip() and header.count(name) > 1:
            places = " and ".join(str(place) for place, other in enumerate(header, start=1) if other == name)
            problems.add(path, f"columns {places} are both named '{name}'", "Give each column its own name", line)
    return len(problems) == before
