"""The study file: what is to be compared, on what, how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from prognobench.cohorts import cohort_places
from prognobench.evaluation import CONTROLS
from prognobench.frame import Document, Problems, document_lines, nearest, parse_document, read_text
from prognobench.protocols import Protocol, Regime, Validation, parse_regimes, resolve_protocol
from prognobench.strategies import Strategy, parse_strategies, strategy_cards

from ._presets import preset_names, preset_text


class CohortEntry(Document):
    """One cohort of a study."""

    path: str | None = None
    """Its `cohort.yaml`, relative to the study file."""
    name: str | None = None
    """Instead of a path: a name whose folder `--cohort NAME=DIR` or the user's `cohorts.yaml` gives."""
    tasks: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of the tasks to study; all by default."""

    @field_validator("tasks", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_found_one_way(self) -> CohortEntry:
        if (self.path is None) == (self.name is None):
            raise ValueError("a cohort has either a path or a name. Write {path: cohort.yaml} or {name: covid19ar}")
        return self


class ModelEntry(Document):
    """One model of a study."""

    name: str
    """Its id (`prognobench models` lists them), or `timm:NAME`."""
    weights: str | None = None
    """An id of `prognobench weights list`, or `random`; by default the first of the card's that is present."""


class Block(Document):
    """A grid: every task of its cohorts with every model, strategy, regime, split and seed."""

    # Strategies, regimes and protocol are resolved while the file is read, so that their faults have its rows.
    model_config = ConfigDict(arbitrary_types_allowed=True)

    cohorts: Annotated[tuple[CohortEntry, ...], Field(min_length=1)]
    """The cohorts and their tasks."""
    models: Annotated[tuple[ModelEntry, ...], Field(min_length=1)]
    """Backbones by id; `{dinov2_s: {weights: ID}}` chooses among several weights."""
    strategies: Annotated[tuple[Strategy, ...], Field(min_length=1)]
    """Ways to adapt; `{lora: {rank: [4, 8]}}` makes one strategy for each value."""
    regimes: tuple[Regime, ...] = Field(default_factory=lambda: tuple(parse_regimes(["full"])))
    """How much of the training part is used."""
    validation: Validation
    """How the films are split."""
    protocol: Protocol = Field(default_factory=lambda: resolve_protocol("standard"))
    """The training recipe: a name, or `{base: NAME, key: value}`."""
    preprocessing: Literal["standard"] = "standard"
    """How films become pixels: `standard`."""
    controls: tuple[str, ...] = CONTROLS
    """What needs no learned image content, shown beside every result (docs/controls.md); `[]` switches them off."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**63)], ...], Field(min_length=1)] = (42,)
    """Of training, one job for each; what draws nothing (`lp` solved as a logistic regression) is done once."""
    split_seed: Annotated[int, Field(ge=0)] = 42
    """Of the splits."""

    @field_validator("cohorts", mode="before")
    @classmethod
    def _read_cohorts(cls, value: Any) -> Any:
        return [{"path": item} if isinstance(item, str) else item for item in _as_list(value)]

    @field_validator("models", mode="before")
    @classmethod
    def _read_models(cls, value: Any) -> Any:
        entries = []
        for item in _as_list(value):
            if isinstance(item, str):
                entries.append({"name": item})
            elif isinstance(item, dict) and len(item) == 1 and isinstance(next(iter(item.values())), dict):
                name, settings = next(iter(item.items()))
                if "name" in settings:
                    raise ValueError("a model is named by its key. Write {dinov2_s: {weights: ID}}")
                entries.append({"name": name, **settings})
            else:
                raise ValueError("a model is a name, or one name with its weights. Write {dinov2_s: {weights: ID}}")
        named = [tuple(entry.values()) for entry in entries]
        for entry in named:
            if named.count(entry) > 1:
                raise ValueError(f"the model '{entry[0]}' is asked for twice. Keep one")
        return entries

    @field_validator("strategies", mode="before")
    @classmethod
    def _read_strategies(cls, value: Any) -> Any:
        return parse_strategies(_as_list(value))

    @field_validator("regimes", mode="before")
    @classmethod
    def _read_regimes(cls, value: Any) -> Any:
        return parse_regimes(_as_list(value))

    @field_validator("protocol", mode="before")
    @classmethod
    def _read_protocol(cls, value: Any) -> Any:
        return resolve_protocol(value) if isinstance(value, str | dict) else value

    @field_validator("protocol")
    @classmethod
    def _name_known_strategies(cls, protocol: Protocol) -> Protocol:
        rates = protocol.adapter_learning_rate
        adapters = sorted(name for name, card in strategy_cards().items() if card.kind == "adapter")
        for name in rates if isinstance(rates, dict) else ():
            if name not in ("default", *adapters):
                what = f"'adapter_learning_rate' names '{name}', which is no strategy with adapters"
                raise ValueError(f"{what}. {nearest(name, adapters)}")
        return protocol

    @field_validator("controls", mode="before")
    @classmethod
    def _read_controls(cls, value: Any) -> Any:
        controls = _as_list(value)
        for control in controls:
            if control not in CONTROLS:
                off = ", and [] switches them off"
                raise ValueError(f"unknown control '{control}'. {nearest(str(control), CONTROLS)}{off}")
        return _each_once(controls, "control")

    @field_validator("seeds", mode="before")
    @classmethod
    def _read_seeds(cls, value: Any) -> Any:
        return _each_once(_as_list(value), "seed")


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Saved = Literal["predictions", "weights"]


class _Named(Document):
    """What a study file says of the study as a whole."""

    name: Name
    """The study's name; results are kept under it."""
    save: Saved = "predictions"
    """`predictions` alone, or also the `weights` of head and adapter."""


