"""Which films test: the ways to split a task, as a study file names them."""

from __future__ import annotations

from typing import Annotated, Any

import pandas as pd
from pydantic import Field, model_validator

from prognobench.frame import Document

from ._splits import Split, kfold_splits


class KFold(Document):
    """Stratified k-fold by group; the next fold validates (3/1/1 at five folds)."""

    folds: Annotated[int, Field(ge=3)] = 5
    """Number of folds, at least 3, since one tests and another validates."""
    repeats: Annotated[int, Field(ge=1)] = 1
    """How often the films are dealt anew."""


class Validation(Document):
    """How a study validates: exactly one of the keys."""

    kfold: KFold | None = None
    """Stratified k-fold by group."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {value: {}}
        if isinstance(value, dict):
            # `{kfold: }` means k-fold with its defaults.
            value = {key: {} if inner is None else inner for key, inner in value.items()}
            if not value:
                raise ValueError("the validation names no way to split. Write {kfold: {folds: 5}}")
        return value

    @property
    def label(self) -> str:
        """The validation's word in tables; folds of different counts are different estimates."""
        assert self.kfold is not None
        return f"kfold{self.kfold.folds}"

    def splits(self, rows: pd.DataFrame, seed: int) -> list[Split]:
        """Cut the films of a task; see `kfold_splits`.

        Raises
        ------
        ValueError
            The films cannot be cut so that every part holds both classes.
        """
        assert self.kfold is not None
        return [
            split
            for repeat in range(self.kfold.repeats)
            for split in kfold_splits(rows, self.kfold.folds, seed, repeat)
        ]
