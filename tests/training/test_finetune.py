"""Training by gradient steps: selection, resuming, and what is left untouched."""

import numpy as np
import pytest
import torch

from prognobench.models import find_weights, load_backbone, model_card
from prognobench.protocols import resolve_protocol
from prognobench.strategies import parse_strategies
from prognobench.training import Checkpoint, Films, Rows, fine_tune, fit_probe
from prognobench.training._finetune import _Trainer

pytestmark = pytest.mark.torch
CASES = [("timm:test_vit", "lora"), ("timm:test_vit", "fft"), ("timm:test_efficientnet", "lora")]
CASES += [("timm:test_efficientnet", "fft")]
MORE = [(model, name) for model in ("timm:test_vit", "timm:test_efficientnet") for name in ("vera", "ia3", "bitfit")]

# A recipe with little of the default one.
RICH = {"heads": "separate", "augmentation": "chest", "film_weights": "patient", "optimizer": "sgd"}
RICH |= {"schedule": "plateau", "evaluate_every": 2}


@pytest.fixture(scope="module")
def parts():
    """Films whose left half is brighter where the label is 1."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 40)
    pixels = rng.integers(0, 20_000, (40, 160, 160)).astype(np.uint16)
    pixels[:, :, :80] += (labels * 30_000)[:, None, None].astype(np.uint16)
    cut = {"train": slice(0, 24), "val": slice(24, 32), "test": slice(32, 40)}
    rows = np.arange(40)
    return {name: Films(Rows(pixels, rows[part]), labels[part], rows[part]) for name, part in cut.items()}


def adapted(model, strategy):
    card = model_card(model)
    backbone = load_backbone(card, find_weights(card, "random"))
    (chosen,) = parse_strategies([strategy])
    return chosen, card, chosen.apply(backbone, chosen.plan(backbone, card), 1)


def trained(model, strategy, parts, precision="fp32", checkpoint=None, **settings):
    chosen, card, module = adapted(model, strategy)
    protocol = resolve_protocol({"base": "quick", "epochs": 4, "batch_size": 8} | settings)
    outcome = fine_tune(module, chosen, card, parts["train"], parts["val"], 2, protocol, precision, 1, checkpoint)
    return outcome, outcome.score(parts["test"].rows)


@pytest.mark.parametrize(("model", "strategy"), CASES + MORE)
def test_a_visible_difference_is_learned(model, strategy, parts):
    # Strategies of a few vectors need higher rates, as in their publications.
    rates = {"backbone_learning_rate": 1e-3, "adapter_learning_rate": 0.1 if strategy in ("vera", "ia3") else 1e-2}
    outcome, scores = trained(model, strategy, parts, epochs=15, patience=15, **rates)
    assert outcome.history["val_loss"].min() < 0.5
    assert ((scores[:, 1] >= 0.5) == parts["test"].labels).mean() >= 0.85


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_bits(parts, precision):
    first, second = (trained("timm:test_vit", "lora", parts, precision)[1] for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("model", "strategy", "interrupted_after"),
    [(*case, steps) for case in CASES for steps in (1, 5, 7)] + [(*case, 5) for case in MORE],
)
def test_an_interrupted_job_goes_on_to_the_same_bits(model, strategy, parts, tmp_path, monkeypatch, interrupted_after):
    _, undisturbed = trained(model, strategy, parts)
    checkpoint = Checkpoint(tmp_path / "job.checkpoint", tmp_path / "job.draft", every_seconds=0)
    honest, steps = _Trainer._step, []

    def step(self, chosen):
        if len(steps) == interrupted_after:
            raise KeyboardInterrupt
        steps.append(chosen)
        return honest(self, chosen)

    monkeypatch.setattr(_Trainer, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        trained(model, strategy, parts, checkpoint=checkpoint)
    monkeypatch.setattr(_Trainer, "_step", honest)
    assert checkpoint.path.exists()
    _, resumed = trained(model, strategy, parts, checkpoint=checkpoint)
    np.testing.assert_array_equal(resumed, undisturbed)
    assert [path.name for path in tmp_path.iterdir()] == ["job.checkpoint"]


@pytest.fixture(scope="module")
def halfway(parts, tmp_path_factory):
    """The content of an honest checkpoint of the second epoch."""
    folder = tmp_path_factory.mktemp("halfway")
    checkpoint = Checkpoint(folder / "job.checkpoint", folder / "job.draft", every_seconds=0)
    trained("timm:test_vit", "lora", parts, checkpoint=checkpoint, epochs=2)
    return torch.load(checkpoint.path, weights_only=True)


def without(key):
    return lambda content: {name: value for name, value in content.items() if name != key}


FOREIGN = {
    "of an older version": lambda content: {**content, "made_by": {"prognobench": "0.0.1", "torch": "1.0"}},
    "of a version that did not say": without("made_by"),
    "of a body with other tensors": lambda content: {**content, "body": {"no.such.tensor": torch.zeros(3)}},
    "of heads of another width": lambda content: {**content, "heads": {"weights.0": torch.zeros(2, 5)}},
    "without the optimizer": without("optimizer"),
    "of another progress": lambda content: {**content, "progress": {**content["progress"], "mood": 3}},
    "no mapping": lambda content: torch.zeros(3),
    "empty": b"",
    "cut": b"PK\x03\x04 cut",
    "a note": b"not a checkpoint",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_or_unreadable_checkpoint_is_put_aside_and_the_job_begins_again(
    parts, tmp_path, caplog, halfway, kind
):
    checkpoint = Checkpoint(tmp_path / "job.checkpoint", tmp_path / "job.draft")
    change = FOREIGN[kind]
    if isinstance(change, bytes):
        checkpoint.path.write_bytes(change)
    else:
        torch.save(change(halfway), checkpoint.path)
    before = checkpoint.path.read_bytes()
    outcome, scores = trained("timm:test_vit", "lora", parts, checkpoint=checkpoint)
    np.testing.assert_array_equal(scores, trained("timm:test_vit", "lora", parts)[1])
    assert (tmp_path / "job.checkpoint.aside").read_bytes() == before
    assert not checkpoint.path.exists()
    (warning,) = outcome.warnings
    assert "begins again; it was put aside as" in warning
    assert warning in caplog.text
    if "version" in kind:
        assert "this is prognobench" in warning


def test_an_honest_job_has_nothing_to_warn_of_and_counts_the_films_that_it_scores(parts):
    outcome, _ = trained("timm:test_vit", "lora", parts)
    assert outcome.warnings == ()
    epochs, train, val, test = (outcome.history["epoch"].nunique(), *(len(part.labels) for part in parts.values()))
    assert outcome.film_passes == {"forward": epochs * (train + val) + test, "backward": epochs * train}
    outcome.score(parts["val"].rows)
    assert outcome.film_passes["forward"] == epochs * (train + val) + test + val


def test_the_head_and_epoch_with_the_lowest_validation_loss_score(parts):
    outcome, _ = trained("timm:test_vit", "lora", parts)
    history = outcome.history
    assert history["chosen"].sum() == 1
    assert history.loc[history["chosen"], "val_loss"].item() == history["val_loss"].min()
    scores = outcome.score(parts["val"].rows)
    weights = (24 / (2 * np.bincount(parts["train"].labels)))[parts["val"].labels]
    chosen = scores[np.arange(8), parts["val"].labels]
    assert np.average(-np.log(chosen), weights=weights) == pytest.approx(history["val_loss"].min(), rel=1e-9)


def test_training_stops_when_no_head_improves(parts):
    outcome, _ = trained("timm:test_vit", "lora", parts, epochs=30, patience=2, adapter_learning_rate=0.1)
    best = outcome.history.loc[outcome.history.groupby("head")["val_loss"].idxmin(), "epoch"].max()
    assert outcome.history["epoch"].max() == best + 2 < 29


@pytest.mark.parametrize(("model", "strategy"), CASES + MORE)
def test_training_changes_only_what_the_strategy_names(model, strategy, parts):
    chosen, card, module = adapted(model, strategy)
    protocol = resolve_protocol({"base": "quick", "epochs": 2, "batch_size": 8})
    before = {name: tensor.detach().clone() for name, tensor in module.named_parameters()}
    fine_tune(module, chosen, card, parts["train"], parts["val"], 2, protocol, "fp32", 1)
    moved = {name for name, tensor in module.named_parameters() if not torch.equal(tensor, before[name])}
    assert moved == {name for name, tensor in module.named_parameters() if tensor.requires_grad}
    restored = chosen.remove(module).state_dict()
    fresh = load_backbone(card, find_weights(card, "random")).state_dict()
    assert restored.keys() == fresh.keys()
    for name, tensor in fresh.items():
        assert torch.equal(restored[name], tensor), name


def test_a_loss_that_is_not_finite_is_an_error(parts):
    with pytest.raises(ValueError, match=r"no longer finite|no epoch gave a finite"):
        trained("timm:test_vit", "fft", parts, epochs=10, backbone_learning_rate=1e30, head_learning_rates=[1e30])


def test_an_adapter_that_gets_no_gradient_is_an_error(parts):
    chosen, card, module = adapted("timm:test_vit", "lora")
    module.register_parameter("idle", torch.nn.Parameter(torch.ones(3)))
    with pytest.raises(ValueError, match=r"lora_r8 trains nothing in 1 of its tensors .* idle"):
        fine_tune(module, chosen, card, parts["train"], parts["val"], 2, resolve_protocol("quick"), "fp32", 1)


@pytest.mark.parametrize("settings", [{}, RICH], ids=["plain", "rich"])
@pytest.mark.parametrize("strategy", ["lora", "vera", "ia3", "bitfit", "fft", "lp", "lp by steps"])
def test_the_test_films_are_out_of_reach(parts, monkeypatch, strategy, settings):
    """Training reads rows 0 to 31 of the array and never one of the test rows 32 to 39, whatever the recipe."""
    seen = []
    honest = Rows.__getitem__

    def spy(self, chosen):
        seen.extend(np.atleast_1d(self.positions[chosen]).tolist())
        return honest(self, chosen)

    monkeypatch.setattr(Rows, "__getitem__", spy)
    if strategy.startswith("lp"):
        solver = {"probe": {"solver": "logistic" if strategy == "lp" else "heads"}}
        protocol = resolve_protocol({"base": "quick", "epochs": 2} | settings | solver)
        card = model_card("timm:test_vit")
        features = np.random.default_rng(0).normal(size=(40, card.width)).astype(np.float32)
        array = [Films(Rows(features, f.rows.positions), f.labels, f.patients) for f in parts.values()]
        fit_probe(*array[:2], 2, protocol, card)
    else:
        trained_only("timm:test_vit", strategy, parts, settings)
    assert set(seen) == set(range(32))


def trained_only(model, strategy, parts, settings):
    chosen, card, module = adapted(model, strategy)
    protocol = resolve_protocol({"base": "quick", "epochs": 2} | settings)
    fine_tune(module, chosen, card, parts["train"], parts["val"], 2, protocol, "fp32", 1)


@pytest.mark.parametrize("strategy", ["lora", "fft"])
def test_a_head_may_read_several_blocks_and_the_patches(strategy, parts):
    outcome, scores = trained("timm:test_vit", strategy, parts, epochs=2, head={"blocks": 2, "patch_mean": True})
    assert outcome.tensors["head.weight"].shape == (2, 3 * model_card("timm:test_vit").width)
    assert np.isfinite(scores).all()
