"""Bad input, named: which file, which row, what is wrong, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with what the user gave.

    Parameters
    ----------
    where
        The file (or argument) that holds the fault.
    what
        What was found and what was expected, as a sentence without its final stop.
    remedy
        What the user can do about it, as a sentence without its final stop.
    row
        Line of the file, counted from 1 as an editor or a spreadsheet shows it.
    """

    where: str
    what: str
    remedy: str
    row: int | None = None

    def __str__(self) -> str:
        place = self.where if self.row is None else f"{self.where}, row {self.row}"
        return f"{place}: {self.what}. {self.remedy}."


class InputError(ValueError):
    """Every problem of one input, in one message; the command line ends with status 2.

    Parameters
    ----------
    problems
        At least one problem, in the order in which they are to be read.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        if not self.problems:
            raise ValueError("an InputError needs at least one problem")
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[Problem, ...]]]:
        # Exceptions pickle by their message; a worker must hand back the problems themselves.
        return (type(self), (self.problems,))


class Problems:
    """A collector, so that one run names all faults instead of the first.

    Examples
    --------
    >>> problems = Problems()
    >>> problems.add("labels.csv", "the image cell is empty", "Give the film's file name", row=4)
    >>> len(problems)
    1
    >>> problems.raise_if_any()
    Traceback (most recent call last):
    prognobench.frame._errors.InputError: labels.csv, row 4: the image cell is empty. Give the film's file name.
    """

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, where: str | Path, what: str, remedy: str, row: int | None = None) -> None:
        """Note one problem; `row` counts the lines of the file from 1."""
        self._found.append(Problem(str(where), what, remedy, row))

    def extend(self, error: InputError) -> None:
        """Take over all problems of `error`."""
        self._found.extend(error.problems)

    def raise_if_any(self) -> None:
        """Raise one InputError with all problems noted so far, if there are any."""
        if self._found:
            raise InputError(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)


def nearest(word: str, known: Sequence[str]) -> str:
    """Say which known word is meant, or list them: the end of an error about an unknown name.

    Parameters
    ----------
    word
        What the user wrote.
    known
        The words that would have been right.

    Returns
    -------
    str
        A sentence without its final stop.

    Examples
    --------
    >>> nearest("modles", ["models", "strategies"])
    "Did you mean 'models'? Known: models, strategies"
    """
    listed = f"Known: {', '.join(known)}" if known else "Nothing is known here"
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"Did you mean '{close[0]}'? {listed}" if close else listed
