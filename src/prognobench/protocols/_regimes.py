"""How much of the training part is used."""

from __future__ import annotations

from typing import Any

from prognobench.frame import Document, nearest


class Regime(Document):
    """A way to choose the films that train out of the training part."""

    @property
    def name(self) -> str:
        """The regime's word in tables."""
        raise NotImplementedError

    @property
    def shots(self) -> int | None:
        """Films a class, where the regime counts them."""
        return None

    @property
    def draw(self) -> int | None:
        """Which of several draws, where the regime draws."""
        return None


class Full(Regime):
    """All films of the training part."""

    @property
    def name(self) -> str:
        """The regime's word in tables."""
        return "full"


_REGIMES: dict[str, type[Regime]] = {"full": Full}


def parse_regimes(items: Any) -> list[Regime]:
    """Make regimes of what a study file says, one item for each shot count and draw.

    Raises
    ------
    ValueError
        Unknown regime; the nearest known one is named.

    Examples
    --------
    >>> [regime.name for regime in parse_regimes(["full"])]
    ['full']
    """
    regimes: list[Regime] = []
    for item in items if isinstance(items, list) else [items]:
        if not isinstance(item, str) and not (isinstance(item, dict) and len(item) == 1):
            raise ValueError("a regime is a name, or one name with its settings. Write full")
        name = item if isinstance(item, str) else str(next(iter(item)))
        if name not in _REGIMES:
            raise ValueError(f"unknown regime '{name}'. {nearest(str(name), sorted(_REGIMES))}")
        settings = item[name] if isinstance(item, dict) and item[name] else {}
        if settings:
            raise ValueError(f"the regime '{name}' has no settings. Write `{name}`")
        regimes.append(_REGIMES[name]())
    if len(set(regimes)) < len(regimes):
        raise ValueError("a regime is asked for twice. Keep one")
    return regimes
