"""CoCross: JPEG films and lung sounds named after the patient, and a workbook with several rows of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .._phantom import PhantomFilm
from ._faults import Plot, no_dicom, truncate
from ._layout import Count, Drawing, Layout, counts, write_workbook

_NO_FILM, _NO_ROW = "a patient without film", "a film whose name begins with no ID of the workbook"
_HEADER = ("ID", "Day", "SOFA", "APACHE II", "Charlson Comorbidity index", "Age", "ICU Outcome")


def _write(drawing: Drawing, folder: Path) -> dict[str, int]:
    (folder / "CXR").mkdir()
    rows: list[list[Any]] = [list(_HEADER)]
    for film in drawing.films:
        name = f"{film.number + 1:03d}"
        levels = drawing.levels(film)
        shown = (levels.astype(np.float64) * (255 / max(int(levels.max()), 1))).round().astype(np.uint8)
        source = f"CXR/{name}_{film.film + 1}.jpeg"
        Image.fromarray(shown).save(folder / source, quality=95)
        drawing.note(film, source, name)
        if film.film == 0:
            (folder / f"{name}_LeftLungApexFront.wav").write_bytes(b"RIFF\x04\0\0\0WAVE")
            # The outcome stands in a later row of the patient.
            rows.append([name, 0, film.number % 12, 10 + film.number % 15, film.number % 4, film.age, None])
            rows.append([name, 7, None, None, None, None, "Death" if film.icu == "yes" else "Discharged"])
    rows.append(["999", 0, 3, 12, 1, 60, "Discharged"])
    write_workbook(folder / "CoCross.xlsx", {"About": [["SYNTHETIC"]], "Data": rows})
    Image.fromarray(np.eye(64, dtype=np.uint8) * 255).save(folder / "CXR" / "logo.png")
    return {_NO_FILM: 1, _NO_ROW: 1}


def _tasks(films: Sequence[PhantomFilm]) -> dict[str, Count]:
    return {"CC": counts(films, lambda film: film.icu == "yes")}


def _spoil(plot: Plot) -> None:
    plot.spoil("truncated", truncate, "the image is truncated")
    plot.spoil("no image", no_dicom, "no whole image")
    plot.take_film_away()
    plot.add_stranger("CXR/998_1.jpeg", _NO_ROW)
    plot.add_link("CXR/001_99.jpeg")
    plot.change_copies()


LAYOUT = Layout("cocross", _write, _tasks, _spoil, _NO_FILM)
