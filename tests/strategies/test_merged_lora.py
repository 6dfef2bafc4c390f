"""LoRA as one product in bfloat16: peft's outputs and gradients, and only where nothing else is asked."""

import copy
import weakref

import pytest
import torch

pytestmark = pytest.mark.torch
VIT = "timm:test_vit"


def outcome(layer, x, slope):
    layer.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_()
    y = layer(x)
    y.backward(slope.to(y.dtype))
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    return [part.float() for part in (y.detach(), x.grad, down.grad, up.grad)]


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_outputs_and_gradients_are_those_of_peft(adapt, scale):
    chosen, _, module = adapt(VIT, {"lora": {"alpha": 8 * scale}})
    layer = module.get_base_model().blocks[0].mlp.fc1
    x = torch.randn(2, 50, layer.in_features, generator=torch.Generator().manual_seed(2))
    slope = torch.randn(2, 50, layer.out_features, generator=torch.Generator().manual_seed(3))
    plain = outcome(layer, x, slope)
    kept = chosen.train_in_bfloat16(module)
    assert {name for name in kept if ".blocks.0.mlp.fc1." in name} == {
        f"base_model.model.blocks.0.mlp.fc1.{end}"
        for end in ("base_layer.weight", "lora_A.default.weight", "lora_B.default.weight")
    }
    layer.base_layer.bias.data = layer.base_layer.bias.data.bfloat16()
    for found, expected in zip(outcome(layer, x.bfloat16(), slope), plain, strict=True):
        assert (found - expected).norm() < 0.01 * expected.norm()


def test_other_inputs_and_switched_off_adapters_go_the_plain_way(adapt):
    chosen, _, module = adapt(VIT, "lora")
    images = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    before = module.eval()(images)
    with module.disable_adapter():
        without = module(images)
    chosen.train_in_bfloat16(module)
    assert torch.equal(module(images), before)
    with module.disable_adapter():
        assert torch.equal(module(images), without)


@pytest.mark.parametrize(
    "strategy", [{"lora": {"dropout": 0.1}}, {"lora": {"variant": "paper"}}, "vera", "ia3", "bitfit", "fft"]
)
def test_what_is_more_than_plain_lora_is_left_alone(adapt, strategy):
    chosen, _, module = adapt(VIT, strategy)
    assert chosen.train_in_bfloat16(module) == frozenset()


def test_merge_copy_and_removal_are_as_before(adapt):
    chosen, _, module = adapt(VIT, "lora")
    images = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    expected = module.eval()(images)
    chosen.train_in_bfloat16(module)
    copied = copy.deepcopy(module)
    torch.testing.assert_close(chosen.merge(module).eval()(images), expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    # A copy that still called the original's layers would give zeros.
    assert torch.equal(copied(images), expected)
    assert not [part for part in chosen.remove(module).modules() if "Lora" in type(part).__name__]


def test_a_layer_goes_when_nobody_holds_it(adapt):
    import gc

    chosen, _, module = adapt(VIT, "lora")
    chosen.train_in_bfloat16(module)
    layer = weakref.ref(module.get_base_model().blocks[0].mlp.fc1)
    gc.disable()
    try:
        chosen.remove(module)
        del module
        assert layer() is None
    finally:
        gc.enable()
