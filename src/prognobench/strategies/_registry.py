"""Find strategies: every module of this package that names one, and installed plug-ins."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

from prognobench.frame import nearest

from ._strategy import Strategy, StrategyCard

ENTRY_POINTS = "prognobench.strategies"


def strategy_cards() -> dict[str, StrategyCard]:
    """Return the card of every strategy, by name."""
    return {name: strategy.card for name, strategy in strategy_families().items()}


def parse_strategies(items: Any) -> list[Strategy]:
    """Make strategies of what a study file says; a list of values makes one strategy for each.

    Parameters
    ----------
    items
        Names (`lp`) and names with settings (`{lora: {rank: [4, 8]}}`).

    Raises
    ------
    ValueError
        Unknown strategy or setting, a value that does not fit, or the same strategy twice.

    Examples
    --------
    >>> [strategy.label for strategy in parse_strategies(["lp", {"lora": {"rank": ["4", "8"]}}])]
    ['lp', 'lora_r4', 'lora_r8']
    """
    strategies: list[Strategy] = []
    for item in items if isinstance(items, list) else [items]:
        name, settings = _by_alias(*_name_and_settings(item))
        family = strategy_families().get(name)
        if family is None:
            raise ValueError(f"unknown strategy '{name}'. {nearest(name, sorted(strategy_families()))}")
        known = list(family.Settings.model_fields)
        for key in settings:
            if key not in known:
                raise ValueError(f"unknown setting '{key}' of the strategy '{name}'. {nearest(str(key), known)}")
        for key, value in settings.items():
            if value in ([], None):
                raise ValueError(f"the setting '{key}' of the strategy '{name}' has no value. Give one or remove it")
        axes = [value if isinstance(value, list) else [value] for value in settings.values()]
        for values in itertools.product(*axes):
            strategies.append(_build(family, dict(zip(settings, values, strict=True))))
    labels = [strategy.label for strategy in strategies]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"the strategy '{label}' is asked for twice. Keep one")
    return strategies


def _name_and_settings(item: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(item, str):
        return item, {}
    if isinstance(item, dict) and len(item) == 1:
        name, settings = next(iter(item.items()))
        if settings is None or isinstance(settings, dict):
            return str(name), dict(settings or {})
    raise ValueError("a strategy is a name, or one name with its settings. Write lp or {lora: {rank: 8}}")


def _by_alias(name: str, settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name and settings that an alias stands for; what is set beside it comes first."""
    for card in strategy_cards().values():
        if name in card.aliases:
            return card.name, dict(card.aliases[name]) | settings
    return name, settings


def _build(family: type[Strategy], settings: dict[str, Any]) -> Strategy:
    try:
        return family(family.Settings.model_validate(settings))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        name = family.card.name
        raise ValueError(
            f"setting '{place}' of '{name}' does not fit: {first['msg']}. See docs/strategies.md"
        ) from None


@cache
def strategy_families() -> dict[str, type[Strategy]]:
    """Return the class of every strategy by its name: those of this package and of installed plug-ins."""
    package = importlib.import_module(__package__)
    found: list[type[Strategy]] = []
    for module in pkgutil.iter_modules(package.__path__):
        if module.ispkg:
            continue  # layers, which import torch
        family = getattr(importlib.import_module(f"{__package__}.{module.name}"), "STRATEGY", None)
        if family is not None:
            found.append(family)
    found.extend(point.load() for point in entry_points(group=ENTRY_POINTS))
    by_name: dict[str, type[Strategy]] = {}
    for family in found:
        if family.card.name in by_name:
            raise RuntimeError(f"two strategies are called '{family.card.name}'")
        by_name[family.card.name] = family
    return by_name
