"""A last training on all films walks the way of the trainings that validation watched."""

import numpy as np
import pandas as pd
import pytest
import torch

from prognobench.frame import InputError
from prognobench.models import find_weights, load_backbone, model_card
from prognobench.protocols import resolve_protocol
from prognobench.strategies import parse_strategies
from prognobench.training import Films, Rows, choose_over_folds, chosen_readout, fine_tune, refit, refit_probe
from prognobench.training._chosen import _cuts
from prognobench.training._finetune import Ready, _runs, _Trainer, train_heads
from prognobench.training._heads import candidates

pytestmark = pytest.mark.torch


def history(*losses):
    """Heads, each with its loss in each epoch."""
    rows = [
        {"epoch": epoch, "head": head, "val_loss": loss}
        for head, of_head in enumerate(losses)
        for epoch, loss in enumerate(of_head)
    ]
    return pd.DataFrame(rows)


def test_the_head_has_the_lowest_mean_and_the_epochs_are_the_median():
    folds = [
        history([0.9, 0.5, 0.6, 0.7], [0.4, 0.8, 0.8, 0.8]),
        history([0.9, 0.8, 0.2, 0.7], [0.6, 0.5, 0.8, 0.8]),
        history([0.9, 0.8, 0.7, 0.3], [0.5, 0.6, 0.8, 0.8]),
    ]
    found = choose_over_folds(folds, resolve_protocol("quick"))
    assert (found.candidate, found.losses, found.epochs, found.cuts) == (0, (0.5, 0.2, 0.3), 3, ())
    # Of an even number the lower one in the middle.
    assert choose_over_folds(folds[:2], resolve_protocol("quick")).epochs == 2


def test_what_diverged_in_one_training_is_not_the_lowest():
    nan, quick = float("nan"), resolve_protocol("quick")
    folds = [history([nan, nan, nan], [0.5, 0.6, 0.9]), history([0.1, 0.1, 0.1], [0.7, 0.4, nan])]
    found = choose_over_folds(folds, quick)
    assert (found.candidate, found.losses, found.epochs) == (1, (0.5, 0.4), 1)
    assert choose_over_folds(folds[1:], quick).candidate == 0
    assert choose_over_folds([folds[1].query("head == 1")], quick).epochs == 2
    solved = [pd.DataFrame({"val_loss": losses}) for losses in ([nan, 0.5, 0.4], [0.1, 0.5, 0.7])]
    assert choose_over_folds(solved, quick).candidate == 1
    with pytest.raises(InputError, match="no head has a validation loss that is a number in all trainings"):
        choose_over_folds([history([nan, nan])], quick)


@pytest.fixture(scope="module")
def films():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 65536, (24, 160, 160), dtype=np.uint16)
    labels = np.array([0, 1] * 12)
    pixels[labels == 1, :60, :60] //= 3
    return Films(Rows(pixels, np.arange(16)), labels[:16]), Films(Rows(pixels, np.arange(16, 24)), labels[16:])


@pytest.mark.parametrize(("name", "heads"), [("lora", "shared"), ("lora", "separate"), ("fft", "shared")])
def test_refit_on_the_training_films_is_the_training_that_validation_stopped(films, name, heads):
    train, val = films
    card = model_card("timm:test_vit")
    protocol = resolve_protocol({"base": "quick", "epochs": 3, "batch_size": 8, "heads": heads, "precision": "fp32"})
    (strategy,) = (one.under(protocol) for one in parse_strategies([name]))

    def module():
        backbone = load_backbone(card, find_weights(card, "random:11"))
        return strategy.apply(backbone, strategy.plan(backbone, card), 5)

    watched = fine_tune(module(), strategy, card, train, val, 2, protocol, "fp32", 5)
    chosen = choose_over_folds([watched.history], protocol)
    again = refit(module(), strategy, card, train, 2, protocol, "fp32", 5, chosen)
    assert watched.tensors.keys() == again.tensors.keys()
    for tensor, other in watched.tensors.items():
        assert torch.equal(other, again.tensors[tensor]), other if isinstance(other, str) else tensor
    assert "val_loss" not in again.history
    assert again.film_passes == {"forward": 16 * chosen.epochs, "backward": 16 * chosen.epochs}
    assert again.trainable_parameters == watched.trainable_parameters


def test_a_plateau_cuts_again_where_it_cut(films):
    """The cuts are told from the losses, and cut the rates of the last training after the same epochs."""
    random = np.random.default_rng(1)
    features = random.normal(size=(40, 64)).astype(np.float32)
    labels = random.integers(0, 2, 40)
    card = model_card("timm:test_vit")
    settings = {"base": "quick", "epochs": 14, "patience": 14, "batch_size": 8, "warmup_epochs": 1}
    protocol = resolve_protocol(
        settings | {"schedule": {"kind": "plateau", "patience": 1}, "probe": {"solver": "heads"}}
    )
    train, val = (
        Films(Rows(features, np.arange(30)), labels[:30]),
        Films(Rows(features, np.arange(30, 40)), labels[30:]),
    )
    trainer = _Trainer(Ready("cpu"), _runs(candidates(card, protocol), protocol), train, val, 2, protocol, 0)
    trainer.run(None, None)
    told = pd.DataFrame(trainer.progress.history)
    cuts = _cuts(told, protocol)
    assert len(cuts) == trainer.progress.cuts > 1
    assert cuts[-1] == trainer.progress.last_cut
    watched = train_heads(card, train, val, 2, protocol, 0)
    late = pd.concat([told[told["epoch"] < 13], told[told["epoch"] == 13].assign(val_loss=0.0)])
    chosen = choose_over_folds([late], protocol)
    assert chosen.epochs == 14 and chosen.cuts == _cuts(late, protocol)
    again = refit_probe(train, 2, protocol, card, 0, chosen)
    index = [c.number for c in candidates(card, protocol)].index(chosen.candidate)
    assert torch.equal(again.tensors["head.weight"], trainer.heads.weights[index].detach())
    assert watched.tensors["head.weight"].shape == again.tensors["head.weight"].shape


def test_the_readout_is_that_of_the_candidate():
    card = model_card("dinov2_s")
    protocol = resolve_protocol({"base": "standard", "head": {"blocks": [1, 4], "patch_mean": [False, True]}})
    penalties, rates = len(protocol.probe.penalties), len(protocol.head_learning_rates)
    zero = choose_over_folds([pd.DataFrame({"val_loss": [0.1]})], protocol)
    for place, readout in enumerate(((1, False), (1, True), (4, False), (4, True))):
        for kind, each in (("probe", penalties), ("adapter", rates)):
            found = type(zero)(place * each + each - 1, ())
            assert chosen_readout(card, protocol, kind, found) == readout
