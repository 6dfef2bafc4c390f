"""Standardized features as one matrix and as blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from prognobench.models import model_card
from prognobench.protocols import resolve_protocol
from prognobench.training import Films, Rows, _design, fit_probe
from prognobench.training._design import Design, blocks, moments
from prognobench.training._logistic import probabilities, solve_logistic

pytestmark = pytest.mark.torch


def cut_small(patch, whole=50):
    patch.setattr(_design, "_WHOLE", whole)
    patch.setattr(_design, "_BLOCK", 40)
    patch.setattr(_design, "_FEWEST", 1)


@pytest.fixture
def in_blocks(monkeypatch):
    cut_small(monkeypatch)


def features_of(films, width, seed=0):
    random = np.random.default_rng(seed)
    found = random.normal(size=(films, width)) * random.uniform(0.1, 10, width) + random.normal(size=width) * 100
    found[:, 0] = 0.1  # says nothing
    return found.astype(np.float32)


@given(films=st.integers(0, 400), width=st.integers(1, 90))
def test_blocks_are_all_films_once_in_their_order(films, width):
    with pytest.MonkeyPatch.context() as patch:
        cut_small(patch)
        parts = blocks(np.zeros((films, width)))
        assert np.concatenate([np.arange(films)[part] for part in parts]).tolist() == list(range(films))
        assert len(parts) == 1 or all((part.stop - part.start) * width <= max(40, width) for part in parts)


@settings(max_examples=30, deadline=None)
@given(films=st.integers(2, 70), width=st.integers(2, 9), columns=st.integers(1, 3), seed=st.integers(0, 2**16))
def test_products_in_blocks_are_those_of_the_standardized_matrix(films, width, columns, seed):
    features, random = features_of(films, width, seed), np.random.default_rng(seed)
    matrix = np.ones((films, width + 1))
    matrix[:, :-1] = StandardScaler().fit_transform(features.astype(np.float64))
    matrix[:, 0] = 0.0
    vectors, counts = random.normal(size=(width + 1, columns)), random.normal(size=(films, columns))
    near = {"rtol": 1e-9, "atol": 1e-9}
    for whole in (10**6, 0):
        with pytest.MonkeyPatch.context() as patch:
            cut_small(patch, whole)
            design = Design(features, *moments(features))
            np.testing.assert_allclose(design.times(vectors), matrix @ vectors, **near)
            np.testing.assert_allclose(design.times(vectors[:, 0]), matrix @ vectors[:, 0], **near)
            np.testing.assert_allclose(design.summed(counts), counts.T @ matrix, **near)
            np.testing.assert_allclose(design.summed(counts[:, 0]), counts[:, 0] @ matrix, **near)
            for each in (counts[:, 0], np.abs(counts[:, 0])):
                np.testing.assert_allclose(design.squared(each), matrix.T @ (each[:, None] * matrix), **near)
            assert design.largest() == pytest.approx(max(1.0, np.abs(matrix).max()))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_probe_in_blocks_is_the_probe_of_the_whole(in_blocks, monkeypatch, classes):
    labels = np.random.default_rng(1).integers(0, classes, 90)
    labels[:classes] = np.arange(classes)
    array = features_of(90, 12)
    array[:, 1] += labels * 5
    train, val = (Films(Rows(array, part), labels[part]) for part in (np.arange(60), np.arange(60, 90)))
    found = fit_probe(train, val, classes, resolve_protocol("quick"))
    scores = found.score(val.rows)
    assert len(blocks(array)) > 10
    monkeypatch.undo()
    assert len(blocks(array)) == 1
    whole = fit_probe(train, val, classes, resolve_protocol("quick"))
    np.testing.assert_allclose(scores, whole.score(val.rows), atol=1e-7)
    np.testing.assert_allclose(found.history["val_loss"], whole.history["val_loss"], atol=1e-7)


@pytest.mark.parametrize("whole", [10**6, 0])
def test_a_column_that_never_changes_is_0_to_the_bit(monkeypatch, whole):
    cut_small(monkeypatch, whole)
    features = np.full((1000, 2), 0.1)  # whose sum is rounded
    features[::2, 1] = 2.0
    mean, scale = moments(features)
    assert (mean[0], scale[0]) == (0.1, 1.0)
    counts = np.ones(1000)
    np.testing.assert_array_equal(Design(features, mean, scale).squared(counts)[0], np.zeros(3))


@pytest.mark.parametrize("classes", [2, 3])
def test_fewer_films_than_columns_in_blocks(in_blocks, classes):
    array, labels = features_of(9, 40)[:, 1:].astype(np.float64), np.arange(9) % classes
    mean, scale = moments(array)
    (found,) = solve_logistic(array, labels, classes, np.ones(9), [0.5], mean, scale)
    assert len(blocks(np.zeros((9, 9)))) > 1
    read = (array - mean) / scale
    oracle = LogisticRegression(C=0.5, tol=1e-10, solver="newton-cholesky").fit(read, labels)
    np.testing.assert_allclose(
        probabilities(read @ found.weights.T + found.intercepts), oracle.predict_proba(read), atol=1e-6
    )


def test_several_readouts_in_blocks_are_those_of_the_whole(in_blocks, monkeypatch):
    card = model_card("timm:test_vit")
    labels = np.random.default_rng(1).integers(0, 2, 90)
    protocol = resolve_protocol({"base": "quick", "head": {"blocks": [1, 2], "patch_mean": [False, True]}})
    array = features_of(90, 3 * card.width)  # two blocks and the mean of patches
    train, val = (Films(Rows(array, part), labels[part]) for part in (np.arange(60), np.arange(60, 90)))
    found = fit_probe(train, val, 2, protocol, card)
    monkeypatch.undo()
    whole = fit_probe(train, val, 2, protocol, card)
    assert len(found.history) == 4 * len(protocol.probe.penalties)
    np.testing.assert_allclose(found.history["val_loss"], whole.history["val_loss"], atol=1e-7)
    np.testing.assert_allclose(found.score(val.rows), whole.score(val.rows), atol=1e-7)
