"""What a figure is, and the tables it is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import pandas as pd
from matplotlib.figure import Figure as Canvas

from .._shown import Shown


class NothingToShow(Exception):
    """A study's tables cannot fill a figure; the message says why, for the report."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """One page of a figure.

    Parameters
    ----------
    canvas
        The page, ready to be saved.
    data
        What the page shows, one row a mark; the same columns on all pages of a figure.
    """

    canvas: Canvas
    data: pd.DataFrame


class Draw(Protocol):
    """Draws the pages of a figure, at least one; raises NothingToShow where the tables cannot fill it."""

    def __call__(self, shown: Shown, /) -> Sequence[Drawing]: ...


@dataclass(frozen=True)
class Figure:
    """One figure of the report.

    Parameters
    ----------
    name
        Stem of its files.
    title
        What it shows, in a few words.
    caption
        What is needed to read it: from the study's tables, since it tells levels, intervals and counts.
    place
        Where it stands in the report, from the top.
    draw
        Draws it.
    """

    name: str
    title: str
    caption: Callable[[Shown], str]
    place: int
    draw: Draw
