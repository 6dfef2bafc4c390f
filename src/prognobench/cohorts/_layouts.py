"""The phantom as raw files: synthetic films in the folders, files and names that a builder reads."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any

from prognobench.frame import InputError, Problem, folder_in_one_step, nearest

from . import _phantom_layouts
from ._dicom import require_pydicom
from ._phantom import draw_table, refuse_bad_place
from ._phantom_layouts._layout import Drawing, Layout, Planted

__all__ = ["Planted", "layout_names", "make_layout"]


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


def make_layout(layout: str, out: Path, patients: int = 120, seed: int = 0, **arguments: Any) -> Planted:
    """Write synthetic films as the raw files of a cohort, with what a builder must leave out.

    Parameters
    ----------
    layout
        One of `layout_names()`.
    out
        Folder to make; it may exist if it is empty. It appears whole or not at all.
    patients, seed, arguments
        As `make_phantom` takes them; AIforCOVID always has six centers and a film a patient.

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
    with folder_in_one_step(out) as draft:
        return kind.write(Drawing(films, seed, arguments.get("size", 320)), draft)
