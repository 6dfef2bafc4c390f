"""Training recipes, kept as data in `presets/*.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from prognobench.frame import Document, canonical_json, nearest, parse_document

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Probe(Document):
    """How `lp` is solved."""

    penalties: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """The candidates for scikit-learn's `C`, the inverse strength of the L2 penalty, of a logistic regression on
    standardized features; the validation loss chooses.
    """


class Head(Document):
    """What the linear head reads of a backbone."""

    blocks: Annotated[int, Field(ge=1)] = 1
    """The normalized class tokens of this many last blocks, side by side; a CNN has 1, its pooled map."""
    patch_mean: bool = False
    """Whether the mean patch token of the last block follows."""


class Protocol(Document):
    """A training recipe, resolved: nothing in it is left to be guessed later."""

    name: str
    """The preset it comes from, and what was changed in it: `standard[batch_size=16]`."""
    epochs: Annotated[int, Field(ge=1)]
    """Passes over the training films at most."""
    patience: Annotated[int, Field(ge=1)]
    """Training stops when no head has improved its validation loss for this many epochs."""
    warmup_epochs: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Epochs over which the learning rates rise linearly from 0, before they fall as a cosine to 0."""
    batch_size: Annotated[int, Field(ge=1)]
    """Films a step at most; an epoch is cut into steps of nearly equal size."""
    optimizer: Literal["adamw"]
    """`adamw`."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """AdamW's decoupled weight decay, on matrices; vectors (norms, biases) have none."""
    adapter_learning_rate: Positive | dict[str, Positive]
    """Peak learning rate of adapters: one number, or one for each strategy named and a `default` for the others."""
    backbone_learning_rate: Positive
    """Peak learning rate of the backbone where all of it trains (`fft`)."""
    head_learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """One linear head is trained for each; validation chooses the head."""
    heads: Literal["shared"]
    """`shared`: the sum of the heads' losses trains one backbone."""
    head: Head
    """What the heads read."""
    class_weights: Literal["balanced", "none"]
    """`balanced`: class c weighs n / (classes × n_c), counted on the training part; `none`."""
    precision: Literal["auto", "bf16", "fp32"]
    """`auto`: bfloat16 where the device computes it fast, else float32; or `bf16`, `fp32`. Frozen features are
    always computed in float32.
    """
    probe: Probe
    """How `lp` is solved."""

    @field_validator("adapter_learning_rate")
    @classmethod
    def _has_a_default(cls, rates: float | dict[str, float]) -> float | dict[str, float]:
        if isinstance(rates, dict) and "default" not in rates:
            raise ValueError("learning rates by strategy lack a default. Write {default: 0.001, vera: 0.01}")
        return rates

    def adapter_rate(self, strategy: str) -> float:
        """Return the peak learning rate of one strategy's adapters."""
        rates = self.adapter_learning_rate
        return rates.get(strategy, rates["default"]) if isinstance(rates, dict) else rates

    def what_matters(self, kind: str, strategy: str = "") -> dict[str, Any]:
        """Return the settings that can change the result of one strategy, for the job key.

        What the head reads stands in the key by itself.

        Parameters
        ----------
        kind
            `probe` (solved on frozen features), `adapter` or `backbone` (what gradient steps train), `control`.
        strategy
            The strategy's name, which chooses among learning rates.
        """
        everything = self.model_dump(mode="json", exclude={"name", "head"})
        if kind == "control":
            return {}
        if kind == "probe":
            return {"probe": everything["probe"], "class_weights": everything["class_weights"]}
        other = "backbone_learning_rate" if kind == "adapter" else "adapter_learning_rate"
        everything["adapter_learning_rate"] = self.adapter_rate(strategy)
        # The precision stands in the key as the plan resolved it, not as `auto`.
        return {key: value for key, value in everything.items() if key not in ("probe", "precision", other)}


def protocol_names() -> list[str]:
    """List the presets by name."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _presets() if entry.name.endswith(".yaml"))


def resolve_protocol(setting: str | Mapping[str, Any]) -> Protocol:
    """Make a recipe of a preset's name, or of `{base: NAME, key: value, …}`.

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
    text = resources.files(__package__).joinpath("presets", f"{base}.yaml").read_text(encoding="utf-8")
    preset = parse_document(text, f"protocol {base}", Protocol)
    unknown = [key for key in changes if key not in Protocol.model_fields or key == "name"]
    if unknown:
        known = [key for key in Protocol.model_fields if key != "name"]
        raise ValueError(f"unknown protocol setting '{unknown[0]}'. {nearest(unknown[0], known)}")
    if not changes:
        return preset
    told = ",".join(f"{key}={_short(value)}" for key, value in sorted(changes.items()))
    merged = preset.model_dump() | changes | {"name": f"{base}[{told}]"}
    try:
        return Protocol.model_validate(merged)
    except ValidationError as error:
        # Of the alternatives of a setting, the one that the value came furthest into is meant.
        first = max(error.errors(include_url=False), key=lambda found: len(found["loc"]))
        if first["type"] == "value_error":
            raise ValueError(str(first["ctx"]["error"])) from None
        place = ".".join(str(step) for step in first["loc"] if str(step).isidentifier() or isinstance(step, int))
        raise ValueError(f"protocol setting '{place}' does not fit: {first['msg']}. See docs/protocols.md") from None


def _short(value: Any) -> str:
    return canonical_json(value).replace('"', "")


def _presets() -> list[Any]:
    return list(resources.files(__package__).joinpath("presets").iterdir())
