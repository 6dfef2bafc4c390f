"""Find strategies: every module of this package that names one, and installed plug-ins."""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from typing import Any

from pydantic import ValidationError

from prognobench.frame import Document, Problems, nearest

from ._strategy import Strategy, StrategyCard

ENTRY_POINTS = "prognobench.strategies"


def strategy_cards() -> dict[str, StrategyCard]:
    """Return the card of every strategy, by name.

    They are those of this package and those of the classes that installed packages offer under the entry point
    `prognobench.strategies`.

    Returns
    -------
    dict
        Name to card.

    Raises
    ------
    InputError
        When an installed package offers something else, cannot be imported, or takes a name that is in use.

    Examples
    --------
    >>> strategy_cards()["lora"].title
    'LoRA'
    """
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
        Unknown strategy or setting, a value that does not fit, the same strategy twice, or a broken plug-in.

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


def resolved_strategy(settings: Mapping[str, Any]) -> Strategy:
    """Make the strategy of what `Strategy.resolved` returned, as records hold it.

    Examples
    --------
    >>> resolved_strategy({"name": "lp"}).label
    'lp'
    """
    named = {key: value for key, value in settings.items() if key != "name"}
    (strategy,) = parse_strategies([{settings["name"]: named}])
    return strategy


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


def strategy_families() -> dict[str, type[Strategy]]:
    """Return the class of every strategy by its name: those of this package and of installed plug-ins.

    Raises
    ------
    InputError
        When an installed package offers something else, cannot be imported, or takes a name that is in use.
    """
    # What is installed changes with the search path and hardly ever without it.
    return _scan(tuple(sys.path))


@cache
def _scan(search_path: tuple[str, ...]) -> dict[str, type[Strategy]]:
    found = {family.card.name: family for family in _own_families()}
    origins = dict.fromkeys(found, "this package")
    problems = Problems()
    for origin, family in _from_packages(problems):
        name = family.card.name
        if name in found:
            problems.add(
                origin, f"the strategy '{name}' is there already, from {origins[name]}", "Uninstall one of the two"
            )
            continue
        found[name], origins[name] = family, origin
    problems.raise_if_any()
    return found


def _own_families() -> Iterator[type[Strategy]]:
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__):
        if module.ispkg:
            continue  # layers, which import torch
        family = getattr(importlib.import_module(f"{__package__}.{module.name}"), "STRATEGY", None)
        if family is not None:
            yield family


def _from_packages(problems: Problems) -> Iterator[tuple[str, type[Strategy]]]:
    for point in metadata.entry_points(group=ENTRY_POINTS):
        origin = f"entry point '{point.name}' of the package '{point.dist.name if point.dist else '?'}'"
        try:
            offered = point.load()
        except Exception as error:  # a stranger's module may fail in any way; it must be named, not traced
            problems.add(origin, f"it cannot be imported ({error!r})", "Repair or uninstall that package")
            continue
        if fault := _fault(offered):
            problems.add(origin, fault, "Repair or uninstall that package")
            continue
        yield origin, offered


def _fault(offered: Any) -> str | None:
    """Say why something is no strategy's class, or None."""
    if not isinstance(offered, type) or not issubclass(offered, Strategy):
        return "it is not a class of strategies, a subclass of Strategy"
    if inspect.isabstract(offered):
        return f"the class {offered.__name__} lacks {', '.join(sorted(offered.__abstractmethods__))}"
    if not isinstance(getattr(offered, "card", None), StrategyCard):
        return f"the class {offered.__name__} has no StrategyCard as its `card`"
    settings = getattr(offered, "Settings", None)
    if not isinstance(settings, type) or not issubclass(settings, Document):
        return f"the class {offered.__name__} has no Document as its `Settings`"
    return None
