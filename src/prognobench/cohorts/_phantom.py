"""The phantom: a synthetic cohort of chest films, for demonstrations and tests."""

from __future__ import annotations

import csv
import io
import os
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prognobench.frame import InputError, Problem, Problems, folder_in_one_step

from ._film_tags import SYNTHETIC_NOTICE
from ._phantom_faults import FEWEST_PATIENTS, SMALLEST_FILM, plant_faults
from ._phantom_film import Look, draw_anatomy, draw_film, draw_pose

# The second center writes 12 bits in 16-bit files and the second and fifth write narrow images, so that even a small
# phantom exercises both.
_CENTERS: dict[str, Look] = {
    "north": Look(contrast=1.00, brightness=0.00, grain=0.012, border=0.000, border_level=0.0, aspect=1.00, bits=8),
    "south": Look(contrast=1.20, brightness=0.03, grain=0.018, border=0.020, border_level=0.0, aspect=0.88, bits=12),
    "east": Look(contrast=0.85, brightness=0.00, grain=0.009, border=0.030, border_level=1.0, aspect=1.00, bits=8),
    "west": Look(contrast=1.10, brightness=-0.02, grain=0.022, border=0.000, border_level=0.0, aspect=1.12, bits=8),
    "harbor": Look(contrast=0.95, brightness=0.04, grain=0.015, border=0.015, border_level=0.0, aspect=0.94, bits=8),
    "hillside": Look(contrast=1.30, brightness=0.05, grain=0.010, border=0.000, border_level=0.0, aspect=1.00, bits=12),
    "lakeside": Look(contrast=0.90, brightness=-0.01, grain=0.020, border=0.025, border_level=0.5, aspect=1.06, bits=8),
    "midtown": Look(contrast=1.05, brightness=0.02, grain=0.014, border=0.010, border_level=1.0, aspect=1.00, bits=8),
}
_PULL = 9.0  # log-odds of the outcome per standard deviation of severity at signal 1
_MOST_FILMS = 20
_COLUMNS = ("image", "patient", "center", "view", "sex", "age", "day", "icu", "severity")


@dataclass(frozen=True)
class PhantomFilm:
    """One row of the phantom's table.

    Parameters
    ----------
    number, film
        Which patient, and which film of that patient, both from 0: they fix the anatomy and the film's own draws.
    image, patient, center, view, sex, age, day, icu
        The cells of the table.
    severity
        Share of the lung area that opacities cover.
    """

    number: int
    film: int
    image: str
    patient: str
    center: str
    view: str
    sex: str
    age: int
    day: int
    icu: str
    severity: float


