"""The phantom as raw files: synthetic films in the folders, files and names that a builder reads."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from prognobench.frame import InputError, Problem, folder_in_one_step, nearest

from . import _phantom_layouts
from ._dicom import require_pydicom
from ._phantom import PhantomFilm, draw_table, refuse_bad_place
from ._phantom_layouts._faults import COPIES, PlantedFault, Plot
from ._phantom_layouts._layout import NO_DICOM, Drawing, Layout, Planted

__all__ = ["Planted", "PlantedFault", "layout_names", "make_layout"]


@cache
def _layouts() -> dict[str, Layout]:
    modules = pkgutil.iter_modules(_phantom_layouts.__path__, f"{_phantom_layouts.__name__}.")
    found = [importlib.import_module(module.name) for module in modules]
    return {module.LAYOUT.name: module.LAYOUT for module in found if hasattr(module, "LAYOUT")}


def layout_names() -> tuple[str, ...]:
    """Return the names of the raw layouts.

    Examples
    --------
    >>> "aiforcovid" in layout_names()
    True
    """
    return tuple(sorted(_layouts()))


def make_layout(
    layout: str, out: Path, patients: int = 120, seed: int = 0, *, faults: bool = False, **arguments: Any
) -> Planted:
    """Write synthetic films as the raw files of a cohort, with what a builder must leave out.

    Parameters
    ----------
    layout
        One of `layout_names()`.
    out
        Folder to make; it may exist if it is empty. It appears whole or not at all.
    patients, seed, arguments
        As `make_phantom` takes them; AIforCOVID always has six centers and a film a patient.
    faults
        Whether one of each fault that such raw files may have is planted, and listed in `out/faults.json`. It takes
        about 60 patients.

    Returns
    -------
    Planted
        What is to be found in it.

    Raises
    ------
    InputError
        There is no such layout, an argument is out of range, or pydicom is not installed.
    """
    if layout not in _layouts():
        what = f"the phantom has no layout '{layout}'"
        raise InputError([Problem("argument 'layout'", what, nearest(layout, ["table", *layout_names()]))])
    require_pydicom()
    refuse_bad_place(out)
    kind = _layouts()[layout]
    films = draw_table(patients, seed, **(arguments | kind.arguments))
    copies = _copied(films) if faults else {}
    drawing = Drawing([*films, *copies], seed, arguments.get("size", 320), copies)
    with folder_in_one_step(out) as draft:
        left_out = kind.write(drawing, draft)
        plot = Plot(draft, drawing, kind.no_film)
        if faults:
            kind.spoil(plot)
            plot.write()
            if NO_DICOM in left_out:  # of a builder that looks at every file: the list of faults is one more
                left_out[NO_DICOM] += 1
    kept = [film for film in drawing.films if film not in plot.lost]
    return Planted(kind.tasks(kept), left_out, tuple(plot.planted))


def _copied(films: Sequence[PhantomFilm]) -> dict[PhantomFilm, PhantomFilm]:
    """Return films of new patients with those that they show; the first ones and the last ones have other parts."""
    first = [film for film in films if film.film == 0]
    copies = {}
    for place in range(len(COPIES)):
        shown, number = first[(len(first) // 2 + place) % len(first)], first[-1].number + 1 + place
        name = f"p{number:04d}"
        copies[replace(shown, number=number, film=0, day=0, patient=name, image=f"{name}_0.png")] = shown
    return copies
