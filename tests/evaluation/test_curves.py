"""ROC and precision-recall curves: as scikit-learn has them, with bands that hold the curve."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from prognobench.evaluation import curves


def study(seed: int = 0, films: int = 60, per_patient: int = 2, digits: int = 1):
    random = np.random.default_rng(seed)
    patient = np.arange(films) // per_patient
    sick = (patient % 3 == 0).astype(int)
    score = 1 / (1 + np.exp(-(1.2 * sick - 0.6 + random.normal(size=films))))
    # Sixteenths have exact means, so that ties are ties for both.
    score = np.round(16 * score) / 16 if digits == 1 else np.round(score, digits)
    predictions = pd.DataFrame(
        {"job": "a", "cohort": "c", "image": [f"f{i}" for i in range(films)], "patient": [f"p{i}" for i in patient],
         "center": "x", "split": "test", "y_true": sick, "y_score": score}
    )  # fmt: skip
    jobs = pd.DataFrame([{
        "job": "a", "cohort": "c", "task": "t", "test_cohort": "c", "model": "m", "strategy": "lp", "regime": "full",
        "shots": None, "draw": None, "validation": "kfold2", "repeat": 0, "fold": 0, "test_center": None, "seed": 1,
        "protocol": "quick", "n_train": 10, "trainable_params": 1, "total_params": 2, "train_seconds": 1.0,
        "state": "done",
    }])  # fmt: skip
    return predictions, jobs


def points(table: pd.DataFrame, curve: str) -> pd.DataFrame:
    return table[(table["curve"] == curve) & table["threshold"].notna()]


@pytest.mark.parametrize("digits", [1, 6])
@pytest.mark.parametrize("level", ["film", "patient"])
def test_the_curves_are_scikit_learn_s(digits, level):
    predictions, jobs = study(digits=digits)
    table = curves(predictions, jobs, level=level, resamples=50)
    cases = predictions
    if level == "patient":
        cases = predictions.groupby("patient").agg(y_true=("y_true", "max"), y_score=("y_score", "mean"))
    true, score = cases["y_true"].to_numpy(), cases["y_score"].to_numpy()
    roc, pr = points(table, "roc"), points(table, "pr")
    x, y, _ = roc_curve(true, score, drop_intermediate=False)
    np.testing.assert_allclose([roc["x"], roc["y"]], [x, y], atol=1e-12)
    precision, recall, threshold = precision_recall_curve(true, score)
    np.testing.assert_allclose([pr["x"], pr["y"]], [recall[:-1][::-1], precision[:-1][::-1]], atol=1e-12)
    np.testing.assert_allclose(pr["threshold"], threshold[::-1], atol=1e-12)
    # The areas are the metrics.
    assert np.trapezoid(roc["y"], roc["x"]) == pytest.approx(roc_auc_score(true, score))
    assert np.sum(np.diff(pr["x"], prepend=0) * pr["y"]) == pytest.approx(average_precision_score(true, score))


def test_the_bands_hold_the_curve_and_grow_narrow_with_patients():
    widths = []
    for films in (60, 600):
        table = curves(*study(films=films, digits=6), resamples=300)
        for curve in ("roc", "pr"):
            band, line = table[(table["curve"] == curve) & table["threshold"].isna()], points(table, curve)
            assert band["x"].tolist() == np.linspace(0, 1, 101).tolist()
            at = np.interp(band["x"], line["x"], line["y"])[5:95]
            inside = (band["y_low"].to_numpy()[5:95] - 0.05 <= at) & (at <= band["y_high"].to_numpy()[5:95] + 0.05)
            assert inside.mean() > 0.9
            widths.append(float((band["y_high"] - band["y_low"]).mean()))
    assert widths[2] < 0.6 * widths[0] and widths[3] < 0.6 * widths[1]


def test_a_place_of_the_band_is_the_recall_that_it_names():
    from prognobench.evaluation._curves import _pr_at

    # Of 100 positive films the place k/100 is the k-th step, though 57/100 and 57 × 0.01 differ in the last bit.
    true = np.arange(1.0, 101)[None]
    precision = _pr_at(true, true**2)[0]
    np.testing.assert_array_equal(precision[1:], (true / (true + true**2))[0])


def test_a_patient_goes_with_all_their_films():
    # Each film twice more for the same patient tells nothing new, so the bands stay as they are.
    predictions, jobs = study(per_patient=1, digits=6)
    again = predictions.assign(image=predictions["image"] + "again")
    once, twice = (curves(p, jobs, resamples=200) for p in (predictions, pd.concat([predictions, again])))
    band = [table[table["threshold"].isna()].reset_index(drop=True) for table in (once, twice)]
    pd.testing.assert_frame_equal(*band)


def test_one_class_has_no_curve_and_the_same_tables_give_the_same_numbers():
    predictions, jobs = study()
    assert curves(predictions.assign(y_true=0), jobs).empty
    shuffled = predictions.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(curves(predictions, jobs), curves(shuffled, jobs))
