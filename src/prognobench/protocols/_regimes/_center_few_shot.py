"""A few films a class of every center."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from .._dealing import refuse_without_centers
from .._splits import Split
from ._few_shot import FewShot
from ._regime import Cell, Counts, Drawn, Regime


@dataclass(frozen=True)
class CenterFewShot(FewShot):
    """`shots` films of each class of each center, the tested center apart."""

    def cells(self, split: Split, rows: pd.DataFrame) -> dict[str, Cell]:
        """Return what each image counts for."""
        refuse_without_centers(rows, "center_few_shot")
        if rows["center"].nunique() < 2:
            raise ValueError(
                f"center_few_shot needs at least 2 centers, there is '{rows['center'].iloc[0]}' alone. Use few_shot"
            )
        tested = split.test_center or _center_left_out(split, rows)
        return {
            image: (int(label), str(center))
            for image, label, center in zip(
                rows["image"].tolist(), rows["label"].tolist(), rows["center"].tolist(), strict=True
            )
            if center != tested
        }


def _center_left_out(split: Split, rows: pd.DataFrame) -> str | None:
    """Return the center that someone else's split leaves out: all of its films are tested, and no others are."""
    centers = split.table[["image", "part"]].merge(rows[["image", "center"]], on="image")
    tested = set(centers.loc[centers["part"] == "test", "center"].tolist())
    others = set(centers.loc[centers["part"] != "test", "center"].tolist())
    return tested.pop() if len(tested) == 1 and not tested & others else None


class CenterFewShotFamily(Drawn):
    """k films a class of every center of the training part."""

    key: ClassVar[str] = "center_few_shot"
    example: ClassVar[str] = "{center_few_shot: {shots: [2, 4, 8]}}"

    shots: Counts
    """k, the films of each class in each center; a list makes a regime of each."""

    def regimes(self) -> list[Regime]:
        """Return one regime for each k and draw."""
        name = self.word(self.key)
        return [CenterFewShot(name, k, draw, self.val, self.nested) for k in self.shots for draw in range(self.draws)]


REGIME = CenterFewShotFamily