def make_phantom(
    out: Path,
    patients: int = 120,
    seed: int = 0,
    *,
    films_per_patient: tuple[int, int] = (1, 3),
    prevalence: float = 0.4,
    signal: float = 1.0,
    view_confound: float = 0.0,
    centers: int = 3,
    size: int = 320,
    name: str = "phantom",
    faults: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a synthetic cohort of frontal chest films; nothing in it comes from a person.

    The share of the lungs that opacities cover drives the outcome `icu`. Age, sex, center and day tell nothing about
    it, and neither does the view unless `view_confound` says so. The same arguments give the same bytes.

    Parameters
    ----------
    out
        Folder to make; it may exist if it is empty. It appears whole or not at all.
    patients
        Number of patients. More patients leave the anatomy of the first ones as it is.
    seed
        Of everything random.
    films_per_patient
        Fewest and most films of a patient, drawn uniformly.
    prevalence
        Share of patients with the outcome, exact to the nearest patient.
    signal
        How strongly the outcome follows severity: 0 not at all; 1 so that severity alone gives an ROC-AUC of about
        0.97; at most 10.
    view_confound
        From 0, AP and PA films are equally frequent with and without the outcome, to 1, AP means the outcome.
    centers
        Number of hospitals, 1 to 8, each with its own contrast, noise, border and shape of image.
    size
        Image height in pixels, 96 to 2048.
    name
        The cohort's name, so that one phantom can be tested by what was trained on another. It changes no film.
    faults
        Whether one of each fault that `audit` looks for is planted, and listed in `out/planted.json`. It takes 60
        patients, two films of some, and films of 160 pixels.
    progress
        Called with the films done and the films in all after each film.

    Returns
    -------
    pathlib.Path
        `out/cohort.yaml`.

    Raises
    ------
    InputError
        With every argument that is out of range, or when `out` is a file or a folder that is not empty.
    """
    refuse_bad_place(out)
    _refuse_bad_name(name)
    films = draw_table(
        patients,
        seed,
        films_per_patient=films_per_patient,
        prevalence=prevalence,
        signal=signal,
        view_confound=view_confound,
        centers=centers,
        size=size,
    )
    if faults:
        _refuse_no_room_for_faults(patients, films_per_patient, prevalence, size)
    command = f"prognobench cohort phantom OUT --patients {patients} --seed {seed}" + (" --faults" if faults else "")
    settings = (
        f"patients={patients}, seed={seed}, films_per_patient={tuple(films_per_patient)}, prevalence={prevalence}, "
        f"signal={signal}, view_confound={view_confound}, centers={centers}, size={size}"
    )
    with folder_in_one_step(out) as draft:
        (draft / "images").mkdir()
        _write_films(films, seed, size, draft / "images", progress)
        (draft / "labels.csv").write_bytes(_table(films).encode())
        (draft / "cohort.yaml").write_bytes(_COHORT.format(name=name, command=command, settings=settings).encode())
        (draft / "README.md").write_bytes(_README.format(command=command, settings=settings).encode())
        if faults:
            plant_faults(draft, seed)
    return out / "cohort.yaml"


def _write_films(
    films: Sequence[PhantomFilm], seed: int, size: int, folder: Path, progress: Callable[[int, int], None] | None
) -> None:
    def write(film: PhantomFilm) -> None:
        (folder / film.image).write_bytes(_png(render_film(film, seed, size=size)))

    # A film depends on its row alone, so any number of threads in any order writes the same bytes.
    pool = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))
    try:
        for done, _ in enumerate(pool.map(write, films), start=1):
            if progress is not None:
                progress(done, len(films))
    finally:
        pool.shutdown(cancel_futures=True)


def draw_table(
    patients: int = 120,
    seed: int = 0,
    *,
    films_per_patient: tuple[int, int] = (1, 3),
    prevalence: float = 0.4,
    signal: float = 1.0,
    view_confound: float = 0.0,
    centers: int = 3,
    size: int = 320,
) -> list[PhantomFilm]:
    """Draw the table of a phantom without its films; see `make_phantom` for the parameters and errors."""
    _refuse_bad_arguments(patients, seed, films_per_patient, prevalence, signal, view_confound, centers, size)
    fewest, most = films_per_patient
    drawn = [_draw_patient(number, seed, fewest, most) for number in range(patients)]
    score = np.array([signal * _PULL * patient.sickness + patient.chance for patient in drawn])
    ill = np.zeros(patients, dtype=bool)
    ill[np.argsort(-score, kind="stable")[: round(prevalence * patients)]] = True
    center = _share_out([patient.place for patient in drawn], ill, centers)
    portable = _choose_views(drawn, ill, view_confound)
    names = list(_CENTERS)
    films = []
    for number, patient in enumerate(drawn):
        for film, (extent, day) in enumerate(zip(patient.extents, patient.days, strict=True)):
            films.append(
                PhantomFilm(
                    number=number,
                    film=film,
                    image=f"p{number:04d}_{film}.png",
                    patient=f"p{number:04d}",
                    center=names[center[number]],
                    view="AP" if portable[number, film] else "PA",
                    sex=patient.sex,
                    age=patient.age,
                    day=day,
                    icu="yes" if ill[number] else "no",
                    severity=extent,
                )
            )
    return films


def render_film(film: PhantomFilm, seed: int, *, size: int = 320) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Draw the film of one row of the table: gray levels of shape (size, width), uint8 or uint16 up to 4095."""
    _, anatomy_seed, films_seed = _seeds(seed, film.number)
    rng = np.random.Generator(np.random.PCG64(_nth_child(films_seed, film.film)))
    pose = draw_pose(rng, film.view)
    anatomy = draw_anatomy(anatomy_seed, film.sex)
    return draw_film(anatomy, pose, _CENTERS[film.center], film.severity, size, rng)


@dataclass(frozen=True)
class _Patient:
    sickness: float  # standard normal
    chance: float  # what else decides the outcome, on the log-odds scale
    place: float
    sex: str
    age: int
    extents: tuple[float, ...]
    days: tuple[int, ...]
    turns: tuple[float, ...]  # which films are taken lying, the lowest first


def _draw_patient(number: int, seed: int, fewest: int, most: int) -> _Patient:
    rng = np.random.Generator(np.random.PCG64(_seeds(seed, number)[0]))
    sickness, chance, place = float(rng.normal()), float(rng.logistic()), float(rng.random())
    sex, age = "F" if rng.random() < 0.5 else "M", int(np.clip(round(rng.normal(61, 15)), 18, 95))
    films = int(rng.integers(fewest, most + 1))
    course = sickness + 0.15 * rng.normal(size=_MOST_FILMS)
    gaps = rng.integers(1, 6, size=_MOST_FILMS)
    turns = rng.random(_MOST_FILMS)
    return _Patient(
        sickness=sickness,
        chance=chance,
        place=place,
        sex=sex,
        age=age,
        extents=tuple(round(float(0.72 / (1 + np.exp(-1.7 * (level - 0.3)))), 4) for level in course[:films]),
        days=tuple(int(day) for day in (np.cumsum(gaps) - gaps[0])[:films]),
        turns=tuple(float(turn) for turn in turns[:films]),
    )


def _seeds(seed: int, number: int) -> tuple[np.random.SeedSequence, ...]:
    """Return a patient's own seeds: of the table, of the anatomy and of the films."""
    root = np.random.SeedSequence(seed)
    return tuple(_nth_child(root, number).spawn(3))


def _nth_child(parent: np.random.SeedSequence, number: int) -> np.random.SeedSequence:
    """Return what `parent.spawn` gives in place `number`, whatever was spawned before."""
    return np.random.SeedSequence(parent.entropy, spawn_key=(*parent.spawn_key, number))


def _share_out(places: Sequence[float], ill: NDArray[np.bool_], centers: int) -> NDArray[np.int64]:
    """Deal the patients of each outcome to the centers in turn, so that centers and outcomes are independent."""
    order = sorted(range(len(places)), key=lambda number: (not ill[number], places[number]))
    center = np.zeros(len(places), dtype=np.int64)
    center[order] = np.arange(len(places)) % centers
    return center


def _choose_views(drawn: Sequence[_Patient], ill: NDArray[np.bool_], confound: float) -> NDArray[np.bool_]:
    """Choose the AP films: an exact share of the films of either outcome, and both views wherever that can be."""
    portable = np.zeros((len(drawn), _MOST_FILMS), dtype=bool)
    for outcome, share in ((True, 0.5 + confound / 2), (False, 0.5 - confound / 2)):
        films = [
            (turn, number, film)
            for number, patient in enumerate(drawn)
            if ill[number] == outcome
            for film, turn in enumerate(patient.turns)
        ]
        count = round(share * len(films))
        if confound < 1:
            count = min(max(count, 1), len(films) - 1)
        for _, number, film in sorted(films)[:count]:
            portable[number, film] = True
    return portable


def refuse_bad_place(out: Path) -> None:
    """Raise InputError where a phantom would overwrite something."""
    problems = Problems()
    if out.is_dir():
        if any(out.iterdir()):
            problems.add(out, "the folder is not empty", "Name a new folder for the phantom, or empty this one")
    elif out.exists() or out.is_symlink():
        problems.add(out, "this is no folder", "Name a new folder for the phantom")
    problems.raise_if_any()


def _refuse_bad_name(name: str) -> None:
    if not _PLAIN_NAME.fullmatch(name):
        what = f"name is '{name}'"
        raise InputError([Problem("phantom", what, "Use letters, digits, '-', '_' and '.', the first a letter")])


def _refuse_bad_arguments(
    patients: int,
    seed: int,
    films_per_patient: tuple[int, int],
    prevalence: float,
    signal: float,
    view_confound: float,
    centers: int,
    size: int,
) -> None:
    problems = Problems()

    def ask(holds: bool, name: str, value: object, remedy: str) -> None:
        if not holds:
            problems.add(f"argument '{name}'", f"{value} is out of range", remedy)

    ask(4 <= patients <= 100_000, "patients", patients, "Give a whole number from 4 to 100000")
    ask(seed >= 0, "seed", seed, "Give a whole number from 0")
    fewest, most = films_per_patient
    films = f"{fewest} to {most}"
    ask(1 <= fewest <= most <= _MOST_FILMS, "films_per_patient", films, f"Give fewest and most, 1 to {_MOST_FILMS}")
    ask(0 < prevalence < 1, "prevalence", prevalence, "Give a share above 0 and below 1")
    ask(0 <= signal <= 10, "signal", signal, "Give a number from 0 to 10")
    ask(0 <= view_confound <= 1, "view_confound", view_confound, "Give a number from 0 to 1")
    ask(1 <= centers <= len(_CENTERS), "centers", centers, f"Give a whole number from 1 to {len(_CENTERS)}")
    ask(centers <= patients, "centers", f"{centers} for {patients} patients", "Give at least a patient a center")
    ask(96 <= size <= 2048, "size", size, "Give pixels from 96 to 2048")
    problems.raise_if_any()
    ill = round(prevalence * patients)
    if not 2 <= ill <= patients - 2:
        problems.add(
            "argument 'prevalence'",
            f"{prevalence} of {patients} patients gives {ill} with the outcome and {patients - ill} without",
            "Raise patients, or move prevalence toward 0.5, so that each has at least 2",
        )
    problems.raise_if_any()


def _refuse_no_room_for_faults(patients: int, films_per_patient: tuple[int, int], prevalence: float, size: int) -> None:
    problems = Problems()
    where = "argument 'faults'"
    if patients < FEWEST_PATIENTS or not 0.25 <= prevalence <= 0.75:
        what = f"{patients} patients at a prevalence of {prevalence} are too few for a fault each"
        problems.add(where, what, f"Give {FEWEST_PATIENTS} patients and a prevalence of 0.25 to 0.75")
    if films_per_patient[1] < 2:
        problems.add(where, "no patient has two films", "Give most films of a patient as 2 or more")
    if size < SMALLEST_FILM:
        problems.add(where, f"films of {size} pixels are too small to be copied smaller", f"Give {SMALLEST_FILM}")
    problems.raise_if_any()


def _table(films: Sequence[PhantomFilm]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for film in films:
        cells = [getattr(film, column) for column in _COLUMNS[:-1]]
        writer.writerow([*cells, f"{film.severity:.4f}"])
    return text.getvalue()


def _png(levels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Write a gray PNG without compression.

    Compressed bytes depend on which zlib the imaging library was built with, and the films' hashes enter job keys;
    stored bytes are the same everywhere. The format: PNG specification, third edition; RFC 1950 and 1951.
    """
    height, width = levels.shape
    bits = 8 * levels.dtype.itemsize
    # Every line begins with its filter: none. PNG is big-endian.
    lines = np.zeros((height, 1 + width * levels.dtype.itemsize), dtype=np.uint8)
    lines[:, 1:] = levels.astype(levels.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    raw = lines.tobytes()
    blocks = [raw[start : start + 65535] for start in range(0, len(raw), 65535)]
    stored = b"".join(
        struct.pack("<BHH", index == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for index, block in enumerate(blocks)
    )
    packed = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(raw))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)),
            (b"tEXt", b"Comment\0" + SYNTHETIC_NOTICE.encode("latin-1")),
            (b"IDAT", packed),
            (b"IEND", b""),
        )
    )


# Read alike by YAML, tables and shells.
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_COHORT = """\
# SYNTHETIC: no film of this cohort shows a person. Made by `{command}`
# with {settings}
name: {name}
synthetic: true
manifest: labels.csv
images: images
columns: {{image: image, patient: patient, center: center, view: view, sex: sex, age: age}}
roles:
  acquisition: [view]
  demographic: [sex, age]
  clinical: [day]
  outcome: [severity]        # the true extent of the opacities: what a model must find, never what it is told
tasks:
  icu: {{label: icu, positive: ["yes"], negative: ["no"]}}
"""

_README = """\
# Phantom: a SYNTHETIC cohort

Every film here was drawn by a program. None shows a person, and no result on them says anything about patients: the
cohort exists to try prognobench out and to test it.

Made by `{command}`
with {settings}.

`labels.csv` has a row a film:

| column | meaning |
|---|---|
| `image` | file in `images/`; gray PNG of 8 bits, or of 12 bits in a 16-bit file, depending on the center |
| `patient`, `center` | invented |
| `view` | `AP` (portable, lying) or `PA` (standing) |
| `sex`, `age` | `F` or `M`; years |
| `day` | of the film, from the patient's first |
| `icu` | the outcome: `yes` or `no`, one for all films of a patient |
| `severity` | true share of the lung area that opacities cover, from which the outcome was drawn |

The more of the lungs the opacities cover, the likelier the outcome, as far as `signal` says. Sex, age, day and center
tell nothing about it; the view does as far as `view_confound` says.
"""
