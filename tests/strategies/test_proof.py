"""Every strategy is proved on every backbone before it is used: rule 5 of the design."""

import copy
import re

import pytest
import timm
import torch
from torch import nn

from prognobench.models import find_weights, load_backbone, model_card
from prognobench.strategies import parse_strategies, prove

pytestmark = pytest.mark.torch

STRATEGIES = ["lp", "fft", {"lora": {"rank": 4}}, {"lora": {"rank": 16, "alpha": 1}}, "vera", "ia3", "bitfit"]
PAPER = [{"lora": {"rank": 4, "variant": "paper"}}, {"vera": {"variant": "paper"}}, {"ia3": {"variant": "paper"}}]
TINY = ["timm:test_vit", "timm:test_efficientnet", "timm:test_resnet"]
SEPARATE = ("attention.qkv[q]", "attention.qkv[k]", "attention.qkv[v]")


def built(model):
    card = model_card(model)
    return load_backbone(card, find_weights(card, "random")), card


def label(item):
    return parse_strategies([item])[0].label


@pytest.mark.parametrize("strategy", STRATEGIES, ids=label)
@pytest.mark.parametrize("model", TINY)
def test_a_strategy_keeps_its_promises(model, strategy):
    backbone, card = built(model)
    (chosen,) = parse_strategies([strategy])
    assert chosen.refuses(card) is None
    assert prove(chosen, backbone, card).failures() == []


@pytest.mark.parametrize("strategy", PAPER, ids=label)
def test_the_authors_module_lists_keep_their_promises(strategy):
    """Those of CLIP, whose separate q, k, v are slices here, and of Swin, whose stages differ."""
    backbone, card = built("timm:test_vit")
    (chosen,) = parse_strategies([strategy])
    assert prove(chosen, backbone, card).failures() == []
    separate = dict.fromkeys(("lora", "vera"), SEPARATE) | {"ia3": (*SEPARATE, "mlp.fc1", "mlp.fc2")}
    sliced = card.model_copy(update={"paper": separate})
    proof = prove(chosen, backbone, sliced)
    assert proof.failures() == []
    assert proof.plan.by_role()["attention.qkv[k]"] == 6


DEAF = ["eva02_tiny_patch14_224", "swinv2_tiny_window8_256"]


@pytest.mark.parametrize("model", DEAF)
@pytest.mark.parametrize("strategy", ["lora", "vera", "ia3"])
def test_a_model_that_reads_weights_past_its_modules_is_refused_by_name(model, strategy):
    """EVA-02 and SwinV2 call F.linear with qkv's weight: an adapter around qkv would never run."""
    (chosen,) = parse_strategies([strategy])
    reason = chosen.refuses(model_card(f"timm:{model}"))
    assert re.search(rf"{model} never calls its module \S+\.attn\.qkv, .* would train nothing", reason)
    assert parse_strategies(["bitfit"])[0].refuses(model_card(f"timm:{model}")) is None


@pytest.mark.parametrize("model", DEAF)
@pytest.mark.parametrize("strategy", ["lora", "vera"])
def test_an_adapter_that_such_a_model_never_calls_fails_the_proof(model, strategy):
    card = model_card(f"timm:{model}")
    smaller = {"depth": 2} if "eva" in model else {"depths": (1, 1), "embed_dim": 24, "num_heads": (3, 6)}
    backbone = timm.create_model(card.architecture, num_classes=0, **smaller).eval()
    for name, parameter in backbone.named_parameters():
        if name.endswith(("norm1.weight", "norm2.weight")):
            torch.nn.init.ones_(parameter)  # SwinV2 starts with its residual branches shut
    (chosen,) = parse_strategies([strategy])
    failures = " ".join(prove(chosen, backbone, card, images=1).failures())
    assert re.search(r"no gradient reaches 4 tensors, first \S+\.attn\.qkv\.", failures)


