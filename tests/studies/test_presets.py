"""The paper's benchmark as named studies: counted before any film or weights are at hand."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prognobench.cli import app
from prognobench.frame import InputError
from prognobench.models import model_card, readable
from prognobench.studies import (
    estimate,
    plan_study,
    preset_names,
    preset_text,
    preset_titles,
    read_results,
    read_study,
    run_plan,
)
from prognobench.studies._speeds import Work, note_speed
from prognobench.training import processor_name

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("in_this_process")]

# Of the formula in docs/presets.md.
FOLDS = {"AFC": 6, "AFC_m": 6, "CAR": 5, "CC": 5, "NY_small": 5, "NY_all": 5}
SHOTS, CENTER_SHOTS = 5, 4
CNNS, TRANSFORMERS = 4, 7
LEARNED = CNNS * len(["lp", "fft"]) + TRANSFORMERS * (len(["lp", "fft", "bitfit", "ia3"]) + 3 + 3)
CONTROLS = 2 + 3 * (CNNS + TRANSFORMERS)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """The plan of all of it, with no weights, no cohorts and no earlier work at hand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROGNOBENCH_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("PROGNOBENCH_COHORTS", str(tmp_path_factory.mktemp("none") / "cohorts.yaml"))
        yield plan_study(read_study(Path("paper/all")), outline=True)


def test_the_number_of_jobs_is_that_of_the_formula(everything):
    units = (
        sum(FOLDS.values())
        + SHOTS * sum(folds for task, folds in FOLDS.items() if task != "NY_all")
        + CENTER_SHOTS * (FOLDS["AFC"] + FOLDS["AFC_m"])
    )
    assert len(everything.jobs) + sum(pair.jobs for pair in everything.left_out) == units * (LEARNED + CONTROLS)
    assert len({job.key for job in everything.jobs}) == len(everything.jobs)


def test_the_docs_print_the_same_formula(everything):
    page = (Path(__file__).parents[2] / "docs" / "presets.md").read_text(encoding="utf-8")
    told = [int(number.replace(",", "")) for number in re.findall(r"= \*\*([\d,]+)\*\*", page)]
    left_out = sum(pair.jobs for pair in everything.left_out)
    assert told == [len(everything.jobs) + left_out, left_out, len(everything.jobs)]


def test_what_cannot_work_is_left_out_with_its_reason(everything):
    reasons = {(pair.task, pair.model, pair.strategy) for pair in everything.left_out}
    swin = {strategy for _, model, strategy in reasons if model == "medclip_swin"}
    assert swin == {"vera_r4_paper", "vera_r8_paper", "vera_r16_paper"}
    short = {(task, strategy) for task, model, strategy in reasons if not model}
    assert short == {
        ("CAR", "few_shot_full_val with 32 shots"),
        ("AFC_m", "center_few_shot_full_val with 16 shots"),
    }


def test_a_plan_without_data_says_what_stands_in_for_it(everything):
    told = " ".join(everything.outlines)
    assert all(f"Cohort {name}" in told for name in ("aiforcovid", "covid19ar", "cocross", "stonybrook"))
    assert "published counts" in told
    assert "Weights that are not here yet: resnet18" in told


def test_it_counts_the_work(everything):
    work = estimate(everything)
    assert work.measured == 0
    # Each film of a cohort goes once through each frozen network, pretrained and three times at random; what is more
    # is validation and scoring of the jobs that train.
    frozen = (1585 + 99 + 389 + 13639) * (CNNS + TRANSFORMERS) * 4
    assert work.forwards > frozen
    assert work.training_passes > work.steps > 0
    assert json.dumps(everything.to_json())


def test_every_named_study_has_a_line_that_says_what_it_is():
    titles = preset_titles()
    assert list(titles) == preset_names()
    assert titles["paper/afc_center_few_shot"] == (
        "AFC of aiforcovid, center_few_shot with 2, 4, 8, 16 shots, loco_paper"
    )
    assert titles["paper/full"] == "6 tasks (AFC, AFC_m, CAR, CC, NY_small, NY_all), all films"
    assert titles["paper/all"].endswith("all of full, few_shot, center_few_shot")
    lines = CliRunner().invoke(app, ["presets"]).output.splitlines()
    assert [line.split()[0] for line in lines] == preset_names()
    assert all(line.endswith(title) for line, title in zip(lines, titles.values(), strict=True))


