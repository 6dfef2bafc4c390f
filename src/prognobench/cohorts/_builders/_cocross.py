"""CoCross: several films of each intensive care patient, and a workbook with several rows of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from .._films import Fault
from .._spec import Text
from .._table_formats._workbook import sheet_names
from .._tables import Table
from ._builder import Builder, LeftOut, Raw, RawFilm, Selection, film_name, misfit, plain_name
from ._sources import FilmOptions, image_files, named_table

_CLINICAL = ("SOFA", "APACHE II", "Charlson Comorbidity index")
_COLUMNS = ("ICU Outcome", "Age", *_CLINICAL)
_DEATH = "Death"
_NEEDED = ("ID", "ICU Outcome")
_NAMES = {plain_name(name): name for name in ("ID", *_COLUMNS)}


class Options(FilmOptions):
    """What is open in the publications."""

    sheet: Text = "Data"
    """The sheet of the workbook."""


def select(raw: Raw, options: Options) -> Selection:
    """Join the films to the patients by the id that begins a film's name or names its folder."""
    path = _workbook(raw, options.sheet)
    left_out: list[LeftOut] = []
    table = named_table(path, _NAMES, _NEEDED, sheet=options.sheet)
    patients = _patients(table, left_out)
    sources = image_files(raw, options, left_out)
    if not sources:
        raise misfit(raw.folder, "image files named '<ID>_….jpeg' or in a folder named '<ID>'")
    films = list(_films(sources, patients, left_out))
    seen = {film.patient for film in films}
    missing = Fault("a patient without film", "Check that the films' names begin with the ID")
    left_out += [LeftOut(name, missing, "patient") for name in patients if name not in seen]
    columns = tuple(column for column in _COLUMNS if column in table.columns)
    outcomes = {row.get("ICU Outcome", "") for row in patients.values()} - {""}
    if _DEATH not in outcomes:
        raise misfit(path, f"'{_DEATH}' among the outcomes in the column 'ICU Outcome'", sorted(outcomes))
    alive = sorted(outcomes - {_DEATH}) or ["Alive"]
    notes = [f"Every outcome but '{_DEATH}' counts as alive: {', '.join(alive)}."]
    return Selection(films, columns, _document(columns, alive), left_out, notes=notes)


def _workbook(raw: Raw, sheet: str) -> Path:
    books = raw.find_all(lambda name: name.lower().endswith(".xlsx"))
    fitting = [path for path in books if sheet in sheet_names(path)]
    if len(fitting) == 1:
        return fitting[0]
    found = [f"{path.name} ({', '.join(sheet_names(path)) or 'no sheets'})" for path in books]
    raise misfit(raw.folder, f"one workbook (.xlsx) with a sheet '{sheet}'", found)


def _patients(table: Table, left_out: list[LeftOut]) -> dict[str, dict[str, str]]:
    """Return the first cell of each column that is not empty; patients with two outcomes are left out."""
    patients: dict[str, dict[str, str]] = {}
    torn = []
    for number, cells in zip(table.rows, table.cells, strict=True):
        row = dict(zip(table.columns, cells, strict=True))
        name = row["ID"].strip()
        if not name:
            fault = Fault("a row without ID", "Fill it in, or remove the row")
            left_out.append(LeftOut(f"row {number}", fault, "row"))
            continue
        known = patients.setdefault(name, {})
        outcome = row["ICU Outcome"].strip()
        row["ICU Outcome"] = _DEATH if outcome.casefold() == _DEATH.casefold() else outcome
        if row["ICU Outcome"] and known.get("ICU Outcome", "") not in ("", row["ICU Outcome"]):
            torn.append(name)
        for column, text in row.items():
            if not known.get(column):
                known[column] = text
    for name in dict.fromkeys(torn):
        fault = Fault("a patient whose rows have different outcomes", "Correct the workbook")
        left_out.append(LeftOut(name, fault, "patient"))
        del patients[name]
    return patients


def _films(sources: list[str], patients: dict[str, dict[str, str]], left_out: list[LeftOut]) -> Iterator[RawFilm]:
    used: set[str] = set()
    for source in sources:
        patient = _patient(source, patients)
        if patient is None:
            fault = Fault("a film whose name begins with no ID of the workbook", "Name it '<ID>_….jpeg'")
            left_out.append(LeftOut(source, fault))
            continue
        path = PurePosixPath(source)
        name = film_name(path.stem if path.stem.startswith(patient) else f"{patient}_{path.stem}", used)
        cells = {column: patients[patient].get(column, "") for column in _COLUMNS}
        yield RawFilm(source, name, patient, cells, _natural(source))


def _patient(source: str, patients: dict[str, dict[str, str]]) -> str | None:
    path = PurePosixPath(source)
    likely = [path.stem, path.stem.split("_")[0], path.stem.rsplit("_", 1)[0], *reversed(path.parts[:-1])]
    return next((name for name in likely if name in patients), None)


def _natural(source: str) -> tuple[Any, ...]:
    """Return what sorts `film_10` behind `film_9`."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", source))


def _document(columns: tuple[str, ...], alive: list[str]) -> dict[str, Any]:
    keys = {"image": "image", "patient": "patient"} | ({"age": "Age"} if "Age" in columns else {})
    return {
        "columns": keys,
        "roles": {"clinical": [name for name in _CLINICAL if name in columns], "outcome": ["ICU Outcome"]},
        "tasks": {"CC": {"label": "ICU Outcome", "positive": [_DEATH], "negative": alive}},
    }


BUILDER = Builder("cocross", Options, select, "CoCross, intensive care patients")
