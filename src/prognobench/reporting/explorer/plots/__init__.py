"""The figures of Compare: every module of this folder has its own as `PLOT`; a new one is a new module."""

from importlib import import_module
from pkgutil import iter_modules

from ._plot import Plot

PLOTS: tuple[Plot, ...] = tuple(
    sorted(
        (
            plot
            for module in iter_modules(__path__)
            if isinstance(plot := getattr(import_module(f"{__name__}.{module.name}"), "PLOT", None), Plot)
        ),
        key=lambda plot: (plot.place, plot.name),
    )
)

__all__ = ["PLOTS", "Plot"]
