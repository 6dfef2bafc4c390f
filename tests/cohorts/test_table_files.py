"""Tables as CSV, TSV, XLSX and Parquet: all are text, and only an empty cell is blank."""

from __future__ import annotations

import csv
import datetime as dt
import re
import zipfile
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prognobench.cohorts import load_cohort
from prognobench.cohorts._cell_texts import cell_text
from prognobench.cohorts._table_formats._workbook import sheet_names
from prognobench.cohorts._tables import read_table
from prognobench.frame import InputError, Problems


def workbook(path: Path, *rows: list, sheet: str = "Sheet1", formats: dict | None = None) -> Path:
    book = openpyxl.Workbook()
    book.active.title = sheet
    for row in rows:
        book.active.append(row)
    for cell, number_format in (formats or {}).items():
        book.active[cell].number_format = number_format
    book.save(path)
    return path


def read(path: Path, **place):
    problems = Problems()
    table = read_table(path, problems, **place)
    problems.raise_if_any()
    return table


def test_a_cohort_is_the_same_from_every_kind_of_table(small):
    rows = list(csv.reader(small.table.read_text().splitlines()))
    workbook(small.path.parent / "table.xlsx", *rows)
    columns = {name: [row[place] for row in rows[1:]] for place, name in enumerate(rows[0])}
    pyarrow.parquet.write_table(pa.table(columns), small.path.parent / "table.parquet")
    expected = load_cohort(small.path)
    for name in ("table.xlsx", "table.parquet"):
        small.path.write_text(small.path.read_text().replace("table.csv", name).replace("table.xlsx", name))
        found = load_cohort(small.path)
        assert found.films.equals(expected.films), name
        assert found.table.equals(expected.table), name


CELLS = [
    # what the cell holds, its number format, the text it stands for; openpyxl writes 16 digits
    ("Yes", None, "Yes"),
    (" 007 ", None, " 007 "),
    ("NA", None, "NA"),
    (None, None, ""),
    ("", None, ""),
    (7, None, "7"),
    (7.0, None, "7"),
    (-7, None, "-7"),
    (7, "00000", "00007"),
    (123456789012345, None, "123456789012345"),
    (37.7, "0", "37.7"),
    (0.1 + 0.2, None, "0.3"),
    (1e-7, None, "0.0000001"),
    (2e20, None, "200000000000000000000"),
    (0.5, "0%", "0.5"),
    (True, None, "TRUE"),
    (False, None, "FALSE"),
    (dt.datetime(2020, 3, 31), "dd/mm/yyyy", "2020-03-31"),
    (dt.datetime(2020, 3, 31, 8, 15), "dd/mm/yyyy hh:mm", "2020-03-31 08:15:00"),
    (dt.time(8, 15), "hh:mm", "08:15:00"),
]


@pytest.mark.parametrize(
    ("value", "number_format", "text"), CELLS, ids=[repr(cell[0]) + str(cell[1]) for cell in CELLS]
)
def test_a_cell_of_a_workbook_stands_for_one_text(tmp_path, value, number_format, text):
    formats = {"B2": number_format} if number_format else {}
    path = workbook(tmp_path / "t.xlsx", ["a", "b", "c"], ["x", value, "y"], formats=formats)
    assert read(path).cells == (("x", text, "y"),)


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers()))
def test_the_text_of_a_number_is_that_number_without_exponent(number):
    text = cell_text(number)
    assert re.fullmatch(r"-?\d+(\.\d*[1-9])?", text)
    assert type(number)(text) == number if isinstance(number, int) else float(text) == number


