"""What is done to a film when a cohort is built: a named list of steps, kept beside the films."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from prognobench.frame import Document, InputError, Problem, nearest, read_document

from ._films import MOST_PIXELS, BadFilm, Gray

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\w.-]+$")]
# Detectors are read out at one or two to one at most; what is beyond is a slip of the header.
_MOST_OBLONG = 4.0


class Crop(Document):
    """Keep a box, in pixels of the raw film: what lies from `left` to before `right` and from `top` to `bottom`."""

    step: Literal["crop"]
    left: str = "left"
    """The column of the table that holds the box's left edge; the others likewise."""
    top: str = "top"
    right: str = "right"
    bottom: str = "bottom"


class MinMax(Document):
    """Scale the film so that its smallest value is 0 and its largest is 1."""

    step: Literal["minmax"]


class ClipPercentiles(Document):
    """Scale the film so that a low percentile of its values is 0 and a high one 1; what lies beyond is cut off."""

    step: Literal["clip_percentiles"]
    low: Annotated[float, Field(ge=0, lt=100)] = 1.0
    """The percentile that becomes 0."""
    high: Annotated[float, Field(gt=0, le=100)] = 99.0
    """The percentile that becomes 1."""

    @model_validator(mode="after")
    def _low_is_below_high(self) -> ClipPercentiles:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) is not below high ({self.high:g}). Exchange the two")
        return self


class Equalize(Document):
    """Spread 256 gray levels so that their histogram is even, as OpenCV's `equalizeHist` does; needs a scaled film."""

    step: Literal["equalize"]


class PadSquare(Document):
    """Pad the shorter side on both ends with the film's smallest value."""

    step: Literal["pad_square"]


class Resize(Document):
    """Make a larger film smaller, with its aspect kept (bilinear, antialiased); a smaller one stays as it is."""

    step: Literal["resize"]
    long_side: Annotated[int, Field(ge=64, le=1024)] = 1024
    """The longer side in pixels."""


_Steps = Crop | MinMax | ClipPercentiles | Equalize | PadSquare | Resize
Step = Annotated[_Steps, Field(discriminator="step")]


class FilmRecipe(Document):
    """How a raw film becomes the file in a cohort folder: a gray PNG, lossless."""

    name: Name
    """What the recipe is called in `build.json`."""
    contrast: Literal["displayed", "stored"] = "displayed"
    """Of DICOM: as a viewer shows the film (rescale, then VOI LUT or window), or the stored values."""
    steps: Annotated[list[Step], Field(min_length=1)]
    """In their order. Pixels that are not square are made so first, after a crop."""
    bits: Literal["8", "16"] = "16"
    """Of a pixel in the PNG."""

    @model_validator(mode="after")
    def _steps_fit(self) -> FilmRecipe:
        kinds = [step.step for step in self.steps]
        scaled = [place for place, kind in enumerate(kinds) if kind in ("minmax", "clip_percentiles")]
        if not scaled:
            raise ValueError("no step scales the film to [0, 1]. Add `- step: minmax`")
        if "equalize" in kinds and kinds.index("equalize") < scaled[0]:
            raise ValueError("equalize needs a scaled film. Put it behind minmax or clip_percentiles")
        if "crop" in kinds[1:]:
            raise ValueError("crop counts pixels of the raw film. Put it first, and once")
        return self


_PRESETS: dict[str, dict[str, Any]] = {
    "standard": {"contrast": "displayed", "steps": [{"step": "minmax"}, {"step": "resize"}], "bits": "16"},
    # What a public script of the authors of arXiv 2506.18434 does to AIforCOVID; they kept full size, as JPEG.
    "paper": {
        "contrast": "stored",
        "steps": [{"step": "minmax"}, {"step": "equalize"}, {"step": "resize"}],
        "bits": "8",
    },
}


def film_recipe(name: str) -> FilmRecipe:
    """Return a preset by its name, or the recipe of a YAML file.

    Examples
    --------
    >>> [step.step for step in film_recipe("paper").steps]
    ['minmax', 'equalize', 'resize']

    Raises
    ------
    InputError
        There is no such preset, or the file has faults.
    """
    if name in _PRESETS:
        return FilmRecipe.model_validate({"name": name, **_PRESETS[name]})
    if Path(name).suffix in (".yaml", ".yml"):
        return read_document(Path(name), FilmRecipe)
    what = f"there is no preprocessing '{name}'"
    remedy = f"{nearest(name, list(_PRESETS))}; or give a YAML file"
    raise InputError([Problem("argument 'preprocessing'", what, remedy)])


def built_with(cohort: Path) -> FilmRecipe | None:
    """Return the recipe that the films of a cohort were built with, as `build.json` beside its YAML says.

    None where there is no such file: the films were not built by `build_cohort`.

    Parameters
    ----------
    cohort
        The `cohort.yaml`.

    Raises
    ------
    InputError
        The file says no recipe that this version knows.
    """
    path = cohort.parent / "build.json"
    if not path.is_file():
        return None
    try:
        return FilmRecipe.model_validate(json.loads(path.read_text(encoding="utf-8"))["preprocessing"])
    except (OSError, ValueError, KeyError, TypeError):
        what = "it does not say in words of this version how the films were made"
        raise InputError([Problem(str(path), what, "Build the cohort again")]) from None


