"""What a builder is told and what it answers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prognobench.frame import Document, InputError, Problem, sha256_bytes

from .._films import Fault

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RawFilm:
    """A film that is to be part of the cohort.

    Parameters
    ----------
    source
        Its file, relative to the raw folder, with `/` between folders.
    image
        What it is called in the cohort, without ending.
    patient
        The patient's id.
    cells
        Its other cells by column.
    order
        What the films of a patient are sorted by, the earliest first.
    """

    source: str
    image: str
    patient: str
    cells: Mapping[str, str]
    order: tuple[Any, ...] = ()


@dataclass(frozen=True)
class LeftOut:
    """Something that is not part of the cohort, and why.

    Parameters
    ----------
    source
        A file of the raw folder, or a row or patient of a table.
    fault
        Why, and what can be done.
    kind
        What was left out: `film`, `patient` or `file`.
    """

    source: str
    fault: Fault
    kind: str = "film"


@dataclass(frozen=True)
class Made:
    """A film that was made: its row so far, and what was seen in its pixels."""

    film: RawFilm
    largest: int  # stored value
    width: int
    height: int


def film_name(text: str) -> str:
    """Return a text as the name of a file, or a hash of it where it is none that every system takes."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", text):
        return text
    return sha256_bytes(os.fsencode(text))[:24]


Settle = Callable[[Sequence[Made]], tuple[list[RawFilm], list[LeftOut]]]


def keep_all(made: Sequence[Made]) -> tuple[list[RawFilm], list[LeftOut]]:
    """Keep every film that could be made."""
    return [one.film for one in made], []


@dataclass(frozen=True)
class Selection:
    """What a builder found in the raw files.

    Parameters
    ----------
    films
        The films to make.
    columns
        The columns of the table behind `image` and `patient`.
    document
        The keys of `cohort.yaml` that the builder decides: `columns`, `roles`, `tasks`.
    left_out
        What is not part of the cohort.
    settle
        What is decided when the films are made and some may have turned out bad, such as which is a patient's first.
    identifiers
        Columns that say who a patient is; they are left out of a cohort with pseudonyms.
    notes
        What the user should know, in sentences.
    burned_in
        The films whose header says that identifying text is part of the picture.
    """

    films: Sequence[RawFilm]
    columns: tuple[str, ...]
    document: dict[str, Any]
    left_out: Sequence[LeftOut] = ()
    settle: Settle = keep_all
    identifiers: frozenset[str] = frozenset()
    notes: Sequence[str] = ()
    burned_in: Sequence[str] = ()


@dataclass(frozen=True)
class Raw:
    """The raw folder and how to go about it.

    Parameters
    ----------
    folder
        The folder.
    workers
        How many processes may read.
    progress
        Called with the headers read and the files in all.
    """

    folder: Path
    workers: int = 1
    progress: Progress | None = None

    def find(self, *names: str) -> Path:
        """Return the one file below the folder that has one of these names, whatever the case of its letters.

        Raises
        ------
        InputError
            There is none, or there are several; what was expected and found is told.
        """
        found = self.find_all(*names)
        if len(found) == 1:
            return found[0]
        expected = " or ".join(f"'{name}'" for name in names)
        there = ", ".join(sorted(path.name for path in self.folder.iterdir())[:10]) or "nothing"
        what = (
            f"expected the file {expected}; the folder holds {there}"
            if not found
            else f"{expected} is there {len(found)} times: {', '.join(str(path) for path in found)}"
        )
        remedy = "Give the folder as it was published" if not found else "Keep one of them"
        raise InputError([Problem(str(self.folder), what, remedy)])

    def find_all(self, *names: str) -> list[Path]:
        """Return every file below the folder that has one of these names, sorted."""
        wanted = {name.casefold() for name in names}
        paths = (path for path in self.folder.rglob("*") if path.name.casefold() in wanted)
        return sorted(path for path in paths if path.is_file() and not path.name.startswith(("~$", "._")))


@dataclass(frozen=True)
class Builder:
    """A kind of raw data.

    Parameters
    ----------
    name
        What it is asked for by; that of a published cohort is the id of its card.
    options
        The document of its options.
    select
        Reads what is needed to decide which films the cohort has.
    about
        In a sentence.
    """

    name: str
    options: type[Document]
    select: Callable[[Raw, Any], Selection]
    about: str
