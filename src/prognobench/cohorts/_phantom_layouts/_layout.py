"""What a layout of the phantom must offer."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._phantom import PhantomFilm, render_film


@dataclass(frozen=True)
class Planted:
    """What a raw folder of the phantom holds, for who wants to count it after building.

    Parameters
    ----------
    tasks
        Films, patients and positive films of each task, by its name.
    left_out
        How many files a builder leaves out with its default options, by reason.
    """

    tasks: dict[str, tuple[int, int, int]]
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawing:
    """The films to write.

    Parameters
    ----------
    films
        The rows of the phantom's table.
    seed, size
        Of the films, as `make_phantom` takes them.
    """

    films: Sequence[PhantomFilm]
    seed: int
    size: int
    _last: dict[PhantomFilm, Any] = field(default_factory=dict, repr=False)

    def levels(self, film: PhantomFilm) -> Any:
        """Draw a film: integers of shape (size, width)."""
        # Copies of a film are written after it, so the last one is all that need be kept.
        if film not in self._last:
            self._last.clear()
            self._last[film] = render_film(film, self.seed, size=self.size)
        return self._last[film].copy()

    def date(self, film: PhantomFilm) -> str:
        """Return the day of a film as DICOM writes it."""
        return (dt.date(2020, 3, 1) + dt.timedelta(days=film.number % 60 + film.day)).strftime("%Y%m%d")


@dataclass(frozen=True)
class Layout:
    """One layout: its name, what writes a drawing into an empty folder, and how the films must be drawn for it."""

    name: str
    write: Callable[[Drawing, Path], Planted]
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


def counts(films: Iterable[PhantomFilm], positive: Callable[[PhantomFilm], bool]) -> tuple[int, int, int]:
    """Return films, patients and positive films."""
    films = list(films)
    return len(films), len({film.patient for film in films}), sum(positive(film) for film in films)
