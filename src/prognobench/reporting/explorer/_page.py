"""What a page of the explorer is: a function of a study at one moment and of what stands in the address."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from ._snapshot import Snapshot
from ._view import link

if TYPE_CHECKING:
    from ._films import Films

JOB_KEY = re.compile(r"[0-9a-f]{64}")
State = Mapping[str, tuple[str, ...]]  # the values of each key of the address


@dataclass(frozen=True)
class Control:
    """Something to choose.

    Parameters
    ----------
    key
        Its key in the address.
    label
        What people call it.
    options
        Value and text of each choice.
    kind
        `one` of them, or `many`, where none means all.
    default
        The value of `one` where the address has none.
    """

    key: str
    label: str
    options: tuple[tuple[str, str], ...]
    kind: Literal["one", "many"] = "many"
    default: str = ""

    def chosen(self, state: State) -> tuple[str, ...]:
        """Return the values that are chosen; what is no choice of this control counts for nothing."""
        known = {value for value, _ in self.options}
        values = tuple(value for value in state.get(self.key, ()) if value in known)
        if self.kind == "many":
            return values
        return values[:1] or ((self.default,) if self.default in known or not self.options else (self.options[0][0],))


@dataclass(frozen=True, eq=False)
class Context:
    """What a page may look at.

    Parameters
    ----------
    results
        The results folder.
    now
        The study.
    films
        The films' pictures, None where they are not to be shown.
    identifiers
        Whether patients and films are called by their names in the table.
    studies
        All studies of the folder.
    """

    results: Path
    now: Snapshot
    films: Films | None = None
    identifiers: bool = False
    studies: tuple[str, ...] = ()

    def link(self, page: str, /, **state: Any) -> str:
        """Return the address of a page of the same study in a state."""
        return link(page, study=self.now.plan.study, **state)


@dataclass(frozen=True, eq=False)
class View:
    """What a page shows.

    Parameters
    ----------
    parts
        Components of Dash.
    table
        The numbers on screen, all digits, for the CSV.
    """

    parts: Sequence[Any]
    table: pd.DataFrame | None = None


@dataclass(frozen=True)
class Page:
    """One page; each module of `pages` lists its own in `PAGE`.

    Parameters
    ----------
    name
        Its place in the address.
    title
        What the navigation calls it.
    place
        Where it stands in the navigation.
    view
        Makes what it shows.
    controls
        Lists what can be chosen.
    """

    name: str
    title: str
    place: int
    view: Callable[[Context, State], View]
    controls: Callable[[Context, State], Sequence[Control]] = field(default=lambda context, state: ())


def one(state: State, key: str, otherwise: str = "") -> str:
    """Return the value of a key that may stand once."""
    return next(iter(state.get(key, ())), otherwise)
