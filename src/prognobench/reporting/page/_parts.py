"""What a page is made of, before it is HTML: sections, sentences, tables, figures."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from .._safe import printable

Row = Mapping[Any, Any]
MOST_ROWS = 400  # of one table; the whole of it is in its CSV


@dataclass(frozen=True)
class Cell:
    """One cell: its text, what it is sorted by, and its look (`number`, `mark`, `quiet`, `wrap`)."""

    text: str
    sort: float | str | None = None
    look: str = ""


@dataclass(frozen=True)
class Column:
    """One column of a table: its heading, an explanation of it, and how a row's cell is made."""

    heading: str
    cell: Callable[[Row], Cell]
    told: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table; `kind` is the template's word for it."""

    caption: str
    headings: tuple[tuple[str, str, bool], ...]  # heading, explanation, whether numbers
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]  # look of the row, cells
    notes: tuple[str, ...] = ()
    csvs: tuple[str, ...] = ()
    folded: str = ""  # the title under which it is folded away, if it is
    kind: str = field(default="table", init=False)


@dataclass(frozen=True)
class Prose:
    """Paragraphs, or a list of points; `look` is `answer`, `doubt`, `quiet` or nothing."""

    paragraphs: tuple[str, ...]
    points: bool = False
    look: str = ""
    kind: str = field(default="prose", init=False)


@dataclass(frozen=True)
class Terms:
    """Words with what they mean, or settings with their values."""

    pairs: tuple[tuple[str, str], ...]
    title: str = ""
    folded: bool = False
    kind: str = field(default="terms", init=False)


@dataclass(frozen=True)
class Picture:
    """A figure: data URIs of its pages, its caption, and the files beside the page."""

    title: str
    caption: str
    pages: tuple[str, ...]
    files: tuple[str, ...] = ()
    kind: str = field(default="picture", init=False)


@dataclass(frozen=True)
class Card:
    """A title with a verdict, sentences, and points below them; `look` is that of the verdict."""

    title: str
    sentences: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    verdict: str = ""
    look: str = ""
    kind: str = field(default="card", init=False)


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str
    kind: str = field(default="heading", init=False)


@dataclass(frozen=True)
class Pointer:
    """A sentence that ends in a link to a file beside the page, and what is to be said behind it."""

    before: str
    href: str
    named: str
    behind: str = ""
    kind: str = field(default="pointer", init=False)


@dataclass(frozen=True)
class Exhibit:
    """Small pictures side by side, as data URIs with what they show, over one caption; `look` is `doubt` or nothing."""

    pictures: tuple[tuple[str, str], ...]
    caption: str
    look: str = ""


@dataclass(frozen=True)
class Gallery:
    """Many exhibits, as many in a line as there is room for."""

    exhibits: tuple[Exhibit, ...]
    kind: str = field(default="gallery", init=False)


Part = PageTable | Prose | Terms | Picture | Card | Heading | Pointer | Gallery


@dataclass(frozen=True)
class Section:
    """One section of the page, with its name in the table of contents."""

    id: str
    title: str
    parts: tuple[Part, ...]


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[Row],
    *,
    csv: str = "",
    more: Sequence[str] = (),
    notes: Sequence[str] = (),
    look: Callable[[Row], str] = lambda _: "",
) -> PageTable:
    """Make a table of a CSV, and of `more`; say where rows are left out that its CSV has."""
    every = list(rows)
    shown = every[:MOST_ROWS]
    where = f"are in {csv}.csv" if csv else "are not shown"
    left = [f"{len(every) - MOST_ROWS:,} more rows {where}."] if len(every) > MOST_ROWS else []
    cells = tuple((look(row), tuple(column.cell(row) for column in columns)) for row in shown)
    numbers = [bool(cells) and cells[0][1][place].look.startswith("number") for place in range(len(columns))]
    headings = tuple((column.heading, column.told, number) for column, number in zip(columns, numbers, strict=True))
    return PageTable(caption, headings, cells, (*notes, *left), tuple(name for name in (csv, *more) if name))


