"""Training recipes, kept as data in `presets/*.yaml`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from prognobench.frame import Document, canonical_json, nearest, parse_document

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Readout = tuple[int, bool]


class Probe(Document):
    """How `lp` is solved."""

    solver: Literal["logistic", "heads"] = "logistic"
    """`logistic`: an L2 logistic regression on standardized features, solved to convergence. `heads`: the head grid,
    trained by gradient steps on the frozen features with the settings of the other strategies."""
    penalties: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """The candidates for scikit-learn's `C`, the inverse strength of the L2 penalty, of the logistic regression; the
    validation loss chooses."""
    variants: Annotated[int, Field(ge=0, le=100)] = 0
    """How many copies of each training film, changed once by `augmentation`, the heads see beside the film; each counts
    as a film. Their features are computed once, as those of the films are. Films that are scored are never changed."""


class Head(Document):
    """What the linear heads read of a backbone; several values make a head for each combination."""

    blocks: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1,)
    """The normalized class tokens of this many last blocks, side by side; a CNN has 1, its pooled map."""
    patch_mean: Annotated[tuple[bool, ...], Field(min_length=1)] = (False,)
    """Whether the mean patch token of the last block follows."""

    @field_validator("blocks", "patch_mean", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else [value]

    @field_validator("blocks", "patch_mean")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) < len(values):
            raise ValueError("the head grid names a value twice. Keep one")
        return values

    @property
    def readouts(self) -> tuple[Readout, ...]:
        """Every combination of blocks and mean patch token."""
        return tuple(itertools.product(self.blocks, self.patch_mean))


class Schedule(Document):
    """How the learning rates go on after the warm-up."""

    kind: Literal["cosine", "plateau", "constant"]
    """`cosine`: they fall as a cosine to the minimum at the last step that the epochs allow. `plateau`: they are
    multiplied by the factor whenever no head has improved its validation loss for the patience. `constant`."""
    patience: Annotated[int, Field(ge=0)] = 25
    """Epochs without improvement that `plateau` bears, counted from the end of the warm-up on."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.75
    """What `plateau` multiplies with."""
    minimum: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """The rate below which none falls."""

    def what_matters(self) -> dict[str, Any]:
        """Return the settings that the kind reads."""
        read = {"cosine": {"kind", "minimum"}, "constant": {"kind"}}
        return self.model_dump(mode="json", include=read.get(self.kind))


