"""`lp` against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from prognobench.protocols import resolve_protocol
from prognobench.training import Films, Rows, fit_majority, fit_probe

pytestmark = pytest.mark.torch


def films(rng, count, classes=2, width=30):
    labels = rng.integers(0, classes, count)
    features = rng.normal(size=(count, width)) * rng.uniform(0.1, 10, width)
    features[:, 0] += labels * 2
    features[:, 1] = 3.0  # says nothing, and has no spread to be divided by
    features[:, 2] = 0.1  # neither
    array = features.astype(np.float32)
    return Films(Rows(array, np.arange(count)), labels.astype(np.int64))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 1.0])
def test_probabilities_are_those_of_scikit_learn(classes, penalty):
    rng = np.random.default_rng(0)
    train, val, test = (films(rng, count, classes) for count in (80, 40, 50))
    protocol = resolve_protocol({"base": "quick", "probe": {"penalties": [penalty]}})
    scores = fit_probe(train, val, classes, protocol).score(test.rows)
    oracle = make_pipeline(
        StandardScaler(), LogisticRegression(C=penalty, class_weight="balanced", tol=1e-10, solver="newton-cholesky")
    ).fit(train.rows[:].astype(np.float64), train.labels)
    np.testing.assert_allclose(scores, oracle.predict_proba(test.rows[:].astype(np.float64)), atol=1e-6)


def test_the_penalty_with_the_lowest_weighted_validation_loss_is_chosen():
    rng = np.random.default_rng(1)
    train, val = films(rng, 60), films(rng, 40)
    protocol = resolve_protocol("quick")
    outcome = fit_probe(train, val, 2, protocol)
    counts = np.bincount(train.labels)
    weights = (len(train.labels) / (2 * counts))[val.labels]
    losses = []
    for penalty in protocol.probe.penalties:
        alone = resolve_protocol({"base": "quick", "probe": {"penalties": [penalty]}})
        scores = fit_probe(train, val, 2, alone).score(val.rows)
        losses.append(log_loss(val.labels, scores, sample_weight=weights))
    np.testing.assert_allclose(outcome.history["val_loss"], losses, rtol=1e-9)
    assert outcome.history["chosen"].tolist() == [loss == min(losses) for loss in losses]


def test_a_training_part_without_a_class_is_refused():
    rng = np.random.default_rng(0)
    train = films(rng, 20)
    with pytest.raises(ValueError, match="no film of class 1"):
        fit_probe(Films(train.rows, np.zeros(20, np.int64)), train, 2, resolve_protocol("quick"))


def test_majority_scores_the_share_of_the_training_part():
    rows = Rows(np.zeros((8, 0), np.float32), np.arange(8))
    train = Films(rows, np.array([0, 0, 0, 0, 0, 0, 1, 1]))
    np.testing.assert_array_equal(fit_majority(train, train, 2).score(rows), np.tile([0.75, 0.25], (8, 1)))
