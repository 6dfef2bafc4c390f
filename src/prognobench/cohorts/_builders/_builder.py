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

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")  # the endings of films that are no DICOM
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that is not part of the cohort, and why.

    Parameters
    ----------
    source
        A file of the raw folder, or a row or patient of a table.
    fault
        Why, and what can be done.
    kind
        What was left out: `film`, `patient`, `row`, or `file` for what is no film at all.
    """

    source: str
    fault: Fault
    kind: str = "film"


@dataclass(frozen=True, slots=True)
class Made:
    """A film that was made: its row so far, and what was seen in its pixels."""

    film: RawFilm
    largest: int  # stored value
    width: int
    height: int


def film_name(text: str, used: set[str]) -> str:
    """Return what a film is called, and note it as used.

    It is `text` where that is a name that every system takes, else a hash of it; a second film of one name gets a
    number behind it.
    """
    name = text if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", text) else sha256_bytes(os.fsencode(text))[:24]
    number, found = 1, name
    while found.casefold() in used:
        number += 1
        found = f"{name}-{number}"
    used.add(found.casefold())
    return found


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

    def find(self, expected: str, matches: Callable[[str], bool]) -> Path:
        """Return the one file below the folder whose name fits.

        Parameters
        ----------
        expected
            Its usual name, to be told where it is not there.
        matches
            Tells of a file's name whether it fits.

        Raises
        ------
        InputError
            There is none, or there are several; what was expected and found is told.
        """
        found = self.find_all(matches)
        if len(found) == 1:
            return found[0]
        raise misfit(self.folder, f"one file such as '{expected}'", [path.name for path in found])

    def find_all(self, matches: Callable[[str], bool]) -> list[Path]:
        """Return every file below the folder whose name fits, sorted.

        Links are not followed, and the lock files of spreadsheet programs do not count.
        """
        paths = (path for path in self.folder.rglob("*") if matches(path.name) and not path.is_symlink())
        return sorted(path for path in paths if path.is_file() and not path.name.startswith(("~$", "._")))


def misfit(folder: Path, expected: str, found: Sequence[str] = ()) -> InputError:
    """Return the error of a layout that does not fit: what was expected, and what is there."""
    there = [*found] or sorted(path.name for path in folder.iterdir())
    listed = ", ".join(f"'{name}'" for name in there[:10]) or "nothing"
    more = f" and {len(there) - 10} more" if len(there) > 10 else ""
    what = f"the layout does not fit: expected {expected}; found {listed}{more}"
    return InputError([Problem(str(folder), what, "Give the folder as it was published; docs/ says how to get it")])


def plain_name(text: str) -> str:
    """Return what two spellings of a name share: letters and digits in lower case, without what is in parentheses.

    Examples
    --------
    >>> plain_name("ICU Admit (Y/N)"), plain_name("PositivityAtAdmission") == plain_name("Positivity at admission")
    ('icuadmit', True)
    """
    return re.sub(r"[\W_]+", "", re.sub(r"\(.*?\)", "", text)).casefold()


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
