"""A third-party package adds a backbone and a strategy by entry point, without touching this one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.torch, pytest.mark.slow]

PROVE = """
from prognobench.models import find_weights, load_backbone, model_card
from prognobench.strategies import parse_strategies, prove
card = model_card("tiny_vit")
(norms,) = parse_strategies(["norms"])
print(prove(norms, load_backbone(card, find_weights(card, "random")), card).failures())
"""
STUDY = """\
name: plugged
cohorts: [{path: %s, tasks: [icu]}]
models: [{tiny_vit: {weights: random}}]
strategies: [norms]
validation: {kfold: {folds: 3}}
protocol: {base: quick, epochs: 1}
controls: [majority]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The environment of a user who has installed the package."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(Path(__file__).parent, folder / "source", ignore=shutil.ignore_patterns("__pycache__", "test_*"))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(folder / "site"), str(folder / "source")], check=True)
    return {**os.environ, "PYTHONPATH": str(folder / "site")}


def output(environment, *command):
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_both_are_listed(installed):
    verbs = [sys.executable, "-m", "prognobench.cli"]
    assert "tiny_vit" in json.loads(output(installed, *verbs, "models", "--json"))
    assert json.loads(output(installed, *verbs, "strategies", "--json"))["norms"]["title"] == "Norm tuning"
    rows = json.loads(output(installed, *verbs, "strategies", "--matrix", "--json"))
    (row,) = [row for row in rows if (row["model"], row["strategy"]) == ("tiny_vit", "norms")]
    assert (row["status"], row["trainable_params"] > 0) == ("ok", True)


def test_the_strategy_is_proved_like_any_other(installed):
    assert output(installed, sys.executable, "-c", PROVE).strip() == "[]"


def test_they_run_in_a_study(installed, phantom, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY % phantom, encoding="utf-8")
    command = [sys.executable, "-m", "prognobench.cli", "run", str(tmp_path / "study.yaml")]
    said = output(installed, *command, "--results", str(tmp_path / "results"))
    assert "6 of 6 jobs have a record" in " ".join(said.split())
