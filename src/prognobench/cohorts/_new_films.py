"""Films outside of a study: listed and turned into pixels by the code that the films of a study go through."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from prognobench.frame import InputError, Problem, Problems, parse_document, read_text

from ._dicom import decode_dicom, passed_over, read_header, require_pydicom
from ._dicom_tree import walk
from ._films import BadFilm, Fault, Gray, decode, film_or_fault, locate, read_film
from ._preprocessing import Preprocessing, render, scale_to_unit
from ._recipes import Crop, FilmRecipe, apply_recipe, film_recipe
from ._spec import CohortSpec
from ._survey import in_order
from ._tables import read_table, table_suffixes

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
DICOM = (".dcm", ".dicom")
_MARK = b"DICM"
_MODALITIES = ("CR", "DX")
_SMALL = 64  # pixels a side to which a picture is brought to see whether it has colors
_IMAGE_COLUMN, _PATIENT_COLUMN = "image", "patient"


@dataclass(frozen=True)
class FilmSource:
    """One film of an input.

    Parameters
    ----------
    name
        What the input calls it: the cell of a table, or the path below the folder.
    path
        Its file; None where there is none, with the `fault`.
    patient
        Whose it is, where the input says so.
    fault
        Why it cannot be read.
    """

    name: str
    path: Path | None
    patient: str = ""
    fault: Fault | None = None


@dataclass(frozen=True, eq=False)
class NewFilm:
    """A film as a model sees it.

    Parameters
    ----------
    square
        (size, size) uint16, as in the cache of a cohort.
    chroma
        How colored the picture is: the mean over pixels of the largest less the smallest of red, green and blue, from
        0 to 1. Exactly 0 for gray, however it is stored.
    """

    square: NDArray[np.uint16]
    chroma: float = 0.0


def film_sources(given: Path) -> list[FilmSource]:
    """List the films of an image, a DICOM file, a folder, a table or a cohort; none of them is opened yet.

    Parameters
    ----------
    given
        A `cohort.yaml` or the folder that holds one: every row of its table. Another folder: every PNG, JPEG, TIFF and
        DICOM file below it. A table: every cell of its column `image`, relative to the table's folder, with the
        patient from its column `patient`, if there is one. Anything else: the film itself.

    Raises
    ------
    InputError
        It is not there, holds no film, the table or the YAML has faults, or it names DICOM files and pydicom is not
        installed.
    """
    found = _sources(Path(given))
    if any(source.path is not None and _is_named_dicom(source.path) for source in found):
        # Sooner than after hours, when the first of them is read.
        require_pydicom()
    return found


def _sources(given: Path) -> list[FilmSource]:
    if not given.exists():
        raise InputError([Problem(str(given), "there is no such file or folder", "Check the name")])
    if given.is_dir():
        return _of_cohort(given / "cohort.yaml") if (given / "cohort.yaml").is_file() else _of_folder(given)
    if given.suffix.lower() in (".yaml", ".yml"):
        return _of_cohort(given)
    if given.suffix.lower() in table_suffixes():
        return _of_table(given, given.parent, _IMAGE_COLUMN, _PATIENT_COLUMN)
    return [FilmSource(given.name, given)]


def listing_files(given: Path) -> tuple[Path, ...]:
    """Return the files in which an input names its films: those of a cohort, or a table itself.

    Raises
    ------
    InputError
        The YAML of a cohort has faults.
    """
    given = Path(given)
    cohort = given / "cohort.yaml" if given.is_dir() else given
    if cohort.is_file() and cohort.suffix.lower() in (".yaml", ".yml"):
        return cohort, cohort.parent / parse_document(read_text(cohort), str(cohort), CohortSpec).manifest
    return (given,) if given.is_file() else ()


def read_new_films(
    sources: Iterable[FilmSource], preprocessing: Preprocessing, ahead: int = 0, built: FilmRecipe | None = None
) -> Iterator[NewFilm | Fault]:
    """Yield each film as pixels, or why it cannot be had, in the order of the sources.

    Threads decode a little ahead of what is taken.

    Parameters
    ----------
    sources
        The films.
    preprocessing
        The study's recipe.
    ahead
        How many films at least are decoded before they are asked for.
    built
        What raw DICOM goes through before, as when a cohort is built; `standard` by default. Pictures are taken for
        films that were built already. One that needs cells of a table, such as a box, refuses DICOM.
    """
    recipe = built or film_recipe("standard")
    return in_order(_read, ((source, preprocessing, recipe) for source in sources), ahead)


def film_in_memory(picture: Any, preprocessing: Preprocessing) -> NewFilm:
    """Turn a picture into pixels as a file of it would be.

    Parameters
    ----------
    picture
        A PIL image; or an array of shape (height, width), gray in any range, or (height, width, 3) of 8 bits.
    preprocessing
        The recipe.

    Raises
    ------
    BadFilm
        It is no picture, or has one gray value only.
    """
    if isinstance(picture, Image.Image):
        picture = _upright(picture)
        # What a PNG holds in 16 bits may be cut off in these.
        if picture.mode not in ("I", "F"):
            return _of_content(_png(picture), preprocessing)
    values = np.asarray(picture)
    if values.ndim == 3 and values.shape[2] in (3, 4) and values.dtype == np.uint8:
        return _of_content(_png(Image.fromarray(values)), preprocessing)
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.number) or not values.size:
        what = f"this is no picture but an array of shape {values.shape} and type {values.dtype}"
        raise BadFilm(what, "Give (height, width) gray values, or (height, width, 3) 8-bit colors")
    gray = values.astype(np.float32)
    if not np.isfinite(gray).all():
        raise BadFilm("it holds values that are not finite", "Give finite gray values")
    if gray.min() == gray.max():
        raise BadFilm("the film has one gray value only", "Give the film itself")
    return NewFilm(render(scale_to_unit(gray), preprocessing))


def _read(job: tuple[FilmSource, Preprocessing, FilmRecipe]) -> NewFilm | Fault:
    source, preprocessing, recipe = job
    if source.path is None:
        return source.fault or Fault("the file is not there", "Check the name")
    path = source.path
    return film_or_fault(lambda: _of_file(path, preprocessing, recipe))


def _of_file(path: Path, preprocessing: Preprocessing, recipe: FilmRecipe) -> NewFilm:
    content = read_film(path)
    if content[128:132] == _MARK or path.suffix.lower() in DICOM:
        return _of_dicom(path, content, preprocessing, recipe)
    return _of_content(content, preprocessing)


def _of_content(content: bytes, preprocessing: Preprocessing) -> NewFilm:
    gray = decode(content)
    return NewFilm(render(scale_to_unit(gray), preprocessing), _chroma(content))


def _of_dicom(path: Path, content: bytes, preprocessing: Preprocessing, recipe: FilmRecipe) -> NewFilm:
    """Read a radiograph as `cohort build dicom` keeps it and a study then reads that."""
    if isinstance(recipe.steps[0], Crop):
        what = f"the recipe '{recipe.name}' cuts films to boxes of a table, which a single DICOM file has none of"
        raise BadFilm(what, "Build a cohort of the films (`prognobench cohort build`) and give that")
    header = read_header(path.parent, path.name)
    if isinstance(header, Fault):
        raise BadFilm(header.what, header.remedy)
    other = passed_over(header, _MODALITIES, ("secondary_capture", "dates_out_of_order"))
    if other is not None:
        raise BadFilm(f"no radiograph: {other.what}", "Give single radiographs (modality CR or DX)")
    pixels = decode_dicom(content, recipe.contrast)
    kept: Gray = apply_recipe(recipe, pixels.gray, pixels.spacing, {}).astype(np.float32)
    return NewFilm(render(scale_to_unit(kept), preprocessing))


def _chroma(content: bytes) -> float:
    with Image.open(io.BytesIO(content)) as image:
        if image.mode in ("1", "L", "LA", "I", "I;16", "I;16B", "F"):
            return 0.0
        image.draft("RGB", (_SMALL, _SMALL))
        colors = np.asarray(image.convert("RGB").resize((_SMALL, _SMALL)), dtype=np.float32) / 255
    return float((colors.max(axis=2) - colors.min(axis=2)).mean())


def _upright(picture: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF says: the PNG that is made of it says so no more."""
    try:
        picture.load()  # a TIFF turns itself while it is loaded, and would be turned twice
        return ImageOps.exif_transpose(picture)
    except (OSError, ValueError) as error:
        raise BadFilm(f"the picture cannot be read ({error})", "Open it again from its file") from None


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    try:
        picture.save(stream, "PNG", compress_level=0)
    except (OSError, ValueError) as error:
        raise BadFilm(f"the picture cannot be kept as PNG ({error})", "Convert it to gray (L or I;16) or RGB") from None
    return stream.getvalue()


