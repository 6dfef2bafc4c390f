"""Adapters made here, in the hands of someone who has timm and peft and nothing of this package."""

import json

import peft
import pytest
import timm
import torch

from prognobench.models import find_weights, load_backbone, model_card
from prognobench.strategies import export_peft, parse_strategies

pytestmark = pytest.mark.torch
SEPARATE = ("attention.qkv[q]", "attention.qkv[k]", "attention.qkv[v]")
SWIN = ("attention.qkv[q]", "attention.qkv[v]", "attention.proj", "mlp.fc1", "mlp.fc2")


def adapted(model, strategy, paper=None):
    card = model_card(model)
    card = card if paper is None else card.model_copy(update={"paper": paper})
    backbone = load_backbone(card, find_weights(card, "random"))
    weights = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    (chosen,) = parse_strategies([strategy])
    module = chosen.apply(backbone, chosen.plan(backbone, card), 3)
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return module.eval(), weights, card


def loaded_elsewhere(folder, weights, card):
    """What their script does: timm's model, its weights, peft's adapter."""
    model = timm.create_model(card.architecture, **card.build).eval()
    model.load_state_dict(weights)
    return peft.PeftModel.from_pretrained(model, folder).eval()


PEFT = [
    ("timm:test_vit", {"lora": {"rank": 4, "alpha": 2}}, None),
    ("timm:test_resnet", {"lora": {"rank": 4}}, None),
    ("timm:test_vit", {"vera": {"rank": 4}}, None),
    ("timm:test_vit", {"ia3": {"variant": "paper"}}, None),
    ("timm:test_resnet", "ia3", None),
    ("timm:test_vit", {"lora": {"rank": 4, "variant": "paper"}}, SEPARATE),
    ("timm:test_vit", {"lora": {"rank": 4, "variant": "paper", "alpha": 8}}, SWIN),
]


@pytest.mark.parametrize(("model", "strategy", "roles"), PEFT)
def test_plain_peft_loads_the_adapter_and_computes_the_same(model, strategy, roles, tmp_path):
    module, weights, card = adapted(model, strategy, roles and {"lora": roles})
    export_peft(module, tmp_path / "adapter")
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip
    elsewhere = loaded_elsewhere(tmp_path / "adapter", weights, card)
    images = torch.randn(2, 3, card.input_size, card.input_size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours, theirs, plain = module(images), elsewhere(images), elsewhere.unload()(images)
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)
    assert (ours - plain).norm() / plain.norm() > 1e-2


def test_lora_at_three_slices_is_a_lora_of_three_times_the_rank_with_a_block_diagonal_b(tmp_path):
    module, _, _ = adapted("timm:test_vit", {"lora": {"rank": 4, "variant": "paper"}}, {"lora": SEPARATE})
    export_peft(module, tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 12, 3.0)
    from safetensors.torch import load_file

    state = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    below = state["base_model.model.blocks.0.attn.qkv.lora_B.weight"]
    width = below.shape[0] // 3
    for row in range(3):
        for column in range(3):
            block = below[row * width : (row + 1) * width, column * 4 : (column + 1) * 4]
            assert bool(block.any()) == (row == column)


@pytest.mark.parametrize(
    ("model", "strategy", "paper"),
    [
        ("timm:test_vit", "ia3", None),
        ("timm:test_vit", {"vera": {"variant": "paper"}}, {"vera": SEPARATE}),
        ("timm:test_resnet", "vera", None),
    ],
)
def test_what_peft_cannot_express_is_refused(model, strategy, paper, tmp_path):
    module, _, _ = adapted(model, strategy, paper)
    with pytest.raises(ValueError, match=r"peft cannot express this adapter: .* Export the merged backbone instead"):
        export_peft(module, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize("strategy", ["fft", "lp", "bitfit"])
def test_a_strategy_without_layers_has_no_adapter_to_export(strategy, tmp_path):
    module, _, _ = adapted("timm:test_resnet", strategy)
    with pytest.raises(ValueError, match="no adapter to export"):
        export_peft(module, tmp_path / "adapter")
