"""Our own layers against peft's on the same numbers, and against the formulas of the publications."""

import copy

import pytest
import timm
import torch
from peft import IA3Config, LoraConfig, VeraConfig, get_peft_model
from torch import nn
from torch.nn import functional

from prognobench.models import find_weights, load_backbone, model_card
from prognobench.strategies import parse_strategies
from prognobench.strategies._layers import (
    InputScaled,
    LowRank,
    OutputAdapted,
    Projection,
    RandomLowRank,
    Scale,
    own_layers,
    put_in,
    take_out,
)

pytestmark = pytest.mark.torch
PARTS = {"q": (0, 6), "k": (6, 12), "v": (12, 18)}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class Separate(nn.Module):
    """A fused matrix as three of its own, as in Hugging Face's CLIP."""

    def __init__(self, fused):
        super().__init__()
        for name, (start, stop) in PARTS.items():
            part = nn.Linear(fused.in_features, stop - start)
            part.weight.data, part.bias.data = fused.weight.data[start:stop], fused.bias.data[start:stop]
            setattr(self, name, part)

    def forward(self, x):
        return torch.cat([self.q(x), self.k(x), self.v(x)], dim=-1)


def noisy(module):
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn(parameter.shape)
    return module


@pytest.fixture
def fused():
    return nn.Linear(6, 18).requires_grad_(False)


def test_lora_at_slices_is_peft_s_lora_of_separate_projections(fused):
    peft = noisy(get_peft_model(Separate(fused), LoraConfig(r=2, lora_alpha=3, target_modules=list(PARTS))))
    ours = OutputAdapted(fused, {name: LowRank(fused, rows, 2, 1.5, 0.0) for name, rows in PARTS.items()})
    for name, term in ours.terms.items():
        layer = getattr(peft.base_model.model, name)
        term.lora_A.data, term.lora_B.data = layer.lora_A["default"].weight.data, layer.lora_B["default"].weight.data
    agree(ours, peft)


def test_vera_at_slices_is_peft_s_vera_of_separate_projections(fused):
    peft = noisy(get_peft_model(Separate(fused), VeraConfig(r=2, projection_prng_key=5, target_modules=list(PARTS))))
    projection = Projection(2, 6, 6, seed=5)
    assert torch.equal(projection.A, peft.base_model.vera_A["default"])
    assert torch.equal(projection.B, peft.base_model.vera_B["default"])
    terms = {name: RandomLowRank(fused, rows, projection, 0.1, 0.0) for name, rows in PARTS.items()}
    ours = OutputAdapted(fused, terms)
    for name, term in terms.items():
        layer = getattr(peft.base_model.model, name)
        term.vera_lambda_d.data = layer.vera_lambda_d["default"].data
        term.vera_lambda_b.data = layer.vera_lambda_b["default"].data
    agree(ours, peft)


def test_ia3_at_slices_is_peft_s_ia3_of_separate_projections(fused):
    config = IA3Config(target_modules=["k", "v"], feedforward_modules=[])
    peft = noisy(get_peft_model(Separate(fused), config))
    ours = OutputAdapted(fused, {name: Scale(PARTS[name]) for name in ("k", "v")})
    for name, term in ours.terms.items():
        term.ia3_l.data = getattr(peft.base_model.model, name).ia3_l["default"].data.flatten()
    agree(ours, peft)


def test_ia3_at_an_input_is_peft_s_feed_forward(fused):
    config = IA3Config(target_modules=["0"], feedforward_modules=["0"])
    peft = noisy(get_peft_model(nn.Sequential(copy.deepcopy(fused)), config))
    ours = InputScaled(fused)
    ours.ia3_l.data = peft.base_model.model[0].ia3_l["default"].data.flatten()
    agree(ours, peft)


def agree(ours, peft):
    x = torch.randn(5, 3, 6)
    torch.testing.assert_close(ours(x), peft(x))
    torch.testing.assert_close(ours.folded()(x), peft(x))
    assert not torch.allclose(ours(x), ours.base_layer(x), atol=0.1)


@pytest.mark.parametrize("settings", [{}, {"stride": 2, "padding": 1}, {"padding": 2, "dilation": 2, "bias": False}])
def test_vera_on_a_convolution_is_the_linear_map_of_unfolded_patches(settings):
    base = nn.Conv2d(3, 7, (3, 2), **settings).requires_grad_(False)
    projection = Projection(4, 40, 9, seed=0)
    ours = noisy(OutputAdapted(base, {"all": RandomLowRank(base, (0, 7), projection, 0.1, 0.0)}))
    term = ours.terms["all"]
    x = torch.randn(2, 3, 8, 9)
    geometry = {key: value for key, value in settings.items() if key != "bias"}
    patches = functional.unfold(x, base.kernel_size, **geometry).transpose(1, 2)
    added = (patches @ projection.A[:, :18].T * term.vera_lambda_d) @ projection.B[:7].T * term.vera_lambda_b
    expected = base(x) + added.transpose(1, 2).reshape(base(x).shape)
    torch.testing.assert_close(ours(x), expected)
    torch.testing.assert_close(ours.folded()(x), expected, rtol=1e-4, atol=1e-5)


