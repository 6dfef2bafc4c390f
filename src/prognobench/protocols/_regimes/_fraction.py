"""A share of the films."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import pandas as pd
from pydantic import BeforeValidator, Field

from .._splits import Split
from ._regime import Drawn, Regime, Val, draw_number, films_of_share, listed, parts_drawn, salt_of


@dataclass(frozen=True)
class Fraction(Regime):
    """A share of the training part, by class and group by group."""

    share: float = 1.0
    val: Val = "matched"
    nested: bool = False

    def reduce(self, split: Split, rows: pd.DataFrame, seed: int) -> Split:
        """Return the split with the drawn films; see `Regime.reduce`."""
        classes = rows["label"].nunique()
        films = split.table["part"].value_counts()
        number = {part: films_of_share(self.share, int(films[part]), classes) for part in parts_drawn(self.val)}
        salt = salt_of(seed, split, self.draw, "fraction" if self.nested else f"fraction:{self.share!r}")
        return draw_number(split, rows, number, salt)


class FractionFamily(Drawn):
    """A share of the training part's films, each class by its share, group by group."""

    key: ClassVar[str] = "fraction"
    example: ClassVar[str] = "{fraction: {of: [0.1, 0.5]}}"

    of: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], BeforeValidator(listed), Field(min_length=1)]
    """The share, above 0 and below 1; a list makes a regime of each. All of it is the regime `full`."""

    def regimes(self) -> list[Regime]:
        """Return one regime for each share and draw."""
        return [
            Fraction(self.word(f"fraction_{share:.12g}"), None, draw, share, self.val, self.nested)
            for share in self.of
            for draw in range(self.draws)
        ]


REGIME = FractionFamily
