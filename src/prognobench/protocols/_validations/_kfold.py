"""k-fold: every film is tested once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import pandas as pd
from pydantic import Field, model_validator

from .._dealing import deal, groups_of, refuse_without_centers
from .._splits import Split, refuse_missing_classes, split_of
from ._kind import Source, Stratify, ValidationKind, Variant

_PAPER_VAL_FOLDS = {5: 1, 10: 2}
_FEWEST_FOLDS = 3  # one tests, another validates, another trains


class KFold(ValidationKind):
    """Stratified k-fold by group; the next fold validates (3/1/1 at five folds)."""

    key: ClassVar[str] = "kfold"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "5fold": {"folds": 5},
        "5": {"folds": 5},
        "10fold": {"folds": 10},
        "10": {"folds": 10},
    }

    folds: Annotated[int, Field(ge=_FEWEST_FOLDS)] = 5
    """Number of folds, at least 3, since one tests and another validates."""
    repeats: Annotated[int, Field(ge=1)] = 1
    """How often the films are dealt anew."""
    val_folds: Annotated[int, Field(ge=1)] = 1
    """How many of the folds behind the tested one validate."""
    stratify: Stratify = ("class",)
    """What each fold holds its share of: `[class]` or `[class, center]`."""
    variant: Variant = "standard"
    """`paper`: strata are class × center (of one center where none is named); 5 folds cut 3/1/1, 10 folds 7/2/1."""

    @classmethod
    def _paper(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        folds = str(value.get("folds", 5))
        known = {str(count): validating for count, validating in _PAPER_VAL_FOLDS.items()}
        if folds not in known:
            raise ValueError(f"`variant: paper` has no cut of {folds} folds. Use 5 or 10 folds, or remove the variant")
        return {"val_folds": known[folds], "stratify": ["class", "center"]}

    @model_validator(mode="after")
    def _leave_folds_to_train(self) -> KFold:
        if self.val_folds > self.folds - 2:
            raise ValueError(
                f"{self.val_folds} of {self.folds} folds validate and one tests, so none trains. "
                f"Use at most {self.folds - 2} `val_folds`"
            )
        return self

    @property
    def label(self) -> str:
        """`kfold5`, with what else differs from the default."""
        return self._labelled(f"kfold{self.folds}", val_folds="val", stratify="")

    def remedy_for_few(self, groups: int, fewest: int) -> str:
        """Name a number of folds that leaves enough in each, or the least that can be."""
        folds = max(_FEWEST_FOLDS, groups // fewest)
        ways = [f"use {folds} folds"] if folds < self.folds else []
        ways += ["repeat the folds (`repeats`)"] if self.repeats == 1 else []
        read = "read the intervals, not the means"
        told = f"{', or '.join(ways)}, and {read}" if ways else read
        return told[0].upper() + told[1:]

    def splits(self, rows: pd.DataFrame, seed: int, source: Source | None = None) -> list[Split]:
        """Cut the films of a task; see `kfold_splits`."""
        # The paper's cut is for cohorts of one center as well, which seldom name it.
        nowhere = "center" not in rows or not (rows["center"] != "").any()
        stratify = ("class",) if self.variant == "paper" and nowhere else self.stratify
        return [
            split
            for repeat in range(self.repeats)
            for split in kfold_splits(rows, self.folds, seed, repeat, val_folds=self.val_folds, stratify=stratify)
        ]


def kfold_splits(
    rows: pd.DataFrame,
    folds: int,
    seed: int,
    repeat: int = 0,
    *,
    val_folds: int = 1,
    stratify: Sequence[str] = ("class",),
) -> list[Split]:
    """Deal groups to folds, stratified; fold f tests, the next ones validate, the others train.

    Parameters
    ----------
    rows
        Films with columns `image`, `patient`, `group`, `label` (int; a group's stratum is its highest label) and,
        where it is a stratum, `center` (of a group: that of most of its films).
    folds
        At least 3.
    seed, repeat
        The same two numbers deal the same films alike on every platform and in any order of the rows: groups are
        shuffled by their SHA-256, not by a generator whose stream may change.
    val_folds
        How many folds behind the tested one validate.
    stratify
        `class`, `center`, or both.

    Returns
    -------
    list of Split
        One a fold. Within each stratum the folds' group counts differ by at most one.

    Raises
    ------
    ValueError
        Fewer groups than folds, or a part that would lack a class; with the counts and what to do.
    """
    if "center" in stratify:
        refuse_without_centers(rows, "k-fold with centers as strata")
    groups = groups_of(rows)
    if len(groups) < folds:
        raise ValueError(
            f"{folds} folds need at least {folds} groups of patients, there are {len(groups)}. "
            f"Use at most {len(groups)} folds or add patients"
        )
    fold_of = deal(groups, folds, stratify, f"{seed}:{repeat}")
    fold = [fold_of[group] for group in rows["group"].astype(str)]
    splits: list[Split] = []
    for test in range(folds):
        parts = {(test + step) % folds: "val" for step in range(1, val_folds + 1)} | {test: "test"}
        part_of = {image: parts.get(f, "train") for image, f in zip(rows["image"], fold, strict=True)}
        splits.append(split_of(rows, part_of, repeat, test))
    refuse_missing_classes(rows, splits, "Use fewer folds or add patients of that class")
    return splits


VALIDATION = KFold
