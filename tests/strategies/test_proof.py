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


@pytest.mark.parametrize("model", ["dinov2_s", "resnet18", "medclip_swin"])
def test_lora_keeps_its_promises_at_full_size_on_one_model_of_each_family(model):
    """The slow tests prove the rest of the matrix."""
    backbone, card = built(model)
    (lora,) = parse_strategies([{"lora": {"rank": 4}}])
    assert prove(lora, backbone, card, images=1).failures() == []


@pytest.fixture(scope="module")
def small_swin():
    """MedCLIP's Swin with one block a stage: stages of four widths, and an attention mask in none."""
    build = {"embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 4, 8), "num_classes": 0}
    card = model_card("medclip_swin")
    return card.model_copy(update={"id": "small_swin", "build": build, "width": 192, "blocks": 4, "weights": ()})


@pytest.mark.parametrize("strategy", ["fft", "lora", "vera", "ia3", "bitfit", *PAPER[::2]], ids=label)
def test_a_strategy_keeps_its_promises_where_stages_differ(small_swin, strategy):
    backbone = load_backbone(small_swin, find_weights(small_swin, "random"))
    (chosen,) = parse_strategies([strategy])
    assert prove(chosen, backbone, small_swin, images=1).failures() == []


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


# Layers of peft, and our own at slices (of the authors' lists for CLIP, and of the published IA³) and convolutions.
MERGED = [
    ("timm:test_vit", "lora", None),
    ("timm:test_vit", "vera", None),
    ("timm:test_vit", {"ia3": {"variant": "paper"}}, None),
    ("timm:test_vit", "ia3", None),
    ("timm:test_vit", {"lora": {"variant": "paper", "alpha": 8}}, {"lora": SEPARATE}),
    ("timm:test_vit", {"vera": {"variant": "paper"}}, {"vera": SEPARATE}),
    ("timm:test_resnet", "lora", None),
    ("timm:test_resnet", "vera", None),
    ("timm:test_resnet", "ia3", None),
]


@pytest.mark.parametrize(("model", "strategy", "paper"), MERGED)
def test_a_merge_that_forgets_one_adapter_fails_the_proof(monkeypatch, model, strategy, paper):
    backbone, card = built(model)
    card = card if paper is None else card.model_copy(update={"paper": paper})
    (chosen,) = parse_strategies([strategy])
    forgotten = chosen.plan(backbone, card).targets[-1].module
    parent, _, child = forgotten.rpartition(".")
    honest = type(chosen).merge
    original = copy.deepcopy(backbone.get_submodule(forgotten))
    assert prove(chosen, backbone, card, images=1).failures() == []

    def forgetful(self, module):
        merged = honest(self, module)
        setattr(merged.get_submodule(parent), child, original)
        return merged

    monkeypatch.setattr(type(chosen), "merge", forgetful)
    failures = prove(chosen, backbone, card, images=1).failures()
    assert any("merged backbone differs" in failure for failure in failures)


def train_mode(backbone):
    backbone.blocks[0].train()


def gradient(backbone):
    backbone.norm.weight.requires_grad_(True)


def hook(backbone):
    backbone.norm.register_forward_hook(lambda *_: None)


def forgotten_buffer(backbone):
    backbone.register_buffer("left", torch.zeros(1), persistent=False)


def other_class(backbone):
    backbone.norm.__class__ = type("Wrapped", (type(backbone.norm),), {})


def other_function(backbone):
    backbone.norm.forward = lambda x: x


def other_value(backbone):
    with torch.no_grad():
        backbone.norm.weight[0] += 1e-6


@pytest.mark.parametrize(
    "fault", [train_mode, gradient, hook, forgotten_buffer, other_class, other_function, other_value]
)
def test_a_removal_that_leaves_something_behind_fails_the_proof(monkeypatch, fault):
    backbone, card = built("timm:test_vit")
    (lora,) = parse_strategies(["lora"])
    honest = type(lora).remove

    def careless(self, module):
        restored = honest(self, module)
        fault(restored)
        return restored

    monkeypatch.setattr(type(lora), "remove", careless)
    assert any("removal leaves" in failure for failure in prove(lora, backbone, card, images=1).failures())


def test_a_tensor_that_trains_beside_the_plan_fails_the_proof(monkeypatch):
    backbone, card = built("timm:test_vit")
    (lora,) = parse_strategies(["lora"])
    honest = type(lora).apply

    def generous(self, *given):
        module = honest(self, *given)
        next(p for name, p in module.named_parameters() if name.endswith("norm.weight")).requires_grad_(True)
        return module

    monkeypatch.setattr(type(lora), "apply", generous)
    assert any("numbers are trained where the plan has" in f for f in prove(lora, backbone, card, images=1).failures())


def test_a_state_that_only_lives_in_memory_fails_the_proof(monkeypatch):
    """What a job saves is read by others, as bytes."""
    backbone, card = built("timm:test_vit")
    (lora,) = parse_strategies(["lora"])
    handed_out, saves, loads = [], type(lora).state, type(lora).load

    def state(self, module):
        handed_out.append(saves(self, module))
        return handed_out[-1]

    def load(self, module, state):
        if any(state is known for known in handed_out):
            loads(self, module, state)

    monkeypatch.setattr(type(lora), "state", state)
    monkeypatch.setattr(type(lora), "load", load)
    assert any("after save and load" in failure for failure in prove(lora, backbone, card, images=1).failures())


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
