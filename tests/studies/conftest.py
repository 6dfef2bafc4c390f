"""Tiny studies of synthetic films, with random weights that are called so."""

from pathlib import Path

import pytest

TINY = """\
name: tiny
cohorts: [{path: %s, tasks: [icu]}]
models: [{"timm:test_vit": {weights: random}}]
strategies: [lp, {lora: {rank: 2}}]
validation: {kfold: {folds: 3}}
protocol: {base: quick, epochs: 1, batch_size: 32}
controls: [majority]
"""


@pytest.fixture
def study_file(tmp_path: Path, phantom: Path) -> Path:
    """A study of nine jobs that takes seconds."""
    path = tmp_path / "study.yaml"
    path.write_text(TINY % phantom, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory, phantom: Path) -> Path:
    """The results folder of that study, done by an undisturbed run with one thread."""
    from prognobench.studies import plan_study, read_study, run_plan

    folder = tmp_path_factory.mktemp("finished")
    (folder / "study.yaml").write_text(TINY % phantom, encoding="utf-8")
    summary = run_plan(plan_study(read_study(folder / "study.yaml")), folder / "results", threads=1)
    assert (summary.done, summary.failed) == (9, [])
    return folder / "results"
