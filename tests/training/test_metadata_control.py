"""The control `metadata` against scikit-learn, and what its cells become."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import matthews_corrcoef
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from prognobench.protocols import resolve_protocol
from prognobench.training import Films, Rows, fit_metadata

pytestmark = pytest.mark.torch


def films(cells, labels):
    array = np.array([[str(cell) for cell in row] for row in cells], dtype=object)
    return Films(Rows(array, np.arange(len(array))), np.asarray(labels, dtype=np.int64))


def hospital(rng, count, blanks=0.0):
    """Draw view (tells the outcome), age (tells a little), scanner (tells nothing)."""
    labels = rng.integers(0, 2, count)
    view = np.where(rng.random(count) < 0.1 + 0.8 * labels, "AP", "PA")
    age = (60 + 8 * labels + rng.normal(0, 12, count)).round(1).astype(str)
    scanner = rng.choice(["A", "B", ""], count)
    age[rng.random(count) < blanks] = ""
    return films(zip(view, age, scanner, strict=True), labels)


def only(penalty):
    return resolve_protocol({"base": "quick", "probe": {"penalties": [penalty]}})


@pytest.mark.parametrize("penalty", [1e-3, 1e-1, 1.0])
@pytest.mark.parametrize("blanks", [0.0, 0.3])
def test_probabilities_are_those_of_a_scikit_learn_pipeline(penalty, blanks):
    rng = np.random.default_rng(0)
    train, val, test = (hospital(rng, count, blanks) for count in (90, 40, 50))
    scores = fit_metadata(train, val, 2, only(penalty)).score(test.rows)

    def table(part):
        frame = pd.DataFrame(part.rows[:], columns=["view", "age", "scanner"])
        return frame.assign(age=pd.to_numeric(frame["age"]))

    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    number = SimpleImputer(strategy="mean", add_indicator=True)
    oracle = make_pipeline(
        make_column_transformer((words, ["view", "scanner"]), (number, ["age"])),
        StandardScaler(),
        LogisticRegression(C=penalty, class_weight="balanced", tol=1e-10, max_iter=100_000),
    ).fit(table(train), train.labels)
    np.testing.assert_allclose(scores, oracle.predict_proba(table(test)), atol=1e-4)


def test_a_column_that_goes_with_the_outcome_is_found():
    rng = np.random.default_rng(1)
    train, val, test = (hospital(rng, count) for count in (200, 100, 400))
    outcome = fit_metadata(train, val, 2, resolve_protocol("quick"))
    called = outcome.score(test.rows)[:, 1] >= 0.5
    assert matthews_corrcoef(test.labels, called) == pytest.approx(0.8, abs=0.1)
    assert outcome.history["chosen"].sum() == 1


def test_of_columns_that_tell_nothing_nothing_is_learned():
    labels = np.tile([0, 1], 20)
    train = films([("AP", "0.1", "")] * 40, labels)
    outcome = fit_metadata(train, train, 2, resolve_protocol("quick"))
    strange = films([("PA", "1e6", "x"), ("", "", ""), ("AP", "0.1", "")], [0, 0, 1])
    np.testing.assert_allclose(outcome.score(strange.rows), 0.5, atol=1e-6)


def test_a_value_that_training_never_saw_moves_nothing():
    labels = np.tile([0, 0, 1, 1], 10)
    train = films([("AP",), ("PA",), ("AP",), ("PA",)] * 10, labels)
    score = fit_metadata(train, train, 2, only(1.0)).score
    # No value at all: both are taken away from the standardized mean of a balanced column.
    np.testing.assert_allclose(score(films([("lateral",), ("",)], [0, 0]).rows), 0.5, atol=1e-6)


@pytest.mark.parametrize("cell", ["nan", "inf", "1_0", "1e999", "١", " 1", "0x1", "1,5", "."])
def test_what_is_no_finite_number_makes_a_column_of_words(cell):
    """As a word of its own the cell tells the classes apart; as a number among 1 and 2 it could not."""
    train = films([("1",), ("2",), (cell,), (cell,)] * 10, np.tile([0, 0, 1, 1], 10))
    score = fit_metadata(train, train, 2, only(100.0)).score(films([("1",), ("2",), (cell,)], [0, 0, 1]).rows)
    assert (score[:, 1] >= 0.5).tolist() == [False, False, True]


@pytest.mark.parametrize("cells", [("1", "2.5", ""), ("-1e-3", "+7", ".5"), ("10.", "20", "")])
def test_numbers_are_read_as_numbers(cells):
    """The order of numbers is learned, so one beyond all others lies further out; a word would lie nowhere."""
    low, high = (min(filter(None, cells), key=float), max(filter(None, cells), key=float))
    train = films([(low,), (high,), (cells[2],)] * 10, np.tile([0, 1, 0], 10))
    score = fit_metadata(train, train, 2, only(1.0)).score(films([(low,), (high,), ("1e3",)], [0, 1, 1]).rows)
    assert score[0, 1] < score[1, 1] < score[2, 1]


def test_blank_says_something_where_blanks_go_with_the_outcome():
    train = films([("5",), ("6",), ("",), ("",)] * 10, np.tile([0, 0, 1, 1], 10))
    score = fit_metadata(train, train, 2, only(1.0)).score(films([("5.5",), ("",), ("unknown",)], [0, 1, 1]).rows)
    assert score[0, 1] < 0.5 < score[1, 1]
    # In another part, what is no number is as good as blank.
    assert score[2, 1] == score[1, 1]


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_scores_depend_on_the_film_alone_and_not_on_the_others_scored_with_it(seed):
    rng = np.random.default_rng(seed)
    train, val, test = (hospital(rng, count, 0.2) for count in (40, 20, 9))
    score = fit_metadata(train, val, 2, only(0.1)).score
    together = score(test.rows)
    alone = np.concatenate([score(Rows(test.rows.array, np.array([row]))) for row in range(9)])
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_the_test_films_are_out_of_reach(monkeypatch):
    whole = hospital(np.random.default_rng(0), 60)
    seen = []
    honest = Rows.__getitem__

    def spy(self, chosen):
        if self.array is whole.rows.array:
            seen.extend(self.positions[chosen].tolist())
        return honest(self, chosen)

    monkeypatch.setattr(Rows, "__getitem__", spy)
    train, val = (Films(Rows(whole.rows.array, p), whole.labels[p]) for p in (np.arange(30), np.arange(30, 45)))
    fit_metadata(train, val, 2, resolve_protocol("quick"))
    assert set(seen) == set(range(45))
