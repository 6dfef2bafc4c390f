"""Cards of timm models that have no card here, read off the model."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, cast

from prognobench.frame import InputError, Problem, nearest

from ._attention import use_plain_attention
from ._cards import ModelCard, WeightsSource

if TYPE_CHECKING:
    from torch import nn


def card_from_timm(name: str) -> ModelCard:
    """Make the card of a timm model, such as `resnet50.a1_in1k`.

    A name without tag means the weights that timm takes for it; with their tag it gives the same card, without tag in
    its id: one model has one id, however it is spelled.

    Raises
    ------
    InputError
        When timm has no such model, or none of its published weights go by this tag.
    """
    import timm

    architecture, _, tag = name.partition(".")
    known = timm.list_models()
    if architecture not in known:
        # The whole list is a thousand names long.
        hint = nearest(architecture, known).partition(" Known:")[0]
        remedy = hint if hint.startswith("Did") else "List them with timm.list_models()"
        raise InputError([Problem(f"model 'timm:{name}'", "timm has no such model", remedy)])
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise InputError(
            [Problem(f"model 'timm:{name}'", f"timm has no weights '{tag}' of {architecture}", nearest(tag, tags))]
        )
    usual = timm.get_pretrained_cfg(architecture)
    return _read_off(architecture if usual is not None and tag == usual.tag else name)


@lru_cache(maxsize=32)
def _read_off(name: str) -> ModelCard:
    module = _on_meta(name)
    # timm sets it on each model that it makes, which torch's type of a module does not know.
    published: dict[str, Any] = module.pretrained_cfg  # type: ignore[assignment]
    channels, height, width = published["input_size"]
    if channels != 3 or height != width:
        raise _refuse(name, "its input is not a square RGB image")
    features_width, flops = _try(module, name, height)
    roles = _roles(module)
    family = _family(module, roles)
    # Strategies know which linear maps of these two to take, by their usual names.
    roles |= {} if family in ("vit", "swin") else _linear(module)
    return ModelCard(
        id=f"timm:{name}",
        name=name,
        architecture=name,
        build={"num_classes": 0},
        family=family,
        width=features_width,
        blocks=_count(module, roles["block"]) if "block" in roles else None,
        class_token=reads_class_token(module),
        input_size=height,
        mean=published["mean"],
        std=published["std"],
        interpolation=published["interpolation"],
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        gflops=round(flops / 1e9, 4),
        pretraining=published.get("tag") or "not stated by timm",
        license=published.get("license") or "not stated by timm",
        source=published.get("origin_url") or "https://github.com/huggingface/pytorch-image-models",
        citation=_as_text(published.get("paper_name") or published.get("paper_ids")) or "not stated by timm",
        roles=roles,
        fused=_fused(module, roles),
        classifier=_classifier(published),
        weights=_source(name, published),
    )


def _on_meta(name: str) -> nn.Module:
    """Make the model where nothing is computed or stored, so that even the largest is described at once."""
    import timm
    import torch

    try:
        with torch.device("meta"):
            module: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    except Exception as error:  # some models need other packages or a device; each fails in its own way
        raise _refuse(name, f"timm cannot make it ({_said(error)})") from None
    use_plain_attention(module)
    # The counter of operations fails on some modules whose parameters want gradients.
    return module.requires_grad_(False).eval()


def _try(module: nn.Module, name: str, side: int) -> tuple[int, int]:
    """Return the length of the feature vector and the operations of one image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            features = module(torch.empty(1, 3, side, side, device="meta"))
    except Exception as error:  # a thousand models of as many authors
        raise _refuse(name, f"it does not work on an image of {side} × {side} pixels ({_said(error)})") from None
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        raise _refuse(name, "it does not give one feature vector for an image")
    return features.shape[1], counter.get_total_flops()


def _refuse(name: str, what: str) -> InputError:
    return InputError([Problem(f"model 'timm:{name}'", what, "Choose another model")])


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


_CANDIDATES = {
    "patch_embed": r"patch_embed\.proj",
    "block": r"blocks\.\d+|layers\.\d+\.blocks\.\d+|layer\d\.\d+|blocks\.\d+\.\d+|stages\.\d+\.blocks\.\d+",
    "attention.qkv": r"(.+\.)?blocks\.\d+\.attn\.qkv",
    "attention.proj": r"(.+\.)?blocks\.\d+\.attn\.proj",
    "mlp.fc1": r"(.+\.)?blocks\.\d+\.mlp\.fc1",
    "mlp.fc2": r"(.+\.)?blocks\.\d+\.mlp\.fc2",
    "patch_merge": r"layers\.\d+\.downsample\.reduction",
}


