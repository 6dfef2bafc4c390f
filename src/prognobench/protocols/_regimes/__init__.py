"""How much is used: every module of this folder names its regime in `REGIME`, so that a new one is no edit here."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from pydantic import ValidationError

from prognobench.frame import nearest

from ._full import Full
from ._regime import Regime, RegimeFamily, TooFew

REGIMES: dict[str, type[RegimeFamily]] = {
    family.key: family
    for module in iter_modules(__path__)
    if (family := getattr(import_module(f"{__name__}.{module.name}"), "REGIME", None)) is not None
}


def parse_regimes(items: Any) -> list[Regime]:
    """Make regimes of what a study file says, one item for each value and draw.

    Parameters
    ----------
    items
        Names (`full`) and names with settings (`{few_shot: {shots: [2, 4], draws: 3}}`).

    Raises
    ------
    ValueError
        Unknown regime or setting, with the nearest known one; a value that does not fit; the same regime twice.

    Examples
    --------
    >>> [(regime.name, regime.shots) for regime in parse_regimes(["full", {"few_shot": {"shots": ["2", "4"]}}])]
    [('full', None), ('few_shot', 2), ('few_shot', 4)]
    """
    regimes: list[Regime] = []
    for item in items if isinstance(items, list) else [items]:
        if not isinstance(item, str) and not (isinstance(item, dict) and len(item) == 1):
            raise ValueError("a regime is a name, or one name with its settings. Write full")
        name, settings = (item, None) if isinstance(item, str) else next(iter(item.items()))
        if name not in REGIMES:
            raise ValueError(f"unknown regime '{name}'. {nearest(str(name), sorted(REGIMES))}")
        regimes += _family(REGIMES[name], {} if settings is None else settings).regimes()
    told = [(regime.name, regime.shots, regime.draw) for regime in regimes]
    if len(set(told)) < len(told):
        raise ValueError("a regime is asked for twice. Keep one")
    return regimes


def _family(family: type[RegimeFamily], settings: Any) -> RegimeFamily:
    known = list(family.model_fields)
    if not isinstance(settings, dict):
        raise ValueError(f"the regime '{family.key}' has no such settings. Write {family.example}")
    for key in settings:
        if not known:
            raise ValueError(f"the regime '{family.key}' has no settings. Write {family.example}")
        if key not in known:
            raise ValueError(f"unknown setting '{key}' of the regime '{family.key}'. {nearest(str(key), known)}")
    try:
        return family.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        found = "is missing" if first["type"] == "missing" else f"does not fit: {first['msg']}"
        raise ValueError(f"setting '{place}' of the regime '{family.key}' {found}. Write {family.example}") from None


__all__ = ["REGIMES", "Full", "Regime", "RegimeFamily", "TooFew", "parse_regimes"]