def text(name: str, look: str = "") -> Callable[[Row], Cell]:
    """Show a text as it is, without control codes."""

    def cell(row: Row) -> Cell:
        told = words(row[name])
        return Cell(told, told.casefold(), look)

    return cell


def number(name: str, digits: int = 1, times: float = 100.0, sign: bool = False) -> Callable[[Row], Cell]:
    """Show a number, by default 100 times a share or a coefficient."""

    def cell(row: Row) -> Cell:
        return number_cell(row[name], digits, times, sign)

    return cell


def number_cell(value: Any, digits: int = 1, times: float = 100.0, sign: bool = False) -> Cell:
    """Show one number, a dash where it is missing."""
    if is_missing(value):
        return Cell("–", None, "number")
    scaled = float(value) * times
    shown = 0.0 if round(scaled, digits) == 0 else scaled  # no −0.0
    return Cell(f"{shown:{'+' if sign else ''},.{digits}f}", scaled, "number")


def with_interval(
    name: str, low: str, high: str, digits: int = 1, times: float = 100.0, sign: bool = False
) -> Callable[[Row], Cell]:
    """Show a number with its interval in brackets."""

    def cell(row: Row) -> Cell:
        own = number_cell(row[name], digits, times, sign)
        if is_missing(row[low]) or is_missing(row[name]):
            return own
        bounds = (number_cell(row[key], digits, times, sign).text for key in (low, high))
        return Cell(f"{own.text} [{', '.join(bounds)}]", own.sort, "number")

    return cell


def mean_and_std(mean: str, std: str, times: float = 100.0) -> Callable[[Row], Cell]:
    """Show a mean ± standard deviation."""

    def cell(row: Row) -> Cell:
        own = number_cell(row[mean], 1, times)
        spread = number_cell(row[std], 1, times).text
        return own if is_missing(row[mean]) else Cell(f"{own.text} ± {spread}", own.sort, "number")

    return cell


def p_value(name: str) -> Callable[[Row], Cell]:
    """Show a p value."""

    def cell(row: Row) -> Cell:
        value = row[name]
        if is_missing(value):
            return Cell("–", None, "number")
        return Cell("< 0.001" if value < 0.001 else f"{value:.3f}", float(value), "number")

    return cell


def yes_or_no(name: str, yes: str = "yes", no: str = "no", unknown: str = "–") -> Callable[[Row], Cell]:
    """Show a yes or no that may be unknown."""

    def cell(row: Row) -> Cell:
        value = row[name]
        if is_missing(value):
            return Cell(unknown, None)
        return Cell(yes, 1.0, "mark" if yes else "") if value else Cell(no, 0.0)

    return cell


def words(value: Any) -> str:
    """Return a value from outside as text for people: no control codes, blank where it is missing."""
    return "" if is_missing(value) else printable(value)


def is_missing(value: Any) -> bool:
    """Tell whether a value of a table is missing."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def sentences(told: str) -> tuple[str, ...]:
    """Cut a text into its sentences, each of which begins with a capital letter.

    Examples
    --------
    >>> sentences("Few to go by: 3 films. No interval is known to hold here.")
    ('Few to go by: 3 films.', 'No interval is known to hold here.')
    """
    return tuple(part for part in re.split(r"(?<=\.) (?=[A-Z])", told) if part)


def records(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return the rows of a table."""
    return frame.to_dict("records")


def data_uri(path: Path) -> str:
    """Return a picture as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def duration(seconds: float) -> str:
    """Say how long something took.

    Examples
    --------
    >>> [duration(seconds) for seconds in (0.25, 75, 5400)]
    ['0.2 s', '1.2 min', '1.5 h']
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:,.1f} h"


def plural(count: int, one: str, several: str = "") -> str:
    """Count something.

    Examples
    --------
    >>> plural(1, "film"), plural(1200, "film"), plural(2, "study", "studies")
    ('1 film', '1,200 films', '2 studies')
    """
    return f"{count:,} {one if count == 1 else several or one + 's'}"
