"""A hospital's export: folders with names as people give them, every transfer syntax, and much that is no film."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._dicom import require_pydicom
from .._phantom import PhantomFilm
from ._faults import (
    Plot,
    burst,
    claim_huge,
    date_backwards,
    drop_pixels,
    encode_unknown,
    flatten,
    forget_patient,
    no_dicom,
    stretch,
    truncate,
)
from ._layout import NO_DICOM, Count, Drawing, Layout, counts, write_workbook
from ._objects import compress, film_object, save_object

_NO_FILM = "a row without film"
_SYNTAXES = ("ExplicitVRLittleEndian", "RLELossless", "JPEG2000Lossless", "JPEGLSLossless", "ImplicitVRLittleEndian")
_FOLDERS = ("ward 3", "Côté gauche", "röntgen", "🫁 chest")


def _write(drawing: Drawing, folder: Path) -> dict[str, int]:
    for place, film in enumerate(drawing.films):
        save_object(_object(drawing, film, place), folder / _source(film))
        drawing.note(film, _source(film), film.patient)
    left_out = _write_no_films(drawing, folder)
    patients = {film.number: film for film in drawing.films}
    rows: list[list[Any]] = [["PatientID", "hospital", "went_icu", "severity"]]
    rows += [[film.patient, film.center, film.icu, film.severity] for film in patients.values()]
    rows.append(["p-without-film", "north", "no", 0])
    write_workbook(folder / "outcomes.xlsx", {"Outcomes": rows})
    return left_out | {_NO_FILM: 1}


def _tasks(films: Sequence[PhantomFilm]) -> dict[str, Count]:
    return {"icu": counts(films, lambda film: film.icu == "yes")}


def _spoil(plot: Plot) -> None:
    # What is compressed cannot be spoiled in every way.
    plain = {film for place, film in enumerate(plot.drawing.films) if not _is_compressed(place)}

    def spoil(fault: str, change: Callable[[Path], None], reason: str, early: bool = False) -> None:
        plot.spoil(fault, change, reason, plain.__contains__, early=early)

    spoil("truncated", truncate, "truncated")
    spoil("missing pixel data", drop_pixels, "no pixel data")
    spoil("unsupported transfer syntax", encode_unknown, "no decoder for its transfer syntax is here")
    spoil("decompression bomb", claim_huge, "65000 × 65000 pixels")
    spoil("absurd pixel spacing", stretch, "four times as long as wide")
    spoil("values that are not finite", burst, "no finite values")
    spoil("one gray value", flatten, "one gray value")
    spoil("no DICOM", no_dicom, "no whole DICOM file", early=True)
    spoil("no patient", forget_patient, "no PatientID", early=True)
    spoil("dates out of order", date_backwards, "dates out of order", early=True)
    plot.rename("a name with blanks, accents and emoji", "Ünser Bild 1 – côté gauche 🫁.dcm")
    plot.repeat("the same file again under another name", "other/again.dcm", "the same file again")
    plot.take_film_away()
    plot.add_link("other/elsewhere.dcm")
    plot.change_copies()
    # What every export of this layout holds.
    for fault, name, reason in (
        ("multi-frame", "cine.dcm", "multi-frame image (2 frames)"),
        ("no image", "report.dcm", "no image"),
        ("secondary capture", "capture.dcm", "secondary capture"),
        ("another modality", "slice.dcm", "modality CT"),
        ("a film of a patient without row", "stranger.dcm", "a film whose patient has no row in the table"),
    ):
        plot.note(fault, f"other/{name}", reason)


def _is_compressed(place: int) -> bool:
    return not _SYNTAXES[place % len(_SYNTAXES)].endswith("Endian")


def _source(film: PhantomFilm) -> str:
    return f"{_FOLDERS[film.number % len(_FOLDERS)]}/{film.patient}/film {film.film + 1}.dcm"


def _object(drawing: Drawing, film: PhantomFilm, place: int) -> Any:
    levels: NDArray[Any] = drawing.levels(film)
    tags: dict[str, Any] = {}
    if place % 3 == 0:
        levels, tags["PhotometricInterpretation"] = levels.max() - levels, "MONOCHROME1"
    if place % 4 == 1 and levels.dtype.itemsize == 2:
        levels = levels.astype(np.int16) - 2048
        tags |= {"RescaleSlope": 1, "RescaleIntercept": 2048, "RescaleType": "US"}
    if place % 5 == 2:
        middle = float(levels.mean())
        tags |= {"WindowCenter": round(middle), "WindowWidth": round(4 * float(levels.std()))}
    dataset = film_object(
        levels,
        (film.patient, str(film.film), "0", "0"),
        Modality="CR" if film.view == "AP" else "DX",
        ViewPosition=film.view,
        StudyDate=drawing.date(film),
        AcquisitionDate=drawing.date(film),
        PatientSex=film.sex,
        PatientAge=f"{film.age:03d}Y",
        Manufacturer=f"Maker of {film.center}",
        BurnedInAnnotation="YES" if place == 0 else "NO",
        **tags,
    )
    return compress(dataset, _SYNTAXES[place % len(_SYNTAXES)])


def _write_no_films(drawing: Drawing, folder: Path) -> dict[str, int]:
    """Write what an export holds besides films, and return under which reason each is left out."""
    pydicom = require_pydicom()
    film = drawing.films[0]
    levels = np.add.outer(np.arange(40), np.arange(32)).astype(np.uint8)
    identity = (film.patient, "0", "other")
    storages = {
        "report": pydicom.uid.BasicTextSRStorage,
        "capture": pydicom.uid.SecondaryCaptureImageStorage,
        "slice": pydicom.uid.CTImageStorage,
        "cine": pydicom.uid.XRayRadiofluoroscopicImageStorage,
    }
    tags: dict[str, dict[str, Any]] = {
        "report": {"Modality": "SR", "Rows": None, "Columns": None},
        "capture": {"Modality": "OT"},
        "slice": {"Modality": "CT"},
        "cine": {"Modality": "RF", "NumberOfFrames": 2, "Rows": 20},
    }
    for name, storage in storages.items():
        dataset = film_object(levels, (*identity, name), SOPClassUID=storage, **tags[name])
        if name == "report":
            del dataset.PixelData
        save_object(dataset, folder / "other" / f"{name}.dcm")
    stranger = film_object(levels, ("nobody", "0", "0", "0"))
    save_object(stranger, folder / "other" / "stranger.dcm")
    (folder / "other" / "readme.txt").write_bytes(b"SYNTHETIC films made by prognobench\n")
    return {
        f"no image: {storages['report'].name}": 1,
        f"secondary capture: {storages['capture'].name}": 1,
        "modality CT": 1,
        NO_DICOM: 1,
        f"multi-frame image (2 frames): {storages['cine'].name}": 1,
        "a film whose patient has no row in the table": 1,
    }


LAYOUT = Layout("dicom", _write, _tasks, _spoil, _NO_FILM)
