"""From the raw files of each published cohort to a finished study of synthetic films and random weights."""

from __future__ import annotations

import pytest

from prognobench.cohorts import build_cohort, cohort_cards, describe, load_cohort, make_layout

pytestmark = pytest.mark.torch

STUDY = """\
name: built
cohorts: [{path: %s, tasks: [%s]}]
models: [{"timm:test_vit": {weights: random}}]
strategies: [lp]
validation: {kfold: {folds: 3}}
protocol: quick
controls: [majority]
"""


@pytest.mark.parametrize("name", sorted(cohort_cards()))
def test_raw_files_become_a_finished_study(tmp_path, name):
    from prognobench.studies import plan_study, read_study, run_plan

    planted = make_layout(name, tmp_path / "raw", 24, 1, size=96)
    built = build_cohort(name, tmp_path / "raw", tmp_path / "cohort", workers=1)
    described = describe(load_cohort(built.path))
    task = cohort_cards()[name].tasks[0].name
    films, patients, positive = planted.tasks[task]
    told = described["tasks"][task]
    assert (told["films"], told["patients"], told["classes"]["positive"]["films"]) == (films, patients, positive)
    (tmp_path / "study.yaml").write_text(STUDY % (built.path, task), encoding="utf-8")
    plan = plan_study(read_study(tmp_path / "study.yaml"))
    summary = run_plan(plan, tmp_path / "results", threads=1)
    assert (summary.done, summary.failed) == (6, [])
