"""Layers that no adapter fits are found on the architecture, whatever the card is called."""

import re

import pytest
import timm
import torch
from torch import nn

from prognobench.models import model_card
from prognobench.strategies import matrix_rows, parse_strategies
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


def half_named():
    """A card whose pattern for qkv finds that of the first block alone."""
    card = outsider("timm:test_vit")
    return card.model_copy(update={"roles": card.roles | {"attention.qkv": r"blocks\.0\.attn\.qkv"}})


@pytest.mark.parametrize("strategy", ADAPTERS)
def test_a_plan_that_would_fail_is_refused_before_a_job_is_planned(strategy):
    (chosen,) = parse_strategies([strategy])
    assert re.search(r"finds 1 modules of the role attention\.qkv\S* in outsider, not 6", chosen.refuses(half_named()))


def test_rows_of_a_fused_matrix_that_nobody_knows_are_a_reason():
    """Half of GC-ViT's blocks compute q elsewhere."""
    lora, ia3 = parse_strategies(["lora", "ia3"])
    card = model_card("timm:gcvit_xxtiny")
    assert lora.refuses(card) is None
    assert "does not say which rows of attention.qkv are k" in ia3.refuses(card)


def test_a_model_without_a_bias_is_refused_by_bitfit(monkeypatch):
    (bitfit,) = parse_strategies(["bitfit"])
    card = outsider("timm:test_vit")
    assert bitfit.refuses(card) is None
    monkeypatch.setattr("prognobench.strategies._bitfit._own_biases", lambda module: [])
    assert bitfit.refuses(outsider("timm:test_vit", name="another")) == "BitFit finds no bias in outsider"


class Careless(type(parse_strategies(["lp"])[0])):
    """A plug-in's strategy that foresees nothing."""

    def plan(self, backbone, card):
        raise KeyError(card.id)


def test_cards_and_strategies_of_plug_ins_are_rows_of_the_matrix_with_their_reason(monkeypatch):
    monkeypatch.setattr("prognobench.strategies._matrix.model_cards", lambda: {"outsider": half_named()})
    strategies = [*parse_strategies(["lora", "lp"]), Careless()]
    monkeypatch.setattr("prognobench.strategies._matrix.matrix_strategies", lambda: strategies)
    lora, probe, careless = matrix_rows()
    assert [row["status"] for row in (lora, probe, careless)] == ["refused", "ok", "refused"]
    assert "finds 1 modules" in lora["reason"]
    assert careless["reason"] == "'outsider'"
