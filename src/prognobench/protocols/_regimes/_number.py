"""A fixed number of films."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from .._splits import Split
from ._regime import Counts, Drawn, Regime, TooFew, Val, draw_number, films_of_share, parts_drawn, salt_of


@dataclass(frozen=True)
class Number(Regime):
    """A number of films of the training part, by class and group by group."""

    films: int = 0
    val: Val = "matched"
    nested: bool = False

    def reduce(self, split: Split, rows: pd.DataFrame, seed: int) -> Split:
        """Return the split with the drawn films; see `Regime.reduce`."""
        classes = rows["label"].nunique()
        films = split.table["part"].value_counts()
        training = int(films["train"])
        if not classes <= self.films <= training:
            reason = f"its train part has {training} films of {classes} classes, and {self.films} are asked for"
            raise TooFew(reason, training)
        number = {"train": self.films}
        if "val" in parts_drawn(self.val):
            number["val"] = films_of_share(self.films / training, int(films["val"]), classes)
        salt = salt_of(seed, split, self.draw, "number" if self.nested else f"number:{self.films}")
        return draw_number(split, rows, number, salt)


class NumberFamily(Drawn):
    """A number of the training part's films, each class by its share, group by group."""

    key: ClassVar[str] = "number"
    example: ClassVar[str] = "{number: {films: 256}}"

    films: Counts
    """How many films; a list makes a regime of each."""

    def regimes(self) -> list[Regime]:
        """Return one regime for each number and draw."""
        return [
            Number(self.word(f"number_{films}"), None, draw, films, self.val, self.nested)
            for films in self.films
            for draw in range(self.draws)
        ]


REGIME = NumberFamily
