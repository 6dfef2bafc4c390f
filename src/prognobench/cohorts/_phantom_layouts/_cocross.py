"""CoCross: JPEG films and lung sounds named after the patient, and a workbook with several rows of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ._layout import Drawing, Layout, Planted, counts, write_workbook

_HEADER = ("ID", "Day", "SOFA", "APACHE II", "Charlson Comorbidity index", "Age", "ICU Outcome")


def _write(drawing: Drawing, folder: Path) -> Planted:
    (folder / "CXR").mkdir()
    rows: list[list[Any]] = [list(_HEADER)]
    for film in drawing.films:
        name = f"{film.number + 1:03d}"
        levels = drawing.levels(film)
        shown = (levels.astype(np.float64) * (255 / max(int(levels.max()), 1))).round().astype(np.uint8)
        Image.fromarray(shown).save(folder / "CXR" / f"{name}_{film.film + 1}.jpeg", quality=95)
        if film.film == 0:
            (folder / f"{name}_LeftLungApexFront.wav").write_bytes(b"RIFF\x04\0\0\0WAVE")
            # The outcome stands in a later row of the patient.
            rows.append([name, 0, film.number % 12, 10 + film.number % 15, film.number % 4, film.age, None])
            rows.append([name, 7, None, None, None, None, "Death" if film.icu == "yes" else "Discharged"])
    rows.append(["999", 0, 3, 12, 1, 60, "Discharged"])
    write_workbook(folder / "CoCross.xlsx", {"About": [["SYNTHETIC"]], "Data": rows})
    Image.fromarray(np.eye(64, dtype=np.uint8) * 255).save(folder / "CXR" / "logo.png")
    return Planted(
        {"CC": counts(drawing.films, lambda film: film.icu == "yes")},
        {"a patient without film": 1, "a film whose name begins with no ID of the workbook": 1},
    )


LAYOUT = Layout("cocross", _write)
