"""The corrected t interval against its formula and against Student's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prognobench.evaluation._nadeau_bengio import nadeau_bengio_lack, nadeau_bengio_margin


def test_ten_times_ten_folds_by_hand():
    # s = 0.05 over 100 folds, 10 % tested: s²(1/100 + 1/9) = 0.05² · 0.12111; t(0.975, 99) = 1.98422.
    assert nadeau_bengio_margin(0.05, 100, 1 / 9) == pytest.approx(1.9842169515 * 0.05 * np.sqrt(0.01 + 1 / 9))


@given(values=st.lists(st.floats(-1, 1), min_size=2, max_size=20), confidence=st.floats(0.5, 0.99))
def test_without_overlap_it_is_students(values, confidence):
    margin = nadeau_bengio_margin(np.std(values, ddof=1), len(values), 0, confidence)
    expected = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
    assert margin == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_many_cells_at_once_and_one_fold_has_none():
    margin = nadeau_bengio_margin(np.full((2, 3), 0.1), np.array([[1], [5]]), np.array([0, 0.25, 1]))
    assert np.isnan(margin[0]).all()
    assert margin[1, 0] < margin[1, 1] < margin[1, 2]


@pytest.mark.parametrize("validation", ["kfold5", "kfold10:val2", "holdout", "holdout:test0.3"])
def test_it_is_defined_where_folds_are_drawn_from_one_cohort(validation):
    assert nadeau_bengio_lack(validation, "full") == ""


@pytest.mark.parametrize(
    ("validation", "regime"),
    [("loco", "full"), ("external", "full"), ("predefined", "full"), ("kfold5", "few_shot"), ("kfold5", "fraction")],
)
def test_elsewhere_it_says_why_not(validation, regime):
    assert (validation if regime == "full" else regime) in nadeau_bengio_lack(validation, regime)
