"""COVID-19-AR as The Cancer Imaging Archive gives it: radiographs, laterals and CT mixed, and a workbook."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._dicom import require_pydicom
from .._phantom import PhantomFilm
from ._faults import Plot, date_backwards, drop_pixels, truncate
from ._layout import NO_DICOM, Count, Drawing, Layout, counts, first_of_each, write_csv, write_workbook
from ._objects import film_object, save_object

_NO_FILM = "a patient without radiograph"
_TREE = "manifest-1594658036421/COVID-19-AR"
_HEADER = (
    "PATIENT_ID", "AGE", "SEX", "RACE", "ZIP", "LATEST_BMI", "LATEST WEIGHT", "LATEST HEIGHT", "TUBERCULOSIS",
    "CHRONIC KIDNEY DISEASE", "DIABETES TYPE II", "CANCER", "COVID TEST POSITIVE (Y)", "TEST NAME", "ICU Admit (Y/N)",
    "# ICU admits", "MORTALITY (Y/N)",
)  # fmt: skip


def _write(drawing: Drawing, folder: Path) -> dict[str, int]:
    series: list[list[str]] = [["Series UID", "Collection", "Subject ID", "Modality", "File Location"]]
    laterals = 0
    for film in drawing.films:
        portable = film.view == "AP"
        description = "XR CHEST AP PORTABLE" if portable else "XR CHEST PA AND LATERAL"
        path = _save(drawing, folder, film, description, "CHEST AP" if portable else "CHEST PA", "1", series, {})
        drawing.note(film, path.relative_to(folder).as_posix(), _id(film))
        if not portable:
            _save(drawing, folder, film, description, "CHEST LATERAL", "2", series, {"ViewPosition": None})
            laterals += 1
    patients = {film.number: film for film in drawing.films}
    # The first patient's series of an earlier day holds a film of the abdomen.
    study, tags = "XR ACUTE ABDOMINAL SERIES W PA CHEST PORTABLE", {"StudyDate": "20200101"}
    _save(drawing, folder, drawing.films[0], study, "ABDOMEN AP", "8", series, tags)
    slices = 0
    for film in [*patients.values()][::4]:
        _save_slice(drawing, folder, _id(film), film, series)
        slices += 1
    rows: list[list[Any]] = [["COVID-19 AR Clinical Correlates", *[None] * (len(_HEADER) - 1)], list(_HEADER)]
    rows += [_row(film, _id(film)) for film in patients.values()]
    only_slices = "COVID-19-AR-16499999"
    rows.append(_row(drawing.films[0], only_slices))
    _save_slice(drawing, folder, only_slices, drawing.films[0], series)
    slices += 1
    images = [["PATIENT_ID", "diag_to_img_study_days", "image_study_description", "study_modality"]]
    images += [[_id(film), str(film.day), "XR CHEST", "CR"] for film in drawing.films]
    write_workbook(folder / "COVID-19 AR Clinical Correlates July202020.xlsx", {"Clinical": rows, "Imaging": images})
    write_csv(folder / "manifest-1594658036421" / "metadata.csv", series)
    later = len(drawing.films) - len(patients)
    left_out = {
        "another part of the body: abdomen": 1,
        NO_DICOM: 1,
        "modality CT": slices,
        "a lateral film": laterals,
        _NO_FILM: 1,
    }
    left_out |= {"a later film of a patient of whom the first is used": later} if later else {}
    return {reason: count for reason, count in left_out.items() if count}


def _tasks(films: Sequence[PhantomFilm]) -> dict[str, Count]:
    return {"CAR": counts(first_of_each(films), lambda film: film.icu == "yes")}


def _spoil(plot: Plot) -> None:
    plot.spoil("truncated", truncate, "truncated", alone=True)
    plot.spoil("missing pixel data", drop_pixels, "no pixel data", alone=True)
    plot.spoil("dates out of order", date_backwards, "dates out of order", alone=True, early=True)
    plot.take_film_away()
    plot.add_stranger(f"{_TREE}/stranger/1-1.dcm", "a film whose patient has no row in the workbook")
    plot.add_link(f"{_TREE}/elsewhere.dcm")
    plot.change_copies()


def _id(film: PhantomFilm) -> str:
    return f"COVID-19-AR-{16406488 + film.number}"


def _row(film: PhantomFilm, name: str) -> list[Any]:
    ill = film.icu == "yes"
    outcome = ["Y" if ill else "N", int(ill), "Y" if film.severity > 0.6 else "N"]
    return [name, film.age, film.sex, "W", 72205, 29.4, 180, "5'7\"", "N", "N", "Y", "N", "Y", "PCR", *outcome]


def _place(folder: Path, patient: str, date: str, description: str, series: str) -> Path:
    day = f"{date[4:6]}-{date[6:]}-{date[:4]}"
    return folder / _TREE / patient / f"{day}-NA-{description}-{10000 + int(date) % 89999}" / series / "1-1.dcm"


def _save(
    drawing: Drawing,
    folder: Path,
    film: PhantomFilm,
    study: str,
    described: str,
    number: str,
    series: list[list[str]],
    tags: dict[str, Any],
) -> Path:
    date = drawing.date(film)
    said: dict[str, Any] = {
        "Modality": "CR" if number == "1" else "DX",
        "StudyDescription": study,
        "SeriesDescription": described,
        "ViewPosition": film.view,
        "StudyDate": date,
        "PatientSex": film.sex,
    }
    identity = (_id(film), date, number, "1")
    dataset = film_object(drawing.levels(film), identity, **(said | tags))
    path = _place(folder, _id(film), date, study, f"{number}.000000-{described}-{number}")
    save_object(dataset, path)
    row = [str(dataset.SeriesInstanceUID), "COVID-19-AR", _id(film), str(dataset.Modality)]
    series.append([*row, path.parent.relative_to(folder).as_posix()])
    return path


def _save_slice(drawing: Drawing, folder: Path, patient: str, film: PhantomFilm, series: list[list[str]]) -> None:
    levels = np.add.outer(np.arange(48), np.arange(48)).astype(np.uint16)
    date = drawing.date(film)
    storage = require_pydicom().uid.CTImageStorage
    said = {"SOPClassUID": storage, "Modality": "CT", "StudyDescription": "CT CHEST", "StudyDate": date}
    dataset = film_object(levels, (patient, date, "CT", "1"), **said)
    path = _place(folder, patient, date, "CT CHEST", "3.000000-Lung-3")
    save_object(dataset, path)
    row = [str(dataset.SeriesInstanceUID), "COVID-19-AR", patient, "CT"]
    series.append([*row, path.parent.relative_to(folder).as_posix()])


LAYOUT = Layout("covid19ar", _write, _tasks, _spoil, _NO_FILM)
