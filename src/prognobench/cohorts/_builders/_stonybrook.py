"""COVID-19-NY-SBU: a download of The Cancer Imaging Archive with many films of each patient, and a clinical table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from .._dicom import Header, parse_date, projection
from .._films import Fault
from ._builder import Builder, LeftOut, Made, Raw, RawFilm, Selection, film_name, misfit, plain_name
from ._sources import (
    FilmOptions,
    chest_films,
    earliest,
    is_tree,
    named_table,
    radiographs,
    rows_by_id,
    with_listed_labels,
    without_laterals,
)

_TABLE = "deidentified_overlap_tcia.csv.cleaned.csv_20210806.csv"
_DEMOGRAPHIC = ("age.splits", "gender_concept_name")
_CLINICAL = (
    "htn_v", "dm_v", "cad_v", "hf_ef_v", "ckd_v", "malignancies_v", "copd_v", "other_lung_disease_v", "acei_v", "arb_v",
    "antibiotics_use_v", "nsaid_use_v", "days_prior_sx", "smoking_status_v", "cough_v", "dyspnea_admission_v",
    "nausea_v", "kidney_transplant", "BMI.over30",
)  # fmt: skip
_OUTCOMES = (
    "last.status", "is_icu", "was_ventilated", "invasive_vent_days", "length_of_stay",
    "Acute.Hepatic.Injury..during.hospitalization.", "Acute.Kidney.Injury..during.hospitalization.",
    "kidney_replacement_therapy", "therapeutic.exnox.Boolean", "therapeutic.heparin.Boolean",
    "Other.anticoagulation.therapy",
)  # fmt: skip
_NEEDED = ("to_patient_id", "last.status", "is_icu")
_NAMES = {plain_name(name): name for name in ("to_patient_id", *_DEMOGRAPHIC, *_CLINICAL, *_OUTCOMES)}
_DEATH = {"label": "last.status", "positive": ["deceased"], "negative": ["discharged"]}
_ICU = {"label": "is_icu", "positive": ["True", "TRUE"], "negative": ["False", "FALSE"]}
_FIRST = {"where": {"first_film": ["yes"]}}
_TASKS: dict[str, dict[str, Any]] = {
    "NY_small": _DEATH | _FIRST,
    "NY_all": _DEATH,
    "NY_icu": _ICU | _FIRST,
    "NY_all_icu": _ICU,
}
_ENHANCED = re.compile(r"\b(?:enhanc|contrast|clahe|processed)", re.IGNORECASE)


class Options(FilmOptions):
    """What is open in the publications."""

    body: Literal["chest", "any"] = "chest"
    """Films of the chest, as body part, series or study say, or of any part of the body."""
    laterals: Literal["leave_out", "keep"] = "leave_out"
    """Lateral films, as their ViewPosition or description says."""
    derived: Literal["leave_out", "keep"] = "leave_out"
    """Copies made of another film: those that refer to one (ReferencedImageSequence, SourceImageSequence), and those
    whose series is described as enhanced, contrast or processed."""


def select(raw: Raw, options: Options) -> Selection:
    """Join the clinical table to the radiographs by the PatientID."""
    path = raw.find(_TABLE, _is_table)
    table = named_table(path, _NAMES, _NEEDED)
    rows_left_out: list[LeftOut] = []
    rows = rows_by_id(table, "to_patient_id", rows_left_out)
    headers, left_out = radiographs(raw, path, options.modalities, options.keep)
    if not is_tree(headers, left_out):
        raise misfit(raw.folder, "DICOM files, such as 'COVID-19-NY-SBU/A670621/…/1-1.dcm'")
    left_out += rows_left_out
    if options.body == "chest":
        headers = chest_films(headers, left_out)
    if options.derived == "leave_out":
        headers = list(_raw_films(headers, left_out))
    if options.laterals == "leave_out":
        headers = without_laterals(headers, left_out)
    films = with_listed_labels(_films(headers, rows, left_out), _TASKS)
    seen = {film.patient for film in films}
    missing = Fault("a patient without radiograph", "Nothing is to be done: some have none")
    left_out += [LeftOut(name, missing, "row") for name in rows if name not in seen]
    columns = (
        "view", "day", "first_film", "manufacturer",
        *(column for column in table.columns if column != "to_patient_id"),
    )  # fmt: skip
    return Selection(
        films, columns, _document(columns), left_out, _mark_first, identifiers=frozenset({"visit_start_datetime"})
    )


def _is_table(name: str) -> bool:
    plain = plain_name(name)
    return plain.startswith("deidentifiedoverlaptcia") and "template" not in plain and plain.endswith("csv")


def _raw_films(headers: Sequence[Header], left_out: list[LeftOut]) -> Iterator[Header]:
    for header in headers:
        if header["ReferencedImageSequence"] or header["SourceImageSequence"]:
            what = "a derived film: it refers to the one that it was made of"
        elif _ENHANCED.search(header["SeriesDescription"]):
            what = "a contrast-enhanced copy: its series says so"
        else:
            yield header
            continue
        left_out.append(LeftOut(header.source, Fault(what, "Say derived=keep to have it")))


def _films(headers: Sequence[Header], rows: dict[str, dict[str, str]], left_out: list[LeftOut]) -> Iterator[RawFilm]:
    used: set[str] = set()
    for header in headers:
        patient = header["PatientID"]
        if patient not in rows:
            fault = Fault("a film whose patient has no row in the clinical table", "Check the table")
            left_out.append(LeftOut(header.source, fault))
            continue
        cells = {**rows[patient], "view": projection(header), "manufacturer": header["Manufacturer"]}
        name = film_name(header["SOPInstanceUID"] or header.source, used)
        yield RawFilm(header.source, name, patient, cells, header.order)


def _mark_first(made: Sequence[Made]) -> tuple[list[RawFilm], list[LeftOut]]:
    """Say of each film whether it is the patient's earliest, and how many days after that it was taken."""
    first = earliest(made)
    films = []
    for one in made:
        beginning = first[one.film.patient]
        began, taken = parse_date(beginning.film.order[0]), parse_date(one.film.order[0])
        day = "" if began is None or taken is None else str((taken - began).days)
        cells = {**one.film.cells, "first_film": "yes" if beginning is one else "no", "day": day}
        films.append(replace(one.film, cells=cells))
    return films, []


def _document(columns: tuple[str, ...]) -> dict[str, Any]:
    def there(names: Sequence[str]) -> list[str]:
        return [name for name in names if name in columns]

    keys = {"image": "image", "patient": "patient", "view": "view"}
    told = (("sex", "gender_concept_name"), ("age", "age.splits"))
    keys |= {key: name for key, name in told if name in columns}
    return {
        "columns": keys,
        "roles": {
            "acquisition": ["manufacturer"],
            "demographic": [name for name in there(_DEMOGRAPHIC) if name not in keys.values()],
            "clinical": there(_CLINICAL),
            "outcome": there(_OUTCOMES),
        },
        "tasks": _TASKS,
    }


BUILDER = Builder("stonybrook", Options, select, "COVID-19-NY-SBU of The Cancer Imaging Archive")
