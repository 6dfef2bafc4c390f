"""bfloat16, steps in parts and merged scoring: each beside the plain way."""

import weakref

import numpy as np
import pytest
import torch

from prognobench.models import find_weights, load_backbone, model_card
from prognobench.protocols import resolve_protocol
from prognobench.strategies import parse_strategies
from prognobench.training import Films, Rows, _bodies, fine_tune
from prognobench.training import _memory as memory
from prognobench.training._bfloat16 import Bfloat16, Reader
from prognobench.training._bodies import Adapted

pytestmark = pytest.mark.torch
VIT, CNN = "timm:test_vit", "timm:test_efficientnet"
EVERY = [(model, strategy) for model in (VIT, CNN) for strategy in ("lora", "vera", "ia3", "bitfit", "fft")]


def film_like(films, card, seed=0):
    return torch.randn(films, 3, card.input_size, card.input_size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("model", "strategy"), EVERY)
def test_features_and_gradients_are_those_of_float32_to_what_bfloat16_can_tell(adapt, model, strategy):
    _chosen, card, module = adapt(model, strategy)
    module.eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    reader, pixels = Reader(module, (1, False)), film_like(4, card)
    target = torch.randn(4, card.width, generator=torch.Generator().manual_seed(1))
    found = {}
    for name, reads in (("fp32", reader), ("bf16", Bfloat16(reader))):
        module.zero_grad(set_to_none=True)
        features = reads(pixels).float()
        (features * target).sum().backward()
        gradients = [parameter.grad for parameter in module.parameters() if parameter.requires_grad]
        assert all(gradient.dtype == torch.float32 for gradient in gradients)
        found[name] = features.detach(), torch.cat([gradient.flatten() for gradient in gradients])
    (plain, plain_slope), (fast, fast_slope) = found.values()
    assert not torch.equal(plain, fast)
    assert (plain - fast).norm() < 0.03 * plain.norm()
    assert torch.cosine_similarity(plain_slope, fast_slope, dim=0) > 0.99
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 24)
    pixels = rng.integers(0, 20_000, (24, 160, 160)).astype(np.uint16)
    pixels[:, :, :80] += (labels * 20_000)[:, None, None].astype(np.uint16)
    cut = {"train": slice(0, 11), "val": slice(11, 17), "test": slice(17, 24)}
    rows = np.arange(24)
    return {name: Films(Rows(pixels, rows[part]), labels[part], rows[part]) for name, part in cut.items()}


def scores_of(adapt, parts, model, strategy, **settings):
    chosen, card, module = adapt(model, strategy)
    protocol = resolve_protocol({"base": "quick", "epochs": 3, "batch_size": 11} | settings)
    outcome = fine_tune(module, chosen, card, parts["train"], parts["val"], 2, protocol, "fp32", 1)
    return outcome.score(parts["test"].rows)


@pytest.mark.parametrize(("model", "strategy"), [(VIT, "lora"), (VIT, "fft"), (CNN, "lora")])
@pytest.mark.parametrize("augmentation", ["none", "chest"])
def test_a_step_in_parts_is_the_whole_step(adapt, parts, monkeypatch, model, strategy, augmentation):
    settings = {"augmentation": augmentation, "film_weights": "patient"}
    whole = scores_of(adapt, parts, model, strategy, **settings)
    read, most = Adapted.read, []
    monkeypatch.setattr(Adapted, "films_at_once", lambda *_: 4)
    monkeypatch.setattr(Adapted, "read", lambda body, rows, *rest: (most.append(len(rows)), read(body, rows, *rest))[1])
    np.testing.assert_allclose(scores_of(adapt, parts, model, strategy, **settings), whole, atol=2e-5)
    assert most == [4, 4, 3] * 3


def test_batch_normalization_that_trains_sees_the_whole_step(adapt, parts, monkeypatch):
    monkeypatch.setattr(memory, "_ON_CPU", 1)
    _, card, module = adapt(CNN, "fft")
    (fft,) = parse_strategies(["fft"])
    body = Adapted(module, fft, card, resolve_protocol("quick"), "fp32", "cpu")
    body.mode(training=True)
    assert body.films_at_once(parts["train"].rows[:1]) is None


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_as_many_films_as_fit_and_no_more(adapt, parts, monkeypatch, precision):
    chosen, card, module = adapt(VIT, "lora")
    body = Adapted(module, chosen, card, resolve_protocol("quick"), precision, "cpu")
    body.mode(training=True)
    film = parts["train"].rows[:1]
    kept = {films: memory._kept_bytes(body.read, film.repeat(films, axis=0)) for films in (1, 5, 6)}
    for limit, films in ((kept[5], 5), (kept[6] - 1, 5), (kept[6], 6), (1, 1)):
        monkeypatch.setattr(memory, "_ON_CPU", limit)
        assert memory.films_that_fit(body.read, film, "cpu") == films


