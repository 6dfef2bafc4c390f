"""A team's own DICOM files and its table of outcomes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from prognobench.frame import Document, Problems, nearest

from .._dicom import ALLOWED_TAGS, Header, age_in_years, parse_date, projection
from .._films import Fault
from .._spec import ColumnNames, Name, TaskSpec, Text
from .._tables import Table, read_table
from ._builder import Builder, LeftOut, Raw, RawFilm, Selection, film_name
from ._sources import Kept, Modalities, listed, radiographs

_TAGS = (
    "Modality", "PatientSex", "PatientAge", "PhotometricInterpretation", "BitsStored", "BodyPartExamined",
    "BurnedInAnnotation", "Manufacturer", "ManufacturerModelName",
)  # fmt: skip
# How the column that a table is joined by may be called, letters and digits only.
_KEYS = {
    "patient": ("patientid", "patient", "topatientid"),
    "study": ("studyinstanceuid", "studyuid", "study"),
    "file": ("file", "filename", "image", "imagefile"),
}
_DEMOGRAPHIC = ("sex", "age")


class DicomOptions(Document):
    """How the files and the table come together."""

    name: Name = "dicom"
    """What the cohort is called."""
    table: Text
    """The table of outcomes: CSV, TSV, XLSX or Parquet."""
    sheet: Text | None = None
    """Its sheet, where a workbook has several."""
    header: Annotated[int, Field(ge=1)] | None = None
    """The row of its header; by default the first that holds anything."""
    match: Literal["patient", "study", "file"] = "patient"
    """What joins them: PatientID, StudyInstanceUID, or the file's name with or without its folders and ending."""
    column: Text | None = None
    """The column of the table that holds it; by default the one that is called so."""
    tasks: Annotated[dict[Name, TaskSpec], Field(min_length=1)]
    """The outcomes, as in `cohort.yaml`."""
    patient: Text | None = None
    """A column of the table that says who the patient is; by default the PatientID does."""
    center: Text | None = None
    """The column of the table that holds the hospital."""
    columns: ColumnNames | None = None
    """Columns of the table to keep; all by default, with pseudonyms those that the other options name."""
    tags: Annotated[list[Text], BeforeValidator(listed)] = Field(default_factory=lambda: list(_TAGS))
    """DICOM tags that become columns, by keyword; only those of the allow-list can."""
    modalities: Modalities = Field(default_factory=lambda: ["CR", "DX"])
    """The modalities that are films."""
    keep: Kept = Field(default_factory=list)
    """What is used although it is left out by default."""


def select(raw: Raw, options: DicomOptions) -> Selection:
    """Read the headers and the table, and join them."""
    problems = Problems()
    for tag in options.tags:
        if tag not in ALLOWED_TAGS:
            what = f"the tag '{tag}' may not leave the files"
            problems.add("argument 'tags'", what, nearest(tag, list(ALLOWED_TAGS)))
    table = read_table(Path(options.table), problems, sheet=options.sheet, header=options.header)
    key = None if table is None else _key_column(table, options, problems)
    problems.raise_if_any()
    assert table is not None and key is not None
    rows = _rows_by_key(table, key, problems)
    problems.raise_if_any()

    headers, left_out = radiographs(raw, Path(options.table), options.modalities, options.keep)
    joined, orphans = _join(headers, rows, options, left_out)
    left_out += [
        LeftOut(text, Fault("a row without film", "Check the spelling, such as leading zeros"), "row")
        for text in orphans
    ]
    columns = _columns(table, key, options)
    films = list(_films(joined, columns, options, left_out))
    burned = [film.source for film in films if film.cells.get(columns.get("BurnedInAnnotation", ""), "") == "YES"]
    if "BurnedInAnnotation" not in options.tags:
        burned = [header.source for header, _ in joined if header["BurnedInAnnotation"].upper() == "YES"]
    named = {options.center, *(spec.label for spec in options.tasks.values()), *(options.columns or ())}
    named |= {column for spec in options.tasks.values() for column in spec.where}
    identifiers = frozenset(f"{column}" for column in table.columns if column not in named)
    return Selection(
        films=films,
        columns=tuple(columns.values()),
        document=_document(columns, options),
        left_out=left_out,
        identifiers=frozenset(columns[f"table.{column}"] for column in identifiers if f"table.{column}" in columns),
        burned_in=burned,
    )


def _key_column(table: Table, options: DicomOptions, problems: Problems) -> str | None:
    wanted = [options.column, options.patient, options.center, *(options.columns or ())]
    for spec in options.tasks.values():
        wanted += [spec.label, *spec.where]
    for column in dict.fromkeys(wanted):
        if column is not None and column not in table.columns:
            what = f"the table has no column '{column}'"
            problems.add(table.path, what, nearest(column, table.columns), table.header)
    if options.column is not None:
        return options.column
    likely = [name for name in table.columns if re.sub(r"[\W_]+", "", name).casefold() in _KEYS[options.match]]
    if len(likely) == 1:
        return likely[0]
    what = f"it is not clear which column holds the {options.match}"
    problems.add(table.path, what, f"Say column=NAME. Known: {', '.join(table.columns)}", table.header)
    return None


def _rows_by_key(table: Table, key: str, problems: Problems) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    first: dict[str, int] = {}
    place = table.columns.index(key)
    for number, cells in zip(table.rows, table.cells, strict=True):
        text = unicodedata.normalize("NFC", cells[place])
        if not text:
            problems.add(table.path, f"the cell of '{key}' is empty", "Fill it in, or remove the row", number)
        elif text in rows and rows[text] != dict(zip(table.columns, cells, strict=True)):
            what = f"'{key}' is the same as in row {first[text]}, and other cells differ"
            problems.add(table.path, what, "Keep one row for each, or join by study or file", number)
        else:
            rows[text] = dict(zip(table.columns, cells, strict=True))
            first.setdefault(text, number)
    return rows


