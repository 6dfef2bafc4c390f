"""Calibration and threshold of all out-of-fold predictions together, against statsmodels and a search by hand."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from sklearn.metrics import confusion_matrix, matthews_corrcoef

from prognobench.evaluation import out_of_fold
from prognobench.frame import InputError


def predictions(seed=0, films=90, classes=(0, 1)):
    """Three folds of films, two a patient, whose scores tell something; validation films tell the contrary."""
    random = np.random.default_rng(seed)
    truth = np.repeat(random.choice(classes, films // 2), 2)
    odds = 1.3 * truth + random.normal(-1, 1, films)
    table = pd.DataFrame(
        {
            "job": [f"fold{place // 2 % 3}" for place in range(films)],
            "cohort": "made",
            "image": [f"{place:03}.png" for place in range(films)],
            "patient": [f"p{place // 2:03}" for place in range(films)],
            "split": "test",
            "y_true": truth,
            "y_score": 1 / (1 + np.exp(-odds)),
        }
    )
    contrary = table.assign(split="val", y_score=1 - table["y_score"], job=table["job"].map(lambda job: f"other {job}"))
    return pd.concat([table, contrary], ignore_index=True)


@pytest.mark.parametrize("level", ["film", "patient"])
def test_the_line_is_that_of_statsmodels(level):
    table = predictions()
    found = out_of_fold(table)[level]
    tested = table[table["split"] == "test"]
    if level == "patient":
        tested = tested.groupby("patient").agg(y_true=("y_true", "max"), y_score=("y_score", "mean"))
    positive = tested["y_true"].to_numpy() == 1
    target = np.where(positive, (positive.sum() + 1) / (positive.sum() + 2), 1 / ((~positive).sum() + 2))
    odds = np.log(tested["y_score"] / (1 - tested["y_score"])).to_numpy()
    oracle = sm.GLM(target, sm.add_constant(odds), family=sm.families.Binomial()).fit(tol=1e-12)
    np.testing.assert_allclose([found.intercept, found.slope], oracle.params, atol=1e-7)
    assert (found.n, found.n_positive) == (len(tested), positive.sum())
    calibrated = found.calibrate(tested["y_score"].to_numpy())
    np.testing.assert_allclose(calibrated, oracle.predict(), atol=1e-8)


def test_the_threshold_has_the_highest_mcc_and_what_is_told_is_at_it():
    found = out_of_fold(predictions())["film"]
    tested = predictions().query("split == 'test'")
    calibrated, truth = found.calibrate(tested["y_score"].to_numpy()), tested["y_true"].to_numpy()
    every = [matthews_corrcoef(truth, calibrated >= one) for one in calibrated]
    called = calibrated >= found.threshold
    assert matthews_corrcoef(truth, called) == pytest.approx(max(every))
    tn, fp, fn, tp = confusion_matrix(truth, called).ravel()
    assert found.at_threshold["mcc"] == pytest.approx(max(every))
    assert found.at_threshold["sensitivity"] == pytest.approx(tp / (tp + fn))
    assert found.at_threshold["specificity"] == pytest.approx(tn / (tn + fp))
    assert found.at_threshold["ppv"] == pytest.approx(tp / (tp + fp))
    assert found.at_threshold["npv"] == pytest.approx(tn / (tn + fn))


def test_what_cannot_be_calibrated_is_named():
    with pytest.raises(InputError, match="are of one class"):
        out_of_fold(predictions(classes=(1,)))
    with pytest.raises(InputError, match="have the same score"):
        out_of_fold(predictions().assign(y_score=0.25))
