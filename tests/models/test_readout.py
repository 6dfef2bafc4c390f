"""The head reads the class tokens of the last blocks, and the mean patch token where asked."""

import pytest
import torch

from prognobench.models import (
    columns,
    find_weights,
    load_backbone,
    model_card,
    read_out,
    readable,
    readout_width,
    refuses_readout,
    widest,
)

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def backbone():
    card = model_card("timm:test_vit")
    return load_backbone(card, find_weights(card, "random")), card


def by_hand(module, images, blocks, patch_mean):
    """Run block after block, as DINOv2's `get_intermediate_layers` does."""
    tokens = module.norm_pre(module.patch_drop(module._pos_embed(module.patch_embed(images))))
    outputs = []
    for block in module.blocks:
        tokens = block(tokens)
        outputs.append(module.norm(tokens))
    parts = [tokens[:, 0] for tokens in outputs[-blocks:]]
    if patch_mean:
        parts.append(outputs[-1][:, module.num_prefix_tokens :].mean(1))
    return torch.cat(parts, dim=-1)


@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize("patch_mean", [False, True])
def test_tokens_are_those_of_the_blocks(backbone, blocks, patch_mean):
    module, card = backbone
    images = torch.randn(3, 3, card.input_size, card.input_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = read_out(module, images, blocks, patch_mean)
        expected = by_hand(module, images, blocks, patch_mean)
    assert found.shape == (3, readout_width(card, blocks, patch_mean))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["timm:test_vit2", "timm:test_vit3", "timm:deit_tiny_distilled_patch16_224"])
def test_a_vit_that_does_not_read_its_class_token_is_refused(name):
    """The mean of the patches behind a register; pooling by attention; the mean of two tokens."""
    card = model_card(name)
    assert (card.family, card.class_token) == ("vit", False)
    assert refuses_readout(card, 1, False) is None
    assert "neither class tokens" in refuses_readout(card, 2, False)
    assert "neither class tokens" in refuses_readout(card, 1, True)


def test_registers_stand_behind_the_class_token():
    base = model_card("timm:test_vit")
    registers = {"reg_tokens": 2, "no_embed_class": True}
    card = base.model_copy(update={"id": "tiny_registers", "build": base.build | registers})
    module = load_backbone(card, find_weights(card, "random"))
    images = torch.randn(2, 3, card.input_size, card.input_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = read_out(module, images, 2, True)
        torch.testing.assert_close(found[:, card.width : 2 * card.width], module(images), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found, by_hand(module, images, 2, True), rtol=1e-5, atol=1e-5)


def test_what_a_model_does_not_have_is_refused():
    cnn, vit = model_card("timm:test_resnet"), model_card("timm:test_vit")
    assert refuses_readout(cnn, 1, False) is None
    assert "one pooled feature vector" in refuses_readout(cnn, 4, False)
    assert "one pooled feature vector" in refuses_readout(cnn, 1, True)
    assert refuses_readout(vit, 4, True) is None
    assert "99 are asked for" in refuses_readout(vit, 99, False)


def test_every_readout_is_a_part_of_the_widest(backbone):
    module, card = backbone
    grid = [(blocks, patch_mean) for blocks in (1, 2, 4) for patch_mean in (False, True)]
    images = torch.randn(2, 3, card.input_size, card.input_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wide = read_out(module, images, *widest(grid))
        for readout in grid:
            found = wide[:, columns(card, readout, widest(grid))]
            torch.testing.assert_close(found, read_out(module, images, *readout), rtol=1e-5, atol=1e-5)


def test_a_model_is_read_as_far_as_it_can_be():
    grid = ((1, False), (1, True), (4, False), (4, True))
    assert readable(model_card("timm:test_resnet"), grid) == ((1, False),)
    assert readable(model_card("timm:test_vit"), grid) == grid
    assert readable(model_card("timm:test_resnet"), grid[1:]) == ()