def test_lora_on_a_cnn_takes_every_dense_convolution_but_the_stem():
    backbone, card = built("timm:test_efficientnet")
    (lora,) = parse_strategies([{"lora": {"rank": 4}}])
    targets = {target.module for target in lora.plan(backbone, card).targets}
    convolutions = [(name, m) for name, m in backbone.named_modules() if isinstance(m, nn.Conv2d) and m.groups == 1]
    assert targets == {name for name, _ in convolutions[1:]}


class Deaf(nn.Module):
    """A linear layer whose forward never reaches the wrapped one: what EVA-02 and SwinV2 do with `qkv`."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 8)

    def forward(self, x):
        return nn.functional.linear(x, self.qkv.weight, self.qkv.bias)


class DeafViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 16, 16)
        self.blocks = nn.ModuleList(nn.ModuleDict({"attn": Deaf()}) for _ in range(2))

    def forward(self, x):
        x = self.embed(x).flatten(2).mean(-1)
        for block in self.blocks:
            x = x + block["attn"](x)
        return x


def test_an_adapter_that_is_never_called_fails_the_proof():
    roles = {"attention.qkv": r"blocks\.\d+\.attn\.qkv", "patch_embed": "embed"}
    card = model_card("dinov2_s").model_copy(update={"roles": roles, "blocks": 2})
    (vera,) = parse_strategies(["vera"])
    failures = " ".join(prove(vera, DeafViT(), card).failures())
    assert "no gradient reaches 4 tensors" in failures
    assert "moves the output by 0.0e+00 only" in failures


def test_a_role_that_misses_some_blocks_is_an_error():
    card = model_card("dinov2_s").model_copy(update={"roles": {"attention.qkv": r"blocks\.0\.attn\.qkv"}})
    (vera,) = parse_strategies(["vera"])
    with pytest.raises(ValueError, match=r"finds 1 modules of the role attention\.qkv in dinov2_s, not 12"):
        vera.plan(DeafViT(), card)


@pytest.mark.parametrize("strategy", ["lora", "ia3"])
def test_a_merge_that_forgets_an_adapter_fails_the_proof(monkeypatch, strategy):
    backbone, card = built("timm:test_vit")
    (chosen,) = parse_strategies([strategy])
    honest = type(chosen).merge
    original = copy.deepcopy(backbone.blocks[0].mlp.fc2)

    def forgetful(self, module):
        merged = honest(self, module)
        merged.blocks[0].mlp.fc2 = original
        return merged

    monkeypatch.setattr(type(chosen), "merge", forgetful)
    assert any("merged backbone differs" in failure for failure in prove(chosen, backbone, card).failures())


def test_a_removal_that_leaves_something_behind_fails_the_proof(monkeypatch):
    backbone, card = built("timm:test_vit")
    (lora,) = parse_strategies(["lora"])
    monkeypatch.setattr(type(lora), "remove", type(lora).merge)
    assert any("removal leaves" in failure for failure in prove(lora, backbone, card).failures())


@pytest.mark.parametrize("model", ["timm:test_vit", "timm:test_resnet"])
@pytest.mark.parametrize("strategy", ["fft", "lora", "vera", "ia3", "bitfit"])
def test_a_state_with_a_key_too_many_or_too_few_or_of_another_shape_is_refused(model, strategy):
    """Layers of peft and layers of ours, both."""
    backbone, card = built(model)
    (chosen,) = parse_strategies([strategy])
    module = chosen.apply(backbone, chosen.plan(backbone, card), 0)
    state = chosen.state(module)
    first = next(iter(state))
    with pytest.raises(ValueError):
        chosen.load(module, {name: tensor for name, tensor in state.items() if name != first})
    with pytest.raises(ValueError):
        chosen.load(module, state | {"surplus": torch.zeros(1)})
    unchanged = chosen.state(module)
    with pytest.raises(ValueError, match=r"shape"):
        chosen.load(module, state | {first: torch.zeros(*state[first].shape, 2)})
    assert all(torch.equal(tensor, unchanged[name]) for name, tensor in chosen.state(module).items())
