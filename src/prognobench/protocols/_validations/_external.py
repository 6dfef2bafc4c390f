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

    same_ids_same_patient: bool = False
    """Whether a patient id that both cohorts hold is one patient, who is then refused as tested and trained on; `false`
    where ids may coincide by accident."""

    @field_validator("test", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @property
    def label(self) -> str:
        """`external`, with what differs from the default."""
        return self._labelled("external", val="val", stratify="")

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """The tested cohorts."""
        return self.test

    @property
    def ids_are_common(self) -> bool:
        """Whether one id is one patient in all cohorts."""
        return self.same_ids_same_patient

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
