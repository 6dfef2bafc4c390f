"""A model is above its controls where the films tell the outcome, and not where the view alone does."""

import pandas as pd
import pytest

from prognobench.cohorts import make_phantom
from prognobench.reporting import report
from prognobench.studies import plan_study, read_study, run_plan

pytestmark = [pytest.mark.torch, pytest.mark.slow]
STUDY = """\
name: controls
cohorts: [cohort/cohort.yaml]
models: [efficientnet_lite0]
strategies: [lp]
validation: {kfold: {folds: 3}}
protocol: quick
"""


@pytest.fixture
def compared(pretrained, tmp_path, monkeypatch):
    """Make a phantom, run the study on it, and return its rows of controls.csv and summary.csv."""
    monkeypatch.setenv("PROGNOBENCH_HOME", str(pretrained))

    def run(**phantom):
        settings = {"films_per_patient": (1, 1), "prevalence": 0.5, "size": 224} | phantom
        make_phantom(tmp_path / "cohort", 150, 0, **settings)
        (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
        summary = run_plan(plan_study(read_study(tmp_path / "study.yaml")), tmp_path / "results", workers=2, threads=1)
        assert (summary.done, summary.failed) == (3 + 3 + 9 + 3, [])
        files = report(tmp_path / "results", tmp_path / "report").files
        (row,) = pd.read_csv(files["controls"]).to_dict("records")
        return row, pd.read_csv(files["summary"]).set_index("strategy")["mcc_mean"]

    return run


def test_with_a_signal_and_no_confound_the_model_is_above_its_controls(compared):
    row, mcc = compared(signal=1)
    assert row["above_controls"]
    assert row["ci_low"] > 0
    # Opacities are large, so even random weights see something of them; the view tells nothing.
    assert row["control"] == "random"
    assert mcc["lp"] > mcc["random"] > mcc["metadata"]


def test_with_a_view_confound_and_no_signal_it_is_not(compared):
    row, mcc = compared(signal=0, view_confound=0.9)
    # By itself the result would look splendid.
    assert mcc["lp"] > 0.6
    assert row["control"] == "metadata"
    assert mcc["metadata"] > 0.7
    assert not row["above_controls"]
