"""CSV and TSV."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from prognobench.frame import Problems

from ._format import Place, Records, TableFormat


def _read(path: Path, place: Place, problems: Problems) -> Records | None:
    text = _text(path, problems)
    if text is None:
        return None
    records = _records(path, text, _delimiter(path, text), problems)
    return [record for record in records if place.header is None or record[0] >= place.header]


def _text(path: Path, problems: Problems) -> str | None:
    content = path.read_bytes()
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


def _records(path: Path, text: str, delimiter: str, problems: Problems) -> Records:
    """Return the rows that hold anything, each with its first line: a quoted cell may run over several."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: Records = []
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


FORMAT = TableFormat((".csv", ".tsv"), _read)