def test_a_column_of_parquet_stands_for_texts(tmp_path):
    columns = {
        "text": ["NA", None, ""],
        "whole": [1, None, -3],
        "number": pa.array([1.0, 0.1, None]),
        "flag": [True, False, None],
        "day": [dt.date(2020, 3, 31), None, dt.date(1900, 1, 1)],
        "moment": [dt.datetime(2020, 3, 31, 8, 15), dt.datetime(2020, 3, 31), None],
        "dictionary": pa.array(["b", "a", None]).dictionary_encode(),
    }
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = read(tmp_path / "t.parquet")
    assert table.rows == (2, 3, 4)
    assert {name: table.column(name) for name in table.columns} == {
        "text": ["NA", "", ""],
        "whole": ["1", "", "-3"],
        "number": ["1", "0.1", ""],
        "flag": ["TRUE", "FALSE", ""],
        "day": ["2020-03-31", "", "1900-01-01"],
        "moment": ["2020-03-31 08:15:00", "2020-03-31", ""],
        "dictionary": ["b", "a", ""],
    }


def test_rows_have_the_numbers_that_the_spreadsheet_shows(tmp_path):
    path = workbook(tmp_path / "t.xlsx", ["Title"], ["a", "b"], [], [1], [None, None], [3, 4])
    table = read(path, header=2)
    assert (table.columns, table.rows) == (("a", "b"), (4, 6))
    assert table.cells == (("1", ""), ("3", "4"))


def two_sheets(path: Path) -> None:
    workbook(path, ["a"], [1])
    book = openpyxl.load_workbook(path)
    book.create_sheet("Data").append(["b"])
    book.save(path)


WRONG = {
    "several sheets": (two_sheets, None, None, "2 sheets: 'Sheet1', 'Data'", "`sheet:`"),
    "no such sheet": (lambda p: workbook(p, ["a"], [1]), "Date", None, "no sheet 'Date'", "Known: Sheet1"),
    "error cell": (lambda p: workbook(p, ["a"], ["#N/A"]), None, 2, "the error #N/A", "formula"),
    "formula without value": (lambda p: workbook(p, ["a", "b"], ["x", "=1+1"]), None, 2, "never computed", "save it"),
    "header too short": (lambda p: workbook(p, ["a"], ["1", "2"]), None, 1, "column 2 has no name", "Name it"),
    "no archive": (lambda p: p.write_bytes(b"PK\3\4 and no more"), None, None, "no whole workbook", "again"),
    "half an archive": (lambda p: p.write_bytes(workbook(p, ["a"]).read_bytes()[:900]), None, None, "no whole", "CSV"),
    "empty": (lambda p: workbook(p), None, None, "table is empty", "header"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_fault_of_a_workbook_is_named(tmp_path, name):
    spoil, sheet, row, what, remedy = WRONG[name]
    spoil(tmp_path / "t.xlsx")
    with pytest.raises(InputError) as caught:
        read(tmp_path / "t.xlsx", sheet=sheet)
    (problem,) = caught.value.problems
    assert Path(problem.where).name == "t.xlsx"
    assert (problem.row, what in problem.what, remedy in problem.remedy) == (row, True, True), str(problem)


def test_an_archive_that_unpacks_to_more_than_a_table_is_not_unpacked(tmp_path, monkeypatch):
    path = workbook(tmp_path / "t.xlsx", ["a"], [1])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(1 << 20))
    assert read(path).cells == (("1",),)
    monkeypatch.setattr("prognobench.cohorts._table_formats._workbook._MOST_BYTES", 1 << 20)
    with pytest.raises(InputError, match="unpacks to"):
        read(path)
    monkeypatch.setattr(openpyxl, "load_workbook", lambda *_, **__: pytest.fail("the archive was unpacked"))
    assert sheet_names(path) == []


def test_a_fault_of_a_parquet_file_is_named(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="no whole Parquet file"):
        read(tmp_path / "t.parquet")
    pyarrow.parquet.write_table(pa.table({"a": [[1]]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="column 'a' holds list"):
        read(tmp_path / "t.parquet")


def test_the_sheet_stands_in_the_cohort_file(small):
    rows = list(csv.reader(small.table.read_text().splitlines()))
    book = openpyxl.load_workbook(workbook(small.path.parent / "table.xlsx", ["other"]))
    sheet = book.create_sheet("Data")
    for row in rows:
        sheet.append(row)
    book.save(small.path.parent / "table.xlsx")
    small.edit("manifest: table.csv", "manifest: table.xlsx\nsheet: Data")
    assert len(load_cohort(small.path).films) == 4
