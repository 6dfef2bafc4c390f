"""confusion_counts: as scikit-learn counts, at 0.5 and at the threshold of validation."""

from __future__ import annotations

import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix
from test_curves import study

from prognobench.evaluation import confusion_counts, fold_metrics


@pytest.fixture(scope="module")
def tables():
    predictions, jobs = study(digits=6)
    other, _ = study(1, digits=6)
    others = {"split": "val", "image": "v" + other["image"], "patient": "v" + other["patient"]}
    return pd.concat([predictions, other.assign(**others)], ignore_index=True), jobs


@pytest.mark.parametrize("level", ["film", "patient"])
def test_counts_are_scikit_learn_s_and_agree_with_the_metrics(tables, level):
    predictions, _ = tables
    metrics = fold_metrics(*tables).iloc[0]
    cases = predictions[predictions["split"] == "test"]
    if level == "patient":
        cases = cases.groupby("patient").agg(y_true=("y_true", "max"), y_score=("y_score", "mean"))
    fixed, chosen = confusion_counts(*tables, level=level).to_dict("records")
    at = "_patient" if level == "patient" else ""
    assert (fixed["threshold"], chosen["threshold"]) == (0.5, metrics[f"threshold{at}"])
    for row, column in ((fixed, f"sensitivity{at}"), (chosen, f"sensitivity{at}_at_val")):
        called = (cases["y_score"] >= row["threshold"]).astype(int)
        tn, fp, fn, tp = confusion_matrix(cases["y_true"], called).ravel()
        names = ("true_negatives", "false_positives", "false_negatives", "true_positives")
        assert [row[name] for name in names] == [tn, fp, fn, tp]
        assert tp / (tp + fn) == pytest.approx(metrics[column])


def test_without_a_threshold_of_validation_its_counts_are_missing(tables):
    predictions, jobs = tables
    one = predictions[(predictions["split"] == "test") | (predictions["y_true"] == 0)]
    fixed, chosen = confusion_counts(one, jobs).to_dict("records")
    assert pd.isna(chosen["threshold"]) and pd.isna(chosen["true_positives"]) and fixed["true_positives"] >= 0
