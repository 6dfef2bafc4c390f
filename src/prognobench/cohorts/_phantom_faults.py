"""One of each fault that the audit looks for, planted into a phantom."""

from __future__ import annotations

import csv
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Row = dict[str, str]

FEWEST_PATIENTS = 60
_PNG_LAST = 12  # bytes of the chunk that ends a PNG
SMALLEST_FILM = 160  # one that is copied at a smaller size must still be a film
_FAMILY = ("ber", "dal", "fen", "gor", "hol", "kam", "lun", "mor", "nor", "ros", "sol", "tor", "val", "wen", "zim")
_GIVEN = (
    "Ada",
    "Bo",
    "Cleo",
    "Dan",
    "Ea",
    "Finn",
    "Gry",
    "Hal",
    "Ida",
    "Jon",
    "Kim",
    "Lea",
    "Mio",
    "Noa",
    "Ole",
    "Pia",
)


_NOTICE = """
**Faults were planted into this cohort on purpose**, one of each kind that the audit looks for: films that were copied,
changed, damaged or labelled with an invented name, rows that contradict each other, and the columns `contact` (invented
names), `scanner`, `ward`, `referral` and `days_to_icu`. `planted.json` lists them with the lines of the table. Use it
to try `cohort check` on.
"""


def plant_faults(folder: Path, seed: int) -> list[dict[str, Any]]:
    """Spoil a phantom in its folder and write what was done into `planted.json`.

    Returns
    -------
    list of dict
        A row a fault: `fault`, the `check` that must find it, and the `rows` (lines of the table) or `columns` that it
        must name; empty lists where it names none.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed).spawn(2)[1]))
    rows = _read(folder / "labels.csv")
    plot = _Plot(folder / "images", rows, rng)
    plot.copy("identical copy", "identical duplicate", lambda image: image, "png")
    plot.copy("encoded again", "near duplicate", lambda image: image, "jpg")
    plot.copy(
        "resized", "near duplicate", lambda image: image.resize((image.width * 3 // 5, image.height * 3 // 5)), "png"
    )
    plot.copy(
        "brightened", "near duplicate", lambda image: image.point(lambda level: min(255, level * 1.25 + 10)), "png"
    )
    plot.copy("cropped", "near duplicate", _crop, "png")
    plot.copy("one patient, two names", "near duplicate", lambda image: image, "jpg", same_patient=True)
    plot.spoil("one gray value", "constant film", lambda levels: np.full_like(levels, 90))
    plot.spoil("nearly one gray value", "constant film", _nearly_constant)
    plot.spoil("tiny", "tiny film", lambda levels: levels[:: len(levels) // 40, :: len(levels) // 40])
    plot.spoil("saturated", "saturated film", lambda levels: (3 * levels.astype(int)).clip(0, 255).astype(np.uint8))
    plot.truncate()
    plot.label()
    plot.contradict()
    plot.gather_in_one_center()
    plot.add_columns()
    planted = plot.planted()
    _write(folder / "labels.csv", rows)
    document = folder / "cohort.yaml"
    text = document.read_text(encoding="utf-8").replace("acquisition: [view]", "acquisition: [view, scanner]")
    document.write_bytes((text + "on_bad_image: exclude\n").encode())
    with (folder / "README.md").open("a", encoding="utf-8", newline="") as readme:
        readme.write(_NOTICE)
    (folder / "planted.json").write_bytes((json.dumps(planted, indent=1) + "\n").encode())
    return planted


def _crop(image: Image.Image) -> Image.Image:
    left, top = round(0.03 * image.width), round(0.01 * image.height)
    return image.crop((left, top, image.width - round(0.02 * image.width), image.height - round(0.04 * image.height)))


def _nearly_constant(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    flat = np.full_like(levels, 90)
    flat[:2, :2] = 255
    return flat


class _Plot:
    """Whose films are spoiled: each fault has patients of its own, so that no fault hides another."""

    def __init__(self, images: Path, rows: list[Row], rng: np.random.Generator) -> None:
        self._images, self._rows, self._rng = images, rows, rng
        self._victims = {outcome: self._patients(outcome) for outcome in ("yes", "no")}
        self._planted: list[dict[str, Any]] = []

    def _patients(self, outcome: str) -> list[str]:
        patients = list(dict.fromkeys(row["patient"] for row in self._rows if row["icu"] == outcome))
        return [patients[place] for place in self._rng.permutation(len(patients))]

    def _next(self, outcome: str) -> list[Row]:
        patient = self._victims[outcome].pop()
        return [row for row in self._rows if row["patient"] == patient]

    def _note(self, fault: str, check: str, rows: list[Row] | None = None, columns: tuple[str, ...] = ()) -> None:
        self._planted.append({"fault": fault, "check": check, "rows": rows or [], "columns": list(columns)})

    def copy(
        self,
        fault: str,
        check: str,
        change: Callable[[Image.Image], Image.Image],
        kind: str,
        same_patient: bool = False,
    ) -> None:
        """Give a changed copy of a film to a new patient, or to the same under a new name."""
        source = self._next("no")[0]
        number = len(self._planted)
        row = source | {"image": f"c{number:02d}_0.{kind}"}
        if not same_patient:
            row["patient"] = f"c{number:02d}"
        place = self._images / row["image"]
        if fault == "identical copy":
            place.write_bytes((self._images / source["image"]).read_bytes())
        elif kind == "jpg":
            change(_gray(self._images / source["image"])).save(place, quality=80)
        else:
            change(_gray(self._images / source["image"])).save(place)
        self._rows.append(row)
        self._note(fault, check, [source, row])

    def spoil(self, fault: str, check: str, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> None:
        """Change a film in its place."""
        row = self._next("no")[0]
        levels = np.asarray(_gray(self._images / row["image"]))
        Image.fromarray(np.ascontiguousarray(change(levels))).save(self._images / row["image"])
        self._note(fault, check, [row])

    def truncate(self) -> None:
        row = self._next("no")[0]
        place = self._images / row["image"]
        place.write_bytes(place.read_bytes()[:-2000])
        self._note("truncated file", "unreadable film", [row])

    def label(self) -> None:
        """Write a name into a text chunk of a file, behind its pixels."""
        row = self._next("no")[0]
        place = self._images / row["image"]
        body = b"tEXtAuthor\0INVENTED^NAME"
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        content = place.read_bytes()
        place.write_bytes(content[:-_PNG_LAST] + chunk + content[-_PNG_LAST:])
        self._note("name in a tag of the file", "identifier", [row])

    def contradict(self) -> None:
        """Give a patient a second film of the other outcome."""
        rows = self._next("yes")
        while len(rows) < 2:
            rows = self._next("yes")
        rows[-1]["icu"] = "no"
        self._note("two outcomes of one patient", "label conflict", rows)

    def gather_in_one_center(self) -> None:
        moved = [row for _ in range(4) for row in self._next("yes")]
        for row in moved:
            row["center"] = "outpost"
        self._note("center of one class", "one-class center", moved, ("center",))

    def add_columns(self) -> None:
        """Add a name, a confound, two leaks, and days to an outcome before which not every film was taken."""
        of_patient = {patient: self._traits(ill) for patient, ill in self._outcomes().items()}
        late = []
        for row in self._rows:
            traits = of_patient[row["patient"]]
            row |= {"contact": traits["contact"], "scanner": traits["scanner"], "ward": traits["ward"]}
            row["referral"] = "written" if traits["ill"] else ""
            days = 2 - int(row["day"])
            row["days_to_icu"] = str(days) if traits["ill"] else ""
            if days < 0 and row["icu"] == "yes":
                late.append(row)
        self._note("names", "identifier", columns=("contact",))
        self._note("scanner that goes with the outcome", "confound", columns=("scanner",))
        self._note("outcome in another column", "outcome leak", columns=("ward",))
        self._note("column filled in for one outcome", "outcome leak", columns=("referral",))
        self._note("days to the outcome", "outcome leak", columns=("days_to_icu",))
        self._note("films after the outcome", "film after the outcome", late, ("days_to_icu",))

    def _outcomes(self) -> dict[str, bool]:
        return {row["patient"]: row["icu"] == "yes" for row in reversed(self._rows)}

    def _traits(self, ill: bool) -> dict[str, Any]:
        family = "".join(_FAMILY[place] for place in self._rng.integers(0, len(_FAMILY), 3)).capitalize()
        given = _GIVEN[int(self._rng.integers(0, len(_GIVEN)))]
        new_scanner = self._rng.random() < (0.9 if ill else 0.2)
        ward = "7b" if ill else ("2a", "3c")[int(self._rng.integers(0, 2))]
        return {
            "ill": ill,
            "contact": f"{given} {family}",
            "scanner": "mobile" if new_scanner else "wall",
            "ward": ward,
        }

    def planted(self) -> list[dict[str, Any]]:
        """Return what was planted, with the lines of the table as they are now."""
        line = {id(row): place for place, row in enumerate(self._rows, start=2)}
        return [{**one, "rows": sorted(line[id(row)] for row in one["rows"])} for one in self._planted]


def _gray(path: Path) -> Image.Image:
    """Read a film of the phantom at 8 bits."""
    levels = np.asarray(Image.open(path)).astype(np.float64)
    most = 255.0 if levels.max() <= 255 else 4095.0
    return Image.fromarray(np.rint(levels * (255 / most)).astype(np.uint8))


def _read(path: Path) -> list[Row]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def _write(path: Path, rows: list[Row]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode())
