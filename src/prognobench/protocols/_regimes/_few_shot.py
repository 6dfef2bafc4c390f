"""A few films a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from .._splits import Split
from ._regime import Cell, Counts, Drawn, Regime, Val, draw_shots, parts_drawn, salt_of


@dataclass(frozen=True)
class FewShot(Regime):
    """`shots` films of each class, from different patients while they last."""

    val: Val = "matched"
    nested: bool = False

    def reduce(self, split: Split, rows: pd.DataFrame, seed: int) -> Split:
        """Return the split with the drawn films; see `Regime.reduce`."""
        assert self.shots is not None
        # A nested draw must not know how many films are drawn; one that is not nested must.
        what = "few_shot" if self.nested else f"few_shot:{self.shots}"
        salt = salt_of(seed, split, self.draw, what)
        return draw_shots(split, self.cells(split, rows), self.shots, parts_drawn(self.val), salt)

    def cells(self, split: Split, rows: pd.DataFrame) -> dict[str, Cell]:
        """Return what each image counts for."""
        return {image: (int(label),) for image, label in zip(rows["image"], rows["label"], strict=True)}


class FewShotFamily(Drawn):
    """k films a class of the training part, from different patients while they last."""

    key: ClassVar[str] = "few_shot"
    example: ClassVar[str] = "{few_shot: {shots: [2, 4, 8]}}"

    shots: Counts
    """k, the films of each class; a list makes a regime of each."""

    def regimes(self) -> list[Regime]:
        """Return one regime for each k and draw."""
        name = self.word(self.key)
        return [FewShot(name, k, draw, self.val, self.nested) for k in self.shots for draw in range(self.draws)]


REGIME = FewShotFamily