def _join(
    headers: Sequence[Header],
    rows: Mapping[str, dict[str, str]],
    options: DicomOptions,
    left_out: list[LeftOut],
) -> tuple[list[tuple[Header, dict[str, str]]], list[str]]:
    """Return the films that have a row, with it, and the keys of the rows that have no film."""
    keys = _file_keys(headers, rows) if options.match == "file" else {}
    tag = {"patient": "PatientID", "study": "StudyInstanceUID"}.get(options.match, "")
    joined, used = [], set()
    for header in headers:
        key = keys.get(header.source, "") if options.match == "file" else unicodedata.normalize("NFC", header[tag])
        if key in rows:
            joined.append((header, rows[key]))
            used.add(key)
        elif options.match != "file" and not key:
            left_out.append(LeftOut(header.source, Fault(f"the header has no {tag}", "Join by another key")))
        else:
            what = f"a film whose {options.match} has no row in the table"
            left_out.append(LeftOut(header.source, Fault(what, "Add the row, or leave the film away")))
    return joined, [key for key in rows if key not in used]


def _file_keys(headers: Iterable[Header], rows: Mapping[str, Any]) -> dict[str, str]:
    """Return for each file the key that names it: its path, else its name, else that without its ending."""
    named: dict[str, list[str]] = {}
    for header in headers:
        path = PurePosixPath(unicodedata.normalize("NFC", header.source))
        for spelling in dict.fromkeys([str(path), path.name, path.stem]):
            named.setdefault(spelling, []).append(header.source)
    # A name that two folders have says nothing; their paths must stand in the table.
    return {named[key][0]: key for key in rows if len(named.get(key, [])) == 1}


def _columns(table: Table, key: str, options: DicomOptions) -> dict[str, str]:
    """Return the name that each column of the table and each tag has in the cohort, in order."""
    kept = [column for column in table.columns if options.columns is None or column in options.columns]
    needed = [options.center, *(spec.label for spec in options.tasks.values())]
    needed += [column for spec in options.tasks.values() for column in spec.where]
    kept += [column for column in dict.fromkeys(needed) if column is not None and column not in kept]
    if options.match != "study":
        kept = [column for column in kept if column not in (key, options.patient)]
    names: dict[str, str] = {"view": "view", "day": "day"}
    for tag in options.tags:
        names[tag] = ALLOWED_TAGS[tag]
    taken = {"image", "patient", *names.values()}
    for column in kept:
        # A column of the table that the tasks name keeps its name; the tag gives way.
        name = column
        if name in taken:
            name = f"table_{column}"
        names[f"table.{column}"] = name
        taken.add(name)
    return names


def _films(
    joined: Sequence[tuple[Header, dict[str, str]]],
    columns: Mapping[str, str],
    options: DicomOptions,
    left_out: list[LeftOut],
) -> Iterator[RawFilm]:
    first_day: dict[str, Any] = {}
    patients = []
    for header, row in joined:
        patient = (row[options.patient] if options.patient else header["PatientID"]).strip()
        patients.append(patient)
        date = parse_date(header.date)
        if date is not None:
            first_day[patient] = min(date, first_day.get(patient, date))
    used: set[str] = set()
    for (header, row), patient in zip(joined, patients, strict=True):
        if not patient:
            fault = Fault("nothing says whose film it is: the PatientID is empty", "Say patient=COLUMN of the table")
            left_out.append(LeftOut(header.source, fault))
            continue
        date = parse_date(header.date)
        cells = {"view": projection(header), "day": "" if date is None else str((date - first_day[patient]).days)}
        for tag in options.tags:
            text = header[tag]
            cells[columns[tag]] = age_in_years(text) if tag == "PatientAge" else text
        cells |= {columns[f"table.{column}"]: text for column, text in row.items() if f"table.{column}" in columns}
        # The whole row is at hand for a box, whatever of it is kept.
        cells = {column: text for column, text in row.items() if column not in cells} | cells
        name = film_name(header["SOPInstanceUID"] or header.source, used)
        yield RawFilm(header.source, name, patient, cells, header.order)


def _document(columns: Mapping[str, str], options: DicomOptions) -> dict[str, Any]:
    def name(column: str) -> str:
        return columns[f"table.{column}"]

    keys = {"image": "image", "patient": "patient", "view": "view"}
    if options.center is not None:
        keys["center"] = name(options.center)
    keys |= {ALLOWED_TAGS[tag]: columns[tag] for tag in ("PatientSex", "PatientAge") if tag in options.tags}
    tasks = {}
    for task, spec in options.tasks.items():
        said = {"label": name(spec.label), "positive": spec.positive, "negative": spec.negative}
        where = {name(column): values for column, values in spec.where.items()}
        tasks[task] = said | ({"where": where} if where else {})
    seen = [columns[tag] for tag in options.tags if ALLOWED_TAGS[tag] not in _DEMOGRAPHIC]
    outcomes = list(dict.fromkeys(name(spec.label) for spec in options.tasks.values()))
    return {"name": options.name, "columns": keys, "roles": {"acquisition": seen, "outcome": outcomes}, "tasks": tasks}


BUILDER = Builder("dicom", DicomOptions, select, "your own DICOM files and a table of outcomes")
