"""A plan holds the audit of its cohorts, made for as many folds as it cuts; what an audit forbids stops it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prognobench.cli import app
from prognobench.cohorts import Finding, audit
from prognobench.frame import InputError
from prognobench.studies import Store, _plan, plan_study, read_audits, read_study
from prognobench.studies._run import _keep_plan

pytestmark = pytest.mark.torch


def test_every_cohort_is_audited_as_finely_as_it_is_cut(study_file: Path) -> None:
    plan = plan_study(read_study(study_file))
    assert list(plan.audits) == ["phantom"]
    assert plan.audits["phantom"].folds == 3
    assert plan_study(read_study(study_file, ["validation={kfold: {folds: 4}}"])).audits["phantom"].folds == 4
    holdout = plan_study(read_study(study_file, ["validation={holdout: {}}"]))
    assert holdout.audits["phantom"].folds == 5


def test_what_was_counted_in_the_splits_replaces_the_estimate(study_file: Path) -> None:
    told = plan_study(read_study(study_file, ["validation={loco: {}}"])).audits["phantom"].findings
    (few,) = [one for one in told if one.check == "few positives"]
    assert few.what.startswith("loco tests few groups of patients (3 positive in fold")
    assert told[0] is few
    assert not any("shared out to" in one.what for one in told)


def test_what_an_audit_forbids_stops_a_study_before_it_begins(study_file: Path, monkeypatch) -> None:
    def forbidding(cohort, *, folds):
        error = Finding("test", "error", "this is forbidden", "Do otherwise")
        return replace(audit(cohort, folds=folds), findings=(error,))

    monkeypatch.setattr(_plan, "audit", forbidding)
    with pytest.raises(InputError, match=r"this is forbidden\. Do otherwise"):
        plan_study(read_study(study_file))


def test_only_what_is_planned_is_told(study_file: Path, monkeypatch) -> None:
    def of_more(cohort, *, folds):
        more = [Finding("test", "warning", what, "Do", task) for what, task in (("one", "icu"), ("other", "death"))]
        rows = [{"task": task, "column": "view"} for task in ("icu", "death")]
        return replace(audit(cohort, folds=folds), findings=tuple(more), tables={"confounds": rows, "duplicates": [{}]})

    monkeypatch.setattr(_plan, "audit", of_more)
    found = plan_study(read_study(study_file)).audits["phantom"]
    assert [one.what for one in found.findings if one.check == "test"] == ["one"]
    assert found.tables == {"confounds": [{"task": "icu", "column": "view"}], "duplicates": [{}]}


def test_pictures_that_no_plan_names_any_more_go_with_the_next_run(study_file: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    left = store.root / "audits" / "left.json"
    left.parent.mkdir(parents=True)
    left.write_text("{}")
    _keep_plan(store, plan_study(read_study(study_file)))
    assert not left.exists()
    assert list(read_audits(store.root)) == ["phantom"]


def test_warnings_are_told_and_stop_nothing(study_file: Path) -> None:
    told = CliRunner().invoke(app, ["plan", str(study_file), "validation={holdout: {}}"])
    assert told.exit_code == 0
    output = " ".join(told.output.split())
    assert "audit of phantom: 1 warning" in output
    assert "icu: holdout tests few groups of patients (2 positive" in output
    assert output.count("few groups of patients") == 2  # that it tests, and that it validates on
    assert "→ Use kfold, which tests every film" in output
    assert "shared out to" not in output
