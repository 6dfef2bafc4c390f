"""The data of reliability diagrams: bins counted by hand and held against ECE."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from prognobench.evaluation import fold_metrics, reliability


def study(planned, films, several=False):
    rng = np.random.default_rng(2)
    jobs = [{"strategy": s, "fold": f, "seed": seed} for s in ("lp", "fft") for f in (0, 1) for seed in (1, 2)]
    tables = []
    for place, job in enumerate(jobs):
        for split, n in (("val", 20), ("test", 31)):
            rows = [
                (int(rng.random() < p), p, f"{split}{job['fold']}-{i // 2 if several else i}")
                for i, p in enumerate(rng.random(n).round(2))
            ]
            tables.append(films(rows, job=f"job{place}", split=split))
    return pd.concat(tables), planned(*jobs)


def test_bins_add_up_over_folds_and_seeds(planned, films):
    predictions, jobs = study(planned, films, several=True)
    table = reliability(predictions, jobs, level="film")
    raw = table[(table["strategy"] == "lp") & (table["calibration"] == "raw")].set_index("bin_low")
    assert raw["n"].sum() == 4 * 31
    of_lp = predictions["job"].isin(jobs.loc[jobs["strategy"] == "lp", "job"])
    cases = predictions[of_lp & (predictions["split"] == "test")]
    assert (raw["n_patients"] < raw["n"]).any()
    for low, row in raw.iterrows():
        within = cases[(cases["y_score"] > low) & (cases["y_score"] <= row["bin_high"])]
        assert (row["n"], row["n_patients"]) == (len(within), within["patient"].nunique())
        assert row["mean_score"] == pytest.approx(within["y_score"].mean())
        assert row["share_positive"] == pytest.approx(within["y_true"].mean())
    low, high = proportion_confint(row["share_positive"] * row["n_patients"], row["n_patients"], method="wilson")
    assert (row["share_ci_low"], row["share_ci_high"]) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize("several", [False, True])
def test_the_gaps_of_one_job_make_its_ece(planned, films, several):
    predictions, jobs = study(planned, films, several)
    jobs, predictions = jobs.iloc[:1], predictions[predictions["job"] == "job0"]
    table, folds = reliability(predictions, jobs), fold_metrics(predictions, jobs).iloc[0]
    level, ending = ("patient", "_patient") if several else ("film", "")
    assert set(table["level"]) == {level}
    for way, column in (("raw", "ece"), ("platt", "ece_platt"), ("prior", "ece_prior")):
        bins = table[table["calibration"] == way]
        gap = (bins["mean_score"] - bins["share_positive"]).abs()
        assert (gap * bins["n"]).sum() / bins["n"].sum() == pytest.approx(folds[column.replace("ece", f"ece{ending}")])


def test_what_is_not_recalibrated_is_said(planned, films):
    jobs = planned({"fold": 0}, {"fold": 1})
    test = [(1, 0.9), (0, 0.2), (0, 0.4)]
    validation = films([(0, 0.1), (1, 0.8)], split="val")
    one_class = films([(0, 0.1), (0, 0.8)], split="val", job="job1")
    table = reliability(pd.concat([films(test), validation, films(test, job="job1"), one_class]), jobs)
    assert table.groupby("calibration")["n"].sum().to_dict() == {"raw": 6, "platt": 3, "prior": 3}
    assert set(table.loc[table["calibration"] == "raw", "undefined"]) == {""}
    assert set(table.loc[table["calibration"] != "raw", "undefined"]) == {"validation has one class: 1 of 2 jobs"}


def test_nothing_done_is_an_empty_table(planned, films):
    table = reliability(films([]), planned({"state": "missing"}))
    assert table.empty
    assert "share_ci_low" in table