def _roles(module: nn.Module) -> dict[str, str]:
    """Keep the usual names that this model has; list convolutions and norms, whose names follow no rule."""
    from torch import nn

    modules = dict(module.named_modules())
    roles = {role: pattern for role, pattern in _CANDIDATES.items() if _count(module, pattern)}
    if "block" in roles:
        # `blocks.0` is a stage where `blocks.0.0` exists.
        matched = [name for name in modules if re.fullmatch(roles["block"], name)]
        roles["block"] = _alternatives(
            [name for name in matched if not any(other.startswith(f"{name}.") for other in matched)]
        )
    convolutions = [name for name, part in modules.items() if isinstance(part, nn.Conv2d)]
    if convolutions and "patch_embed" not in roles:
        roles["stem"] = re.escape(convolutions.pop(0))
        dense = [name for name in convolutions if cast(nn.Conv2d, modules[name]).groups == 1]
        grouped = [name for name in convolutions if name not in dense]
        roles |= {"conv": _alternatives(dense)} if dense else {}
        roles |= {"conv.depthwise": _alternatives(grouped)} if grouped else {}
    norms = [name for name, part in modules.items() if _is_norm(part)]
    return roles | ({"norm": _alternatives(norms)} if norms else {})


def _linear(module: nn.Module) -> dict[str, str]:
    from torch import nn

    names = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    return {"linear": _alternatives(names)} if names else {}


def _is_norm(part: nn.Module) -> bool:
    from torch import nn

    kinds = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
    return isinstance(part, kinds) or "Norm" in type(part).__name__


def _alternatives(names: list[str]) -> str:
    return "|".join(re.escape(name) for name in names)


def _count(module: nn.Module, pattern: str) -> int:
    return sum(1 for name, _ in module.named_modules() if re.fullmatch(pattern, name))


def _family(module: nn.Module, roles: dict[str, str]) -> Literal["vit", "swin", "cnn", "other"]:
    from timm.models.swin_transformer import SwinTransformer
    from timm.models.vision_transformer import VisionTransformer

    if isinstance(module, VisionTransformer):
        return "vit"
    if isinstance(module, SwinTransformer):
        return "swin"
    attends = any("attn" in name.lower() or "attention" in name.lower() for name, _ in module.named_modules())
    return "cnn" if "conv" in roles and not attends else "other"


def reads_class_token(module: nn.Module) -> bool:
    """Tell whether a headless timm module gives its first token after `norm` and nothing else."""
    from timm.models.vision_transformer import VisionTransformer
    from torch import nn

    return (
        isinstance(module, VisionTransformer)
        # The distilled ones give the mean of two tokens.
        and type(module).forward_head is VisionTransformer.forward_head
        and type(module).forward_features is VisionTransformer.forward_features
        and module.global_pool == "token"
        and module.cls_token is not None
        and module.attn_pool is None
        and not isinstance(module.norm, nn.Identity)
        and isinstance(module.fc_norm, nn.Identity)
    )


def _fused(module: nn.Module, roles: dict[str, str]) -> dict[str, dict[str, tuple[int, int]]]:
    if "attention.qkv" not in roles:
        return {}
    sizes = {
        part.weight.shape[0]
        for name, part in module.named_modules()
        if re.fullmatch(roles["attention.qkv"], name) and hasattr(part, "weight")
    }
    if not sizes or any(rows % 3 for rows in sizes):
        return {}
    # Rows where all modules have as many, else thirds of whatever a stage has.
    third = min(sizes) // 3 if len(sizes) == 1 else 1
    rows = 3 * third
    return {"attention.qkv": {"q": (0, third), "k": (third, 2 * third), "v": (2 * third, rows)}}


def _classifier(published: dict[str, Any]) -> tuple[str, ...]:
    names = published.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def _source(name: str, published: dict[str, Any]) -> tuple[WeightsSource, ...]:
    repository = published.get("hf_hub_id")
    # Repositories of other owners keep other layouts.
    if not repository or not repository.startswith("timm/") or published.get("hf_hub_filename"):
        return ()
    return (
        WeightsSource(
            id=repository.replace("/", ".").lower(),
            kind="hub",
            location=repository,
            revision="main",
            file="model.safetensors",
            license=published.get("license") or "not stated by timm",
        ),
    )


def _as_text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, (list, tuple)) else str(value or "")
