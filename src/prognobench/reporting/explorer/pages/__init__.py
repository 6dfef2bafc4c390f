"""The pages: every module of this folder has its own as `PAGE`; a new one is a new module and no edit here."""

from importlib import import_module
from pkgutil import iter_modules

from .._page import Page

PAGES: tuple[Page, ...] = tuple(
    sorted(
        (
            page
            for module in iter_modules(__path__)
            if isinstance(page := getattr(import_module(f"{__name__}.{module.name}"), "PAGE", None), Page)
        ),
        key=lambda page: (page.place, page.name),
    )
)

__all__ = ["PAGES"]
