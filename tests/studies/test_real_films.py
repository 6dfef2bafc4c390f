"""The main job on real chest X-rays with real outcomes, and its numbers against an independent way to them."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, matthews_corrcoef
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from prognobench.cli import app
from prognobench.cohorts import Preprocessing, load_cohort, open_pixels
from prognobench.models import find_weights, load_backbone, model_card
from prognobench.studies import Store, read_results

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.timeout(2700)]
MODELS = ("efficientnet_lite0", "dinov2_s")
STUDY = """\
name: hannover
models: [efficientnet_lite0, dinov2_s]
strategies: [lp, lora, fft]
protocol: quick
blocks:
  - {cohorts: [{path: %(path)s, tasks: [icu]}], validation: {kfold: {folds: 3}}}
  - {cohorts: [{path: %(path)s, tasks: [icu_early]}], validation: {holdout: {test: 0.33, val: 0.33}}}
"""
CUTS = {"icu": 3, "icu_early": 1}


@pytest.fixture(scope="module")
def results(hannover, pretrained, tmp_path_factory, monkeypatch_module):
    monkeypatch_module.setenv("PROGNOBENCH_HOME", str(pretrained))
    folder = tmp_path_factory.mktemp("hannover")
    (folder / "study.yaml").write_text(STUDY % {"path": hannover})
    # Two processes of one thread each are faster than two threads, and leave room for other tests beside them.
    verb = ["run", str(folder / "study.yaml"), "--results", str(folder / "results"), "--workers", "2", "--threads", "1"]
    run = CliRunner().invoke(app, verb)
    assert run.exit_code == 0, run.output
    made = CliRunner().invoke(app, ["report", str(folder / "results"), "--out", str(folder / "report")])
    assert made.exit_code == 0, made.output
    print(made.output)
    (folder / "printed.txt").write_text(made.output, encoding="utf-8")
    return folder


def test_every_job_is_done_and_tested_on_every_film(results):
    predictions, jobs = read_results(results / "results")
    in_a_cut = 1 + 1 + 2 * 3 + 2 * 3  # majority, metadata, random with three seeds, and the study's own
    assert jobs.groupby("task").size().to_dict() == {task: in_a_cut * cuts for task, cuts in CUTS.items()}
    assert jobs["state"].eq("done").all()
    words = ["task", "model", "strategy", "seed"]
    tested = predictions[predictions["split"] == "test"].merge(jobs[["job", *words]], on="job")
    films = tested.groupby(words)["image"].agg(["size", "nunique"])
    assert (films["size"] == films["nunique"]).all()
    assert set(films.loc["icu", "size"]) == {243}
    (held_out,) = set(films.loc["icu_early", "size"])
    assert 26 < held_out < 44  # a third of 104, by patient


def test_no_patient_is_tested_by_a_model_that_saw_them(results):
    store = Store(results / "results")
    for key in store.record_keys():
        record = store.read(key)
        split = pd.read_csv(store.splits / f"{record.environment['split_sha256']}.csv", dtype=str)
        parts = split.groupby("patient")["part"].nunique()
        assert parts.max() == 1
        for part in ("val", "test"):
            predicted = record.predictions.loc[record.predictions["split"] == part, "image"]
            assert set(predicted) == set(split.loc[split["part"] == part, "image"])


def test_real_films_are_predicted_far_better_than_by_chance(results):
    summary = pd.read_csv(results / "report" / "summary.csv").set_index(["task", "model", "strategy"])
    assert summary.loc[("icu", "dinov2_s", "lp"), "mcc_mean"] > 0.4
    assert summary.loc[("icu", "none", "majority"), "mcc_mean"] == 0


def test_that_result_is_not_above_what_needs_no_learned_image_content(results):
    """AP or PA alone tells much of who goes to intensive care, and the view can be read off the film."""
    compared = pd.read_csv(results / "report" / "controls.csv").set_index(["task", "model", "strategy"])
    row = compared.loc[("icu", "dinov2_s", "lp")]
    assert not row["above_controls"]
    assert row["control_mcc"] > 0.6
    summary = pd.read_csv(results / "report" / "summary.csv").set_index(["task", "model", "strategy"])
    assert summary.loc[("icu", "none", "metadata"), "mcc_patient_mean"] > 0.6
    assert summary.loc[("icu", "dinov2_s", "random"), "mcc_patient_mean"] > 0.5
    block = (results / "printed.txt").read_text(encoding="utf-8").partition("hannover · icu_early")[0]
    # The first probe of the block is that of dinov2_s; its mark stands below it, behind `best` where it is that, too.
    _, _, below = block[block.index("dinov2_s") :].partition(" lp ")
    assert f"not above {row['control']}" in " ".join(" ".join(below.splitlines()[1:3]).split())
    assert re.search(r"^ +metadata +\d.* control +$", block, re.MULTILINE)
    assert re.search(r"^ +dinov2_s +random +\d.* control +$", block, re.MULTILINE)


@pytest.mark.parametrize("model", MODELS)
def test_lp_is_scikit_learn_on_the_backbone_s_features(results, hannover, model):
    cohort, card = load_cohort(hannover), model_card(model)
    pixels = open_pixels(cohort, Preprocessing(size=card.input_size))
    rows = cohort.task("icu").rows
    gray = torch.from_numpy(pixels.array[pixels.positions(rows["sha256"].tolist())].astype(np.float32) / 65535)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (card.mean, card.std))
    backbone = load_backbone(card, find_weights(card))
    with torch.inference_mode():
        found = [backbone((batch[:, None].expand(-1, 3, -1, -1) - mean) / std) for batch in gray.split(16)]
    features = pd.DataFrame(torch.cat(found).double().numpy(), index=rows["image"])
    labels = rows.set_index("image")["label"]
    store, compared = Store(results / "results"), 0
    for key in store.record_keys():
        record = store.read(key)
        if (record.job.task, record.job.model, record.job.strategy) != ("icu", model, "lp"):
            continue
        split = pd.read_csv(store.splits / f"{record.environment['split_sha256']}.csv", dtype=str).set_index("image")
        train = split.index[split["part"] == "train"]
        penalty = float(record.history.loc[record.history["chosen"], "candidate"].item().removeprefix("C="))
        oracle = make_pipeline(
            StandardScaler(), LogisticRegression(C=penalty, class_weight="balanced", tol=1e-9, max_iter=100_000)
        ).fit(features.loc[train].to_numpy(), labels.loc[train].to_numpy())
        expected = oracle.predict_proba(features.loc[record.predictions["image"]].to_numpy())[:, 1]
        np.testing.assert_allclose(record.predictions["y_score"], expected, atol=1e-3)
        compared += 1
    assert compared == 3


def test_the_tables_are_scikit_learn_s_on_the_stored_predictions(results):
    predictions, _ = read_results(results / "results")
    tested = predictions[predictions["split"] == "test"]
    folds = pd.read_csv(results / "report" / "fold_metrics.csv")
    assert len(folds) == 14 * sum(CUTS.values())
    for row in folds.itertuples():
        job = tested[tested["job"] == row.job]
        assert row.mcc == pytest.approx(matthews_corrcoef(job["y_true"], job["y_score"] >= 0.5), abs=1e-12)
        assert row.pr_auc == pytest.approx(average_precision_score(job["y_true"], job["y_score"]), abs=1e-12)
        patients = job.groupby("patient").agg(y_true=("y_true", "max"), y_score=("y_score", "mean"))
        expected = matthews_corrcoef(patients["y_true"], patients["y_score"] >= 0.5)
        assert row.mcc_patient == pytest.approx(expected, abs=1e-12)
