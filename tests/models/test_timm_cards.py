"""Any timm model answers to `timm:NAME`, with a card read off the model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from prognobench.frame import InputError
from prognobench.models import find_weights, load_backbone, model_card

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("name", "family", "blocks", "roles"),
    [
        ("vit_tiny_patch16_224", "vit", 12, {"attention.qkv", "attention.proj", "mlp.fc1", "mlp.fc2", "patch_embed"}),
        ("resnet26.bt_in1k", "cnn", 8, {"stem", "conv"}),
        ("mobilenetv3_small_050", "cnn", 12, {"stem", "conv", "conv.depthwise"}),
        pytest.param("swin_tiny_patch4_window7_224", "swin", 12, {"attention.qkv", "mlp.fc1"}, marks=pytest.mark.slow),
    ],
)
def test_the_card_is_that_of_the_module(store: Path, name: str, family: str, blocks: int, roles: set[str]) -> None:
    before = torch.random.get_rng_state()
    card = model_card(f"timm:{name}")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (card.family, card.blocks) == (family, blocks)
    assert roles | {"block", "norm"} <= card.roles.keys()
    module = load_backbone(card, find_weights(card, "random"))
    assert sum(parameter.numel() for parameter in module.parameters()) == card.parameters
    with torch.inference_mode():
        assert module(torch.zeros(1, 3, card.input_size, card.input_size)).shape == (1, card.width)
    published = timm.get_pretrained_cfg(name)
    assert (card.mean, card.std, card.interpolation) == (published.mean, published.std, published.interpolation)
    parts = dict(module.named_modules())
    for role, pattern in card.roles.items():
        assert any(re.fullmatch(pattern, part) for part in parts), role
    dense = {key for key, part in parts.items() if isinstance(part, nn.Conv2d) and part.groups == 1}
    named = {
        key for key in parts if any(re.fullmatch(card.roles.get(r, "-"), key) for r in ("conv", "stem", "patch_embed"))
    }
    assert dense == named


def test_its_weights_are_on_the_hub(store: Path) -> None:
    card = model_card("timm:resnet18.tv_in1k")
    assert [source.location for source in card.weights] == ["timm/resnet18.tv_in1k"]
    assert card.classifier == ("fc",)
    ours = model_card("resnet18")
    for field in ("parameters", "gflops", "width", "blocks", "mean", "std", "interpolation", "input_size"):
        assert getattr(card, field) == getattr(ours, field), field
    with pytest.raises(InputError, match=r"prognobench weights fetch timm:resnet18\.tv_in1k --from hub"):
        find_weights(card)


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "resnet18.tv_in1k", "tf_efficientnet_lite0"])
def test_timm_agrees_with_the_catalog_on_how_images_are_prepared(name: str) -> None:
    ours = model_card({"v": "dinov2_s", "r": "resnet18", "t": "efficientnet_lite0"}[name[0]])
    theirs = model_card(f"timm:{name}")
    for field in ("mean", "std", "interpolation", "width", "blocks", "family"):
        assert getattr(theirs, field) == getattr(ours, field), field


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18x", "Did you mean 'resnet"),
        ("qqqqqqqq", "timm has no such model"),
        ("resnet18.tv_in2k", "no weights 'tv_in2k' of resnet18. Did you mean 'tv_in1k'"),
        ("", "timm has no such model"),
    ],
)
def test_a_name_that_timm_does_not_know_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model_card(f"timm:{name}")


def test_a_fused_qkv_is_divided_in_three(store: Path) -> None:
    card = model_card("timm:vit_tiny_patch16_224")
    assert card.fused == {"attention.qkv": {"q": (0, 192), "k": (192, 384), "v": (384, 576)}}


def test_stages_of_several_widths_are_divided_in_thirds(store: Path) -> None:
    card, ours = model_card("timm:swin_tiny_patch4_window7_224"), model_card("medclip_swin")
    assert card.fused == ours.fused
    assert card.fused_rows("attention.qkv", "v", 2304) == (1536, 2304)
    for field in ("parameters", "gflops", "width", "blocks", "family", "input_size"):
        assert getattr(card, field) == getattr(ours, field), field
    with torch.device("meta"):
        names = [name for name, _ in timm.create_model(ours.architecture, num_classes=0).named_modules()]
    for role, pattern in ours.roles.items():
        found = [name for name in names if re.fullmatch(pattern, name)]
        assert found == [name for name in names if re.fullmatch(card.roles[role], name)], role
