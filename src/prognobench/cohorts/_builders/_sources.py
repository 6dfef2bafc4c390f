"""What several builders do with tables and DICOM trees."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from prognobench.frame import Document, InputError, Problems, nearest, sha256_file

from .._dicom import Header, Keep, passed_over, projection
from .._dicom_tree import read_tree, walk
from .._films import Fault
from .._spec import Text
from .._table_formats._workbook import sheet_names
from .._tables import Table, read_table
from ._builder import PICTURES, LeftOut, Made, Raw, RawFilm, misfit, plain_name

# Words that name another part of the body in the description of a series or study, and what is told of them: the
# descriptions themselves are free text, which stays in the files.
_ELSEWHERE = {
    "ABD": "abdomen", "ABDOMEN": "abdomen", "ABDOMINAL": "abdomen", "KUB": "abdomen", "PELVIS": "pelvis", "HIP": "leg",
    "HIPS": "leg", "FEMUR": "leg", "KNEE": "leg", "KNEES": "leg", "TIBIA": "leg", "FIBULA": "leg", "ANKLE": "leg",
    "FOOT": "leg", "FEET": "leg", "TOE": "leg", "TOES": "leg", "LEG": "leg", "SHOULDER": "arm", "HUMERUS": "arm",
    "ELBOW": "arm", "FOREARM": "arm", "WRIST": "arm", "HAND": "arm", "HANDS": "arm", "FINGER": "arm", "ARM": "arm",
    "SPINE": "spine", "CSPINE": "spine", "LSPINE": "spine", "LUMBAR": "spine", "CERVICAL": "spine", "NECK": "neck",
    "SKULL": "head", "SINUS": "head", "SINUSES": "head", "MANDIBLE": "head", "FACIAL": "head",
}  # fmt: skip


def listed(value: Any) -> Any:
    """Return a list, also of one text alone."""
    return [value] if isinstance(value, str) else value


Modalities = Annotated[list[Text], BeforeValidator(listed)]
Kept = Annotated[list[Keep], BeforeValidator(listed)]


class FilmOptions(Document):
    """Which DICOM files are films."""

    modalities: Modalities = Field(default_factory=lambda: ["CR", "DX"])
    """The modalities that are films."""
    keep: Kept = Field(default_factory=list)
    """What is used although it is left out by default."""


def radiographs(
    raw: Raw, table: Path, modalities: Collection[str], keep: Collection[Keep]
) -> tuple[list[Header], list[LeftOut]]:
    """Return the headers of the films of a DICOM tree, and what else it holds, by name; but for the table."""
    sources, links = walk(raw.folder)
    tree = read_tree(raw.folder, sources, raw.workers, raw.progress)
    left_out = [LeftOut(source, fault) for source, fault in (*links, *tree.faults)]
    other = Fault("no DICOM file", "Nothing is to be done, unless it is a film: then export it again as DICOM")
    there = table.resolve()
    left_out += [LeftOut(source, other, "file") for source in tree.others if raw.folder / source != there]
    headers = list(_used(tree.headers, modalities, keep, left_out))
    return list(_without_copies(raw.folder, headers, left_out)), left_out


def _used(
    headers: Iterable[Header], modalities: Collection[str], keep: Collection[Keep], left_out: list[LeftOut]
) -> Iterator[Header]:
    for header in headers:
        fault = passed_over(header, modalities, keep)
        if fault is None:
            yield header
        else:
            left_out.append(LeftOut(header.source, fault))


def is_tree(headers: Sequence[Header], left_out: Sequence[LeftOut]) -> bool:
    """Tell whether there was any DICOM file in the folder from which `radiographs` returned these."""
    return bool(headers) or any(one.kind != "file" for one in left_out)


def _without_copies(root: Path, headers: Sequence[Header], left_out: list[LeftOut]) -> Iterator[Header]:
    """Leave out what is the same file under two names; other files that share an identifier are told apart by bytes."""
    by_uid: dict[str, list[Header]] = {}
    for header in headers:
        by_uid.setdefault(header["SOPInstanceUID"], []).append(header)
    copies = set()
    for uid, same in by_uid.items():
        if uid and len(same) > 1:
            seen: set[str] = set()
            for header in same:
                content = sha256_file(root / header.source)
                if content in seen:
                    copies.add(header.source)
                    fault = Fault("the same file again under another name", "Nothing is to be done: one is kept")
                    left_out.append(LeftOut(header.source, fault))
                seen.add(content)
    yield from (header for header in headers if header.source not in copies)


def without_laterals(headers: Sequence[Header], left_out: list[LeftOut]) -> list[Header]:
    """Return the frontal films; a film that does not tell its projection counts as frontal."""
    kept = []
    for header in headers:
        if projection(header) == "LATERAL":
            left_out.append(LeftOut(header.source, Fault("a lateral film", "Say laterals=keep to have it")))
        else:
            kept.append(header)
    return kept


def chest_films(headers: Sequence[Header], left_out: list[LeftOut]) -> list[Header]:
    """Return the films of the chest; only those that name another part of the body are none.

    A series says more than its study: an abdominal series may hold a film of the chest, and the other way.
    """
    kept = []
    for header in headers:
        part = _part(header)
        if part in ("", "chest"):
            kept.append(header)
        else:
            left_out.append(
                LeftOut(header.source, Fault(f"another part of the body: {part}", "Say body=any to have it"))
            )
    return kept


def _part(header: Header) -> str:
    """Return the part of the body that a header names, in words of our own; nothing where it names none."""
    series, study = (_named(header[keyword]) for keyword in ("SeriesDescription", "StudyDescription"))
    examined = _named(header["BodyPartExamined"])
    if series or "chest" in (study, examined):
        return series or "chest"
    return study or examined or ("not the chest, by BodyPartExamined" if header["BodyPartExamined"] else "")


def _named(text: str) -> str:
    words = re.findall(r"[A-Z]+", text.upper())
    if any(word.startswith(("CHEST", "THORA", "LUNG", "CXR")) for word in words):
        return "chest"
    return next((_ELSEWHERE[word] for word in words if word in _ELSEWHERE), "")


def image_files(raw: Raw, options: FilmOptions, left_out: list[LeftOut]) -> list[str]:
    """Return the files whose ending says that they are images; links and DICOM files that are no films are left out."""
    sources, links = walk(raw.folder)
    left_out += [LeftOut(source, fault) for source, fault in links]
    pictures = [source for source in sources if PurePosixPath(source).suffix.lower() in PICTURES]
    named = [source for source in sources if PurePosixPath(source).suffix.lower() in (".dcm", ".dicom")]
    tree = read_tree(raw.folder, named, raw.workers, raw.progress)
    left_out += [LeftOut(source, fault) for source, fault in tree.faults]
    films = _used(tree.headers, options.modalities, options.keep, left_out)
    return sorted([*pictures, *(header.source for header in films)])


def named_table(path: Path, names: Mapping[str, str], needed: Collection[str], **place: str | int | None) -> Table:
    """Read a table whose columns are spelled in several ways, under the names that they have here.

    Parameters
    ----------
    path
        The file.
    names
        The name of a column by `plain_name` of its spellings; a column that is not listed keeps its own.
    needed
        Names that must be there.
    place
        `sheet` and `header`, as `read_table` takes them.

    Raises
    ------
    InputError
        With every fault of the table; a column that is missing is named with the nearest one.
    """
    problems = Problems()
    table = read_table(path, problems, **place)  # type: ignore[arg-type]
    if table is not None:
        spellings: dict[str, list[str]] = {}
        for column in table.columns:
            spellings.setdefault(names.get(plain_name(column), column), []).append(column)
        for name, several in spellings.items():
            if len(several) > 1:
                what = f"the columns {' and '.join(map(repr, several))} are both '{name}'"
                problems.add(path, what, "Remove or rename all but one", table.header)
        table = replace(table, columns=tuple(names.get(plain_name(column), column) for column in table.columns))
        for column in needed:
            if column not in table.columns:
                what = f"the layout does not fit: expected the column '{column}'"
                problems.add(path, what, nearest(column, table.columns), table.header)
    problems.raise_if_any()
    assert table is not None
    return table


def sheet_with(path: Path, names: Mapping[str, str], needed: Collection[str], header: int | None = None) -> str:
    """Return the sheet of a workbook that has the columns that are needed.

    Raises
    ------
    InputError
        No sheet has them, or several do; the sheets are named with their columns.
    """
    fitting, found = [], []
    sheets = sheet_names(path)
    for sheet in sheets:
        table = read_table(path, Problems(), sheet=sheet, header=header)
        columns = () if table is None else tuple(names.get(plain_name(column), column) for column in table.columns)
        if set(needed) <= set(columns):
            fitting.append(sheet)
        found.append(f"sheet {sheet}: {', '.join(columns[:12]) or 'no table'}")
    if len(fitting) == 1:
        return fitting[0]
    if len(sheets) == 1:
        return sheets[0]  # its missing columns are told when it is read
    row = "" if header is None else f" in row {header}"
    raise misfit(path, f"one sheet with the columns {', '.join(needed)}{row}", found)


def rows_by_id(table: Table, column: str, left_out: list[LeftOut]) -> dict[str, dict[str, str]]:
    """Return the rows of a table by an id; rows that contradict one another are left out, all of them."""
    rows: dict[str, dict[str, str]] = {}
    torn = set()
    problems = Problems()
    for number, cells in zip(table.rows, table.cells, strict=True):
        row = dict(zip(table.columns, cells, strict=True))
        name = row[column].strip()
        if not name:
            problems.add(table.path, f"the cell of '{column}' is empty", "Fill it in, or remove the row", number)
        elif rows.setdefault(name, row) != row:
            torn.add(name)
    if len(problems) == len(table.rows):
        raise InputError(problems)
    left_out += [LeftOut(f"row {one.row}", Fault(one.what, one.remedy), "row") for one in problems]
    for name in sorted(torn):
        fault = Fault("two rows of one id that contradict one another", "Correct the table")
        left_out.append(LeftOut(name, fault, "row"))
        del rows[name]
    return rows


def with_listed_labels(films: Iterable[RawFilm], tasks: Mapping[str, Mapping[str, Any]]) -> list[RawFilm]:
    """Return the films with their labels spelled as the tasks list them, where only capitals and blanks differ."""
    listed: dict[str, dict[str, str]] = {}
    for task in tasks.values():
        known = listed.setdefault(task["label"], {})
        for value in (*task["negative"], *task["positive"]):
            known.setdefault(value.casefold(), value)
    spelled = []
    for film in films:
        cells = dict(film.cells)
        for column, known in listed.items():
            text = cells.get(column, "").strip()
            cells[column] = known.get(text.casefold(), text)
        spelled.append(replace(film, cells=cells))
    return spelled


def first_of_each_patient(made: Sequence[Made]) -> tuple[list[RawFilm], list[LeftOut]]:
    """Keep the earliest of each patient's films that could be made."""
    first = earliest(made)
    kept = [one.film for one in made if first[one.film.patient] is one]
    fault = Fault("a later film of a patient of whom the first is used", "Say films=all to have it")
    return kept, [LeftOut(one.film.source, fault) for one in made if first[one.film.patient] is not one]


def earliest(made: Sequence[Made]) -> dict[str, Made]:
    """Return the earliest film of each patient."""
    first: dict[str, Made] = {}
    for one in made:
        other = first.setdefault(one.film.patient, one)
        if one.film.order < other.film.order:
            first[one.film.patient] = one
    return first
