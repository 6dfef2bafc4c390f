"""Every strategy is proved on every backbone before it is used: rule 5 of the design."""

import pytest
import torch
from torch import nn

from prognobench.models import find_weights, load_backbone, model_card
from prognobench.strategies import parse_strategies, prove

pytestmark = pytest.mark.torch

STRATEGIES = ["lp", "fft", {"lora": {"rank": 4}}, {"lora": {"rank": 16, "alpha": 1}}]
TINY = ["timm:test_vit", "timm:test_efficientnet", "timm:test_resnet"]
FULL_SIZE = ["dinov2_s", "efficientnet_lite0", "resnet18"]


def built(model):
    card = model_card(model)
    return load_backbone(card, find_weights(card, "random")), card


def label(item):
    return parse_strategies([item])[0].label


@pytest.mark.parametrize("strategy", STRATEGIES, ids=label)
@pytest.mark.parametrize("model", [*TINY, *(pytest.param(model, marks=pytest.mark.slow) for model in FULL_SIZE)])
def test_a_strategy_keeps_its_promises(model, strategy):
    backbone, card = built(model)
    (chosen,) = parse_strategies([strategy])
    assert chosen.refuses(card) is None
    proof = prove(chosen, backbone, card)
    assert proof.failures() == []


def test_lora_on_dinov2_s_has_the_published_targets_and_counts():
    card = model_card("dinov2_s")
    with torch.device("meta"):
        import timm

        backbone = timm.create_model(card.architecture, **card.build)
    for rank, count in ((4, 258_048), (8, 516_096), (16, 1_032_192)):
        (lora,) = parse_strategies([{"lora": {"rank": rank}}])
        plan = lora.plan(backbone, card)
        assert plan.trainable == count
        assert plan.by_role() == {"attention.qkv": 12, "mlp.fc1": 12, "mlp.fc2": 12}


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
    card = model_card("dinov2_s").model_copy(
        update={"roles": {"attention.qkv": r"blocks\.\d+\.attn\.qkv", "mlp.fc1": "none", "mlp.fc2": "none"}}
    )
    (lora,) = parse_strategies(["lora"])
    failures = " ".join(prove(lora, DeafViT(), card).failures())
    assert "no gradient reaches 4 tensors" in failures
    assert "moves the output by 0.0e+00 only" in failures


def test_a_merge_that_forgets_an_adapter_fails_the_proof(monkeypatch):
    backbone, card = built("timm:test_vit")
    (lora,) = parse_strategies(["lora"])
    honest = type(lora).merge

    def forgetful(self, module):
        merged = honest(self, module)
        merged.blocks[0].mlp.fc1.weight.data.copy_(module.base_model.model.blocks[0].mlp.fc1.base_layer.weight)
        return merged

    monkeypatch.setattr(type(lora), "merge", forgetful)
    assert any("merged backbone differs" in failure for failure in prove(lora, backbone, card).failures())


def test_a_removal_that_leaves_something_behind_fails_the_proof(monkeypatch):
    backbone, card = built("timm:test_vit")
    (lora,) = parse_strategies(["lora"])
    monkeypatch.setattr(type(lora), "remove", type(lora).merge)
    assert any("removal leaves" in failure for failure in prove(lora, backbone, card).failures())


@pytest.mark.parametrize("strategy", ["fft", "lora"])
def test_a_state_with_a_key_too_many_or_too_few_is_refused(strategy):
    backbone, card = built("timm:test_vit")
    (chosen,) = parse_strategies([strategy])
    module = chosen.apply(backbone, chosen.plan(backbone, card), 0)
    state = chosen.state(module)
    first = next(iter(state))
    with pytest.raises(ValueError):
        chosen.load(module, {name: tensor for name, tensor in state.items() if name != first})
    with pytest.raises(ValueError):
        chosen.load(module, state | {"surplus": torch.zeros(1)})
