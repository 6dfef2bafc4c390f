"""What every way to split has in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pandas as pd
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from prognobench.frame import Document

from .._splits import Split


@dataclass(frozen=True)
class Source:
    """Where the films of a task come from, for the kinds that read more than the films themselves.

    Attributes
    ----------
    manifest
        The cohort's table.
    films
        All films of the cohort, those that the task leaves out among them: `row` (line of the table), `image`,
        `sha256`. The column `film` of a task's rows is a position in it.
    table
        The table's texts of those films, with the same index.
    folder
        Where the relative paths of the study file begin.
    """

    manifest: Path
    films: pd.DataFrame
    table: pd.DataFrame
    folder: Path


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _each_once(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value):
        raise ValueError("a stratum is named twice. Write [class] or [class, center]")
    return value


Stratify = Annotated[tuple[Literal["class", "center"], ...], BeforeValidator(_listed), AfterValidator(_each_once)]
Share = Annotated[float, Field(gt=0, lt=1)]
Variant = Literal["standard", "paper"]


class ValidationKind(Document):
    """A way to split: a module of this folder that names its class in `VALIDATION`."""

    key: ClassVar[str]
    """The key in a study file."""
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Other names, with the settings that they stand for."""
    paper: ClassVar[Mapping[str, Any]] = {}
    """What `variant: paper` sets."""

    @model_validator(mode="before")
    @classmethod
    def _lay_paper_under(cls, value: Any) -> Any:
        if not isinstance(value, dict) or value.get("variant") != "paper":
            return value
        for key, setting in cls._paper(value).items():
            if key in value and _listed(value[key]) != _listed(setting) and str(value[key]) != str(setting):
                raise ValueError(f"`variant: paper` sets `{key}` itself. Remove `{key}`, or the variant")
            value = {**value, key: setting}
        return value

    @classmethod
    def _paper(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what the variant sets beside the settings that the user gave."""
        return cls.paper

    @property
    @abstractmethod
    def label(self) -> str:
        """The validation's word in tables; estimates of different make have different words."""

    @property
    def told(self) -> str:
        """What a sentence calls it, where its word alone does not say whose parts they are."""
        return self.label

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """The `cohort.yaml` of each other cohort that is tested; empty where a cohort tests itself."""
        return ()

    @property
    def ids_are_common(self) -> bool:
        """Whether a patient id means the same patient in those cohorts as in the one that is trained on."""
        return False

    def remedy_for_few(self, groups: int, fewest: int) -> str:
        """Say what helps where a part of a split holds too few patients of a class.

        Parameters
        ----------
        groups
            Groups of patients of the rarer class, in all.
        fewest
            As many as a part should hold.
        """
        return "Read the intervals, not the means"

    @abstractmethod
    def splits(self, rows: pd.DataFrame, seed: int, source: Source | None = None) -> list[Split]:
        """Cut the films of a task."""

    def _labelled(self, word: str, **settings: Any) -> str:
        """Return a word with the settings that are not the default's, or with `paper`."""
        if getattr(self, "variant", "standard") == "paper":
            return f"{word}_paper"
        told = [
            f"{name}{_short(getattr(self, key))}"
            for key, name in settings.items()
            if getattr(self, key) != type(self).model_fields[key].default
        ]
        return "_".join([word, *told])


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return "-".join(value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
