"""Holdout: one cut into train, val and test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import pandas as pd
from pydantic import Field

from .._dealing import groups_of, refuse_without_centers, share_of
from .._splits import Split, refuse_missing_classes, split_of
from ._kind import Share, Source, Stratify, ValidationKind


class Holdout(ValidationKind):
    """One stratified cut by group, or several."""

    key: ClassVar[str] = "holdout"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"hold_out": {}, "H": {}}

    test: Share = 0.2
    """The share of all groups that is tested."""
    val: Share = 0.2
    """The share of the other groups that validates."""
    repeats: Annotated[int, Field(ge=1)] = 1
    """How often the films are cut anew."""
    stratify: Stratify = ("class",)
    """What each part holds its share of: `[class]`, `[class, center]`, or `[]`."""

    @property
    def label(self) -> str:
        """`holdout`, with what differs from the default."""
        return self._labelled("holdout", test="test", val="val", stratify="")

    def remedy_for_few(self, groups: int, fewest: int) -> str:
        """Tell that k-fold tests every film."""
        return "Use kfold, which tests every film, or a larger share, and read the intervals, not the means"

    def splits(self, rows: pd.DataFrame, seed: int, source: Source | None = None) -> list[Split]:
        """Cut the films of a task; raises ValueError where a part would lack a class."""
        if "center" in self.stratify:
            refuse_without_centers(rows, "a holdout with centers as strata")
        splits = []
        for repeat in range(self.repeats):
            groups = groups_of(rows)
            tested = share_of(groups, self.test, self.stratify, f"{seed}:{repeat}:holdout-test")
            rest = [group for group in groups if group.name not in tested]
            validating = share_of(rest, self.val, self.stratify, f"{seed}:{repeat}:holdout-val")
            part_of = {
                image: "test" if group in tested else "val" if group in validating else "train"
                for image, group in zip(rows["image"], rows["group"].astype(str), strict=True)
            }
            splits.append(split_of(rows, part_of, repeat, 0))
        refuse_missing_classes(rows, splits, "Use other shares or add patients of that class")
        return splits


VALIDATION = Holdout