def test_it_cannot_be_run(everything, tmp_path):
    with pytest.raises(InputError, match="published counts"):
        run_plan(everything, tmp_path / "results")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("paper/AFC_death", "paper/afc_m"),
        ("paper/CAR", "paper/car"),
        ("paper/CoCross", "paper/cc"),
        ("paper/NY", "paper/ny_small"),
        ("paper/NY_FSL", "paper/ny_small_few_shot"),
        ("paper/AFC_CFSL", "paper/afc_center_few_shot"),
        ("paper/AFC_VANILLA", "paper/afc"),
    ],
)
def test_the_authors_names_answer(name, plain):
    assert preset_text(name) == preset_text(plain)


def test_every_name_is_a_study_that_reads():
    for name in preset_names():
        assert read_study(Path(name)).blocks


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(InputError, match=r"no study is called 'paper/carr'. Did you mean 'paper/car'"):
        read_study(Path("paper/carr"))


def test_the_values_of_the_paper_stand_in_the_blocks():
    car, afc = read_study(Path("paper/car")).blocks, read_study(Path("paper/afc")).blocks
    assert {block.protocol.batch_size for block in car} == {32}
    assert {block.protocol.batch_size for block in afc} == {128}
    assert {block.validation.label for block in car} == {"kfold5_paper"}
    assert {block.validation.label for block in afc} == {"loco_paper"}
    few = read_study(Path("paper/cc_few_shot")).blocks
    assert {regime.shots for block in few for regime in block.regimes} == {2, 4, 8, 16, 32}
    assert {block.protocol.head_learning_rates for block in few} == {(0.01, 0.001, 0.0001), (0.001,)}


def test_speeds_measured_here_are_used_where_there_are_any(everything, monkeypatch):
    monkeypatch.setattr("prognobench.training.gflops_a_second", lambda precision: 100.0)
    guessed = estimate(everything)
    job = next(job for job in everything.jobs if (job.model, job.strategy) == ("dinov2_l", "fft"))
    architecture, precision = everything.card(job).architecture, job.details["precision"]
    work = Work(processor_name(), os.cpu_count() or 1, architecture, "backbone", precision)
    note_speed(work, gflops=1.0 * 100, seconds=100)
    slow = estimate(everything)
    assert 0 < slow.measured < 1
    # At 10⁹ such operations a second, these jobs alone last that many seconds; the others last as before.
    alone = slow.measured * (slow.forward_gflops + slow.training_gflops)
    assert slow.seconds == pytest.approx(alone + (1 - slow.measured) * guessed.seconds, rel=0.2)


# What the authors' public configuration (cosbidev/Deep-Sick at 99b9fb0) says of each study; its files in comments.
BATCH = {"afc": 128, "afc_m": 128, "car": 32, "cc": 64, "ny_small": 128, "ny_all": 128}  # databases/*.yaml
FEW_SHOT, CENTER_FEW_SHOT = (2, 4, 8, 16, 32), (2, 4, 8, 16)  # few_shot_learning.yaml, center_few_shot_learning.yaml
CNN_IDS = {"resnet18", "resnet50", "densenet121", "medclip_resnet"}  # launch_bash.py
VIT_IDS = {"dinov2_s", "dinov2_b", "dinov2_l", "clip_l", "pubmedclip", "biomedclip"}
RANKS = (4, 8, 16)  # feature_tuning/LoRa.yaml, VeRA.yaml
ADAPTED = {*(f"{kind}_r{rank}_paper" for kind in ("lora", "vera") for rank in RANKS), "bitfit", "ia3_paper"}
HEAD_RATES = (0.01, 0.001, 0.0001)  # experiment/*.yaml
HEAD_GRID = {(1, False), (1, True), (4, False), (4, True)}  # models/*.yaml
SINGLES = [
    name for name in preset_names() if name.removeprefix("paper/") not in ("full", "few_shot", "center_few_shot", "all")
]