class StudySpec(Block, _Named):
    """A study file of one grid."""


class StudyOfBlocks(_Named):
    """A study file of several grids."""

    blocks: Annotated[tuple[Block, ...], Field(min_length=1)]
    """Grids, each with the keys above; what the file says outside of them holds for each that does not say it."""


@dataclass(frozen=True)
class Study:
    """A study file that was read.

    Attributes
    ----------
    path
        Where it lies; its paths are relative to that folder.
    name
        The study's name.
    blocks
        Its grids; a file without `blocks` has one.
    save
        `predictions` or `weights`.
    overrides
        What the command line laid over it.
    places
        Where cohorts that are given by name lie: the `cohort.yaml` of each.
    preset
        Whether it is one of the package's named studies and not a file.
    """

    path: Path
    name: str
    blocks: tuple[Block, ...]
    save: Saved = "predictions"
    overrides: tuple[str, ...] = ()
    places: Mapping[str, Path] = field(default_factory=dict)
    preset: bool = False

    def cohort_path(self, entry: CohortEntry) -> Path | None:
        """Return the `cohort.yaml` of an entry, or None where a name has no place."""
        if entry.path is not None:
            return self.path.parent / entry.path
        return self.places.get(entry.name or "")


def read_study(path: Path, overrides: Sequence[str] = (), cohorts: Sequence[str] = ()) -> Study:
    """Read a study file.

    Parameters
    ----------
    path
        The YAML file, or the name of a study of the package such as `paper/car` (see `preset_names`).
    overrides
        `key=value` texts laid over it, such as `protocol=quick` or `models=[dinov2_s]`; where the file has blocks,
        over each of them.
    cohorts
        `NAME=DIR` texts that say where cohorts lie which the study gives by name; the user's own list of places
        (see `prognobench.cohorts.cohort_places`) is read as well.

    Raises
    ------
    InputError
        With every problem of the file.
    """
    places = cohort_places(cohorts)
    study = _read_named_or_file(path, overrides)
    named = {entry.name for block in study.blocks for entry in block.cohorts if entry.name is not None}
    problems = Problems()
    for argument in cohorts:
        if (name := argument.partition("=")[0]) not in named:
            what = f"the study names no cohort '{name}'"
            problems.add(f"argument '--cohort {argument}'", what, nearest(name, sorted(named)))
    problems.raise_if_any()
    return replace(study, places=places)


def _read_named_or_file(path: Path, overrides: Sequence[str]) -> Study:
    name = path.as_posix()
    if not path.exists() and name.split("/")[0] in {preset.split("/")[0] for preset in preset_names()}:
        return replace(parse_study(preset_text(name), Path(name), overrides), preset=True)
    return parse_study(read_text(path), path, overrides)


def parse_study(text: str, path: Path, overrides: Sequence[str] = ()) -> Study:
    """Read the text of a study file; `path` is where it lies or would lie. See `read_study`."""
    grids = sum(1 for location in document_lines(text, str(path)) if len(location) == 2 and location[0] == "blocks")
    if not grids:
        flat = parse_document(text, str(path), StudySpec, overrides)
        return Study(path, flat.name, (flat,), flat.save, tuple(overrides))
    spread = [wide for override in overrides for wide in _spread(override, grids)]
    study = parse_document(text, str(path), StudyOfBlocks, spread, _share_defaults)
    return Study(path, study.name, study.blocks, study.save, tuple(overrides))


def _spread(override: str, grids: int) -> list[str]:
    """Lay what the command line says of a grid over each of them."""
    key = override.partition("=")[0].strip().split(".")[0]
    return [f"blocks.{grid}.{override}" for grid in range(grids)] if key in Block.model_fields else [override]


def _share_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """Give each grid the keys that the file says once for all of them."""
    blocks = data.get("blocks")
    if not isinstance(blocks, list):
        return data
    shared = {key: value for key, value in data.items() if key in Block.model_fields}
    own = {key: value for key, value in data.items() if key not in shared}
    return own | {"blocks": [shared | block if isinstance(block, dict) else block for block in blocks]}


def _each_once(values: list[Any], what: str) -> list[Any]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"the {what} '{value}' is asked for twice. Keep one")
    return values


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
