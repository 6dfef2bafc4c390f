"""Schedules, samplers, weights and augmentation: each against the formula or the library that it follows."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as v2

from prognobench.protocols import Augmentation, resolve_protocol
from prognobench.training import Films, Rows, film_weights, fit_probe
from prognobench.training._augment import Augmenter
from prognobench.training._films import class_weights, weighted_log_loss
from prognobench.training._finetune import _Progress, _Trainer, evenly, learning_rate

pytestmark = pytest.mark.torch


def optimizer(rate):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def test_the_cosine_is_torch_s():
    protocol = resolve_protocol(
        {"base": "quick", "epochs": 6, "warmup_epochs": 2, "schedule": {"kind": "cosine", "minimum": 1e-4}}
    )
    stepped = optimizer(0.1)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(stepped, T_max=4 * 5, eta_min=1e-4)
    for step in range(2 * 5, 6 * 5):
        assert learning_rate(protocol, 0.1, step, 5, 0) == pytest.approx(oracle.get_last_lr()[0], rel=1e-9)
        stepped.step()
        oracle.step()


@pytest.mark.parametrize("kind", ["cosine", "plateau", "constant"])
def test_every_schedule_begins_with_a_linear_rise(kind):
    protocol = resolve_protocol({"base": "quick", "warmup_epochs": 2, "schedule": {"kind": kind}})
    rises = [learning_rate(protocol, 0.1, step, 5, 0) for step in range(11)]
    np.testing.assert_allclose(rises, [0.1 * (step + 1) / 10 for step in range(10)] + [0.1])


def test_a_constant_rate_stays():
    protocol = resolve_protocol({"base": "quick", "schedule": "constant"})
    assert {learning_rate(protocol, 0.1, step, 5, 0) for step in range(5, 25)} == {0.1}


def cuts_of(losses, **schedule):
    """Let a trainer that trains nothing see validation losses, and return its rates after each."""
    protocol = resolve_protocol(
        {"base": "quick", "epochs": 1000, "warmup_epochs": 0, "schedule": {"kind": "plateau", **schedule}}
    )
    trainer = object.__new__(_Trainer)
    trainer.protocol = protocol
    progress = trainer.progress = _Progress().next_run(0, 1)
    rates = []
    for epoch, loss in enumerate(losses):
        progress.epoch = epoch
        if loss < progress.best_loss[0]:
            progress.best_loss[0], progress.best_epoch[0] = loss, epoch
        trainer._cut_on_plateau()
        rates.append(learning_rate(protocol, 0.1, epoch + 1, 1, progress.cuts))
    return rates


@given(
    losses=st.lists(st.sampled_from([0.9, 0.8, 0.7, 0.6, 0.5]), min_size=1, max_size=40),
    patience=st.integers(0, 5),
    factor=st.sampled_from([0.1, 0.5, 0.75]),
)
def test_the_plateau_is_torch_s(losses, patience, factor):
    stepped = optimizer(0.1)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(
        stepped, patience=patience, factor=factor, min_lr=1e-3, threshold=0, eps=0
    )
    expected = []
    for loss in losses:
        oracle.step(loss)
        expected.append(stepped.param_groups[0]["lr"])
    np.testing.assert_allclose(cuts_of(losses, patience=patience, factor=factor, minimum=1e-3), expected, rtol=1e-9)


@given(labels=st.lists(st.integers(0, 2), min_size=3, max_size=60), seed=st.integers(0, 9))
def test_the_balanced_sampler_shows_each_class_as_often(labels, seed):
    labels = np.array([0, 1, 2, *labels])
    drawn = evenly(labels, 3, np.random.default_rng(seed))
    counts = np.bincount(labels[drawn], minlength=3)
    assert len(drawn) == len(labels)
    assert counts.max() - counts.min() <= 1
    for label in range(3):
        times = np.bincount(drawn, minlength=len(labels))[labels == label]
        assert times.max() - times.min() <= 1  # no film is shown again before all of its class were
    np.testing.assert_array_equal(drawn, evenly(labels, 3, np.random.default_rng(seed)))


def test_class_weights_are_the_formula():
    labels = np.array([0] * 6 + [1] * 2)
    np.testing.assert_allclose(class_weights(labels, 2, "balanced"), [8 / 12, 8 / 4])
    np.testing.assert_allclose(class_weights(labels, 2, "sqrt"), [math.sqrt(8 / 12), math.sqrt(8 / 4)])
    np.testing.assert_array_equal(class_weights(labels, 2, "none"), [1, 1])


PATIENTS = np.array([5, 5, 5, 9, 2, 2])
LABELS = np.array([0, 0, 0, 0, 1, 1])


def weighted(rows=None):
    return Films(Rows(np.zeros((6, 1)) if rows is None else rows, np.arange(6)), LABELS, PATIENTS)


def test_each_patient_counts_once():
    """Three patients, with three, one and two films: each has a third of the weight, and the mean weight is 1."""
    weights = film_weights(weighted(), "patient")
    np.testing.assert_allclose(weights, [2 / 3, 2 / 3, 2 / 3, 2, 1, 1])
    # Two of the three patients are of class 0.
    np.testing.assert_allclose(class_weights(LABELS, 2, "balanced", weights), [3 / (2 * 2), 3 / (2 * 1)])


def test_the_loss_by_patient_is_the_one_by_hand():
    chances = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4], [0.5, 0.5], [0.4, 0.6]])
    films = film_weights(weighted(), "patient")
    loss = weighted_log_loss(chances, LABELS, class_weights(LABELS, 2, "balanced", films), films)
    logs = -np.log([0.9, 0.8, 0.7, 0.6, 0.5, 0.6])
    patients = [logs[:3].mean(), logs[3], logs[4:].mean()]
    # The two patients of class 0 share half of the weight, the one of class 1 has the other half.
    assert loss == pytest.approx(0.25 * patients[0] + 0.25 * patients[1] + 0.5 * patients[2])


def test_films_that_do_not_say_whose_they_are_are_refused():
    with pytest.raises(ValueError, match="do not say whose they are"):
        film_weights(Films(Rows(np.zeros((2, 1)), np.arange(2)), np.array([0, 1])), "patient")


def test_lp_by_patient_is_scikit_learn_s_with_sample_weights():
    rng = np.random.default_rng(0)
    labels, patients = rng.integers(0, 2, 60), rng.integers(0, 20, 60)
    rows = (rng.normal(size=(60, 8)) + labels[:, None]).astype(np.float32)
    train = Films(Rows(rows, np.arange(40)), labels[:40], patients[:40])
    val = Films(Rows(rows, np.arange(40, 60)), labels[40:], patients[40:])
    protocol = resolve_protocol({"base": "quick", "film_weights": "patient", "probe": {"penalties": [0.1]}})
    outcome = fit_probe(train, val, 2, protocol)
    films = 1 / np.bincount(patients[:40])[patients[:40]]
    by_class = np.array([films.sum() / (2 * films[labels[:40] == c].sum()) for c in (0, 1)])
    scale = 40 / films.sum()
    oracle = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000))
    oracle.fit(rows[:40], labels[:40], logisticregression__sample_weight=films * scale * by_class[labels[:40]])
    np.testing.assert_allclose(outcome.score(val.rows), oracle.predict_proba(rows[40:]), atol=1e-4)


CHEST = Augmentation(shift=0.1, zoom=0.1, rotation=10)


def films_of_noise(count=6, size=64):
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("how", [CHEST, Augmentation(shift=0.3), Augmentation(zoom=0.4), Augmentation(rotation=90)])
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_each_film_is_changed_as_torchvision_would(how, flip):
    films, how = films_of_noise(), how.model_copy(update={"flip": flip})
    found = Augmenter(how, len(films), 1, 2, 3)(films)
    for film, changed, matrix in zip(films, found, Augmenter(how, len(films), 1, 2, 3).matrices, strict=True):
        matrix[0] *= -1 if flip else 1
        turn = matrix[:, :2]
        zoom, angle = 1 / math.hypot(*turn[0]), math.degrees(math.atan2(turn[0, 1], turn[0, 0]))
        shift = -np.linalg.solve(turn, matrix[:, 2]) * 64 / 2
        assert abs(zoom - 1) <= how.zoom + 1e-9
        assert abs(angle) <= how.rotation + 1e-9
        assert np.abs(shift).max() <= how.shift * 64 + 1e-9
        expected = v2.affine(
            v2.horizontal_flip(film) if flip else film,
            angle=angle,
            translate=shift.tolist(),
            scale=zoom,
            shear=[0, 0],
            interpolation=InterpolationMode.BILINEAR,
        )
        torch.testing.assert_close(changed, expected, atol=1e-4, rtol=0)


def test_without_flip_a_marker_stays_on_its_side():
    """The heart has a side: a mark at the image's left stays left of the middle, whatever is drawn."""
    films = torch.zeros(200, 1, 64, 64)
    films[:, :, 28:36, 10:18] = 1
    changed = Augmenter(CHEST, len(films), 0, 0, 0)(films)
    assert (changed[..., :32].sum((1, 2, 3)) > 0.99 * changed.sum((1, 2, 3))).all()
    assert (changed.sum((1, 2, 3)) > 0).all()
    mirrored = Augmenter(Augmentation(flip=1), len(films), 0, 0, 0)(films)
    torch.testing.assert_close(mirrored, films.flip(-1), atol=1e-5, rtol=0)


def test_the_same_numbers_draw_the_same_and_others_do_not():
    films = films_of_noise()
    first = Augmenter(CHEST, len(films), 1, 2, 3)(films)
    assert torch.equal(first, Augmenter(CHEST, len(films), 1, 2, 3)(films))
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert not torch.equal(first, Augmenter(CHEST, len(films), *other)(films))
    one, another = Augmenter(CHEST, 2, 1, 2, 3).matrices
    assert not np.array_equal(one, another)
