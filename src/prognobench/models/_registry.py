"""Finds cards: in the catalog, in installed packages, in timm."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata

from prognobench.frame import InputError, Problem, Problems, nearest

from . import _catalog
from ._cards import ModelCard

_GROUP = "prognobench.models"


def model_cards() -> dict[str, ModelCard]:
    """Return every card by its id, in alphabetical order.

    They are those of this package's catalog and those that installed packages offer under the entry point
    `prognobench.models`: a `ModelCard`, or an iterable of them.

    Raises
    ------
    InputError
        When an installed package offers something else, cannot be imported, or takes an id that is in use.

    Examples
    --------
    >>> "dinov2_s" in model_cards()
    True
    """
    # What is installed changes with the search path and hardly ever without it.
    return dict(_scan(tuple(sys.path)))


def model_card(name: str) -> ModelCard:
    """Return the card of one backbone.

    Parameters
    ----------
    name
        The id of a card, or `timm:NAME` for any model of timm; its card is then read off the model itself, which
        imports torch.

    Raises
    ------
    InputError
        When no such model is known; the nearest known name is given.

    Examples
    --------
    >>> model_card("dinov2_s").width
    384
    """
    if name.startswith("timm:"):
        from ._timm import card_from_timm

        return card_from_timm(name.removeprefix("timm:"))
    # First without the other packages, whose cards may be variants of ours that they look up while they load.
    if name in _catalog_cards():
        return _catalog_cards()[name]
    cards = model_cards()
    if name not in cards:
        raise InputError([Problem(f"model '{name}'", "no such model is known", nearest(name, [*cards, "timm:NAME"]))])
    return cards[name]


@cache
def _scan(search_path: tuple[str, ...]) -> dict[str, ModelCard]:
    found = {key: ("this package", card) for key, card in _catalog_cards().items()}
    problems = Problems()
    for origin, card in _from_packages(problems):
        if card.id in found:
            problems.add(
                origin, f"the model '{card.id}' is there already, from {found[card.id][0]}", "Uninstall one of the two"
            )
            continue
        found[card.id] = (origin, card)
    problems.raise_if_any()
    return {key: found[key][1] for key in sorted(found)}


@cache
def _catalog_cards() -> dict[str, ModelCard]:
    modules = pkgutil.iter_modules(_catalog.__path__, f"{_catalog.__name__}.")
    return {card.id: card for module in modules for card in importlib.import_module(module.name).CARDS}


def _from_packages(problems: Problems) -> Iterator[tuple[str, ModelCard]]:
    for point in metadata.entry_points(group=_GROUP):
        origin = f"entry point '{point.name}' of the package '{point.dist.name if point.dist else '?'}'"
        try:
            offered = point.load()
        except Exception as error:  # a stranger's module may fail in any way; it must be named, not traced
            problems.add(origin, f"it cannot be imported ({error!r})", "Repair or uninstall that package")
            continue
        cards = [offered] if isinstance(offered, ModelCard) else offered
        if not isinstance(cards, (list, tuple)) or not all(isinstance(card, ModelCard) for card in cards):
            problems.add(origin, "it is neither a ModelCard nor a list of them", "Repair or uninstall that package")
            continue
        for card in cards:
            yield origin, card
