"""Faults of raw files: what can be done to one film, and a plot that spoils films of a folder one by one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from prognobench.frame import InputError, Problem

from .._dicom import require_pydicom
from .._phantom import PhantomFilm
from ._layout import Drawing
from ._objects import compress

NOTES = "faults.json"  # what was planted, beside the data
_STRANGER = "stranger"


def truncate(path: Path) -> None:
    """Cut off the last third of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def drop_pixels(path: Path) -> None:
    """Take the pixel data out of an object."""
    dataset = require_pydicom().dcmread(path)
    del dataset.PixelData
    dataset.save_as(path)


def encode_unknown(path: Path) -> None:
    """Say that the pixels are a film in MPEG2, for which no decoder is here."""
    pydicom = require_pydicom()
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)


def claim_huge(path: Path) -> None:
    """Say in the header that a small film has four billion pixels, as a decompression bomb does."""
    retag(path, Rows=65000, Columns=65000)


def flatten(path: Path) -> None:
    """Give a film one gray value."""
    dataset = require_pydicom().dcmread(path)
    dataset.PixelData = b"\7" * len(dataset.PixelData)
    dataset.save_as(path)


def stretch(path: Path) -> None:
    """Give a film pixels that are far longer than wide."""
    retag(path, PixelSpacing=[1e6, 1e-6])


def burst(path: Path) -> None:
    """Rescale a film's values beyond what a number can hold."""
    retag(path, RescaleSlope="1E38", RescaleIntercept="0")


def forget_patient(path: Path) -> None:
    """Blank the PatientID."""
    retag(path, PatientID="")


def date_backwards(path: Path) -> None:
    """Say that a film was taken before its study began."""
    retag(path, StudyDate="20210101", AcquisitionDate="20200101")


def no_dicom(path: Path) -> None:
    """Put other bytes in the place of a film."""
    path.write_bytes(b"no film")


def link_out(path: Path) -> None:
    """Make a symbolic link to a file outside of the folder.

    Raises
    ------
    OSError
        The system has no such links, or does not let the user make them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.devnull)


def encode_again(path: Path, _shown: Path) -> None:
    """Encode a film as JPEG of 8 bits, which loses what the eye does not miss."""
    _redraw(path, lambda picture: picture, quality=70, compressed=True)


def resize(path: Path, _shown: Path) -> None:
    """Make a film smaller by an eighth; a small phantom has no more detail to lose."""
    _redraw(path, lambda picture: picture.resize((picture.width * 7 // 8, picture.height * 7 // 8)))


def crop(path: Path, _shown: Path) -> None:
    """Cut a few columns and rows off a film."""
    _redraw(path, lambda picture: picture.crop((3, 1, picture.width - 2, picture.height - 3)))


def take_pixels(path: Path, shown: Path) -> None:
    """Put the pixels of another patient's film in the place of a film; in DICOM who it is of stays."""
    if path.suffix != ".dcm":
        shutil.copy(shown, path)
        return
    pydicom = require_pydicom()
    own, dataset = pydicom.dcmread(path), pydicom.dcmread(shown)
    for keyword in _IDENTITY:
        if keyword in own:
            setattr(dataset, keyword, own[keyword].value)
    dataset.file_meta.MediaStorageSOPInstanceUID = own.SOPInstanceUID
    dataset.save_as(path)


_IDENTITY = (
    "PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "StudyDate",
    "AcquisitionDate",
)  # fmt: skip
# How the copy of a film for another patient is made from it, and the check that finds it.
COPIES: tuple[tuple[str, str, Callable[[Path, Path], None]], ...] = (
    ("encoded again", "near duplicate", encode_again),
    ("of the same pixels", "identical duplicate", take_pixels),
    ("resized", "near duplicate", resize),
    ("cropped", "near duplicate", crop),
)


def _redraw(
    path: Path, change: Callable[[Image.Image], Image.Image], *, quality: int = 95, compressed: bool = False
) -> None:
    if path.suffix != ".dcm":
        change(Image.open(path).convert("L")).save(path, quality=quality)
        return
    pydicom = require_pydicom()
    dataset = pydicom.dcmread(path)
    levels = dataset.pixel_array.astype(np.float64)
    shown = np.rint((levels - levels.min()) * (255 / max(np.ptp(levels), 1))).astype(np.uint8)
    picture = change(Image.fromarray(shown))
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth"):
        if keyword in dataset:
            delattr(dataset, keyword)
    dataset.Rows, dataset.Columns = picture.height, picture.width
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    content = picture.tobytes()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.add_new("PixelData", "OB", content + b"\0" * (len(content) % 2))
    (compress(dataset, "JPEGBaseline8Bit") if compressed else dataset).save_as(path, enforce_file_format=True)


def retag(path: Path, **tags: Any) -> None:
    """Write other values into an object, by keyword."""
    dataset = require_pydicom().dcmread(path)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def _any(film: PhantomFilm) -> bool:
    return True


@dataclass(frozen=True)
class PlantedFault:
    """One fault of a raw folder.

    Parameters
    ----------
    fault
        What was done.
    sources
        The files that it was done to, relative to the folder, or the row's key.
    left_out
        What `cohort build` leaves out for it: the file or row, and words of the reason that it gives. Empty where the
        films are kept.
    check
        The check of `cohort check` that finds it; blank where none need.
    always
        Whether the layout holds it without further faults, too.
    """

    fault: str
    sources: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    check: str = ""
    always: bool = False


