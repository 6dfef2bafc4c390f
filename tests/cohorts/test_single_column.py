"""The AUC of one column and its error are those of the literature, with films of a patient taken together."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from prognobench.cohorts._audit._single_column import as_numbers, clustered_auc, predictive_power


def obuchowski(scores, positive, group) -> float:
    """Obuchowski 1997, equations 2 to 5, film by film as they stand there."""
    ill, well = np.flatnonzero(positive), np.flatnonzero(~positive)
    psi = (scores[ill][:, None] > scores[well]) + 0.5 * (scores[ill][:, None] == scores[well])
    auc, m, n = psi.mean(), len(ill), len(well)
    v10, v01 = psi.mean(axis=1), psi.mean(axis=0)
    clusters = np.unique(group)
    of_ill = np.array([(v10[group[ill] == c] - auc).sum() for c in clusters])
    of_well = np.array([(v01[group[well] == c] - auc).sum() for c in clusters])
    i10, i01 = len(np.unique(group[ill])), len(np.unique(group[well]))
    s10 = i10 / ((i10 - 1) * m) * (of_ill**2).sum()
    s01 = i01 / ((i01 - 1) * n) * (of_well**2).sum()
    s11 = len(clusters) / (len(clusters) - 1) * (of_ill * of_well).sum()
    return math.sqrt(s10 / m + s01 / n + 2 * s11 / (m * n))


def films(seed: int, patients: int = 120, most: int = 8):
    rng = np.random.default_rng(seed)
    count = rng.integers(1, most + 1, patients)
    group = np.repeat(np.arange(patients), count)
    ill = (rng.random(patients) < 0.4)[group]
    scores = np.round((rng.normal(size=patients)[group] + ill + 0.5 * rng.normal(size=len(group))), 1)
    return scores, ill, group


@pytest.mark.parametrize("seed", range(4))
def test_auc_and_error_are_those_of_obuchowski(seed: int) -> None:
    scores, ill, group = films(seed)
    auc, error = clustered_auc(scores, ill, group, np.zeros(len(group), dtype=int))
    assert auc == pytest.approx(roc_auc_score(ill, scores))
    # They differ in which number of clusters they count less one.
    assert error == pytest.approx(obuchowski(scores, ill, group), rel=0.02)


def test_the_error_covers_what_drawing_patients_anew_does() -> None:
    scores, ill, group = films(9)
    _, error = clustered_auc(scores, ill, group, np.zeros(len(group), dtype=int))
    rng = np.random.default_rng(0)
    of_patient = [np.flatnonzero(group == patient) for patient in range(group.max() + 1)]
    drawn = []
    for _ in range(250):
        chosen = np.concatenate([of_patient[patient] for patient in rng.integers(0, len(of_patient), len(of_patient))])
        one, _ = clustered_auc(scores[chosen], ill[chosen], group[chosen], np.zeros(len(chosen), dtype=int))
        drawn.append(one)
    assert error == pytest.approx(np.std(drawn), rel=0.15)
    alone = clustered_auc(scores, ill, np.arange(len(group)), np.zeros(len(group), dtype=int))[1]
    assert error > 1.3 * alone  # which is why films are not counted one by one


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_order_of_the_films_and_the_names_of_values_change_nothing(seed: int, random) -> None:
    scores, ill, group = films(seed, patients=40, most=3)
    cells = [f"v{int(score)}" for score in scores]
    first = predictive_power(cells, ill, group.astype(str).tolist())
    order = random.sample(range(len(cells)), len(cells))
    renamed = [cells[place].replace("v", "another ") for place in order]
    second = predictive_power(renamed, ill[order], [str(group[place]) for place in order])
    assert first.auc == pytest.approx(second.auc, nan_ok=True)
    assert first.error == pytest.approx(second.error, nan_ok=True)


def test_a_column_that_says_who_the_patient_is_predicts_nothing() -> None:
    _, ill, group = films(1)
    power = predictive_power([f"P{g}" for g in group], ill, group.astype(str).tolist())
    assert 0.4 < power.auc < 0.6
    assert not power.surely_above(0.5, 1)


def test_the_outcome_itself_predicts_all_and_its_interval_knows_how_few_they_are() -> None:
    _, ill, group = films(2)
    told = predictive_power(["a" if one else "b" for one in ill], ill, group.astype(str).tolist())
    assert (told.auc, told.high) == (1.0, 1.0)
    patients = len(np.unique(group[ill]))
    assert told.low == pytest.approx(0.025 ** (1 / patients))  # Clopper & Pearson for so many of so many
    assert predictive_power(["a"] * len(ill), ill, group.astype(str).tolist()).auc == 0.5


def test_a_relation_that_does_not_rise_is_seen_as_well() -> None:
    rng = np.random.default_rng(3)
    age = rng.normal(size=400)
    ill = np.abs(age) > 0.8
    power = predictive_power([f"{value:.3f}" for value in age], ill, [str(n) for n in range(400)])
    assert power.auc > 0.9
    assert roc_auc_score(ill, age) < 0.6


def test_a_column_by_chance_is_rarely_called_surely_above() -> None:
    rng = np.random.default_rng(4)
    called = 0
    for _ in range(160):
        ill = rng.random(150) < 0.4
        power = predictive_power([str(v) for v in rng.integers(0, 3, 150)], ill, [str(n) for n in range(150)])
        called += power.surely_above(0.5, 1)
    assert called <= 9  # 4 is nominal, 2.5 %


def test_with_too_few_patients_nothing_is_said() -> None:
    ill = np.array([True] * 8 + [False] * 20)
    groups = ["one"] * 8 + [str(n) for n in range(20)]
    assert math.isnan(predictive_power(["x", "y"] * 14, ill, groups).auc)


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [(["1", "", "2.5"], [1.0, math.nan, 2.5]), (["1", "x"], None), (["", " "], None), (["inf", "1"], None)],
)
def test_numbers_are_read_where_every_cell_is_one(cells: list[str], numbers: list[float] | None) -> None:
    found = as_numbers(cells)
    assert (found is None) if numbers is None else np.array_equal(found, numbers, equal_nan=True)
