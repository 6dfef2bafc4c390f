"""Hand a model to others, in a form that was held against the model before it is there."""

from __future__ import annotations

import importlib
import pkgutil
import secrets
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from prognobench.cohorts import Fault, NewFilm, film_in_memory, film_sources, kept_pixels, read_new_films
from prognobench.frame import InputError, Problem, folder_in_one_step, nearest

from . import _formats
from ._agreement import disagreement
from ._formats._format import USE, Format, Reader
from ._model import Model

_FILMS = 9  # of each kind, real and random; one more than a batch of the processor
_SEED = 0


def formats() -> dict[str, Format]:
    """Return the formats by their names: every module of `_formats` that has one."""
    return dict(_scan())


@cache
def _scan() -> tuple[tuple[str, Format], ...]:
    found = []
    for module in pkgutil.iter_modules(_formats.__path__):
        one = getattr(importlib.import_module(f"{_formats.__name__}.{module.name}"), "FORMAT", None)
        if one is not None:
            found.append((one.name, one))
    return tuple(sorted(found))


def export(folder: Path, to: str, out: Path, *, films: Path | None = None, gray: bool = False) -> float:
    """Write a model in another form, if it computes the same.

    Parameters
    ----------
    folder
        What `fit` wrote.
    to
        `onnx`, `torch-export`, `peft` or `safetensors`. Adapters are merged into the backbone where that can be, but
        for `peft`.
    out
        The file, or for `peft` and `safetensors` the folder, to write. A file that is there already is replaced, and a
        folder if it is empty or an earlier export.
    films
        Real films to check with, as `prognobench.cohorts.film_sources` takes them; by default training films from the
        image cache, where the model was fitted on this machine.
    gray
        Whether the graph begins with the gray image, of any size, instead of normalized pixels (`onnx` alone).

    Returns
    -------
    float
        The largest difference of a probability or score to the model's own, on real and on random films.

    Raises
    ------
    InputError
        The model or the format cannot be had so, something else lies at `out`, a package is missing, no real films are
        there to check with, or the export differs by more than 1e-4, or by more than 1e-3
        in log-odds; nothing is written then.
    """
    found = formats()
    if to not in found:
        raise InputError([Problem("argument --to", f"there is no format '{to}'", nearest(to, list(found)))])
    form = found[to]
    form.require()
    if form.suffix and out.suffix != form.suffix:
        what = f"'{out.name}' does not end in {form.suffix}"
        raise InputError([Problem(str(out), what, f"Give --out a name such as model{form.suffix}")])
    _refuse_place(out, Path(folder), form)
    out = out.resolve()
    model = Model.load(folder)
    refused = form.refuses(model, gray)
    if refused is not None:
        raise InputError([Problem(str(folder), f"it cannot be exported to {to}: {refused}", "Choose another --to")])
    pictures = [*_real(model, films, folder), *_random(model)]
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{secrets.token_hex(4)}{out.name}")
    try:
        read = form.write(model, folder, draft, gray)
        own, computed = _both(model, read, pictures, gray)
        if others := disagreement(own, computed):
            what = f"the export to {to} computes other numbers than the model ({others})"
            raise InputError([Problem(str(folder), what, "Choose another --to, or other versions of the packages")])
        _place(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True) if draft.is_dir() else draft.unlink(missing_ok=True)
    return float(np.abs(computed - own).max())


def _both(
    model: Model, read: Reader, pictures: list[npt.NDArray[np.uint16]], gray: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return probability and score of each film, (2, films), by the model and by its export."""
    if not gray:
        squares = np.stack(pictures)
        found = read(squares)
    else:
        # A square is a picture like any other; cut and enlarged, the pictures have many shapes.
        shaped = [_shaped(picture, place) for place, picture in enumerate(pictures)]
        squares = np.stack([film_in_memory(picture, model.preprocessing).square for picture in shaped])
        found = np.concatenate([read(picture[None]) for picture in shaped], axis=1)
    own = model.scorer.score(squares)
    return np.stack([own.probability, own.score]), found


def _shaped(picture: npt.NDArray[np.uint16], place: int) -> npt.NDArray[np.uint16]:
    times = 1 + place % 3
    cut = picture[place : len(picture) - 2 * place, : len(picture) - place]
    return cut.repeat(times, axis=0).repeat(times, axis=1)


def _real(model: Model, films: Path | None, folder: Path) -> list[npt.NDArray[np.uint16]]:
    if films is not None:
        sources = film_sources(films)[:_FILMS]
        if not sources:
            what = "there is no film to check the export with"
            raise InputError([Problem(str(films), what, "Give a few films, or a folder of them, as --films")])
        read = list(read_new_films(sources, model.preprocessing, built=model.description.built))
        faults = [
            Problem(source.name, film.what, film.remedy)
            for source, film in zip(sources, read, strict=True)
            if isinstance(film, Fault)
        ]
        if faults:
            raise InputError(faults)
        return [film.square for film in read if isinstance(film, NewFilm)]
    pixels = kept_pixels(str(model.description.training["pixels"]))
    if pixels is None:
        what = "an export is checked on real films, and the training films are not in the image cache of this machine"
        raise InputError([Problem(str(folder), what, "Give a few films, or a folder of them, as --films")])
    places = np.linspace(0, len(pixels.array) - 1, min(_FILMS, len(pixels.array))).astype(int)
    return [np.asarray(pixels.array[place]) for place in places]


def _random(model: Model) -> list[npt.NDArray[np.uint16]]:
    random = np.random.Generator(np.random.PCG64(_SEED))
    size = model.preprocessing.size
    return [random.integers(0, 65536, (size, size), dtype=np.uint16) for _ in range(_FILMS)]


def _refuse_place(out: Path, folder: Path, form: Format) -> None:
    """Refuse to write where anything but an earlier export would be lost."""
    place, model = out.resolve(), folder.resolve()
    what = None
    if out.name in ("", ".."):
        what = "this names the folder that one is in, or one above it"
    elif model.is_relative_to(place):
        what = "the model itself lies there"
    elif form.suffix and place.is_dir():
        what = f"a folder is there, and {form.name} is one file"
    elif not form.suffix and place.exists() and not place.is_dir():
        what = f"a file is there, and {form.name} is a folder"
    elif place.is_dir() and any(place.iterdir()) and not (place / USE).is_file():
        what = "something else than an export is there already"
    if what is not None:
        raise InputError([Problem(str(out), what, "Give --out a new name")])


def _place(draft: Path, out: Path) -> None:
    if not draft.is_dir():
        draft.replace(out)
        return
    with folder_in_one_step(out) as made:
        for path in draft.iterdir():
            path.rename(made / path.name)
