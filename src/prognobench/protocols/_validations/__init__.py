"""Ways to split: every module of this folder names its own in `VALIDATION`, so that a new one is no edit here."""

from importlib import import_module
from pkgutil import iter_modules

from ._kind import Source, ValidationKind

VALIDATIONS: dict[str, type[ValidationKind]] = {
    kind.key: kind
    for module in iter_modules(__path__)
    if (kind := getattr(import_module(f"{__name__}.{module.name}"), "VALIDATION", None)) is not None
}

__all__ = ["VALIDATIONS", "Source", "ValidationKind"]
