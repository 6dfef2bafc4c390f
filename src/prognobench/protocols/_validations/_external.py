"""External validation: train on one cohort, test on others."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import pandas as pd
from pydantic import Field, field_validator

from .._dealing import groups_of, refuse_without_centers, share_of
from .._splits import Split, refuse_missing_classes, split_of
from ._kind import Share, Source, Stratify, ValidationKind


class External(ValidationKind):
    """Train on the study's cohort and test on all films of others that have a task of the same name."""

    key: ClassVar[str] = "external"

    test: Annotated[tuple[str, ...], Field(min_length=1)]
    """The `cohort.yaml` of each tested cohort, relative to the study file."""
    val: Share = 0.2
    """The share of the training cohort's groups that validates."""
    stratify: Stratify = ("class",)
    """What the validation part holds its share of: `[class]`, `[class, center]`, or `[]`."""

    @field_validator("test", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @property
    def label(self) -> str:
        """`external`, with what differs from the default."""
        return self._labelled("external", val="val", stratify="")

    def splits(self, rows: pd.DataFrame, seed: int, source: Source | None = None) -> list[Split]:
        """Cut the films of the training cohort into train and val; the tested films are in other cohorts.

        Raises
        ------
        ValueError
            A part would lack a class.
        """
        if "center" in self.stratify:
            refuse_without_centers(rows, "external validation with centers as strata")
        validating = share_of(groups_of(rows), self.val, self.stratify, f"{seed}:external-val")
        part_of = {
            image: "val" if group in validating else "train"
            for image, group in zip(rows["image"], rows["group"].astype(str), strict=True)
        }
        splits = [split_of(rows, part_of, 0, 0)]
        refuse_missing_classes(rows, splits, "Use another share or add patients of that class", ("train", "val"))
        return splits


VALIDATION = External
