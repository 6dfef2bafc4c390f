"""COVID-19-AR: a download of The Cancer Imaging Archive with CR, DX and CT mixed, and a workbook."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from .._dicom import Header, projection
from .._films import Fault
from ._builder import Builder, LeftOut, Made, Raw, RawFilm, Selection, Settle, film_name, misfit, plain_name
from ._sources import (
    FilmOptions,
    chest_films,
    first_of_each_patient,
    is_tree,
    named_table,
    radiographs,
    rows_by_id,
    sheet_with,
    with_listed_labels,
    without_laterals,
)

_WORKBOOK = "COVID-19 AR Clinical Correlates July202020.xlsx"
_HEADER = 2  # the first row is a title
_CLINICAL = (
    "LATEST_BMI", "LATEST WEIGHT", "LATEST HEIGHT", "TUBERCULOSIS", "SYSTEMIC LUPUS ERYTHMATOSUS",
    "RHEUMATOID ARTHRITIS", "EXTENSIVE BURNS", "ASPLENIA", "HYPOSPLENIA", "MEASLES", "CYTOMEGALOVIRUS", "CHICKEN POX",
    "HERPES ZOSTER", "MALNUTRITION", "CURRENT PREGNANT", "CHRONIC KIDNEY DISEASE", "DIABETES TYPE I",
    "DIABETES TYPE II", "TRANSPLANT", "HEMODIALYSIS Pre Diagnosis", "CANCER",
)  # fmt: skip
_OUTCOMES = ("ICU Admit", "# ICU admits", "MORTALITY", "HEMODIALYSIS Post diagnosis")
_KNOWN = ("AGE", "SEX", "RACE", *_CLINICAL, *_OUTCOMES)  # not the ZIP code
_NEEDED = ("PATIENT_ID", "ICU Admit")
_TASKS = {"CAR": {"label": "ICU Admit", "positive": ["Y", "1"], "negative": ["N", "0"]}}
_NAMES = {plain_name(name): name for name in ("PATIENT_ID", *_KNOWN)}
# The descriptions that a published reader of the collection keeps.
_DESCRIPTIONS = (
    "XR CHEST AP PORTABLE",
    "XR CHEST AP ONLY",
    "XR CHEST PA AND LATERAL",
    "XR ACUTE ABDOMINAL SERIES W PA CHEST PORTABLE",
    "XR CHEST PA ONLY",
)


class Options(FilmOptions):
    """What is open in the publications."""

    films: Literal["first", "all"] = "first"
    """Of each patient the earliest frontal film, or all; which one the paper took is not published."""
    laterals: Literal["leave_out", "keep"] = "leave_out"
    """Lateral films, as their ViewPosition or description says."""
    body: Literal["chest", "any"] = "chest"
    """Films of the chest, as body part, series or study say, or of any part of the body."""
    descriptions: Literal["any", "listed"] = "any"
    """Films of any study description, or of the five that a published reader keeps."""
    darkest: int | None = None
    """Leave out films whose largest stored value is below this; a published reader took 2000."""
    brightest: int | None = None
    """Leave out films whose largest stored value is above this; a published reader took 10000."""


def select(raw: Raw, options: Options) -> Selection:
    """Join the workbook's rows to the radiographs by the digits of the PatientID."""
    path = raw.find(_WORKBOOK, _is_workbook)
    sheet = sheet_with(path, _NAMES, _NEEDED, _HEADER)
    table = named_table(path, _NAMES, _NEEDED, sheet=sheet, header=_HEADER)
    rows_left_out: list[LeftOut] = []
    rows = {_digits(name): row for name, row in rows_by_id(table, "PATIENT_ID", rows_left_out).items()}
    headers, left_out = radiographs(raw, path, options.modalities, options.keep)
    if not is_tree(headers, left_out):
        raise misfit(raw.folder, "DICOM files, such as 'COVID-19-AR/COVID-19-AR-16406504/…/1-1.dcm'")
    left_out += rows_left_out
    if options.body == "chest":
        headers = chest_films(headers, left_out)
    if options.descriptions == "listed":
        headers = list(_described(headers, left_out))
    if options.laterals == "leave_out":
        headers = without_laterals(headers, left_out)
    films = with_listed_labels(_films(headers, rows, left_out), _TASKS)
    seen = {film.patient for film in films}
    missing = Fault("a patient without radiograph", "Nothing is to be done: some have a CT alone")
    left_out += [LeftOut(row["PATIENT_ID"], missing, "row") for row in rows.values() if row["PATIENT_ID"] not in seen]
    columns = ("view", *(column for column in _KNOWN if column in table.columns))
    return Selection(films, columns, _document(columns), left_out, _settle(options))


def _is_workbook(name: str) -> bool:
    return "covid19arclinicalcorrelates" in plain_name(name) and Path(name).suffix.lower() in (".xlsx", ".csv")


def _digits(patient: str) -> str:
    """Return the number that ends an id: workbooks and headers write it with and without the collection's name."""
    match = re.search(r"(\d+)\s*$", patient)
    return match[1] if match else patient.strip()


def _described(headers: Sequence[Header], left_out: list[LeftOut]) -> Iterator[Header]:
    for header in headers:
        if header["StudyDescription"].upper() in _DESCRIPTIONS:
            yield header
        else:
            fault = Fault("a study description that is not listed", "Say descriptions=any to have it")
            left_out.append(LeftOut(header.source, fault))


def _films(headers: Sequence[Header], rows: dict[str, dict[str, str]], left_out: list[LeftOut]) -> Iterator[RawFilm]:
    used: set[str] = set()
    for header in headers:
        row = rows.get(_digits(header["PatientID"]))
        if row is None:
            fault = Fault("a film whose patient has no row in the workbook", "Check the workbook")
            left_out.append(LeftOut(header.source, fault))
            continue
        cells = {"view": projection(header), **row}
        name = film_name(header["SOPInstanceUID"] or header.source, used)
        yield RawFilm(header.source, name, row["PATIENT_ID"], cells, header.order)


def _settle(options: Options) -> Settle:
    def settle(made: Sequence[Made]) -> tuple[list[RawFilm], list[LeftOut]]:
        usable, left_out = [], []
        for one in made:
            if options.darkest is not None and one.largest < options.darkest:
                fault = Fault(f"its largest stored value is below {options.darkest}", "Say darkest= to have it")
            elif options.brightest is not None and one.largest > options.brightest:
                fault = Fault(f"its largest stored value is above {options.brightest}", "Say brightest= to have it")
            else:
                usable.append(one)
                continue
            left_out.append(LeftOut(one.film.source, fault))
        if options.films == "all":
            return [one.film for one in usable], left_out
        kept, later = first_of_each_patient(usable)
        return kept, [*left_out, *later]

    return settle


def _document(columns: tuple[str, ...]) -> dict[str, Any]:
    keys = {"image": "image", "patient": "patient", "view": "view"}
    keys |= {key: name for key, name in (("sex", "SEX"), ("age", "AGE")) if name in columns}
    return {
        "columns": keys,
        "roles": {
            "demographic": [name for name in ("RACE",) if name in columns],
            "clinical": [name for name in _CLINICAL if name in columns],
            "outcome": [name for name in _OUTCOMES if name in columns],
        },
        "tasks": _TASKS,
    }


BUILDER = Builder("covid19ar", Options, select, "COVID-19-AR of The Cancer Imaging Archive")
