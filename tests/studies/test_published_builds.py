"""From the raw files of each published cohort to a finished study of synthetic films and random weights."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from prognobench.cli import app
from prognobench.cohorts import build_cohort, cohort_cards, describe, load_cohort, make_layout

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("in_this_process")]

STUDY = """\
name: built
cohorts: [{path: %s, tasks: [%s]}]
models: [{"timm:test_vit": {weights: random}}]
strategies: [lp]
validation: {kfold: {folds: 3}}
protocol: quick
controls: [majority]
"""
# What the audit finds in 24 synthetic patients besides their being few.
EXPECTED = {
    "aiforcovid": {("one-class center", ("Hospital",))},
    "stonybrook": {("identifier", ("visit_start_datetime",))},
}


@pytest.mark.parametrize("name", sorted(cohort_cards()))
def test_raw_files_become_a_finished_study(tmp_path, name):
    from prognobench.studies import plan_study, read_study, run_plan

    planted = make_layout(name, tmp_path / "raw", 24, 1, size=96)
    built = build_cohort(name, tmp_path / "raw", tmp_path / "cohort", workers=1)
    described = describe(load_cohort(built.path))
    found = _checked(built.path)
    assert {one for one in found if one[0] != "few positives"} == EXPECTED.get(name, set())
    task = cohort_cards()[name].tasks[0].name
    films, patients, positive = planted.tasks[task]
    told = described["tasks"][task]
    assert (told["films"], told["patients"], told["classes"]["positive"]["films"]) == (films, patients, positive)
    (tmp_path / "study.yaml").write_text(STUDY % (built.path, task), encoding="utf-8")
    plan = plan_study(read_study(tmp_path / "study.yaml"))
    summary = run_plan(plan, tmp_path / "results", threads=1)
    assert (summary.done, summary.failed) == (6, [])


def _checked(path):
    """Return what `cohort check` finds, by the names of the checks and columns."""
    result = CliRunner().invoke(app, ["cohort", "check", str(path), "--folds", "3", "--json"])
    assert result.exit_code == 0, result.output
    findings = json.loads(result.output)["audit"]["findings"]
    assert "few positives" in {one["check"] for one in findings}  # of 24 patients there are
    return {(one["check"], tuple(one["columns"])) for one in findings}
