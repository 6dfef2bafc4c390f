"""Any timm model answers to `timm:NAME`, with a card read off the model."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import timm
import torch
from torch import nn

from prognobench.frame import InputError
from prognobench.models import find_weights, load_backbone, model_card
from prognobench.models._timm import _read_off

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


@pytest.mark.parametrize("name", ["resnet18", "test_vit"])
def test_one_model_has_one_id_however_it_is_spelled(store: Path, name: str) -> None:
    """So that a study cannot hold it twice, and its stored weights answer to both spellings."""
    tag = timm.get_pretrained_cfg(name).tag
    card = model_card(f"timm:{name}.{tag}")
    assert card is model_card(f"timm:{name}")
    assert (card.id, card.architecture) == (f"timm:{name}", name)
    assert card.weights[0].location == f"timm/{name}.{tag}"


def test_weights_that_are_not_the_usual_ones_make_another_model(store: Path) -> None:
    card = model_card("timm:resnet18.tv_in1k")
    assert (card.id, card.architecture) == ("timm:resnet18.tv_in1k", "resnet18.tv_in1k")
    assert card.weights[0].id != model_card("timm:resnet18").weights[0].id


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


# Tokens of their own that go into a layer as they are: SigLIP's pooling, CaiT's class token, PiT's.
@pytest.mark.parametrize("name", ["vit_base_patch16_siglip_224", "cait_xxs24_224", "pit_ti_224", "test_vit3"])
def test_a_model_with_a_token_of_its_own_has_a_card(name: str) -> None:
    card = model_card(f"timm:{name}")
    with torch.device("meta"):
        module = timm.create_model(name, num_classes=0)
    assert (card.width, card.class_token) == (module.num_features, False)
    assert card.gflops > 0


class Failing(nn.Module):
    """Fails when it sees an image, or gives maps."""

    pretrained_cfg: ClassVar = {"input_size": (3, 32, 32)}

    def __init__(self, gives: torch.Tensor | None) -> None:
        super().__init__()
        self.gives = gives

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.gives is None:
            raise AssertionError("only on Sundays\nand holidays")
        return self.gives


def made(module: nn.Module | None) -> Callable[..., nn.Module]:
    def create_model(*_: object, **__: object) -> nn.Module:
        if module is None:
            raise ModuleNotFoundError("No module named 'mamba'")
        return module

    return create_model


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (None, r"timm cannot make it \(ModuleNotFoundError: No module named 'mamba'\)"),
        (Failing(None), r"does not work on an image of 32 × 32 pixels \(AssertionError: only on Sundays\)"),
        (Failing(torch.zeros(1, 8, 4, 4)), "does not give one feature vector"),
    ],
    ids=["not made", "fails", "gives maps"],
)
def test_a_model_that_fails_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, module: nn.Module | None, message: str
) -> None:
    _read_off.cache_clear()
    monkeypatch.setattr("timm.create_model", made(module))
    with pytest.raises(InputError, match=rf"model 'timm:test_resnet[^']*': .*{message}"):
        model_card("timm:test_resnet")


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
