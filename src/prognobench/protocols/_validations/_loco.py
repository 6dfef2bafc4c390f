"""Leave one center out: every center is tested by models that saw none of its patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pandas as pd

from .._dealing import groups_of, refuse_without_centers, share_of
from .._splits import Split, refuse_missing_classes, split_of
from ._kind import Share, Source, Stratify, ValidationKind, Variant


class Loco(ValidationKind):
    """Leave one center out; a share of the other centers' groups validates."""

    key: ClassVar[str] = "loco"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"loCo": {}, "L": {}}
    paper: ClassVar[Mapping[str, Any]] = {"val": 0.1, "stratify": []}

    val: Share = 0.2
    """The share of the training groups that validates."""
    stratify: Stratify = ("class",)
    """What the validation part holds its share of: `[class]`, `[class, center]`, or `[]`."""
    variant: Variant = "standard"
    """`paper`: a tenth of the training groups validates, whatever its classes."""

    @property
    def label(self) -> str:
        """`loco`, with what differs from the default."""
        return self._labelled("loco", val="val", stratify="")

    def remedy_for_few(self, groups: int, fewest: int) -> str:
        """Tell what can be done about small centers."""
        return "Read the intervals of these centers, not their means, or join small ones in the column of centers"

    def splits(self, rows: pd.DataFrame, seed: int, source: Source | None = None) -> list[Split]:
        """Cut the films of a task; see `loco_splits`."""
        return loco_splits(rows, seed, self.val, self.stratify)


def loco_splits(rows: pd.DataFrame, seed: int, val: float = 0.2, stratify: tuple[str, ...] = ("class",)) -> list[Split]:
    """Test all films of one center after another.

    A group with films in the tested center trains and validates nowhere: its films in other centers are not in that
    split, so each film is tested exactly once over all splits and no patient is on both sides.

    Parameters
    ----------
    rows
        Films with columns `image`, `patient`, `group`, `label` and `center`.
    seed
        The same number gives the same splits on every platform and in any order of the rows.
    val, stratify
        The share of the other groups that validates, and what it holds its share of.

    Returns
    -------
    list of Split
        One a center, in the order of their names; `fold` counts them and `test_center` names them.

    Raises
    ------
    ValueError
        Fewer than two centers, films without one, or a part that would lack a class.
    """
    refuse_without_centers(rows, "leaving one center out")
    center = rows["center"].astype(str)
    centers = sorted(center.unique())
    if len(centers) < 2:
        raise ValueError(
            f"leaving one center out needs at least 2 centers, there is '{centers[0]}' alone. Use kfold or holdout"
        )
    splits = []
    for fold, tested in enumerate(centers):
        there = rows["group"].isin(rows.loc[center == tested, "group"])
        validating = share_of(groups_of(rows[~there]), val, stratify, f"{seed}:loco:{tested}")
        part_of = dict.fromkeys(rows.loc[center == tested, "image"], "test")
        for image, group in zip(rows.loc[~there, "image"], rows.loc[~there, "group"].astype(str), strict=True):
            part_of[image] = "val" if group in validating else "train"
        splits.append(split_of(rows, part_of, 0, fold, tested))
    refuse_missing_classes(
        rows, splits, "Join that center with another one in the column of centers, leave its rows out, or use kfold"
    )
    return splits


VALIDATION = Loco
