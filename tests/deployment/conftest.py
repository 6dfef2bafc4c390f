"""A small study of synthetic films with random weights that are called so, and the models that come of it."""

from pathlib import Path

import pytest

STUDY = """\
name: tiny
cohorts: [{path: %s, tasks: [icu]}]
models: [{"timm:test_vit": {weights: "random:11"}}]
strategies: [lp, {lora: {rank: 2}}]
validation: {kfold: {folds: 3}}
protocol: {base: quick, epochs: 2, batch_size: 16, precision: fp32}
controls: [majority, metadata]
"""


@pytest.fixture(scope="session")
def results(tmp_path_factory, phantom: Path) -> Path:
    """The results folder of the study, filled in this process: to start another takes longer than the study."""
    from prognobench.studies import Store, plan_study, read_study
    from prognobench.studies._kit import kit_of
    from prognobench.studies._run import _prepare
    from prognobench.studies._worker import Bench, WorkerSettings

    folder = tmp_path_factory.mktemp("deployed")
    (folder / "study.yaml").write_text(STUDY % phantom, encoding="utf-8")
    plan, store = plan_study(read_study(folder / "study.yaml")), Store(folder / "results")
    bench = Bench(kit_of(plan, plan.jobs), store, WorkerSettings(store.root, 1, 600.0))
    for job in _prepare(store, plan):
        store.write(bench.run(job))
    assert len(store.record_keys()) == 12
    return store.root


@pytest.fixture(scope="session")
def fitted(results, tmp_path_factory):
    """Of each strategy: the model in memory, and its folder."""
    from prognobench.deployment import fit

    root = tmp_path_factory.mktemp("models")
    return {
        strategy: (fit(results, root / strategy, named={"strategy": strategy}, threads=1), root / strategy)
        for strategy in ("lp", "lora_r2")
    }


@pytest.fixture(scope="session")
def reported(results, tmp_path_factory):
    """The report of the study, without figures."""
    from prognobench.reporting import report

    return report(results, tmp_path_factory.mktemp("report"), figures=False)


@pytest.fixture
def folder(fitted, tmp_path):
    """A copy of a model's folder, to be spoiled."""
    import shutil

    return Path(shutil.copytree(fitted["lp"][1], tmp_path / "model"))
