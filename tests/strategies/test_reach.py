"""An adapter reaches every block of a model, or is refused: never a few modules under the name of a method."""

import re

import pytest

from prognobench.models import find_weights, load_backbone, model_card
from prognobench.strategies import parse_strategies, prove
from prognobench.strategies._layer_faults import on_meta

pytestmark = pytest.mark.torch
ADAPTERS = ["lora", "vera", "ia3"]


def planned(strategy, card):
    (chosen,) = parse_strategies([strategy])
    return chosen.plan(on_meta(card), card)


@pytest.mark.parametrize("strategy", ADAPTERS)
@pytest.mark.parametrize(
    "model", ["timm:convnext_tiny", "timm:convit_tiny", "timm:coatnet_0_rw_224", "timm:mixer_s32_224"]
)
def test_every_block_of_a_mixed_network_is_adapted_and_most_of_its_weights(model, strategy):
    card = model_card(model)
    backbone = on_meta(card)
    adapted = {target.module for target in planned(strategy, card).targets}
    blocks = [name for name, _ in backbone.named_modules() if re.fullmatch(card.roles["block"], name)]
    assert len(blocks) == card.blocks
    assert all(any(name.startswith(f"{block}.") for name in adapted) for block in blocks)
    held = sum(backbone.get_submodule(name).weight.numel() for name in adapted)
    assert held > 0.9 * sum(parameter.numel() for parameter in backbone.parameters())


def test_a_convnext_s_linear_maps_are_adapted():
    """Its convolutions are depthwise, but for the stem and three that lead from stage to stage."""
    card = model_card("timm:convnext_tiny")
    plan = planned("lora", card)
    assert plan.by_role() == {"conv": 3, "linear": 36}
    shapes = [tuple(on_meta(card).get_submodule(target.module).weight.shape) for target in plan.targets]
    assert plan.trainable == sum(
        8 * (rows + rest[0] * (rest[1] * rest[2] if rest[1:] else 1)) for rows, *rest in shapes
    )


@pytest.mark.parametrize("strategy", ADAPTERS)
def test_the_strategies_keep_their_promises_on_a_convnext(strategy):
    card = model_card("timm:test_convnext")
    backbone = load_backbone(card, find_weights(card, "random"))
    (chosen,) = parse_strategies([strategy])
    assert prove(chosen, backbone, card).failures() == []


def without(card, role):
    """A plug-in's card that does not name a role."""
    return card.model_copy(update={"id": "outsider", "roles": {k: v for k, v in card.roles.items() if k != role}})


@pytest.mark.parametrize("strategy", ADAPTERS)
def test_a_card_whose_roles_leave_blocks_out_cannot_be_planned(strategy):
    card = without(model_card("timm:test_convnext"), "linear")
    with pytest.raises(ValueError, match=r"would adapt little of outsider: nothing in 9 of its 9 blocks, first stages"):
        planned(strategy, card)


def test_without_known_blocks_the_share_of_the_weights_decides():
    card = without(without(model_card("timm:test_convnext"), "linear"), "block")
    changed = card.model_copy(update={"roles": {**card.roles, "conv": r"stages\.1\.downsample\.1"}})
    with pytest.raises(ValueError, match=r"modules with [0-9.]+% of its weights, the least is 10%"):
        planned("lora", changed)


def test_an_adapter_as_large_as_what_it_adapts_is_refused_while_planning():
    """A block of width 64 holds 64 × (192 + 192 + 192) numbers in qkv, fc1 and fc2; LoRA trains 256 × 3 a rank."""
    fits, too_large = parse_strategies([{"lora": {"rank": [47, 48]}}])
    card = model_card("timm:test_vit")
    assert fits.refuses(card) is None
    reason = "lora_r48 would train 221,184 numbers beside 221,184 that stay frozen in timm:test_vit"
    assert too_large.refuses(card).startswith(reason)
