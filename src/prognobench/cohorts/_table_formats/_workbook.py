"""Workbooks (XLSX): a sheet read as the texts that it stands for."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prognobench.frame import Problems, nearest

from .._cell_texts import cell_text
from ._format import Place, Records, TableFormat

_MOST_BYTES = 256 << 20  # of what a workbook unpacks to; a table of a million rows has 100 MB
_SAVE = "Save it again as .xlsx in a spreadsheet program, or as CSV in UTF-8"


def _read(path: Path, place: Place, problems: Problems) -> Records | None:
    try:
        # One holds what each formula came to, the other tells which cells are formulas.
        values = _opened(path, data_only=True)
        formulas = _opened(path)
        try:
            sheet = _sheet(path, values, place, problems)
            return None if sheet is None else _records(path, values[sheet], formulas[sheet], place, problems)
        finally:
            values.close()
            formulas.close()
    except OSError:
        raise
    except _TooLarge as error:
        problems.add(path, str(error), _SAVE)
        return None
    except Exception as error:  # whatever a damaged archive or its XML makes of the reader
        told = " ".join(str(error).split()) or type(error).__name__
        problems.add(path, f"this is no whole workbook ({told})", _SAVE)
        return None


class _TooLarge(Exception):
    """A workbook unpacks to more than a table has."""


def _opened(path: Path, data_only: bool = False) -> Any:
    """Open a workbook; what it unpacks to is asked first, since opening it unpacks the texts of all its sheets."""
    import openpyxl

    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > _MOST_BYTES:
        raise _TooLarge(f"the workbook unpacks to {unpacked} bytes, which is no table")
    return openpyxl.load_workbook(path, read_only=True, data_only=data_only)


def sheet_names(path: Path) -> list[str]:
    """Return the names of the sheets of a workbook; none where it is no whole one."""
    try:
        book = _opened(path)
    except Exception:  # whoever reads the table next says what is wrong
        return []
    try:
        return [sheet.title for sheet in book.worksheets]
    finally:
        book.close()


def _sheet(path: Path, book: Any, place: Place, problems: Problems) -> str | None:
    names = [sheet.title for sheet in book.worksheets]
    if place.sheet is not None and place.sheet not in names:
        problems.add(path, f"the workbook has no sheet '{place.sheet}'", nearest(place.sheet, names))
        return None
    if place.sheet is None and len(names) != 1:
        listed = ", ".join(f"'{name}'" for name in names)
        problems.add(path, f"the workbook has {len(names)} sheets: {listed}", "Name the one to read in `sheet:`")
        return None
    return place.sheet or names[0]


def _records(path: Path, values: Any, formulas: Any, place: Place, problems: Problems) -> Records:
    # What a workbook says of its own extent may be wrong; without it every row is read as it is.
    values.reset_dimensions()
    formulas.reset_dimensions()
    records: Records = []
    for row, (cells, sources) in enumerate(zip(values.iter_rows(), formulas.iter_rows(), strict=True), start=1):
        texts = list(_texts(path, row, cells, sources, problems))
        if any(texts) and (place.header is None or row >= place.header):
            records.append((row, texts))
    if not records:
        return records
    # A sheet stores no empty cells at the end of a row; a header that stops early has a nameless column.
    width = max(_filled(texts) for _, texts in records)
    return [(row, (texts + [""] * width)[:width]) for row, texts in records]


def _texts(path: Path, row: int, cells: Any, sources: Any, problems: Problems) -> Iterator[str]:
    for column, (cell, source) in enumerate(zip(cells, sources, strict=True), start=1):
        if cell.data_type == "e":
            what = f"the cell in column {column} holds the error {cell.value}"
            problems.add(path, what, "Mend its formula, or empty the cell", row)
        elif cell.value is None and source.data_type == "f" and cell.data_type != "str":
            what = f"the formula in column {column} was never computed"
            problems.add(path, what, "Open the workbook in a spreadsheet program and save it", row)
        number_format = "General" if cell.value is None else cell.number_format
        yield cell_text(cell.value, number_format)


def _filled(texts: list[str]) -> int:
    return max(place for place, text in enumerate(texts, start=1) if text)


FORMAT = TableFormat((".xlsx", ".xlsm"), _read)
