"""fold_metrics: one row a done job, each number from its predictions alone."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import matthews_corrcoef

from prognobench.evaluation import fold_metrics
from prognobench.frame import InputError

METRICS = ["mcc", "pr_auc", "roc_auc", "balanced_accuracy", "f1", "sensitivity", "specificity", "brier", "ece"]
METRICS += ["ppv", "npv", "log_loss", "calibration_slope", "calibration_intercept"]
THRESHOLDED = ["mcc", "balanced_accuracy", "f1", "sensitivity", "specificity", "ppv", "npv"]
CALIBRATED = ["brier", "ece", "log_loss", "calibration_slope", "calibration_intercept"]
KEYS = ["cohort", "task", "test_cohort", "model", "strategy", "regime", "shots", "draw", "validation", "repeat", "fold"]
KEYS += ["test_center", "seed", "protocol"]
COLUMNS = [*KEYS, "n_train", "n_val", "n_test", "n_test_positive", *METRICS]
COLUMNS += ["threshold", "trainable_params", "total_params", "trainable_percent", "train_seconds"]
COLUMNS += [f"{name}_at_val" for name in THRESHOLDED] + [f"{name}_patient" for name in METRICS]
COLUMNS += ["threshold_patient"] + [f"{name}_patient_at_val" for name in THRESHOLDED]
COLUMNS += [f"{name}{level}_{way}" for level in ("", "_patient") for way in ("platt", "prior") for name in CALIBRATED]
COLUMNS += ["n_test_patients", "undefined", "job"]

VALIDATION = [(0, 0.1), (0, 0.2), (1, 0.3), (1, 0.9)]  # chooses 0.25
TEST = [(1, 0.9), (1, 0.4), (0, 0.6), (0, 0.2), (0, 0.1), (0, 0.3)]


@pytest.fixture
def one_job(planned, films):
    return pd.concat([films(VALIDATION, split="val"), films(TEST)]), planned({})


def test_the_columns_are_the_promised_ones(one_job):
    assert list(fold_metrics(*one_job).columns) == COLUMNS


def test_a_row_counts_films_and_gives_the_share_trained(one_job):
    row = fold_metrics(*one_job).iloc[0]
    assert (row["n_train"], row["n_val"], row["n_test"], row["n_test_positive"]) == (100, 4, 6, 2)
    assert row["trainable_percent"] == 2.5
    assert row["undefined"] == ""


def test_the_threshold_comes_from_validation_and_is_used_on_test(one_job):
    row = fold_metrics(*one_job).iloc[0]
    assert row["threshold"] == 0.25
    assert (row["sensitivity"], row["specificity"]) == (1 / 2, 3 / 4)
    assert (row["sensitivity_at_val"], row["specificity_at_val"]) == (1, 2 / 4)
    assert row["mcc_at_val"] == pytest.approx(matthews_corrcoef([1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 1]))


def test_a_patient_is_scored_by_the_mean_over_the_test_films_and_labeled_by_the_worst(planned, films):
    test = [
        (0, 0.9, "ann"), (1, 0.3, "ann"),  # positive; mean 0.6: found
        (1, 0.4, "bob"),                   # positive; missed
        (0, 0.9, "cid"), (0, 0.0, "cid"),  # negative; mean 0.45: left alone
        (0, 0.1, "dan"), (0, 0.9, "dan"),  # negative; mean 0.5: called positive
    ]  # fmt: skip
    validation = films([(0, 0.1), (1, 0.9, "ann")], split="val")  # another film of Ann must not count
    row = fold_metrics(pd.concat([films(test), validation]), planned({})).iloc[0]
    assert (row["n_test"], row["n_test_patients"]) == (7, 4)
    assert (row["sensitivity_patient"], row["specificity_patient"]) == (1 / 2, 1 / 2)
    assert row["mcc_patient"] == 0
    assert row["brier_patient"] == pytest.approx((0.4**2 + 0.6**2 + 0.45**2 + 0.5**2) / 4)
    # Above both negatives stands Ann, below them Bob.
    assert row["roc_auc_patient"] == 0.5


def test_with_one_film_a_patient_both_levels_agree(one_job):
    row = fold_metrics(*one_job).iloc[0]
    films = [*METRICS, "threshold", *(f"{name}_at_val" for name in THRESHOLDED)]
    films += [f"{name}_{way}" for way in ("platt", "prior") for name in CALIBRATED]
    at_patient = [re.sub(r"(_at_val|_platt|_prior|)$", r"_patient\1", name, count=1) for name in films]
    assert row[at_patient].tolist() == pytest.approx(row[films].tolist(), abs=1e-12, nan_ok=True)


def test_a_test_fold_of_one_class_is_undefined_with_the_reason(planned, films):
    predictions = pd.concat([films(VALIDATION, split="val"), films([(0, 0.2), (0, 0.7)])])
    row = fold_metrics(predictions, planned({})).iloc[0]
    undefined = ["mcc", "pr_auc", "roc_auc", "balanced_accuracy", "f1", "sensitivity", "ppv", "npv"]
    undefined += ["calibration_slope", "calibration_intercept"]
    assert row[undefined].isna().all()
    assert row["specificity"] == 0.5
    assert row["undefined"].startswith(f"test fold has one class (negative): {', '.join(undefined)}, mcc_at_val")
    named = set(row["undefined"].partition(": ")[2].split(", "))
    assert named == {column for column in COLUMNS if column in row.index[row.isna()] and column not in KEYS}


def test_patients_of_one_class_are_undefined_though_their_films_are_not(planned, films):
    predictions = pd.concat([films(VALIDATION, split="val"), films([(0, 0.2, "ann"), (1, 0.7, "ann")])])
    row = fold_metrics(predictions, planned({})).iloc[0]
    assert row["mcc"] == 1
    assert np.isnan(row["mcc_patient"])
    assert "; test patients have one class (positive): mcc_patient, " in row["undefined"]


@pytest.mark.parametrize(
    ("validation", "reason"),
    [([(1, 0.4), (1, 0.6)], "validation has one class (positive)"), ([], "no validation film")],
)
def test_without_two_classes_in_validation_there_is_no_threshold(planned, films, validation, reason):
    row = fold_metrics(pd.concat([films(validation, split="val"), films(TEST)]), planned({})).iloc[0]
    lost = [column for column in COLUMNS if column.endswith(("_at_val", "_platt", "_prior")) or "threshold" in column]
    assert row[lost].isna().all()
    told, _, columns = row["undefined"].partition(": ")
    assert (told, set(columns.split(", "))) == (reason, set(lost))
    assert row["mcc"] == pytest.approx(matthews_corrcoef([1, 1, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0]))


def test_validation_patients_choose_a_threshold_of_their_own(planned, films):
    validation = [(1, 0.9, "ann"), (1, 0.1, "ann"), (0, 0.4, "bob"), (1, 0.8, "cid"), (0, 0.3, "dan")]
    test = [(1, 0.5), (0, 0.3)]
    row = fold_metrics(pd.concat([films(validation, split="val"), films(test)]), planned({})).iloc[0]
    assert row["threshold"] == pytest.approx(0.6)  # 0.4 and 0.8 are parted; one of three positives lies below
    assert row["threshold_patient"] == pytest.approx(0.45)  # means 0.5 and 0.8 against 0.3 and 0.4
    assert (row["sensitivity_at_val"], row["sensitivity_patient_at_val"]) == (0, 1)


def test_predictive_values_of_nothing_are_named_at_their_threshold(planned, films):
    test = [(1, 0.3), (0, 0.2), (0, 0.28)]
    row = fold_metrics(pd.concat([films(VALIDATION, split="val"), films(test)]), planned({})).iloc[0]
    assert np.isnan(row["ppv"])
    assert row["ppv_at_val"] == 0.5
    assert "nothing is predicted positive: ppv, ppv_patient" in row["undefined"]


def test_rows_stand_by_their_keys_whatever_the_order_given(planned, films):
    jobs = planned({"strategy": "lp", "fold": 1}, {"strategy": "lp", "fold": 0}, {"strategy": "fft", "fold": 10})
    scores = np.random.default_rng(1).random((3, 6))
    predictions = pd.concat(
        [films([(y, s) for (y, _), s in zip(TEST, scores[k], strict=True)], job=f"job{k}") for k in range(3)]
    )
    table = fold_metrics(predictions, jobs)
    assert list(table["job"]) == ["job2", "job1", "job0"]
    shuffled = fold_metrics(predictions.sample(frac=1, random_state=3), jobs.sample(frac=1, random_state=4))
    pd.testing.assert_frame_equal(shuffled, table, check_exact=True)


def test_a_job_that_is_not_done_has_no_row_even_if_predictions_lie_about(planned, films):
    jobs = planned({"fold": 0}, {"fold": 1, "state": "failed"}, {"fold": 2, "state": None})
    table = fold_metrics(pd.concat([films(TEST), films(TEST, job="job1")]), jobs)
    assert list(table["job"]) == ["job0"]


def test_a_study_with_nothing_done_gives_an_empty_table_of_the_same_columns(planned, films):
    table = fold_metrics(films([]), planned({"state": "missing"}))
    assert list(table.columns) == COLUMNS
    assert len(table) == 0


def test_a_job_tested_on_several_cohorts_has_a_row_for_each(planned, films):
    jobs = planned({"validation": "external"}, {"job": "job0", "validation": "external", "test_cohort": "brixia"})
    predictions = pd.concat([films(VALIDATION, split="val"), films(TEST), films([(1, 0.3), (0, 0.2)], cohort="brixia")])
    table = fold_metrics(predictions, jobs).set_index("test_cohort")
    assert list(table["n_test"]) == [2, 6]
    assert list(table["n_val"]) == [4, 4]
    assert list(table["threshold"]) == [0.25, 0.25]
    assert table.loc["brixia", "mcc_at_val"] == 1


def test_whole_numbers_stay_whole_beside_missing_ones(planned, films):
    jobs = planned({"shots": 4, "draw": 0, "regime": "few_shot"}, {})
    table = fold_metrics(pd.concat([films(TEST), films(TEST, job="job1")]), jobs)
    assert [str(shots) for shots in table["shots"]] == ["4", "<NA>"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_score": 1.5}, "has a score outside 0 to 1 (6 in all)"),
        ({"y_score": float("nan")}, "has a score outside 0 to 1"),
        ({"y_true": 2}, "has a true class other than 0 and 1"),
        ({"split": "train"}, "is of a part other than val and test"),
        ({"image": "a.png"}, "stands twice in one job"),
        ({"patient": None}, "has no image, patient or cohort"),
        ({"cohort": "brixia"}, "is a test film of a cohort that its job does not test"),
        ({"split": "val"}, "no test film of cohort hannover is there"),
    ],
)
def test_predictions_that_would_give_a_wrong_number_are_refused_by_the_job(planned, films, change, message):
    with pytest.raises(InputError) as error:
        fold_metrics(films(TEST, **change), planned({}))
    assert "the predictions of job job0" in str(error.value)
    assert message in str(error.value)


def test_jobs_that_cannot_be_told_apart_are_refused(planned, films):
    with pytest.raises(InputError, match=r"2 planned jobs cannot be told apart.*strategy lp"):
        fold_metrics(pd.concat([films(TEST), films(TEST, job="job1")]), planned({}, {}))


@pytest.mark.parametrize(("trainable", "total"), [(0, 0), (None, None)])
def test_what_has_no_parameters_has_no_share_of_them(planned, films, trainable, total):
    row = fold_metrics(films(TEST), planned({"trainable_params": trainable, "total_params": total})).iloc[0]
    assert np.isnan(row["trainable_percent"])


def test_a_missing_column_is_named(planned, films):
    with pytest.raises(InputError, match="columns are missing: seed, protocol"):
        fold_metrics(films(TEST), planned({}).drop(columns=["seed", "protocol"]))
    with pytest.raises(InputError, match="columns are missing: y_score"):
        fold_metrics(films(TEST).drop(columns="y_score"), planned({}))


@pytest.mark.parametrize("score", [0.4, 0.1, 1 / 3, 0.44755244755244755])
def test_equal_scores_of_films_are_equal_scores_of_patients(planned, films, score):
    """A sum of equal numbers over their count is often another number, and would rank patients who are equal."""
    rows = [(patient % 2, score, f"p{patient}") for patient in range(20) for _ in range(patient + 1)]
    validation = films([(0, 0.2), (1, 0.8)], split="val")
    folds = fold_metrics(pd.concat([films(rows), validation]), planned({}))
    assert folds["roc_auc_patient"].item() == 0.5
    assert folds["pr_auc_patient"].item() == 0.5


def test_the_order_of_a_patient_s_films_changes_nothing(planned, films):
    rows = [(0, 0.1, "p"), (0, 0.7, "p"), (0, 0.30000001, "p"), (1, 0.30000001, "q"), (1, 0.1, "q"), (1, 0.7, "q")]
    validation = films([(0, 0.2), (1, 0.8)], split="val")
    folds = fold_metrics(pd.concat([films(rows), validation]), planned({}))
    assert folds["roc_auc_patient"].item() == 0.5