def _of_folder(folder: Path) -> list[FilmSource]:
    files, links = walk(folder)
    kinds = (*PICTURES, *DICOM)
    root = folder.resolve()
    found = [source for name in files if (source := _of_name(root, name)) is not None]
    found += [FilmSource(name, None, fault=fault) for name, fault in links if Path(name).suffix.lower() in kinds]
    if not found:
        what = f"there is no film below this folder ({len(files)} other files)"
        raise InputError([Problem(str(folder), what, "Give a folder of PNG, JPEG, TIFF or DICOM files")])
    return sorted(found, key=lambda source: source.name)


def _of_name(root: Path, name: str) -> FilmSource | None:
    """Return a file of a folder if it is a film; those of DICOM often have no ending at all."""
    path = root / name
    if path.suffix:
        return FilmSource(name, path) if path.suffix.lower() in (*PICTURES, *DICOM) else None
    marked = film_or_fault(lambda: _is_marked(path))
    if isinstance(marked, Fault):
        return FilmSource(name, None, fault=marked)
    return FilmSource(name, path) if marked else None


def _is_named_dicom(path: Path) -> bool:
    if path.suffix:
        return path.suffix.lower() in DICOM
    with contextlib.suppress(OSError):
        return _is_marked(path)
    return False


def _is_marked(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(132)[128:] == _MARK


def _of_cohort(path: Path) -> list[FilmSource]:
    spec = parse_document(read_text(path), str(path), CohortSpec)
    manifest, root = path.parent / spec.manifest, path.parent / spec.images
    if not manifest.is_file():
        what = f"the table '{spec.manifest}' is not there"
        raise InputError([Problem(str(path), what, "Give the file of the table in `manifest:`")])
    return _of_table(manifest, root, spec.columns.image, spec.columns.patient, spec.sheet)


def _of_table(path: Path, root: Path, image: str, patient: str, sheet: str | None = None) -> list[FilmSource]:
    problems = Problems()
    table = read_table(path, problems, sheet=sheet)
    if table is not None and image not in table.columns:
        what = f"the table has no column '{image}'"
        problems.add(path, what, f"Name the column of image files '{image}'; it has: {', '.join(table.columns)}")
    problems.raise_if_any()
    assert table is not None
    patients = table.column(patient) if patient in table.columns else [""] * len(table.rows)
    root = root.resolve()
    found = []
    for name, whose, row in zip(table.column(image), patients, table.rows, strict=True):
        place = locate(root, name) if name.strip() else Fault("the image cell is empty", "Give the image's file name")
        fault = place if isinstance(place, Fault) else None
        told = name if name.strip() else f"row {row}"
        found.append(FilmSource(told, None if isinstance(place, Fault) else place, whose, fault))
    return found
