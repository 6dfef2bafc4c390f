"""Checkpoints under the names of other libraries, to timm's keys; the layout is recognized by the keys.

The lists in `_layout_lists/` say what a file of each layout holds, and where that is known from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prognobench.frame import InputError, Problem, Problems

from ._cards import ModelCard

if TYPE_CHECKING:
    from torch import Tensor

_COUNTER = ".num_batches_tracked"
_PARTS = ("q", "k", "v")
_Place = str | Callable[[re.Match[str]], str]


@dataclass(frozen=True)
class Layout:
    """How a library names the tensors of an image encoder.

    Parameters
    ----------
    name
        What records say.
    mark
        Pattern of keys that only files of this layout have.
    ignored
        Patterns of the keys that a backbone has no place for: text towers, projections, what can be computed.
    places
        Pattern of a key to timm's key, `attn.qkv.weight[q]` for a third of a fused tensor; the first that fits counts.
    """

    name: str
    mark: str
    ignored: tuple[str, ...]
    places: tuple[tuple[str, _Place], ...]

    def ignores(self, key: str) -> bool:
        """Tell whether a key of the file may be left out."""
        return any(re.fullmatch(pattern, key) for pattern in self.ignored)

    def place_of(self, key: str) -> str | None:
        """Return timm's key, or None where this layout has no such key."""
        for pattern, place in self.places:
            if match := re.fullmatch(pattern, key):
                return match.expand(place) if isinstance(place, str) else place(match)
        return None


# timm kept the names of torchvision's ResNet and DenseNet and those of DINOv2, but for what follows here.
TIMM = "timm"

_END = r"(weight|bias)"


def _next_stage(match: re.Match[str]) -> str:
    # Hugging Face merges patches at the end of a stage, timm at the beginning of the next.
    return f"layers.{int(match[1]) + 1}.downsample.{match[2]}"


def _swin(prefix: str) -> tuple[tuple[str, _Place], ...]:
    """Hugging Face's Swin: first the names that files have, then those of transformers 5 in memory."""
    block, place = rf"{prefix}encoder\.layers\.(\d+)\.blocks\.(\d+)\.", r"layers.\1.blocks.\2."

    def third(match: re.Match[str]) -> str:
        return f"layers.{match[1]}.blocks.{match[2]}.attn.qkv.{match[4]}[{match[3][0]}]"

    table = r"relative_position_bias_table"
    return (
        (rf"{prefix}embeddings\.patch_embeddings\.projection\.{_END}", r"patch_embed.proj.\1"),
        (rf"{prefix}embeddings\.norm\.{_END}", r"patch_embed.norm.\1"),
        (rf"{prefix}layernorm\.{_END}", r"norm.\1"),
        (rf"{prefix}encoder\.layers\.(\d+)\.downsample\.(.+)", _next_stage),
        (rf"{block}layernorm_before\.{_END}", rf"{place}norm1.\3"),
        (rf"{block}layernorm_after\.{_END}", rf"{place}norm2.\3"),
        (rf"{block}attention\.self\.(query|key|value)\.{_END}", third),
        (rf"{block}attention\.([qkv])_proj\.{_END}", third),
        (rf"{block}attention\.(?:output\.dense|o_proj)\.{_END}", rf"{place}attn.proj.\3"),
        (rf"{block}attention\.(?:self|relative_position_bias)\.{table}", rf"{place}attn.{table}"),
        (rf"{block}(?:intermediate\.dense|mlp\.fc1)\.{_END}", rf"{place}mlp.fc1.\3"),
        (rf"{block}(?:output\.dense|mlp\.fc2)\.{_END}", rf"{place}mlp.fc2.\3"),
    )


def _dinov2_third(match: re.Match[str]) -> str:
    return f"blocks.{match[1]}.attn.qkv.{match[3]}[{match[2][0]}]"


_HF_DINOV2 = r"(?:dinov2\.)?"
_HF_DINOV2_LAYER = rf"{_HF_DINOV2}encoder\.layer\.(\d+)\."
_HF_CLIP = r"(?:vision_model\.)?"
_HF_CLIP_LAYER = rf"{_HF_CLIP}encoder\.layers\.(\d+)\."
_OPEN_CLIP_BLOCK = r"visual\.transformer\.resblocks\.(\d+)\."
_OPEN_CLIP_TEXT = (
    r"positional_embedding",
    r"text_projection",
    r"token_embedding\.weight",
    r"transformer\..+",
    r"ln_final\..+",
    r"attn_mask",
    r"text\..+",
    r"logit_(scale|bias)",
)
_MEDCLIP_REST = (r"text_model\.(model|projection_head)\..+", r"logit_scale")

