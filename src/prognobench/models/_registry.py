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
        The id of a card or one of its aliases, or `timm:NAME` for any model of timm; its card is then read off the
        model itself, which imports torch. With and without the tag of the weights that timm takes by default, it is
        one card.

    Returns
    -------
    ModelCard
        Frozen; `model_copy(update={...})` makes a variant.

    Raises
    ------
    InputError
        When no such model is known (the nearest known name is given), when timm's cannot be made or tried, or when an
        installed package offers models that are none.

    Examples
    --------
    >>> model_card("dinov2_s").width
    384
    >>> model_card("vits14_pretrain").id
    'dinov2_s'
    """
    if name.startswith("timm:"):
        from ._timm import card_from_timm

        return card_from_timm(name.removeprefix("timm:"))
    # First without the other packages, whose cards may be variants of ours that they look up while they load.
    known = _by_every_name(_catalog_cards())
    if name not in known:
        known = _by_every_name(model_cards())
    if name not in known:
        raise InputError([Problem(f"model '{name}'", "no such model is known", nearest(name, [*known, "timm:NAME"]))])
    return known[name]


def in_catalog(card: ModelCard) -> bool:
    """Tell whether a card is this package's own, unchanged: one whose pairs in the matrix are proved."""
    return _catalog_cards().get(card.id) == card


def _by_every_name(cards: dict[str, ModelCard]) -> dict[str, ModelCard]:
    return {alias: card for card in cards.values() for alias in card.aliases} | cards


@cache
def _scan(search_path: tuple[str, ...]) -> dict[str, ModelCard]:
    found = dict(_catalog_cards())
    taken = dict.fromkeys(_by_every_name(found), "this package")
    problems = Problems()
    for origin, card in _from_packages(problems):
        if card.id in taken:
            what = f"the model '{card.id}' is there already, from {taken[card.id]}"
            problems.add(origin, what, "Uninstall one of the two")
            continue
        for alias in (alias for alias in card.aliases if alias in taken):
            what = f"the name '{alias}' of its model '{card.id}' is in use already, in {taken[alias]}"
            problems.add(origin, what, "Give the card other aliases, or none")
        taken |= dict.fromkeys((card.id, *card.aliases), origin)
        found[card.id] = card
    problems.raise_if_any()
    return {key: found[key] for key in sorted(found)}


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
