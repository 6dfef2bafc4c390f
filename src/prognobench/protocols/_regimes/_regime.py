"""What every regime has in common, and how films are drawn."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import pandas as pd
from pydantic import BeforeValidator, Field

from prognobench.frame import Document

from .._dealing import shuffled
from .._splits import Split

Val = Literal["matched", "full"]
Cell = tuple[int | str, ...]


@dataclass(frozen=True)
class Regime(ABC):
    """A way to choose the films that train out of the training part.

    Attributes
    ----------
    name
        The regime's word in tables; with `shots` and `draw` it tells every two regimes apart.
    shots
        Films a class, where the regime counts them.
    draw
        Which of several draws, from 0, where the regime draws.
    """

    name: str
    shots: int | None = None
    draw: int | None = None

    @abstractmethod
    def reduce(self, split: Split, rows: pd.DataFrame, seed: int) -> Split:
        """Return the split that this regime makes of another; tested films are never touched.

        Parameters
        ----------
        split
            The split of all films.
        rows
            The films of the task: `image, patient, group, label` and, where the regime reads it, `center`.
        seed
            The study's `split_seed`; with the split's repeat and fold and the regime's draw it fixes what is drawn.

        Raises
        ------
        TooFew
            A part has fewer films of a class, or of a class in a center, than are asked for.
        """


class TooFew(ValueError):
    """A fold's part has too few films for a regime: the fold is left out with this reason.

    Parameters
    ----------
    reason
        Which part has how many of which class, and how many were asked for.
    largest
        The largest number that this fold has films for; 0 where there is none.
    other_way
        What else would do, such as a setting.
    """

    def __init__(self, reason: str, largest: int, other_way: str = "") -> None:
        super().__init__(reason)
        self.reason, self.largest, self.other_way = reason, largest, other_way


class RegimeFamily(Document):
    """What a study file says of a regime: a module of this folder names its class in `REGIME`."""

    key: ClassVar[str]
    """The regime's name in a study file."""
    example: ClassVar[str]
    """How a study file asks for it."""

    @abstractmethod
    def regimes(self) -> list[Regime]:
        """Return one regime for each value and draw."""


class Drawn(RegimeFamily):
    """The settings of all regimes that draw films."""

    draws: Annotated[int, Field(ge=1)] = 1
    """How many times films are drawn anew, a job for each."""
    val: Val = "matched"
    """`matched`: the validation part is cut down alike; `full`: it is used whole."""
    nested: bool = False
    """Whether a larger number holds the films of a smaller one of the same draw."""

    def word(self, word: str) -> str:
        """Return a regime's word with the settings that are not the default."""
        return word + ("_nested" if self.nested else "") + ("_full_val" if self.val == "full" else "")


def listed(value: Any) -> Any:
    """Take one value for a list of one."""
    return list(value) if isinstance(value, list | tuple) else [value]


Counts = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(listed), Field(min_length=1)]


def parts_drawn(val: Val) -> tuple[str, ...]:
    """Return the parts that a regime cuts down."""
    return ("train", "val") if val == "matched" else ("train",)


def salt_of(seed: int, split: Split, draw: int | None, what: str) -> str:
    """Return what a draw depends on, beside the films' names."""
    return f"{seed}:{split.repeat}:{split.fold}:{draw}:{what}"


def draw_shots(
    split: Split,
    cells: Mapping[str, Cell],
    shots: int,
    parts: Sequence[str],
    salt: str,
) -> Split:
    """Keep `shots` films of each cell in `parts`, from different patients while they last.

    Parameters
    ----------
    cells
        The cell of each image: its class, or its class and center.
    """
    wanted = sorted(set(cells.values()))
    chosen: set[str] = set()
    short: list[tuple[int, str, str]] = []
    for part in parts:
        in_part = split.table[split.table["part"] == part]
        films: dict[Cell, list[tuple[str, str]]] = defaultdict(list)
        for image, patient in zip(in_part["image"].tolist(), in_part["patient"].astype(str).tolist(), strict=True):
            if image in cells:
                films[cells[image]].append((image, patient))
        for cell in wanted:
            if len(films[cell]) < shots:
                center = f" in the center '{cell[1]}'" if len(cell) > 1 else ""
                has = f"its {part} part has {len(films[cell])} films of class {cell[0]}{center}"
                reason = f"{has}, and {shots} {'is' if shots == 1 else 'are'} asked for"
                short.append((len(films[cell]), reason, "set `val: full`" if part == "val" else ""))
            chosen.update(_by_patient(films[cell], f"{salt}:{part}")[:shots])
    if short:
        largest, reason, _ = min(short)
        # Sparing the validation part helps only where the training part has enough.
        in_val_alone = all(other_way for _, _, other_way in short)
        raise TooFew(reason, largest, short[0][2] if in_val_alone else "")
    return keep(split, chosen, parts)


def keep(split: Split, images: set[str], parts: Sequence[str]) -> Split:
    """Return a split with these images alone in `parts`, and all in the other parts."""
    table = split.table[~split.table["part"].isin(parts) | split.table["image"].isin(images)]
    return Split(table.reset_index(drop=True), split.repeat, split.fold, split.test_center)


def draw_number(split: Split, rows: pd.DataFrame, number: Mapping[str, int], salt: str) -> Split:
    """Keep a number of films in each part named, each class by its share, group by group.

    A group comes with all its films, so that fewer films are fewer patients; the last one of a class is cut where the
    number is reached.
    """
    label_of = dict(zip(rows["image"], rows["label"].astype(int), strict=True))
    chosen: set[str] = set()
    for part, count in number.items():
        in_part = split.table[split.table["part"] == part]
        left = _by_share(Counter(label_of[image] for image in in_part["image"]), count)
        films = zip(in_part["group"].astype(str), in_part["image"], strict=True)
        for _, _, image in sorted((shuffled(f"{salt}:{part}", g), shuffled(f"{salt}:{part}", i), i) for g, i in films):
            if left[label_of[image]] > 0:
                left[label_of[image]] -= 1
                chosen.add(image)
    return keep(split, chosen, tuple(number))


def films_of_share(share: float, films: int, classes: int) -> int:
    """Return how many films a share is: rounded, and one of each class at least."""
    return max(classes, math.floor(share * films + 0.5))


def _by_patient(films: Sequence[tuple[str, str]], salt: str) -> list[str]:
    """Order (image, patient) pairs in rounds that hold one film of each patient."""
    rank: Counter[str] = Counter()
    ranked = []
    for image, patient in sorted(films, key=lambda film: shuffled(salt, film[0])):
        ranked.append((rank[patient], shuffled(salt, patient), image))
        rank[patient] += 1
    return [image for _, _, image in sorted(ranked)]


def _by_share(sizes: Mapping[int, int], number: int) -> dict[int, int]:
    """Share a number out to classes by their sizes, one each at least (Webster's method).

    Method of highest averages, and not of largest remainders: a larger number never gives a class fewer, so that
    nested draws are nested.
    """
    counts = dict.fromkeys(sorted(sizes), 1)
    for _ in range(number - len(counts)):
        open_to = [label for label in counts if counts[label] < sizes[label]]
        counts[max(open_to, key=lambda label: sizes[label] / (2 * counts[label] + 1))] += 1
    return counts
