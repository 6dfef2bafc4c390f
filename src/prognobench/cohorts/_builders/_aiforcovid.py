"""AIforCOVID: films in DICOM with a workbook a release, or the PNG files of its challenge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from .._films import Fault
from .._spec import Text
from ._builder import Builder, LeftOut, Raw, RawFilm, Selection, film_name, misfit, plain_name
from ._sources import FilmOptions, image_files, named_table, rows_by_id, with_listed_labels

CLINICAL = (
    "PositivityAtAdmission", "Temp_C", "DaysFever", "Cough", "DifficultyInBreathing", "WBC", "RBC", "CRP", "Fibrinogen",
    "Glucose", "PCT", "LDH", "INR", "D_dimer", "Ox_percentage", "PaO2", "SaO2", "PaCO2", "pH", "CardiovascularDisease",
    "IschemicHeartDisease", "AtrialFibrillation", "HeartFailure", "Ictus", "HighBloodPressure", "Diabetes", "Dementia",
    "BPCO", "Cancer", "ChronicKidneyDisease", "RespiratoryFailure", "Obesity",
)  # fmt: skip
_COLUMNS = ("Hospital", "Position", "Sex", "Age", "Prognosis", "Death", *CLINICAL)
_NEEDED = ("ImageFile", "Hospital", "Prognosis", "Death")
_NAMES = {plain_name(name): name for name in (*_COLUMNS, "ImageFile", "Row_number")}
_TASKS = {
    "AFC": {"label": "Prognosis", "positive": ["SEVERE"], "negative": ["MILD", "LIEVE"]},
    "AFC_m": {"label": "Death", "positive": ["1"], "negative": ["0"]},
}
_RELEASES = ("aiforcovid", "aiforcovidr2", "aiforcovidr3")
_CHALLENGE = ("trainclindata", "testclindata", "completetestclindata")
# Named in a public script of the authors of arXiv 2506.18434 as left out, without a reason.
_REJECTED = frozenset(
    f"P_{number}" for number in ("3_391", "3_377", "3_20", "3_108", "1_16", "3_341", "3_411", "3_208", "1_47", "1_118")
)


class Options(FilmOptions):
    """What is open in the publications."""

    rejected: Literal["keep", "leave_out"] = "keep"
    """Ten films that a public script of the paper's authors leaves out, although the paper counts all 1585."""
    boxes: Text | None = None
    """A table with `ImageFile` and a box for each film, which the step `crop` of a preprocessing of your own reads."""


def select(raw: Raw, options: Options) -> Selection:
    """Join the workbooks' rows to the films by `ImageFile`."""
    left_out: list[LeftOut] = []
    rows: dict[str, dict[str, str]] = {}
    for path in _tables(raw):
        table = named_table(path, _NAMES, _NEEDED)
        for name, row in rows_by_id(table, "ImageFile", left_out).items():
            name = _stem(name)
            if name in rows:
                fault = Fault("the id stands in two tables", "Remove one of the rows")
                left_out.append(LeftOut(name, fault, "row"))
            else:
                rows[name] = row
    sources = _by_stem(image_files(raw, options, left_out), left_out)
    if not sources:
        raise misfit(raw.folder, "films named after ImageFile, such as 'imgs/P_1.dcm' or 'TrainSet/P_1.png'")
    boxes = _boxes(options, left_out)
    films = [
        replace(film, cells={**boxes.get(film.patient, {}), **film.cells})
        for film in with_listed_labels(_films(rows, sources, options, left_out), _TASKS)
    ]
    missing = Fault("a row without film", "Check that the folders imgs, imgs_r2 and imgs_r3 are all there")
    left_out += [LeftOut(name, missing, "row") for name in rows if name not in sources]
    stranger = Fault("a film without row in the tables", "Check that every release's workbook is there")
    left_out += [LeftOut(source, stranger) for name, source in sources.items() if name not in rows]
    return Selection(films, _COLUMNS, _document(), left_out)


def _tables(raw: Raw) -> list[Path]:
    known = (*_RELEASES, *_CHALLENGE)
    found = raw.find_all(lambda name: plain_name(Path(name).stem) in known and Path(name).suffix.lower() != ".xls")
    stems = {plain_name(path.stem) for path in found}
    if not found:
        old = raw.find_all(lambda name: Path(name).suffix.lower() == ".xls")
        told = " saved as .xlsx, which are there as .xls" if old else ""
        raise misfit(raw.folder, f"the workbooks 'AIforCOVID.xlsx', 'AIforCOVID_r2.xlsx', 'AIforCOVID_r3.xlsx'{told}")
    # The complete table of the test set has what the other one has, and the outcomes.
    return [p for p in found if not (plain_name(p.stem) == "testclindata" and "completetestclindata" in stems)]


def _boxes(options: Options, left_out: list[LeftOut]) -> dict[str, dict[str, str]]:
    if options.boxes is None:
        return {}
    table = named_table(Path(options.boxes), _NAMES, ["ImageFile"])
    return {_stem(name): row for name, row in rows_by_id(table, "ImageFile", left_out).items()}


def _stem(image: str) -> str:
    path = PurePosixPath(image)
    return path.stem if path.suffix.lower() in (".dcm", ".png", ".jpg", ".jpeg") else path.name


def _by_stem(sources: list[str], left_out: list[LeftOut]) -> dict[str, str]:
    by_stem: dict[str, str] = {}
    for source in sources:
        if by_stem.setdefault(PurePosixPath(source).stem, source) != source:
            fault = Fault("a second file of that name", "Keep the one that belongs to the table")
            left_out.append(LeftOut(source, fault))
    return by_stem


def _films(
    rows: dict[str, dict[str, str]], sources: dict[str, str], options: Options, left_out: list[LeftOut]
) -> Iterator[RawFilm]:
    used: set[str] = set()
    for name, row in rows.items():
        if name in _REJECTED and options.rejected == "leave_out":
            fault = Fault("one of ten films that the paper's authors left out", "Say rejected=keep to have it")
            left_out.append(LeftOut(name, fault))
        elif name in sources:
            cells = {column: row.get(column, "") for column in _COLUMNS}
            yield RawFilm(sources[name], film_name(name, used), name, cells)


def _document() -> dict[str, Any]:
    return {
        "columns": {
            "image": "image",
            "patient": "patient",
            "center": "Hospital",
            "view": "Position",
            "sex": "Sex",
            "age": "Age",
        },
        "roles": {"clinical": list(CLINICAL), "outcome": ["Prognosis", "Death"]},
        "tasks": _TASKS,
    }


BUILDER = Builder("aiforcovid", Options, select, "AIforCOVID, six Italian hospitals")
