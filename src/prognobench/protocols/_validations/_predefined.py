"""Predefined: someone else has said which films train, validate and test."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import pandas as pd
from pydantic import Field, field_validator, model_validator

from prognobench.frame import InputError, Problem, Problems, nearest

from .._split_files import Assigned, Missing, read_assigned, refuse_parts, split_from
from .._splits import Split
from ._kind import Source, ValidationKind


class Predefined(ValidationKind):
    """A column of the cohort's table, or files, say train, val or test; without any val, a fifth of train validates."""

    key: ClassVar[str] = "predefined"

    column: str | None = None
    """The column of the cohort's table that says `train`, `val` or `test`."""
    files: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Split files instead, relative to the study file, one a fold: CSV with the columns `image` and `part`."""
    missing: Missing = "error"
    """What films of the task without a part mean: an `error`, or `leave_out`."""

    @field_validator("files", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _need_one_source(self) -> Predefined:
        if (self.column is None) == (self.files is None):
            raise ValueError("a predefined split comes from a column or from files. Write {column: part}")
        return self

    @property
    def label(self) -> str:
        """The word `predefined`."""
        return "predefined"

    @property
    def told(self) -> str:
        """The word with the column or the files, of which a study may name several."""
        source = f"by the column '{self.column}'" if self.files is None else f"by {', '.join(self.files)}"
        return f"{self.label} {source}"

    def splits(self, rows: pd.DataFrame, seed: int, source: Source | None = None) -> list[Split]:
        """Read the splits; one of the column, or one a file.

        Raises
        ------
        InputError
            With every fault of the column or of all files, see `check_split_file`.
        """
        if source is None:
            raise TypeError("a predefined split is read from the cohort's table or from files: give the source")
        return [self._of_column(rows, seed, source)] if self.files is None else self._of_files(rows, seed, source)

    def _of_column(self, rows: pd.DataFrame, seed: int, source: Source) -> Split:
        assert self.column is not None
        if self.column not in source.table.columns:
            what = f"there is no column '{self.column}' with the parts of a predefined split"
            raise InputError([Problem(str(source.manifest), what, nearest(self.column, list(source.table.columns)))])
        problems = Problems()
        cells = source.table[self.column].iloc[rows["film"]].tolist()
        lines = [int(line) for line in source.films["row"].iloc[rows["film"]]]
        told = [
            Assigned(image, cell, line)
            for image, cell, line in zip(rows["image"], cells, lines, strict=True)
            if cell or self.missing == "error"
        ]
        refuse_parts(source.manifest, ((line.row, line.part) for line in told), problems)
        problems.raise_if_any()
        split = split_from(source.manifest, told, rows, problems, missing=self.missing, seed=seed)
        problems.raise_if_any()
        return split

    def _of_files(self, rows: pd.DataFrame, seed: int, source: Source) -> list[Split]:
        problems = Problems()
        found: dict[str, tuple[str, Split]] = {}
        for fold, name in enumerate(self.files or ()):
            path = source.folder / name
            before = len(problems)
            told = read_assigned(path, rows, source.films, problems)
            if len(problems) > before:
                continue
            split = split_from(path, told, rows, problems, missing=self.missing, seed=seed, fold=fold)
            if split.sha256 in found:
                problems.add(
                    path, f"this file gives the same split as {found[split.sha256][0]}", "Name each split once"
                )
            found[split.sha256] = (name, split)
        problems.raise_if_any()
        return [split for _, split in found.values()]


VALIDATION = Predefined
