"""The manifest: a CSV or TSV read as text, each row with its line in the file."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from prognobench.frame import Problems


@dataclass(frozen=True)
class Table:
    """A table as spelled: `cells[i]` are the texts of a row under `columns`, `rows[i]` is the line where it begins."""

    path: Path
    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    rows: tuple[int, ...]
    ragged: int  # how many rows were left out because their cells do not fit the header

    def column(self, name: str) -> list[str]:
        """Return the texts of one column, in the order of the rows."""
        place = self.columns.index(name)
        return [row[place] for row in self.cells]


def read_table(path: Path, problems: Problems) -> Table | None:
    """Read a CSV (comma, or semicolon where the header has no comma) or TSV; None where it has no rows to go by.

    Parameters
    ----------
    path
        A UTF-8 text, with or without byte order mark, that ends in `.csv` or `.tsv`.
    problems
        Takes every fault, each with the file and the row. A row with too few or too many cells is noted and left
        out of the answer, so that the others can be checked.
    """
    before = len(problems)
    text = _read_text(path, problems)
    if text is None:
        return None
    records = _records(path, text, _delimiter(path, text), problems)
    if not records:
        if len(problems) == before:
            problems.add(path, "the table is empty", "Give it a header line and one row for each image")
        return None
    (first_line, header), *body = records
    if not _check_header(path, first_line, header, problems):
        return None
    if not body:
        problems.add(path, "the table has a header and no rows", "Add one row for each image", first_line)
        return None
    whole = [(line, tuple(cells)) for line, cells in body if len(cells) == len(header)]
    for line, cells in body:
        if len(cells) != len(header):
            what = f"the row has {len(cells)} cells, the header has {len(header)}"
            problems.add(path, what, "Give each column one cell and put cells that hold the separator in quotes", line)
    lines, cells_of = tuple(line for line, _ in whole), tuple(cells for _, cells in whole)
    return Table(path, tuple(header), cells_of, lines, len(body) - len(whole))


def _read_text(path: Path, problems: Problems) -> str | None:
    if path.suffix.lower() not in (".csv", ".tsv"):
        problems.add(path, "only tables that end in .csv or .tsv are read", "Save the table as CSV in UTF-8")
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        problems.add(path, f"the table cannot be read ({error.strerror})", "Check `manifest:` in the cohort file")
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # With a byte order mark the error counts from behind it, which moves no line.
        line = content[: error.start].count(b"\n") + 1
        problems.add(path, "the table is not UTF-8 text", "Save as UTF-8 (in Excel: CSV UTF-8)", line)
        return None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        problems.add(path, "the table holds a NUL byte, so it is not plain text", "Save as UTF-8", line)
        return None
    return text


def _delimiter(path: Path, text: str) -> str:
    header = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
    if path.suffix.lower() == ".tsv":
        return "\t"
    return ";" if ";" in header and "," not in header else ","


def _records(path: Path, text: str, delimiter: str, problems: Problems) -> list[tuple[int, list[str]]]:
    """Return the rows that hold anything, each with its first line: a quoted cell may run over several."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: list[tuple[int, list[str]]] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return records
        except csv.Error as error:
            problems.add(path, f"the row cannot be split into cells ({error})", "Check its quotes", line)
            return []
        if cells:
            records.append((line, cells))


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