LAYOUTS = (
    # The published densenet121-a639ec97.pth; torchvision renames the same keys while it loads.
    Layout(
        name="torchvision-densenet",
        mark=r"features\.denseblock\d+\.denselayer\d+\.(norm|conv)\.[12]\..+",
        ignored=(),
        places=((r"(.+\.denselayer\d+\.(?:norm|conv))\.([12]\..+)", r"\1\2"), (r"(.+)", r"\1")),
    ),
    Layout(
        name="dinov2",
        mark=r"mask_token",
        ignored=(r"mask_token",),
        places=((r"(.+)", r"\1"),),
    ),
    Layout(
        name="huggingface-dinov2",
        mark=rf"{_HF_DINOV2}embeddings\.cls_token|{_HF_DINOV2_LAYER}layer_scale.+",
        ignored=(rf"{_HF_DINOV2}embeddings\.mask_token", r"classifier\..+"),
        places=(
            (rf"{_HF_DINOV2}embeddings\.cls_token", r"cls_token"),
            (rf"{_HF_DINOV2}embeddings\.position_embeddings", r"pos_embed"),
            (rf"{_HF_DINOV2}embeddings\.patch_embeddings\.projection\.{_END}", r"patch_embed.proj.\1"),
            (rf"{_HF_DINOV2}layernorm\.{_END}", r"norm.\1"),
            (rf"{_HF_DINOV2_LAYER}norm([12])\.{_END}", r"blocks.\1.norm\2.\3"),
            (rf"{_HF_DINOV2_LAYER}attention\.attention\.(query|key|value)\.{_END}", _dinov2_third),
            (rf"{_HF_DINOV2_LAYER}attention\.([qkv])_proj\.{_END}", _dinov2_third),
            (rf"{_HF_DINOV2_LAYER}attention\.(?:output\.dense|o_proj)\.{_END}", r"blocks.\1.attn.proj.\2"),
            (rf"{_HF_DINOV2_LAYER}layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),
            (rf"{_HF_DINOV2_LAYER}mlp\.fc([12])\.{_END}", r"blocks.\1.mlp.fc\2.\3"),
        ),
    ),
    Layout(
        name="open_clip",
        mark=rf"visual\.class_embedding|{_OPEN_CLIP_BLOCK}.+",
        ignored=(r"visual\.proj", *_OPEN_CLIP_TEXT),
        places=(
            (r"visual\.class_embedding", r"cls_token"),
            (r"visual\.positional_embedding", r"pos_embed"),
            (r"visual\.conv1\.weight", r"patch_embed.proj.weight"),
            (rf"visual\.ln_pre\.{_END}", r"norm_pre.\1"),
            (rf"visual\.ln_post\.{_END}", r"norm.\1"),
            (rf"{_OPEN_CLIP_BLOCK}ln_([12])\.{_END}", r"blocks.\1.norm\2.\3"),
            (rf"{_OPEN_CLIP_BLOCK}attn\.in_proj_{_END}", r"blocks.\1.attn.qkv.\2"),
            (rf"{_OPEN_CLIP_BLOCK}attn\.out_proj\.{_END}", r"blocks.\1.attn.proj.\2"),
            (rf"{_OPEN_CLIP_BLOCK}mlp\.c_fc\.{_END}", r"blocks.\1.mlp.fc1.\2"),
            (rf"{_OPEN_CLIP_BLOCK}mlp\.c_proj\.{_END}", r"blocks.\1.mlp.fc2.\2"),
        ),
    ),
    Layout(
        name="open_clip-timm",
        mark=r"visual\.trunk\..+",
        ignored=(r"visual\.head\.proj\.(weight|bias)", *_OPEN_CLIP_TEXT),
        places=((r"visual\.trunk\.(.+)", r"\1"),),
    ),
    Layout(
        name="huggingface-clip",
        mark=rf"{_HF_CLIP}embeddings\.class_embedding|{_HF_CLIP_LAYER}self_attn\..+",
        ignored=(
            rf"{_HF_CLIP}embeddings\.position_ids",
            r"text_model\..+",
            r"(visual|text)_projection\.weight",
            r"logit_scale",
        ),
        places=(
            (rf"{_HF_CLIP}embeddings\.class_embedding", r"cls_token"),
            (rf"{_HF_CLIP}embeddings\.position_embedding\.weight", r"pos_embed"),
            (rf"{_HF_CLIP}embeddings\.patch_embedding\.weight", r"patch_embed.proj.weight"),
            (rf"{_HF_CLIP}pre_layrnorm\.{_END}", r"norm_pre.\1"),
            (rf"{_HF_CLIP}post_layernorm\.{_END}", r"norm.\1"),
            (rf"{_HF_CLIP_LAYER}layer_norm([12])\.{_END}", r"blocks.\1.norm\2.\3"),
            (rf"{_HF_CLIP_LAYER}self_attn\.([qkv])_proj\.{_END}", r"blocks.\1.attn.qkv.\3[\2]"),
            (rf"{_HF_CLIP_LAYER}self_attn\.out_proj\.{_END}", r"blocks.\1.attn.proj.\2"),
            (rf"{_HF_CLIP_LAYER}mlp\.fc([12])\.{_END}", r"blocks.\1.mlp.fc\2.\3"),
        ),
    ),
    Layout(
        name="huggingface-swin",
        mark=r"(swin\.)?encoder\.layers\.\d+\.blocks\.\d+\..+",
        ignored=(r".+\.relative_position_index", r"(swin\.)?embeddings\.mask_token", r"classifier\..+"),
        places=_swin(r"(?:swin\.)?"),
    ),
    Layout(
        name="medclip-swin",
        mark=r"vision_model\.model\.encoder\.layers\.\d+\.blocks\.\d+\..+",
        ignored=(r".+\.relative_position_index", r"vision_model\.projection_head\.weight", *_MEDCLIP_REST),
        places=_swin(r"vision_model\.model\."),
    ),
    Layout(
        name="medclip-resnet",
        mark=r"vision_model\.model\.layer\d\..+",
        # The projection is a layer of 512 features without bias in the place of torchvision's classifier.
        ignored=(r"vision_model\.model\.fc\.weight", *_MEDCLIP_REST),
        places=((r"vision_model\.model\.((?:conv1|bn1|layer\d)\..+)", r"\1"),),
    ),
)


def to_timm(
    card: ModelCard, state: Mapping[str, Tensor], where: str, expected: Mapping[str, Tensor], problems: Problems
) -> tuple[dict[str, Tensor], str]:
    """Bring a state to timm's keys.

    Parameters
    ----------
    card, state, where
        The model, the file's tensors, and the file's name for errors.
    expected
        What the card's headless module holds.
    problems
        Collects thirds of a fused tensor that are missing or do not fit together.

    Returns
    -------
    tuple
        The state, in which keys that have no place keep their own name, by which `fit` refuses them; and the layout's
        name.

    Raises
    ------
    InputError
        When the keys are those of no layout, or of several.
    """
    layout = recognize(card, state, where, expected)
    if layout is None:
        return _with_counters(dict(state), expected), TIMM
    result: dict[str, Tensor] = {}
    thirds: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        if layout.ignores(key):
            continue
        place, _, part = (layout.place_of(key) or key).removesuffix("]").partition("[")
        if place not in expected and not card.is_classifier(place):
            result[key] = tensor
        elif part:
            thirds.setdefault(place, {})[part] = tensor
        elif place in result:
            problems.add(where, f"the tensor '{key}' is there twice, under two names", "Fetch the file again")
        else:
            result[place] = _as_token(tensor, place)
    for place, found in thirds.items():
        result |= _fused(place, found, where, problems)
    return _with_counters(result, expected), layout.name


def recognize(card: ModelCard, keys: Iterable[str], where: str, expected: Iterable[str]) -> Layout | None:
    """Tell the layout that a file's keys are of; None is timm's own."""
    keys = list(keys)
    found = [layout for layout in LAYOUTS if any(re.fullmatch(layout.mark, key) for key in keys)]
    if len(found) > 1:
        names = " and ".join(layout.name for layout in found)
        what = f"its keys are of several layouts at once: {names}"
        raise InputError([Problem(where, what, "Give a file that one library wrote")])
    if found:
        return found[0]
    if not set(expected).isdisjoint(keys):
        return None
    known = ", ".join([TIMM, *(layout.name for layout in LAYOUTS)])
    some = ", ".join(f"'{key}'" for key in keys[:3])
    what = f"its keys ({some}, …) are of no layout that is known here"
    raise InputError([Problem(where, what, f"Give a file of {card.name} in one of these layouts: {known}")])


def _as_token(tensor: Tensor, place: str) -> Tensor:
    """Class tokens and positions stand alone elsewhere, and in a batch of one in timm."""
    if place in ("cls_token", "pos_embed"):
        return tensor.reshape((1,) * (3 - tensor.dim()) + tuple(tensor.shape))
    return tensor


def _fused(place: str, found: dict[str, Tensor], where: str, problems: Problems) -> dict[str, Tensor]:
    import torch

    if missing := [part for part in _PARTS if part not in found]:
        problems.add(where, f"'{place}' lacks its {' and '.join(missing)}", "Fetch the file again")
    elif len({tensor.shape for tensor in found.values()}) > 1:
        shapes = ", ".join(f"{part} {tuple(found[part].shape)}" for part in _PARTS)
        problems.add(where, f"the parts of '{place}' have different shapes: {shapes}", "Fetch the file again")
    elif not found["q"].dim():
        problems.add(where, f"the parts of '{place}' are single numbers", "Fetch the file again")
    else:
        return {place: torch.cat([found[part] for part in _PARTS])}
    return {}


def _with_counters(state: dict[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the counters of batches where a file has none at all, as from before PyTorch 0.4.1; torch does the same."""
    import torch

    if any(key.endswith(_COUNTER) for key in state):
        return state
    return state | {key: torch.zeros((), dtype=torch.int64) for key in expected if key.endswith(_COUNTER)}