@dataclass
class Plot:
    """Whose films are spoiled: each fault has a patient of its own, so that no fault hides another.

    Parameters
    ----------
    folder
        The raw files.
    drawing
        Their films, with where each was written.
    no_film
        The reason for which a builder leaves out a row whose patient has no film.
    """

    folder: Path
    drawing: Drawing
    no_film: str
    planted: list[PlantedFault] = field(default_factory=list)
    lost: set[PhantomFilm] = field(default_factory=set)
    _used: set[int] = field(default_factory=set)

    def spoil(
        self,
        fault: str,
        change: Callable[[Path], None],
        reason: str,
        fits: Callable[[PhantomFilm], bool] = _any,
        *,
        alone: bool = False,
        early: bool = False,
    ) -> None:
        """Change the file of a film that is left out for it.

        Parameters
        ----------
        fault, reason
            As a `PlantedFault` has them.
        change
            What is done to the file.
        fits
            Tells which films it can be done to.
        alone
            Whether the patient must have no other film.
        early
            Whether the film is left out before films and rows are joined; the row of its patient then has none.
        """
        film = self.victim(fits, alone=alone)
        source = self.drawing.sources[film]
        change(self.folder / source)
        row = self.drawing.rows[film]
        others = sum(other.number == film.number for other in self.drawing.films) - 1
        orphan = () if others or not early else ((row, self.no_film),)
        self.planted.append(PlantedFault(fault, (source,), ((source, reason), *orphan)))
        self.lost.add(film)

    def take_film_away(self) -> None:
        """Delete the only film of a patient who stays in the table."""
        film = self.victim(alone=True)
        (self.folder / self.drawing.sources[film]).unlink()
        row = self.drawing.rows[film]
        self.planted.append(PlantedFault("a row of a patient without film", (row,), ((row, self.no_film),)))
        self.lost.add(film)

    def add_stranger(self, source: str, reason: str) -> None:
        """Add a film of a patient whom no row of the table knows."""
        path = self.folder / source
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.folder / self.drawing.sources[self.victim()], path)
        if path.suffix == ".dcm":
            uid = require_pydicom().uid.generate_uid(entropy_srcs=["prognobench phantom", _STRANGER])
            retag(path, PatientID=_STRANGER, SOPInstanceUID=uid)
        self.planted.append(PlantedFault("a film of a patient without row", (source,), ((source, reason),)))

    def add_link(self, source: str) -> None:
        """Add a symbolic link out of the folder, where the system has such."""
        try:
            link_out(self.folder / source)
        except (OSError, NotImplementedError):
            return  # Windows asks for a right that few have; what was not planted is not told
        reason = "a symbolic link leads out of the folder"
        self.planted.append(PlantedFault("a symbolic link out of the folder", (source,), ((source, reason),)))

    def rename(self, fault: str, name: str) -> None:
        """Give the file of a film another name; the film is kept."""
        film = self.victim()
        path = self.folder / self.drawing.sources[film]
        path = path.rename(path.with_name(name))
        self.planted.append(PlantedFault(fault, (path.relative_to(self.folder).as_posix(),)))

    def repeat(self, fault: str, source: str, reason: str) -> None:
        """Lay a file down again; the first by name is kept."""
        sources = sorted([self.drawing.sources[self.victim()], source])
        shutil.copy(self.folder / next(one for one in sources if one != source), self.folder / source)
        self.planted.append(PlantedFault(fault, tuple(sources), ((sources[1], reason),)))

    def note(self, fault: str, source: str, reason: str) -> None:
        """Take note of what the layout holds anyway."""
        self.planted.append(PlantedFault(fault, (source,), ((source, reason),), always=True))

    def change_copies(self) -> None:
        """Make each copy of a film in a way of its own; both are kept, and are one film."""
        for (copy, film), (how, check, change) in zip(self.drawing.copies.items(), COPIES, strict=True):
            sources = (self.drawing.sources[film], self.drawing.sources[copy])
            change(self.folder / sources[1], self.folder / sources[0])
            self.planted.append(PlantedFault(f"the same film of two patients, {how}", sources, check=check))

    def victim(self, fits: Callable[[PhantomFilm], bool] = _any, alone: bool = False) -> PhantomFilm:
        """Return a film of a patient whom nothing was done to yet; `alone`: of one who has no other."""
        for film, films in self._patients():
            if fits(film) and (len(films) == 1 or not alone):
                self._used.add(film.number)
                return film
        what = "the patients and films are too few for a fault each"
        raise InputError([Problem("argument 'faults'", what, "Give 60 patients, with 1 to 3 films each")])

    def _patients(self) -> Iterator[tuple[PhantomFilm, list[PhantomFilm]]]:
        # From the last on: the first ones have other parts in the layouts.
        films_of: dict[int, list[PhantomFilm]] = {}
        for film in self.drawing.films:
            films_of.setdefault(film.number, []).append(film)
        kept = {film.number for pair in self.drawing.copies.items() for film in pair}
        for number in reversed(films_of):
            if number not in self._used | kept:
                yield from ((film, films_of[number]) for film in films_of[number])

    def write(self) -> None:
        """Write what was planted beside the data."""
        told = [
            {**asdict(one), "left_out": [{"source": source, "reason": reason} for source, reason in one.left_out]}
            for one in self.planted
        ]
        (self.folder / NOTES).write_bytes((json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode())
