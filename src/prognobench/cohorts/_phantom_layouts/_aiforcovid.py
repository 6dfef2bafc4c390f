"""The research release of AIforCOVID: three folders of DICOM films, three workbooks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._builders._aiforcovid import CLINICAL
from .._phantom import PhantomFilm
from ._faults import Plot, date_backwards, drop_pixels, truncate
from ._layout import Count, Drawing, Layout, counts, write_workbook
from ._objects import film_object, save_object

_NO_FILM, _NO_ROW = "a row without film", "a film without row in the tables"
_HOSPITALS = ("A", "B", "C", "D", "E", "F")
# Hospitals of each release, its folder, its workbook, and how its ids begin.
_RELEASES = (
    ("ABC", "imgs", "AIforCOVID.xlsx", "P_"),
    ("DE", "imgs_r2", "AIforCOVID_r2.xlsx", "P_1_"),
    ("F", "imgs_r3", "AIforCOVID_r3.xlsx", "P_3_"),
)
_HEADER = ("Row_number", "ImageFile", "Hospital", "Age", "Sex", *CLINICAL, "Position", "Prognosis", "Death")


def _write(drawing: Drawing, folder: Path) -> dict[str, int]:
    # The phantom's centers in their order are the hospitals A to F, as many of them as there are centers.
    centers = list(dict.fromkeys(film.center for film in sorted(drawing.films, key=lambda film: film.number)))
    hospital = dict(zip(sorted(centers), _HOSPITALS, strict=False))
    for place, (hospitals, images, workbook, prefix) in enumerate(_RELEASES):
        films = [film for film in drawing.films if hospital[film.center] in hospitals]
        rows: list[list[Any]] = [list(_HEADER)]
        for number, film in enumerate(films, start=1):
            name = f"{prefix}{number}"
            rows.append(_row(number, name, hospital[film.center], film, place))
            save_object(_object(drawing, film, name), folder / images / f"{name}.dcm")
            drawing.note(film, f"{images}/{name}.dcm", name)
        if place == 0:
            rows.append(_row(len(films) + 1, "P_9999", "A", drawing.films[0], place))  # its film is missing
        if place == 1:
            # Each release spells a little of its own.
            rows[0] = [{"PositivityAtAdmission": "Positivity at admission"}.get(cell, cell) for cell in rows[0]]
        write_workbook(folder / workbook, {"Sheet1": rows})
    stranger = drawing.films[0]
    save_object(_object(drawing, stranger, "P_8888"), folder / "imgs" / "P_8888.dcm")
    return {_NO_FILM: 1, _NO_ROW: 1}


def _tasks(films: Sequence[PhantomFilm]) -> dict[str, Count]:
    return {"AFC": counts(films, _severe), "AFC_m": counts(films, _dead)}


def _spoil(plot: Plot) -> None:
    plot.spoil("truncated", truncate, "truncated")
    plot.spoil("missing pixel data", drop_pixels, "no pixel data")
    plot.spoil("dates out of order", date_backwards, "dates out of order", early=True)
    plot.take_film_away()
    plot.add_stranger("imgs/P_7777.dcm", _NO_ROW)
    plot.add_link("imgs_r2/P_1_7777.dcm")
    plot.change_copies()


def _row(number: int, name: str, hospital: str, film: PhantomFilm, release: int) -> list[Any]:
    mild = "LIEVE" if release == 1 and number % 2 else "MILD"
    cells: dict[str, Any] = {
        "Row_number": number,
        "ImageFile": f"{name}.dcm" if release == 2 else name,
        "Hospital": hospital,
        "Age": film.age,
        "Sex": int(film.sex == "F"),
        "Temp_C": 36.6 + film.number % 20 / 10,
        "Position": film.view,
        "Prognosis": "SEVERE" if _severe(film) else mild,
        "Death": int(_dead(film)),
    }
    return [cells.get(column, film.number % 2 if column in CLINICAL else None) for column in _HEADER]


def _severe(film: PhantomFilm) -> bool:
    return film.icu == "yes"


def _dead(film: PhantomFilm) -> bool:
    return film.icu == "yes" and film.severity > 0.45


def _object(drawing: Drawing, film: PhantomFilm, name: str) -> Any:
    levels = drawing.levels(film)
    tags: dict[str, Any] = {}
    if film.number % 4 == 0:
        levels, tags["PhotometricInterpretation"] = levels.max() - levels, "MONOCHROME1"
    return film_object(levels, (name, "0", "0", "0"), PatientName=None, Modality="CR", **tags)


LAYOUT = Layout("aiforcovid", _write, _tasks, _spoil, _NO_FILM, {"centers": 6, "films_per_patient": (1, 1)})
