"""Layers that no adapter fits are found on the architecture, whatever the card is called."""

import re

import pytest
import timm
import torch
from torch import nn

from prognobench.models import model_card
from prognobench.strategies import parse_strategies
from prognobench.strategies._layer_faults import _is_linear_in_weight, layer_faults

pytestmark = pytest.mark.torch
ADAPTERS = ["lora", "vera", "ia3"]


def outsider(model, **change):
    """A card as a plug-in makes it: of an architecture of timm's, under an id of its own."""
    return model_card(model).model_copy(update={"id": "outsider", "aliases": (), "weights": (), **change})


@pytest.mark.parametrize("strategy", ADAPTERS)
def test_a_plug_in_s_card_is_asked_like_a_model_of_timm_s(strategy):
    (chosen,) = parse_strategies([strategy])
    reason = chosen.refuses(outsider("timm:eva02_tiny_patch14_224"))
    assert re.search(r"outsider never calls its module \S+\.attn\.qkv, .* would train nothing", reason)


def test_the_build_of_the_card_is_the_one_that_is_tried():
    """With separate matrices EVA-02 does call them."""
    name = "eva02_tiny_patch14_224"
    fused, separate = outsider(f"timm:{name}"), outsider(f"timm:{name}", build={"num_classes": 0, "qkv_fused": False})
    assert any(module.endswith("attn.qkv") for module in layer_faults(fused))
    assert layer_faults(separate) == {}


@pytest.mark.parametrize("strategy", ADAPTERS)
def test_a_model_that_normalizes_its_weights_is_refused(strategy):
    """peft would normalize LoRA's own A and B as well, and no merge would compute the same."""
    (chosen,) = parse_strategies([strategy])
    reason = chosen.refuses(model_card("timm:resnetv2_50x1_bit"))
    assert re.search(r"has a StdConv2d at \S+, which changes its weight before it uses it", reason)


def weight_normalized():
    return nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))


@pytest.mark.parametrize(
    ("make", "linear"),
    [
        (lambda: nn.Conv2d(3, 4, 3), True),
        (lambda: timm.layers.Conv2dSame(3, 4, 3, stride=2), True),
        (lambda: timm.layers.StdConv2d(3, 4, 3), False),
        (lambda: timm.layers.ScaledStdConv2dSame(3, 4, 3), False),
        (weight_normalized, False),
    ],
    ids=["Conv2d", "Conv2dSame", "StdConv2d", "ScaledStdConv2dSame", "weight_norm"],
)
def test_what_a_layer_does_with_its_weight_is_tried(make, linear):
    assert _is_linear_in_weight(make().to("meta")) is linear


def test_the_trial_leaves_no_hook_and_draws_nothing():
    before = torch.random.get_rng_state()
    card = outsider("timm:test_vit")
    assert layer_faults(card) == {}
    from prognobench.strategies._layer_faults import on_meta

    assert not any(part._forward_hooks for part in on_meta(card).modules())
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "no_such_net"}, "timm cannot build no_such_net"),
        ({"input_size": 100}, "takes no image of 100"),
    ],
)
def test_a_card_that_does_not_fit_its_architecture_is_refused_with_the_reason(change, message):
    (lora,) = parse_strategies(["lora"])
    assert message in lora.refuses(outsider("timm:test_vit", **change))