class Augmentation(Document):
    """How training films are changed at random, each time they are seen; drawn uniformly, film by film."""

    shift: Share = 0.0
    """Farthest shift to each side, as a share of the film's width and height."""
    zoom: Share = 0.0
    """Farthest zoom: 0.1 shows the film at 0.9 to 1.1 of its size."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Farthest rotation to each side, in degrees."""
    flip: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of films that are mirrored left to right; 0 by default, for the heart has a side."""


# The ranges of the authors' earlier public code (MICCAI 2024), without its mirroring and elastic deformation.
AUGMENTATIONS: dict[str, Augmentation | None] = {
    "none": None,
    "chest": Augmentation(shift=0.1, zoom=0.1, rotation=10.0),
}


class Protocol(Document):
    """A training recipe, resolved: nothing in it is left to be guessed later."""

    name: str
    """The preset it comes from, and what was changed in it: `standard[batch_size=16]`."""
    epochs: Annotated[int, Field(ge=1)]
    """Passes over the training films at most."""
    patience: Annotated[int, Field(ge=1)]
    """Training stops when no head has improved its validation loss for this many epochs."""
    warmup_epochs: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Epochs over which the learning rates rise linearly from 0."""
    evaluate_every: Annotated[int, Field(ge=1)]
    """Epochs from one validation to the next; the last epoch is always validated."""
    selection: Literal["val_loss"]
    """What chooses epoch and head: `val_loss`, the validation loss with the weights of the training loss."""
    batch_size: Annotated[int, Field(ge=1)]
    """Films a step at most; an epoch is cut into steps of nearly equal size."""
    optimizer: Literal["adamw", "sgd"]
    """`adamw`, or `sgd` with momentum."""
    momentum: Share
    """Of `sgd`."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Weight decay on matrices; vectors (norms, biases) and heads have none. Decoupled under `adamw`, an L2 penalty
    under `sgd`."""
    schedule: Schedule
    """How the learning rates go on after the warm-up."""
    adapter_learning_rate: Positive | dict[str, Positive]
    """Peak learning rate of adapters: one number, or one for each strategy named and a `default` for the others."""
    backbone_learning_rate: Positive
    """Peak learning rate of the backbone where all of it trains (`fft`)."""
    alpha: Literal["rank"] | Positive
    """LoRA's alpha where the study does not set it: its `rank`, or a number."""
    dropout: Share
    """Share of the inputs of LoRA's and VeRA's terms that training drops, where the study does not set it."""
    head_learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """A linear head is trained for each, and for each combination under `head`; validation chooses the head."""
    heads: Literal["shared", "separate"]
    """`shared`: the sum of the heads' losses trains one backbone. `separate`: each head trains its own, from the same
    start. On frozen features (`lp` by gradient steps): whether the heads stop together, or each by itself."""
    head: Head
    """What the heads read."""
    class_weights: Literal["balanced", "sqrt", "none"]
    """`balanced`: class c weighs n / (classes × n_c), counted on the training part; `sqrt`: the square root of that;
    `none`."""
    film_weights: Literal["none", "patient"]
    """`patient`: a film weighs 1 / (films of its patient) in the loss, so that each patient counts once; films are
    counted so for the class weights, too. `none`."""
    sampler: Literal["shuffle", "balanced"]
    """`shuffle`: an epoch shows each film once. `balanced`: it shows as many films, the same number of each class."""
    balance_twice: bool
    """A yes to class weights together with the balanced sampler, which is refused without."""
    augmentation: Augmentation | None
    """`none`, `chest` (shift and zoom of 10 %, rotation of 10°), or settings. On frozen features `probe.variants`
    says how often."""
    precision: Literal["auto", "bf16", "fp32"]
    """`auto`: bfloat16 where the device computes it fast, else float32; or `bf16`, `fp32`. Frozen features are
    always computed in float32.
    """
    probe: Probe
    """How `lp` is solved."""

    @field_validator("schedule", mode="before")
    @classmethod
    def _schedule_by_name(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @field_validator("augmentation", mode="before")
    @classmethod
    def _augmentation_by_name(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in AUGMENTATIONS:
            raise ValueError(f"unknown augmentation '{value}'. {nearest(value, list(AUGMENTATIONS))}")
        return AUGMENTATIONS[value]

    @field_validator("adapter_learning_rate")
    @classmethod
    def _has_a_default(cls, rates: float | dict[str, float]) -> float | dict[str, float]:
        if isinstance(rates, dict) and "default" not in rates:
            raise ValueError("learning rates by strategy lack a default. Write {default: 0.001, vera: 0.01}")
        return rates

    @model_validator(mode="after")
    def _balances_once(self) -> Protocol:
        if self.sampler == "balanced" and self.class_weights != "none" and not self.balance_twice:
            what = f"the classes would be balanced twice, by the sampler and by `class_weights: {self.class_weights}`"
            raise ValueError(f"{what}. Set `class_weights: none`, or `balance_twice: true` if both are meant")
        return self

    @model_validator(mode="after")
    def _changes_variants(self) -> Protocol:
        if self.probe.variants and self.augmentation is None:
            what = f"`probe.variants` is {self.probe.variants}, but `augmentation: none` changes no film"
            raise ValueError(f"{what}. Set `augmentation: chest`, or `variants: 0`")
        return self

    def adapter_rate(self, strategy: str) -> float:
        """Return the peak learning rate of one strategy's adapters."""
        rates = self.adapter_learning_rate
        return rates.get(strategy, rates["default"]) if isinstance(rates, dict) else rates

    def for_controls(self) -> Protocol:
        """Return the recipe of the controls: logistic regressions on one readout, whatever becomes of `lp`."""
        probe = self.probe.model_copy(update={"solver": "logistic", "variants": 0})
        return self.model_copy(update={"probe": probe, "head": Head()})

    def passes(self, heads: int) -> tuple[int, int]:
        """Return how often training and validation films pass through a backbone that trains, if nothing stops early.

        Parameters
        ----------
        heads
            How many heads the grid has for the model.
        """
        runs = heads if self.heads == "separate" else 1
        return runs * self.epochs, runs * -(-self.epochs // self.evaluate_every)

    def draws(self, kind: str) -> bool:
        """Return whether a seed can change what is trained; a logistic regression is solved, and draws nothing.

        Parameters
        ----------
        kind
            As `what_matters` takes it.
        """
        return kind in ("adapter", "backbone") or (kind == "probe" and self.probe.solver == "heads")

    def what_matters(self, kind: str, strategy: str = "") -> dict[str, Any]:
        """Return the settings that can change the result of one strategy, for the job key.

        What the head reads stands in the key by itself, and so do the precision that the plan resolved and the alpha
        and dropout of the strategy. Settings that are newer than the first records are left out where they say what
        was done before there was a setting, so that these records keep their keys.

        Parameters
        ----------
        kind
            `probe` (solved on frozen features), `adapter` or `backbone` (what gradient steps train), `control`.
        strategy
            The strategy's name, which chooses among learning rates.
        """
        if kind == "control":
            return {}
        values = self.model_dump(mode="json", exclude={"name", "head", "precision", "alpha", "dropout", "probe"})
        values["schedule"] = self.schedule.what_matters()
        values["adapter_learning_rate"] = self.adapter_rate(strategy)
        unread = {"adapter": ["backbone_learning_rate"], "backbone": ["adapter_learning_rate"]}
        unread["probe"] = ["backbone_learning_rate", "adapter_learning_rate", "augmentation", "heads", "weight_decay"]
        unread[kind] += ["momentum"] if self.optimizer != "sgd" else []
        # The balance is in the class weights and the sampler; the yes to both changes nothing more.
        unread[kind] += ["balance_twice"]
        values = {key: value for key, value in values.items() if key not in unread[kind] and _is_told(key, value)}
        if kind != "probe":
            return values
        changed = self.model_dump(mode="json", include={"augmentation"}) if self.probe.variants else {}
        copies = {"variants": self.probe.variants, **changed} if self.probe.variants else {}
        if self.probe.solver == "heads":
            alone = {"heads": self.heads} if self.heads == "separate" else {}
            return {"probe": {"solver": "heads"}, **values, **alone, **copies}
        solved = {"probe": self.probe.model_dump(mode="json", include={"penalties"})}
        return solved | {key: values[key] for key in ("class_weights", "film_weights") if key in values} | copies


# What was done before there was a setting for it.
_BEFORE: dict[str, Any] = {
    "evaluate_every": 1,
    "selection": "val_loss",
    "schedule": {"kind": "cosine", "minimum": 0.0},
    "film_weights": "none",
    "sampler": "shuffle",
    "augmentation": None,
}


def _is_told(key: str, value: Any) -> bool:
    return key not in _BEFORE or value != _BEFORE[key]


def head_key(readouts: tuple[Readout, ...]) -> dict[str, Any] | list[dict[str, Any]]:
    """Return what heads read as a job key spells it: one readout as a mapping, several as a list.

    Examples
    --------
    >>> head_key(((1, False),))
    {'blocks': 1, 'patch_mean': False}
    """
    spelled = [{"blocks": blocks, "patch_mean": patch_mean} for blocks, patch_mean in readouts]
    return spelled[0] if len(spelled) == 1 else spelled


def protocol_names() -> list[str]:
    """List the presets by name."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _presets() if entry.name.endswith(".yaml"))


def resolve_protocol(setting: str | Mapping[str, Any]) -> Protocol:
    """Make a recipe of a preset's name, or of `{base: NAME, key: value, …}`.

    Settings inside `schedule`, `augmentation`, `head` and `probe` are laid over those of the preset one by one.

    Raises
    ------
    ValueError
        Unknown preset, unknown key, or a value that does not fit; the nearest known word is named.

    Examples
    --------
    >>> resolve_protocol({"base": "quick", "epochs": 2}).epochs
    2
    """
    changes = {} if isinstance(setting, str) else dict(setting)
    base = setting if isinstance(setting, str) else changes.pop("base", None)
    if base is None:
        raise ValueError("a protocol with settings of its own needs `base`. Write {base: standard, batch_size: 16}")
    if base not in protocol_names():
        raise ValueError(f"unknown protocol '{base}'. {nearest(str(base), protocol_names())}")
    unknown = [key for key in changes if key not in Protocol.model_fields or key == "name"]
    if unknown:
        known = [key for key in Protocol.model_fields if key != "name"]
        raise ValueError(f"unknown protocol setting '{unknown[0]}'. {nearest(unknown[0], known)}")
    values = _preset(base)
    if changes:
        told = ",".join(f"{key}={_short(value)}" for key, value in sorted(changes.items()))
        values = _laid_over(values, changes) | {"name": f"{base}[{told}]"}
    try:
        return Protocol.model_validate(values)
    except ValidationError as error:
        raise ValueError(_first_fault(error)) from None


_PARTS = ("schedule", "augmentation", "head", "probe")


class _Preset(Document):
    """A preset's file: the keys of a protocol, over those of a `base` where it names one."""

    model_config = ConfigDict(extra="allow")


def _preset(name: str) -> dict[str, Any]:
    text = resources.files(__package__).joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")
    values = dict(parse_document(text, f"protocol {name}", _Preset).model_extra or {})
    base = values.pop("base", None)
    return values if base is None else _laid_over(_preset(base), values)


def _laid_over(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay settings over settings, those inside a part one by one; rates by strategy are replaced as a whole."""
    result = dict(values)
    for key, change in changes.items():
        here = result.get(key)
        if key == "augmentation" and isinstance(here, str) and (named := AUGMENTATIONS.get(here)) is not None:
            here = named.model_dump()
        if key in _PARTS and isinstance(here, dict) and isinstance(change, Mapping):
            change = here | dict(change)
        result[key] = change
    return result


def _first_fault(error: ValidationError) -> str:
    # Of the alternatives of a setting, the one that the value came furthest into is meant.
    first = max(error.errors(include_url=False), key=lambda found: len(found["loc"]))
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    place = ".".join(str(step) for step in first["loc"] if str(step).isidentifier() or isinstance(step, int))
    if first["type"] == "extra_forbidden":
        return f"unknown protocol setting '{place}'. See docs/protocols.md"
    return f"protocol setting '{place}' does not fit: {first['msg']}. See docs/protocols.md"


def _short(value: Any) -> str:
    return canonical_json(value).replace('"', "")


def _presets() -> list[Any]:
    return list(resources.files(__package__).joinpath("presets").iterdir())
