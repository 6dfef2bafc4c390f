"""COVID-19-NY-SBU as The Cancer Imaging Archive gives it: many films of each patient, among them made copies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._dicom import require_pydicom
from .._phantom import PhantomFilm
from ._faults import Plot, date_backwards, drop_pixels, truncate
from ._layout import NO_DICOM, Count, Drawing, Layout, counts, first_of_each, write_csv
from ._objects import film_object, save_object

_NO_FILM = "a patient without radiograph"
_TREE = "manifest-1628608914773/COVID-19-NY-SBU"
_TABLE = "deidentified_overlap_tcia.csv.cleaned.csv_20210806.csv"
_DICTIONARY = "deidentified_overlap_tcia.csv.cleaned.csv.template_20210806.csv"
_HEADER = (
    "to_patient_id", "covid19_statuses", "last.status", "age.splits", "gender_concept_name", "visit_start_datetime",
    "visit_concept_name", "is_icu", "was_ventilated", "invasive_vent_days", "length_of_stay",
    "Acute.Hepatic.Injury..during.hospitalization.", "Acute.Kidney.Injury..during.hospitalization.", "Urine.protein",
    "kidney_replacement_therapy", "kidney_transplant", "htn_v", "dm_v", "cad_v", "hf_ef_v", "ckd_v", "malignancies_v",
    "copd_v", "other_lung_disease_v", "acei_v", "arb_v", "antibiotics_use_v", "nsaid_use_v", "days_prior_sx",
    "smoking_status_v", "cough_v", "dyspnea_admission_v", "nausea_v", "BMI.over30", "therapeutic.exnox.Boolean",
    "therapeutic.heparin.Boolean", "Other.anticoagulation.therapy",
)  # fmt: skip


def _write(drawing: Drawing, folder: Path) -> dict[str, int]:
    pydicom = require_pydicom()
    derived = enhanced = laterals = 0
    for place, film in enumerate(drawing.films):
        described = "CHEST AP PORT" if film.view == "AP" else "CHEST ROUTINE PA AP AND LATERAL"
        whole, path = _save(drawing, folder, film, "1", {"SeriesDescription": described})
        drawing.note(film, path.relative_to(folder).as_posix(), _id(film))
        if place % 3 == 0:
            reference = pydicom.dataset.Dataset()
            reference.ReferencedSOPClassUID = whole.SOPClassUID
            reference.ReferencedSOPInstanceUID = whole.SOPInstanceUID
            tags: dict[str, Any] = {"ReferencedImageSequence": [reference], "ImageType": ["DERIVED", "PRIMARY"]}
            _save(drawing, folder, film, "2", tags | {"SeriesDescription": described})
            derived += 1
        if place % 4 == 0:
            _save(drawing, folder, film, "3", {"SeriesDescription": f"{described} ENHANCED"})
            enhanced += 1
        if film.view == "PA":
            _save(drawing, folder, film, "4", {"SeriesDescription": described, "ViewPosition": "LATERAL"})
            laterals += 1
    elsewhere = {"StudyDate": "20200101", "AcquisitionDate": "20200101", "StudyDescription": "XR KNEE"}
    _save(drawing, folder, drawing.films[0], "5", elsewhere | {"SeriesDescription": "KNEE AP"})
    patients = {film.number: film for film in drawing.films}
    rows = [list(_HEADER), *(_row(film, _id(film)) for film in patients.values())]
    rows.append(_row(drawing.films[0], "A999999"))
    write_csv(folder / _TABLE, rows)
    write_csv(folder / _DICTIONARY, [["column_name", "column_type"], *([name, "text"] for name in _HEADER)])
    write_csv(folder / "manifest-1628608914773" / "metadata.csv", [["Series UID", "Subject ID"]])
    left_out = {
        "another part of the body: leg": 1,
        NO_DICOM: 2,
        "a derived film: it refers to the one that it was made of": derived,
        "a contrast-enhanced copy: its series says so": enhanced,
        "a lateral film": laterals,
        _NO_FILM: 1,
    }
    return {reason: count for reason, count in left_out.items() if count}


def _tasks(films: Sequence[PhantomFilm]) -> dict[str, Count]:
    first = first_of_each(films)
    return {
        "NY_small": counts(first, _dead),
        "NY_all": counts(films, _dead),
        "NY_icu": counts(first, _icu),
        "NY_all_icu": counts(films, _icu),
    }


def _spoil(plot: Plot) -> None:
    plot.spoil("truncated", truncate, "truncated")
    plot.spoil("missing pixel data", drop_pixels, "no pixel data")
    plot.spoil("dates out of order", date_backwards, "dates out of order", early=True)
    plot.take_film_away()
    plot.add_stranger(f"{_TREE}/stranger/1-1.dcm", "a film whose patient has no row in the clinical table")
    plot.add_link(f"{_TREE}/elsewhere.dcm")
    plot.change_copies()


def _id(film: PhantomFilm) -> str:
    return f"A{100000 + 37 * film.number}"


def _icu(film: PhantomFilm) -> bool:
    return film.icu == "yes"


def _dead(film: PhantomFilm) -> bool:
    return film.icu == "yes" and film.number % 3 != 0


def _row(film: PhantomFilm, name: str) -> list[Any]:
    ages = "[18,59]" if film.age < 60 else "(59,74]" if film.age < 75 else "(74,90]"
    ill = film.icu == "yes"
    cells: dict[str, Any] = {
        "to_patient_id": name,
        "covid19_statuses": "positive",
        "last.status": "deceased" if _dead(film) else "discharged",
        "age.splits": ages,
        "gender_concept_name": {"F": "FEMALE", "M": "MALE"}[film.sex],
        "visit_start_datetime": f"01/{1 + film.number % 28:02d}/1901",
        "visit_concept_name": "Inpatient Visit",
        "is_icu": str(ill),
        "was_ventilated": "Yes" if _dead(film) else "No",
        "invasive_vent_days": 9 if _dead(film) else "NA",
        "length_of_stay": 3 + film.number % 20,
        "hf_ef_v": "No",
        "smoking_status_v": "Never",
    }
    return [cells.get(column, "No") for column in _HEADER]


def _save(drawing: Drawing, folder: Path, film: PhantomFilm, series: str, tags: dict[str, Any]) -> tuple[Any, Path]:
    date = drawing.date(film)
    said: dict[str, Any] = {
        "Modality": "DX",
        "StudyDescription": "XR CHEST",
        "ViewPosition": film.view,
        "StudyDate": date,
        "AcquisitionDate": date,
        "Manufacturer": f"Maker of {film.center}",
    }
    dataset = film_object(drawing.levels(film), (_id(film), date, series, "1"), **(said | tags))
    day = f"{date[4:6]}-{date[6:]}-{date[:4]}"
    study = f"{day}-NA-XR CHEST-{10000 + int(date) % 89999}"
    name = f"{series}.000000-{dataset.SeriesDescription}-{series}"
    path = folder / _TREE / _id(film) / study / name / "1-1.dcm"
    save_object(dataset, path)
    return dataset, path


LAYOUT = Layout("stonybrook", _write, _tasks, _spoil, _NO_FILM)
