"""The figures: every module of this folder lists its own in `FIGURES`; a new one is a new module and no edit here.

It loads matplotlib; import it where figures are drawn.
"""

from importlib import import_module
from pkgutil import iter_modules

from .._shown import Shown, Tables
from ._figure import Drawing, Figure, NothingToShow
from ._page import house_style
from ._write import WrittenFigure, write_figures

FIGURES: tuple[Figure, ...] = tuple(
    sorted(
        (
            figure
            for module in iter_modules(__path__)
            for figure in getattr(import_module(f"{__name__}.{module.name}"), "FIGURES", ())
        ),
        key=lambda figure: (figure.place, figure.name),
    )
)

__all__ = [
    "FIGURES",
    "Drawing",
    "Figure",
    "NothingToShow",
    "Shown",
    "Tables",
    "WrittenFigure",
    "house_style",
    "write_figures",
]
