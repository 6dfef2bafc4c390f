"""Heads that take their steps together are those that `_Trainer` trains, and each as if it were alone."""

import numpy as np
import pytest
import torch

from prognobench.models import model_card
from prognobench.protocols import resolve_protocol
from prognobench.training import Films, Rows
from prognobench.training._finetune import train_heads
from prognobench.training._head_steps import is_short, train_heads_at_once

pytestmark = pytest.mark.torch
VIT = "timm:test_vit"
GRID = {"blocks": [1, 4], "patch_mean": [False, True]}


def parts(classes=2, films=70, seed=0):
    rng, width = np.random.default_rng(seed), 5 * model_card(VIT).width
    labels = rng.integers(0, classes, films)
    array = rng.normal(size=(films, width)).astype(np.float32)
    array[:, :64] += labels[:, None] * 0.3
    array[:, 5] = 0.0  # never active, as some channels of a CNN
    cut = {"train": slice(0, 44), "val": slice(44, 58), "test": slice(58, films)}
    rows = np.arange(films)
    return {name: Films(Rows(array, rows[part]), labels[part], rows[part] // 2) for name, part in cut.items()}


def recipe(**settings):
    base = {"base": "quick", "epochs": 6, "batch_size": 16, "head": GRID, "probe": {"solver": "heads"}}
    return resolve_protocol(base | {"head_learning_rates": [0.01, 0.001]} | settings)


SETTINGS = {
    "cosine": {},
    "paper": {
        "schedule": {"kind": "plateau", "patience": 0}, "evaluate_every": 2, "warmup_epochs": 1.5, "epochs": 11,
    },
    "sgd": {"optimizer": "sgd", "schedule": "constant", "head_learning_rates": [0.1, 0.01]},
    "separate": {
        "heads": "separate", "epochs": 20, "patience": 2, "schedule": {"kind": "plateau", "patience": 1},
        "head_learning_rates": [3.0, 0.01, 0.001],
    },
    "balanced": {"sampler": "balanced", "class_weights": "none", "film_weights": "patient"},
    "sqrt": {"class_weights": "sqrt", "film_weights": "patient", "heads": "separate"},
    "one readout": {"head": {"blocks": 1}, "batch_size": 200},
}  # fmt: skip


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("how", SETTINGS)
def test_heads_are_those_of_the_trainer(how, classes):
    films, card, protocol = parts(classes), model_card(VIT), recipe(**SETTINGS[how])
    plain = train_heads(card, films["train"], films["val"], classes, protocol, 1)
    fast = train_heads_at_once(card, films["train"], films["val"], classes, protocol, 1)
    assert list(fast.history.columns) == list(plain.history.columns)
    for column in ("epoch", "head", "blocks", "patch_mean", "head_learning_rate", "chosen"):
        assert fast.history[column].tolist() == plain.history[column].tolist(), column
    for column in ("train_loss", "val_loss"):
        np.testing.assert_allclose(fast.history[column], plain.history[column], rtol=1e-4, atol=1e-6)
    rows = films["test"].rows
    np.testing.assert_allclose(fast.score(rows), plain.score(rows), atol=1e-5)
    assert fast.trainable_parameters == plain.trainable_parameters
    assert fast.film_passes == plain.film_passes == {}
    for name, tensor in plain.tensors.items():
        torch.testing.assert_close(fast.tensors[name], tensor, atol=1e-4, rtol=1e-4)
    if how == "separate":
        assert fast.history.groupby("head").size().nunique() > 1


def test_a_problem_gives_the_same_bits_whatever_was_trained_before_it():
    card, protocol = model_card(VIT), recipe(epochs=3)
    problems = [parts(seed=seed) for seed in range(3)]

    def scores(order):
        found = {}
        for number in order:
            films = problems[number]
            outcome = train_heads_at_once(card, films["train"], films["val"], 2, protocol, 1)
            found[number] = outcome.score(films["test"].rows)
        return found

    forth, back, alone = scores([0, 1, 2]), scores([2, 1, 0]), scores([1])
    for number in range(3):
        np.testing.assert_array_equal(forth[number], back[number])
    np.testing.assert_array_equal(forth[1], alone[1])


def test_rates_that_overflow_are_named():
    films, card = parts(), model_card(VIT)
    with pytest.raises(ValueError, match=r"no longer finite in epoch \d+: lower the rates"):
        protocol = recipe(head_learning_rates=[1e38], optimizer="sgd", schedule="constant", warmup_epochs=0)
        train_heads_at_once(card, films["train"], films["val"], 2, protocol, 1)


def test_a_grid_that_takes_long_keeps_its_state_by_the_other_way():
    card, paper = model_card("dinov2_s"), resolve_protocol("paper")
    assert is_short(card, 3_000, 2, paper)
    assert is_short(card, 100_000, 2, paper)
    assert not is_short(card, 1_000_000, 2, paper)