def recipe_names() -> tuple[str, ...]:
    """Return the names of the presets."""
    return tuple(_PRESETS)


def step_kinds() -> tuple[type[Document], ...]:
    """Return the documents of all steps."""
    return get_args(_Steps)


def apply_recipe(
    recipe: FilmRecipe, gray: Gray, spacing: tuple[float, float], cells: Mapping[str, str]
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return the film as a recipe wants it kept.

    Parameters
    ----------
    recipe
        The steps.
    gray
        Shape (rows, columns).
    spacing
        Height and width of a pixel; only their ratio counts.
    cells
        The film's row of the table, for steps that read it.

    Raises
    ------
    BadFilm
        A step cannot be done, such as a box that lies outside of the film.
    """
    steps = list(recipe.steps)
    if isinstance(steps[0], Crop):
        gray = _crop(gray, steps.pop(0), cells)  # type: ignore[arg-type]
    gray = _square_pixels(gray, spacing)
    for step in steps:
        gray = _apply(step, gray)
    gray = gray.clip(0, 1)  # resizing may lead out by a last bit
    kept: NDArray[np.uint8] | NDArray[np.uint16]
    if recipe.bits == "8":
        kept = np.rint(gray * np.float32(255)).astype(np.uint8)
    else:
        kept = np.rint(gray * np.float32(65535)).astype(np.uint16)
    return kept


def _apply(step: Any, gray: Gray) -> Gray:
    if isinstance(step, MinMax):
        return _scaled(gray)
    if isinstance(step, ClipPercentiles):
        low, high = np.percentile(gray, [step.low, step.high])
        return _scaled(gray.clip(np.float32(low), np.float32(high)))
    if isinstance(step, Equalize):
        return _equalize(gray)
    if isinstance(step, PadSquare):
        return _pad(gray)
    longest = max(gray.shape)
    if longest <= step.long_side:
        return gray
    return _resize(gray, *((2 * side * step.long_side + longest) // (2 * longest) for side in gray.shape))


def _scaled(gray: Gray) -> Gray:
    low, high = gray.min(), gray.max()
    if not float(high) - float(low) <= float(np.finfo(np.float32).max):  # nor where one of them is no number
        raise BadFilm("its gray values are not finite, or too far apart", "Export it again from its source")
    if low == high:
        raise BadFilm("the film has one gray value only", "Export it again from its source")
    scaled: Gray = gray - low
    scaled /= high - low
    return scaled


def _crop(gray: Gray, step: Crop, cells: Mapping[str, str]) -> Gray:
    box = []
    for column in (step.left, step.top, step.right, step.bottom):
        try:
            box.append(round(float(cells[column])))
        except (KeyError, ValueError):
            raise BadFilm(f"the box has no number in '{column}'", "Give the box in pixels of the raw film") from None
    left, top, right, bottom = box
    height, width = gray.shape
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        what = f"the box ({left}, {top}) to ({right}, {bottom}) does not lie in the film of {width} × {height} pixels"
        raise BadFilm(what, "Give the box in pixels of the raw film")
    return gray[top:bottom, left:right]


def _square_pixels(gray: Gray, spacing: tuple[float, float]) -> Gray:
    """Widen the pixels' shorter side; a difference below 1 % is rounding of the header."""
    high, wide = spacing
    if abs(high / wide - 1) < 0.01:
        return gray
    unit = min(high, wide)
    correct = "Correct the PixelSpacing of its header"
    if not max(high, wide) / unit <= _MOST_OBLONG:  # nor where it is no number
        raise BadFilm("its header says that a pixel is more than four times as long as wide", correct)
    height, width = round(gray.shape[0] * high / unit), round(gray.shape[1] * wide / unit)
    if height * width > MOST_PIXELS:
        what = f"with the square pixels that its header asks for it has {width} × {height} of them, which is too many"
        raise BadFilm(what, correct)
    return _resize(gray, height, width)


def _resize(gray: Gray, height: int, width: int) -> Gray:
    image = Image.fromarray(np.ascontiguousarray(gray))
    resized: Gray = np.asarray(image.resize((max(1, width), max(1, height)), Image.Resampling.BILINEAR))
    return resized


def _equalize(gray: Gray) -> Gray:
    levels = np.rint(gray * np.float32(255)).astype(np.uint8)
    counts = np.bincount(levels.ravel(), minlength=256)
    first = counts[np.flatnonzero(counts)[0]]
    spread = (np.cumsum(counts) - first) / max(levels.size - first, 1)
    table = (np.rint(spread.clip(0, 1) * 255) / 255).astype(np.float32)
    even: Gray = table[levels]
    return even


def _pad(gray: Gray) -> Gray:
    height, width = gray.shape
    side = max(height, width)
    square = np.full((side, side), gray.min(), dtype=np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = gray
    return square
