"""What a layout of the phantom must offer."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._phantom import PhantomFilm, render_film

if TYPE_CHECKING:
    from ._faults import PlantedFault, Plot

Count = tuple[int, int, int]  # films, patients, positive films
NO_DICOM = "no DICOM file"  # why a builder leaves out a file of a tree that is no film


@dataclass(frozen=True)
class Planted:
    """What a raw folder of the phantom holds, for who wants to count it after building.

    Parameters
    ----------
    tasks
        Films, patients and positive films of each task, by its name.
    left_out
        How many files a builder leaves out with its default options, by reason, whatever faults were planted.
    faults
        What was planted.
    """

    tasks: dict[str, Count]
    left_out: dict[str, int] = field(default_factory=dict)
    faults: tuple[PlantedFault, ...] = ()


@dataclass(frozen=True)
class Drawing:
    """The films to write.

    Parameters
    ----------
    films
        The rows of the phantom's table.
    seed, size
        Of the films, as `make_phantom` takes them.
    copies
        Films that show what another one shows, by themselves.
    sources, rows
        Where each film was written, relative to the folder, and what its row in the table is called.
    """

    films: Sequence[PhantomFilm]
    seed: int
    size: int
    copies: Mapping[PhantomFilm, PhantomFilm] = field(default_factory=dict)
    sources: dict[PhantomFilm, str] = field(default_factory=dict)
    rows: dict[PhantomFilm, str] = field(default_factory=dict)
    _last: dict[PhantomFilm, Any] = field(default_factory=dict, repr=False)

    def levels(self, film: PhantomFilm) -> Any:
        """Draw a film: integers of shape (size, width)."""
        film = self.copies.get(film, film)
        # Copies of a film are written after it, so the last one is all that need be kept.
        if film not in self._last:
            self._last.clear()
            self._last[film] = render_film(film, self.seed, size=self.size)
        return self._last[film].copy()

    def date(self, film: PhantomFilm) -> str:
        """Return the day of a film as DICOM writes it."""
        return (dt.date(2020, 3, 1) + dt.timedelta(days=film.number % 60 + film.day)).strftime("%Y%m%d")

    def note(self, film: PhantomFilm, source: str, row: str) -> None:
        """Take note of where a film was written, and of what its row is called."""
        self.sources[film], self.rows[film] = source, row


@dataclass(frozen=True)
class Layout:
    """A layout: what writes the phantom's films into an empty folder as raw files.

    Parameters
    ----------
    name
        Its name.
    write
        Writes them and returns how many files a builder leaves out, by reason.
    tasks
        Counts the tasks of films.
    spoil
        Plants one of each fault that the raw files may have.
    no_film
        The reason for which the builder leaves out a row whose patient has no film.
    arguments
        How the films must be drawn for it.
    """

    name: str
    write: Callable[[Drawing, Path], dict[str, int]]
    tasks: Callable[[Sequence[PhantomFilm]], dict[str, Count]]
    spoil: Callable[[Plot], None]
    no_film: str
    arguments: dict[str, Any] = field(default_factory=dict)


def write_workbook(path: Path, sheets: dict[str, Iterable[Sequence[Any]]]) -> None:
    """Write a workbook; the cells keep their types, and None is an empty cell."""
    import openpyxl

    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    for place, (title, rows) in enumerate(sheets.items()):
        sheet = book.active if place == 0 else book.create_sheet()
        sheet.title = title
        for row in rows:
            sheet.append(list(row))
    book.save(path)


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as CSV in UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.write_bytes(text.getvalue().encode())


def counts(films: Iterable[PhantomFilm], positive: Callable[[PhantomFilm], bool]) -> Count:
    """Return films, patients and positive films."""
    films = list(films)
    return len(films), len({film.patient for film in films}), sum(positive(film) for film in films)


def first_of_each(films: Iterable[PhantomFilm]) -> list[PhantomFilm]:
    """Return the earliest film of each patient."""
    first: dict[int, PhantomFilm] = {}
    for film in films:
        first.setdefault(film.number, film)
    return [*first.values()]
