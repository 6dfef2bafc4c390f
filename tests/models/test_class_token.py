"""The last block for the class token alone: the whole model's class token and gradients."""

import pytest
import torch

from prognobench.models import class_token_alone

pytestmark = pytest.mark.torch


def film_like(card):
    return torch.randn(3, 3, card.input_size, card.input_size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("strategy", ["lp", "lora", {"lora": {"variant": "paper"}}, "bitfit", "ia3", "vera", "fft"])
def test_it_is_what_the_model_gives_and_so_are_the_gradients(adapt, strategy):
    _, card, module = adapt("timm:test_vit", strategy)
    images = film_like(card)
    module.eval()
    found = {}
    for name, read in (("whole", module), ("alone", lambda images: class_token_alone(module, images))):
        module.zero_grad(set_to_none=True)
        features = read(images)
        if features.requires_grad:
            features.square().sum().backward()
        found[name] = features.detach(), {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    torch.testing.assert_close(found["alone"][0], found["whole"][0], atol=1e-5, rtol=1e-5)
    assert found["alone"][1].keys() == found["whole"][1].keys()
    for name, gradient in found["whole"][1].items():
        torch.testing.assert_close(found["alone"][1][name], gradient, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("model", ["timm:test_efficientnet", "timm:test_vit2", "timm:test_vit3", "timm:test_resnet"])
def test_another_kind_of_model_is_left_to_itself(adapt, model):
    _, card, module = adapt(model, "lp")
    images = film_like(card)
    module.eval()
    assert class_token_alone(module, images) is None


@pytest.mark.parametrize("place", ["blocks.1", "blocks.1.attn", ""])
def test_a_hook_on_what_would_be_passed_by_is_heard(adapt, place):
    _, card, module = adapt("timm:test_vit", "lp")
    images = film_like(card)
    module.eval()
    last = len(module.blocks) - 1
    part, heard = module.get_submodule(place.replace("blocks.1", f"blocks.{last}")), []
    part.register_forward_hook(lambda *_: heard.append(1))
    assert class_token_alone(module, images) is None