@pytest.mark.parametrize("model", [VIT, CNN])
@pytest.mark.parametrize("strategy", ["lora", "vera", "ia3", "bitfit"])
def test_scoring_many_films_with_the_merged_adapter_is_scoring_with_it(adapt, parts, monkeypatch, model, strategy):
    chosen, card, module = adapt(model, strategy)
    body, rows = Adapted(module, chosen, card, resolve_protocol("quick"), "fp32", "cpu"), parts["test"].rows[:]
    merge, merged = type(chosen).merge, []
    monkeypatch.setattr(type(chosen), "merge", lambda *given: (merged.append(1), merge(*given))[1])
    found = []
    for films in (255, 256):
        with body.scorer(films) as read:
            found.append(read(rows))
    assert merged == [1]
    # Biases are folded without a product, and so without rounding.
    assert torch.equal(*found) == (strategy == "bitfit")
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)


def test_lora_that_merges_as_it_goes_is_not_merged_once_more(adapt, parts, monkeypatch):
    chosen, card, module = adapt(VIT, "lora")
    body = Adapted(module, chosen, card, resolve_protocol("quick"), "bf16", "cpu")
    monkeypatch.setattr(type(chosen), "merge", lambda *_: pytest.fail("a copy was made"))
    with body.scorer(1000) as read:
        assert read(parts["test"].rows[:]).dtype == torch.bfloat16


def test_what_lora_trains_reaches_its_layer_in_float32(adapt, parts, monkeypatch):
    from prognobench.strategies._layers import _merged_lora

    seen, apply = [], _merged_lora._Merged.apply
    monkeypatch.setattr(
        _merged_lora._Merged, "apply", lambda *given: (seen.append([t.dtype for t in given[:5]]), apply(*given))[1]
    )
    chosen, card, module = adapt(VIT, "lora")
    body = Adapted(module, chosen, card, resolve_protocol("quick"), "bf16", "cpu")
    body.mode(training=True)
    plain = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    target = torch.randn(11, card.width, generator=torch.Generator().manual_seed(1))
    slopes = []
    for of in (body, Adapted(adapt(VIT, "lora")[2], chosen, card, resolve_protocol("quick"), "fp32", "cpu")):
        of.mode(training=True)
        of.module.zero_grad(set_to_none=True)
        (of.read(parts["train"].rows[:]).float() * target).sum().backward()
        slopes.append(torch.cat([p.grad.flatten() for p in of.module.parameters() if p.requires_grad]))
    low, full = torch.bfloat16, torch.float32
    assert {tuple(dtypes) for dtypes in seen} == {(low, full, low, full, full)}
    assert len(seen) == len(plain) // 2
    assert torch.cosine_similarity(*slopes, dim=0) > 0.99


def test_how_many_films_fit_does_not_depend_on_who_asked_before(parts):
    """Dropout keeps more of a film, and is the protocol's: no label tells it."""
    film, found = parts["train"].rows[:1], {}
    for order in ((0.0, 0.1), (0.1, 0.0)):
        _bodies._FIT.clear()
        for dropout in order:
            (lora,) = parse_strategies(["lora"])
            protocol = resolve_protocol({"base": "quick", "dropout": dropout})
            lora, card = lora.under(protocol), model_card(VIT)
            backbone = load_backbone(card, find_weights(card, "random"))
            module = lora.apply(backbone, lora.plan(backbone, card), 1)
            body = Adapted(module, lora, card, protocol, "fp32", "cpu")
            body.mode(training=True)
            found.setdefault(dropout, set()).add(body.films_at_once(film))
    assert all(len(answers) == 1 for answers in found.values())
    assert found[0.1].pop() < found[0.0].pop()


def test_nothing_of_what_was_counted_stays():
    import gc

    alive = []

    def read(rows):
        x = torch.ones(len(rows), 8, requires_grad=True)
        y = torch.softmax(x, dim=-1)
        alive.append(weakref.ref(y))
        return y

    memory.films_that_fit(read, np.zeros((1, 2, 2)), "cpu")
    gc.collect()
    assert [one() for one in alive] == [None, None]


def test_running_statistics_stay_in_float32_and_move_in_bfloat16(adapt, parts):
    chosen, card, module = adapt(CNN, "fft")
    body = Adapted(module, chosen, card, resolve_protocol("quick"), "bf16", "cpu")
    before = {name: buffer.clone() for name, buffer in module.named_buffers() if "running" in name}
    body.mode(training=True)
    body.read(parts["train"].rows[:])
    for name, buffer in module.named_buffers():
        if "running" in name:
            assert buffer.dtype == torch.float32
            assert not torch.equal(buffer, before[name])
