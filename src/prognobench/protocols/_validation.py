"""Which films test: the ways to split a task, as a study file names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import create_model, model_validator
from pydantic.fields import FieldInfo

from prognobench.frame import Document

from ._splits import Split
from ._validations import VALIDATIONS, Source, ValidationKind


class _OneKind(Document):
    """How a study validates: exactly one of the keys."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {value: {}}
        if isinstance(value, dict):
            if len(value) != 1:
                found = "names no way to split" if not value else f"names several ways to split: {', '.join(value)}"
                raise ValueError(f"the validation {found}. Write {{kfold: {{folds: 5}}}}")
            # `{kfold: }` means k-fold with its defaults.
            ((key, inner),) = value.items()
            if inner is not None and not isinstance(inner, dict):
                raise ValueError(f"'{key}' is followed by its settings. Write {{kfold: {{folds: 5}}}}, or {key} alone")
            value = dict([_resolved(str(key), {} if inner is None else inner)])
        return value

    @property
    def kind(self) -> ValidationKind:
        """The way to split that the study names."""
        kind: ValidationKind = next(inner for _, inner in self if inner is not None)
        return kind

    @property
    def label(self) -> str:
        """The validation's word in tables; folds of different counts are different estimates."""
        return self.kind.label

    def splits(self, rows: pd.DataFrame, seed: int, source: Source | None = None) -> list[Split]:
        """Cut the films of a task.

        Parameters
        ----------
        rows
            Films with columns `image`, `patient`, `group`, `label`, and `center` and `film` where the kind reads them.
        seed
            The study's `split_seed`.
        source
            Where the films come from; `predefined` reads its table, or files beside the study.

        Raises
        ------
        ValueError
            The films cannot be cut so that every part holds each class; InputError where the fault has a place.
        """
        return self.kind.splits(rows, seed, source)


def _resolved(key: str, settings: Any) -> tuple[str, Any]:
    """Replace another name of a kind by the kind with the settings that the name stands for."""
    for kind in VALIDATIONS.values():
        stands_for: Mapping[str, Any] | None = kind.aliases.get(key)
        if stands_for is None or not isinstance(settings, dict):
            continue
        for name, value in stands_for.items():
            if str(settings.get(name, value)) != str(value):
                raise ValueError(f"'{key}' stands for {name}: {value}. Write {{{kind.key}: {{{name}: …}}}}")
        return kind.key, {**stands_for, **settings}
    return key, settings


def _field(kind: type[ValidationKind]) -> Any:
    description = (kind.__doc__ or "").split("\n\n")[0]
    return (kind | None, FieldInfo(default=None, description=description))


# A type checker reads the base; what the program reads has a key for each kind that was found.
if TYPE_CHECKING:
    Validation = _OneKind
else:
    Validation = create_model(
        "Validation",
        __base__=_OneKind,
        __doc__=_OneKind.__doc__,
        __module__=__name__,
        **{key: _field(kind) for key, kind in VALIDATIONS.items()},
    )