def cells(name):
    """Every model and strategy of a named study with its block."""
    for block in read_study(Path(name)).blocks:
        for entry in block.models:
            for strategy in block.strategies:
                yield model_card(entry.name).id, strategy, block


@pytest.mark.parametrize("name", SINGLES)
def test_models_and_strategies_are_those_of_the_authors(name):
    found = {(model, strategy.label) for model, strategy, _ in cells(name)}
    cnn = {(model, strategy) for model in CNN_IDS for strategy in ("lp", "fft")}
    other = {(model, strategy) for model in VIT_IDS | {"medclip_swin"} for strategy in ADAPTED | {"lp", "fft"}}
    assert found == cnn | other
    assert len(list(cells(name))) == len(found)


@pytest.mark.parametrize("name", SINGLES)
def test_every_published_value_is_that_of_the_cell(name):
    task = next(task for task in sorted(BATCH, key=len, reverse=True) if name.startswith(f"paper/{task}"))
    kind = name.removeprefix(f"paper/{task}").strip("_") or "full"
    for model, strategy, block in cells(name):
        protocol, label = block.protocol, strategy.label
        assert protocol.batch_size == BATCH[task]
        assert block.seeds == (42,)
        assert [regime.shots for regime in block.regimes] == list(
            {"full": (None,), "few_shot": FEW_SHOT, "center_few_shot": CENTER_FEW_SHOT}[kind]
        )
        assert block.validation.label == ("loco_paper" if task.startswith("afc") else "kfold5_paper")
        assert protocol.adapter_rate(strategy.card.name) == 1e-4  # feature_tuning/*.yaml
        assert protocol.backbone_learning_rate == 1e-5  # feature_tuning/full.yaml
        one_rate = label == "vera_r8_paper" and kind == "few_shot"  # linear_probing_VeRA_FSL_8_test_all.yaml
        assert protocol.head_learning_rates == ((0.001,) if one_rate else HEAD_RATES)
        one_head = label == "ia3_paper" and kind == "full"  # hyperparameters/override.yaml
        # Swin has one pooled vector here, though the authors list a ViT's grid for it (docs/presets.md).
        whole = {(1, False)} if one_head or model not in VIT_IDS else HEAD_GRID
        assert set(readable(model_card(model), protocol.head.readouts)) == whole
        resolved = strategy.under(protocol).resolved()
        if strategy.card.name == "lora":
            assert (resolved["alpha"], resolved["dropout"]) == (1, 0.1)  # feature_tuning/LoRa.yaml
        if strategy.card.name == "vera":
            assert resolved["dropout"] == 0.1  # feature_tuning/VeRA.yaml


def test_a_named_study_runs_on_films_whose_place_the_user_gives(phantom, tmp_path, monkeypatch):
    shutil.copytree(phantom.parent, tmp_path / "car")
    cohort = tmp_path / "car" / "cohort.yaml"
    cohort.write_text(cohort.read_text().replace("  icu:", "  CAR:"), encoding="utf-8")
    overrides = ['models=[{"timm:test_vit": {weights: random}}]', "strategies=[lp]", "controls=[majority]"]
    overrides.append("protocol={base: paper_debug, batch_size: 16}")
    monkeypatch.setenv("PROGNOBENCH_COHORTS", str(tmp_path / "cohorts.yaml"))
    given = plan_study(read_study(Path("paper/car"), overrides, [f"covid19ar={tmp_path / 'car'}"]))
    (tmp_path / "cohorts.yaml").write_text("covid19ar: car\n")
    listed = plan_study(read_study(Path("paper/CAR"), overrides))
    assert [job.key for job in given.jobs] == [job.key for job in listed.jobs]
    summary = run_plan(given, tmp_path / "results", threads=1)
    assert (summary.done, summary.failed) == (2 * 5, [])
    predictions, jobs = read_results(tmp_path / "results")
    assert set(jobs["validation"]) == {"kfold5_paper"}
    tested = predictions[
        (predictions["split"] == "test") & predictions["job"].isin(jobs.loc[jobs["strategy"] == "lp", "job"])
    ]
    assert len(tested) == tested["image"].nunique() == len(given.cohorts["phantom"].task("CAR").rows)
