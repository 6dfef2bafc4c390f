"""Frozen features as a table that anyone's classifier reads."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from prognobench.studies import Store, export_features, plan_study, read_study

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("in_this_process")]


def test_a_classifier_on_the_exported_features_gives_the_records_of_lp(finished, study_file, tmp_path):
    plan = plan_study(read_study(study_file))
    (path,) = export_features(plan, tmp_path / "features")
    assert path.name == "phantom-icu-timm_test_vit_random.parquet"
    table = pd.read_parquet(path).set_index("image")
    features = table.filter(regex="^feature_").to_numpy(dtype=np.float64)
    store, compared = Store(finished), 0
    for record in map(store.read, store.record_keys()):
        if record.job.strategy != "lp":
            continue
        train = (table[f"part_0_{record.job.fold}"] == "train").to_numpy()
        penalty = float(record.history.loc[record.history["chosen"], "candidate"].item().removeprefix("C="))
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=penalty, class_weight="balanced", tol=1e-9, max_iter=100_000)
        ).fit(features[train], table["label"][train])
        scores = pd.Series(model.predict_proba(features)[:, 1], index=table.index)
        predicted = record.predictions.set_index("image")["y_score"]
        np.testing.assert_allclose(predicted, scores[predicted.index], atol=1e-3)
        compared += 1
    assert compared == 3


def test_the_table_holds_patients_labels_and_every_split(study_file, tmp_path):
    plan = plan_study(read_study(study_file))
    (path,) = export_features(plan, tmp_path / "features")
    table = pd.read_parquet(path)
    assert list(table.columns[:4]) == ["image", "patient", "center", "label"]
    assert [c for c in table if c.startswith("part_")] == ["part_0_0", "part_0_1", "part_0_2"]
    assert (table[["part_0_0", "part_0_1", "part_0_2"]] == "test").sum(axis=1).eq(1).all()
