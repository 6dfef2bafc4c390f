"""Metrics within groups of films: against plain loops, and their laws."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import matthews_corrcoef, recall_score, roc_auc_score

from prognobench.evaluation import _subgroups, subgroups
from prognobench.evaluation._subgroups import age_band

JOB = {
    "cohort": "c", "task": "icu", "test_cohort": "c", "regime": "full", "shots": None, "draw": None,
    "validation": "kfold3", "repeat": 0, "test_center": None, "seed": 42, "protocol": "quick", "n_train": 60,
    "trainable_params": 7, "total_params": 11, "train_seconds": 0.1, "state": "done",
}  # fmt: skip
ORACLE = {
    "mcc": lambda y, p: matthews_corrcoef(y, p >= 0.5),
    "roc_auc": roc_auc_score,
    "sensitivity": lambda y, p: recall_score(y, p >= 0.5),
    "specificity": lambda y, p: recall_score(y, p >= 0.5, pos_label=0),
}


def study(cells=(("m", "lp", 42), ("m", "fft", 42)), patients=120, most_films=1, seed=0):
    """Make predictions, jobs and films of synthetic patients; women are told apart better than men."""
    rng = np.random.default_rng(seed)
    films = [
        {"cohort": "c", "image": f"f{p:03d}-{k}.png", "patient": f"p{p:03d}", "fold": p % 3, "y": (p // 3) % 2,
         "view": "AP" if (p % 7 + k) % 2 else "PA", "center": "N" if p < 8 else "S", "sex": "F" if p % 5 < 2 else "M",
         "age": ["", "31", "64", "85"][p % 11 % 4]}
        for p in range(patients) for k in range(rng.integers(1, most_films + 1))
    ]  # fmt: skip
    films = pd.DataFrame(films)
    jobs, tables = [], []
    for (model, strategy, number), fold in ((cell, fold) for cell in cells for fold in range(3)):
        key = f"{model}/{strategy}/{number}/{fold}"
        jobs.append(JOB | {"job": key, "model": model, "strategy": strategy, "fold": fold, "seed": number})
        rows = films[films["fold"] == fold]
        skill = np.where(rows["sex"] == "F", 0.3, 0.05)
        # In eighths, so that scores are tied and sums are exact.
        score = np.clip(0.5 + skill * (2 * rows["y"] - 1) + 0.2 * rng.normal(size=len(rows)), 0, 1)
        score = (8 * score).round() / 8
        tables.append(
            rows[["cohort", "image", "patient"]].assign(
                job=key, center="", split="test", y_true=rows["y"], y_score=score
            )
        )
    return pd.concat(tables, ignore_index=True), pd.DataFrame(jobs), films


def within(predictions, films, attribute, value, level, drawn=None):
    """Return each metric of one cell, averaged over folds, by scikit-learn on films written out as often as drawn."""
    inside = films[films[attribute] == value]["image"]
    rows = predictions[predictions["image"].isin(inside)]
    names = np.sort(predictions["patient"].unique())
    found = {metric: [] for metric in ORACLE}
    for _, job in rows.groupby("job"):
        if level == "patient":
            job = job.groupby("patient").agg(y_true=("y_true", "max"), y_score=("y_score", "mean")).reset_index()
        if drawn is not None:
            job = job.loc[np.repeat(job.index, drawn[np.searchsorted(names, job["patient"])])]
        if job["y_true"].nunique() == 2:
            for metric, compute in ORACLE.items():
                found[metric].append(compute(job["y_true"], job["y_score"]))
    return {metric: np.mean(values) if values else np.nan for metric, values in found.items()}


@pytest.mark.parametrize("level", ["film", "patient"])
def test_means_and_intervals_are_those_of_a_plain_loop(level, monkeypatch):
    predictions, jobs, films = study(most_films=3)
    taken = []
    honest = _subgroups.draw_patients
    monkeypatch.setattr(_subgroups, "draw_patients", lambda *given: taken.append(honest(*given)) or taken[-1])
    table = subgroups(predictions, jobs, films, level=level, resamples=10)
    row = table[(table["strategy"] == "lp") & (table["value"] == "AP")].iloc[0]
    own = predictions[predictions["job"].str.startswith("m/lp")]
    expected = within(own, films, "view", "AP", level)
    drawn = [within(own, films, "view", "AP", level, counts) for counts in taken[0]]
    group = own.merge(films.loc[films["view"] == "AP", ["image"]], on="image")
    sizes = group.groupby("job")["patient"].nunique()
    ill = group.groupby("patient")["y_true"].max()
    t = stats.t(min(ill.sum(), len(ill) - ill.sum()) - 3)
    for metric in ORACLE:
        assert row[metric] == pytest.approx(expected[metric], abs=1e-12)
        error = np.nanstd([values[metric] for values in drawn], ddof=1) * np.sqrt((sizes / (sizes - 1)).mean())
        # Fisher's z of the metric stretched to −1 to 1.
        end = -1 if metric == "mcc" else 0
        r = 2 * (row[metric] - end) / (1 - end) - 1
        margin = t.ppf(0.975) * error * 2 / (1 - end) / (1 - r**2)
        ends = [(np.tanh(np.arctanh(r) + side * margin) + 1) * (1 - end) / 2 + end for side in (-1, 1)]
        assert (row[f"{metric}_ci_low"], row[f"{metric}_ci_high"]) == pytest.approx(tuple(ends), abs=1e-9)


def test_groups_are_counted_and_ordered():
    predictions, jobs, films = study()
    table = subgroups(predictions, jobs, films, resamples=20)
    one = table[table["strategy"] == "lp"]
    assert list(zip(one["attribute"], one["value"], strict=True)) == [
        ("view", "AP"), ("view", "PA"), ("center", "N"), ("center", "S"), ("sex", "F"), ("sex", "M"),
        ("age", "below 40"), ("age", "60–79"), ("age", "80 and over"), ("age", "unknown"),
    ]  # fmt: skip
    for _, rows in one.groupby("attribute"):
        assert rows["n_films"].sum() == rows["n_patients"].sum() == 120
        assert rows["n_positive"].sum() == 60
    assert set(one["n_folds"]) == {3}
    assert set(one["level"]) == {"film"}


def test_the_worst_group_is_marked_and_small_ones_are_not_shown():
    predictions, jobs, films = study()
    table = subgroups(predictions, jobs, films, resamples=20)
    one = table[table["strategy"] == "lp"].set_index("value")
    assert one.loc["M", "mcc"] < one.loc["F", "mcc"] - 0.2
    assert one.loc["M", "worst"] and not one.loc["F", "worst"]
    # Eight patients in the north: too few, and then there is no second center to be the worst of.
    assert one.loc["N", "undefined"] == "fewer than 10 positives or 10 negatives (3 and 5)"
    assert one.loc["N", [*ORACLE, "mcc_ci_low"]].isna().all()
    assert not one.loc[["N", "S", "unknown"], "worst"].any()
    assert one.groupby("attribute")["worst"].sum().to_dict() == {"age": 1, "center": 0, "sex": 1, "view": 1}


def test_seeds_are_averaged_within_folds_and_repeats_count_a_case_once():
    cells = [("m", "lp", 1), ("m", "lp", 2)]
    predictions, jobs, films = study(cells)
    table = subgroups(predictions, jobs, films, resamples=20).set_index("value")
    halves = [within(predictions[predictions["job"].str.contains(f"/{s}/")], films, "sex", "F", "film") for s in (1, 2)]
    assert table.loc["F", "mcc"] == pytest.approx(np.mean([half["mcc"] for half in halves]), abs=1e-12)
    again = predictions.assign(job=predictions["job"] + "/again")
    more = jobs.assign(job=jobs["job"] + "/again", repeat=1)
    both = subgroups(pd.concat([predictions, again]), pd.concat([jobs, more]), films, resamples=20).set_index("value")
    assert (both["n_folds"] == 2 * table["n_folds"]).all()
    pd.testing.assert_series_equal(both["n_positive"], table["n_positive"])
    pd.testing.assert_series_equal(both["mcc"], table["mcc"], rtol=1e-12)


def test_a_hole_is_said_and_changes_no_other_cell():
    predictions, jobs, films = study()
    whole = subgroups(predictions, jobs, films, resamples=30)
    jobs.loc[0, "state"] = "missing"
    holed = subgroups(predictions, jobs, films, resamples=30)
    assert set(holed.loc[holed["strategy"] == "lp", "undefined"]) == {"1 of 3 jobs are not done"}
    assert holed.loc[holed["strategy"] == "lp", "mcc"].isna().all()
    rest, before = (table[table["strategy"] == "fft"].reset_index(drop=True) for table in (holed, whole))
    pd.testing.assert_frame_equal(rest, before, check_exact=True)


def test_the_order_of_rows_changes_nothing_and_unknown_films_are_unknown():
    predictions, jobs, films = study(most_films=2)
    table = subgroups(predictions, jobs, films, resamples=20)
    rng = np.random.default_rng(1)
    shuffled = [given.sample(frac=1, random_state=rng) for given in (predictions, jobs, films)]
    pd.testing.assert_frame_equal(subgroups(*shuffled, resamples=20), table, check_exact=True)
    fewer = subgroups(predictions, jobs, films[films["sex"] == "F"], resamples=20)
    assert set(fewer.loc[fewer["attribute"] == "sex", "value"]) == {"F", "unknown"}


def test_without_anything_known_the_table_is_empty():
    predictions, jobs, films = study()
    blank = films.assign(view="", center=" ", sex=None, age="unknown")
    for known in (blank, films[["cohort", "image"]], films.iloc[:0]):
        table = subgroups(predictions, jobs, known)
        assert table.empty
        assert "worst" in table


def test_a_group_of_large_folds_is_computed_in_parts(monkeypatch):
    predictions, jobs, films = study()
    whole = subgroups(predictions, jobs, films, resamples=20)
    monkeypatch.setattr(_subgroups, "_CHUNK", 1)
    pd.testing.assert_frame_equal(subgroups(predictions, jobs, films, resamples=20), whole, check_exact=True)


@pytest.mark.parametrize(
    ("text", "band"),
    [("0", "below 40"), ("39", "below 40"), ("40", "40–59"), ("59.5", "40–59"), ("79", "60–79"), ("80", "80 and over"),
     ("101", "80 and over"), ("-1", "unknown"), ("nan", "unknown"), ("inf", "unknown"), ("61,5", "unknown")],
)  # fmt: skip
def test_ages_stand_in_bands(text, band):
    assert age_band(text) == band