def test_vera_follows_a_convolution_that_pads_at_run_time():
    """TensorFlow's padding depends on the image; timm has a class of its own for it."""
    base = timm.layers.Conv2dSame(3, 5, 3, stride=2, bias=False).requires_grad_(False)
    ours = noisy(OutputAdapted(base, {"all": RandomLowRank(base, (0, 5), Projection(4, 27, 5, 0), 0.1, 0.0)}))
    for size in (8, 9):
        x = torch.randn(1, 3, size, size)
        torch.testing.assert_close(ours(x), ours.folded()(x), rtol=1e-4, atol=1e-5)


def test_terms_may_not_overlap_or_leave_the_layer(fused):
    with pytest.raises(ValueError, match="'k' overlap"):
        OutputAdapted(fused, {"q": Scale((0, 7)), "k": Scale((6, 12))})
    with pytest.raises(ValueError, match="18 rows"):
        OutputAdapted(fused, {"v": Scale((12, 19))})


def test_a_backbone_gets_its_own_layers_back():
    backbone = nn.Sequential(nn.Sequential(nn.Linear(3, 3)), nn.Linear(3, 2))
    before = dict(backbone.named_modules())
    put_in(backbone, {"0.0": InputScaled(backbone[0][0]), "1": OutputAdapted(backbone[1], {"all": Scale((0, 2))})})
    assert set(own_layers(backbone)) == {"0.0", "1"}
    assert dict(take_out(backbone, folded=False).named_modules()) == before


@pytest.mark.parametrize("strategy", ["lora", "vera", "ia3"])
@pytest.mark.parametrize("model", ["timm:test_vit", "timm:test_resnet"])
def test_a_fresh_adapter_changes_nothing_and_its_seed_decides_what_it_draws(model, strategy):
    card = model_card(model)
    backbone = load_backbone(card, find_weights(card, "random"))
    (chosen,) = parse_strategies([strategy])
    plan = chosen.plan(backbone, card)
    images = torch.randn(1, 3, card.input_size, card.input_size)
    plain = backbone(images)
    states = []
    for seed in (1, 1, 2):
        module = chosen.apply(backbone, plan, seed)
        torch.testing.assert_close(module.eval()(images), plain)
        states.append(chosen.state(module))
        backbone = chosen.remove(module)
    first, again, other = states
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first) == (strategy != "ia3")


@pytest.mark.parametrize("model", ["timm:test_vit", "timm:test_resnet"])
def test_the_random_matrices_of_vera_are_kept_and_not_trained(model):
    card = model_card(model)
    backbone = load_backbone(card, find_weights(card, "random"))
    (vera,) = parse_strategies([{"vera": {"rank": 3}}])
    module = vera.apply(backbone, vera.plan(backbone, card), 1)
    random = [
        name for name in vera.state(module) if name.endswith(("vera_A", "vera_B", "projection.A", "projection.B"))
    ]
    assert len(random) == 2
    assert not any(parameter.ndim > 1 for parameter in module.parameters() if parameter.requires_grad)


def test_factors_of_ia3_do_not_decay():
    from prognobench.protocols import resolve_protocol

    card = model_card("timm:test_vit")
    for variant in ("published", "paper"):
        backbone = load_backbone(card, find_weights(card, "random"))
        (ia3,) = parse_strategies([{"ia3": {"variant": variant}}])
        module = ia3.apply(backbone, ia3.plan(backbone, card), 1)
        (group,) = ia3.parameter_groups(module, resolve_protocol({"base": "standard", "weight_decay": 0.5}))
        assert group["weight_decay"] == 0
        assert sum(p.numel() for p in group["params"]) == ia3.plan(ia3.remove(module), card).trainable


def test_bitfit_trains_every_bias_and_no_table_of_positions():
    backbone = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, depths=(1, 1), embed_dim=24)
    card = model_card("medclip_swin")
    (bitfit,) = parse_strategies(["bitfit"])
    before = dict(backbone.named_parameters())
    module = bitfit.apply(backbone, bitfit.plan(backbone, card), 0)
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert trained == {name for name in before if name.endswith(".bias")} == set(bitfit.state(module))
    assert any("relative_position_bias_table" in name for name in before)
    after = dict(bitfit.remove(module).named_parameters())
    assert all(after[name] is parameter for name, parameter in before.items())
