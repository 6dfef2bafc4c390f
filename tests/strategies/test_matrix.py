"""The matrix: exact counts, refusals with their reason, and the proof of every pair at full size."""

import json
import re

import pytest
import torch
from typer.testing import CliRunner

from prognobench.cli import app
from prognobench.frame import InputError
from prognobench.models import model_card, model_cards
from prognobench.strategies import matrix_lines, matrix_rows, parse_strategies
from prognobench.strategies._layer_faults import on_meta
from prognobench.strategies._matrix import matrix_strategies, proved_pairs, proved_rows, write_proved_pairs

pytestmark = pytest.mark.torch

# Counted by hand from the authors' configurations, for ranks 4, 8 and 16, heads excluded: LoRA r(in + out), VeRA
# out + r, BitFit every bias, IA³ 8 times the width a block.
PAPER = {
    "dinov2_s": {
        "lora": (258_048, 516_096, 1_032_192), "vera": (13_872, 13_920, 14_016), "bitfit": (51_456,), "ia3": (36_864,),
    },
    "dinov2_b": {
        "lora": (516_096, 1_032_192, 2_064_384), "vera": (27_696, 27_744, 27_840), "bitfit": (102_912,),
        "ia3": (73_728,),
    },
    "biomedclip": {
        "lora": (516_096, 1_032_192, 2_064_384), "vera": (27_696, 27_744, 27_840), "bitfit": (102_912,),
        "ia3": (73_728,),
    },
    "dinov2_l": {
        "lora": (1_376_256, 2_752_512, 5_505_024), "vera": (73_824, 73_920, 74_112), "bitfit": (272_384,),
        "ia3": (196_608,),
    },
    "clip_l": {
        "lora": (589_824, 1_179_648, 2_359_296), "vera": (74_016, 74_304, 74_880), "bitfit": (272_384,),
        "ia3": (196_608,),
    },
    "pubmedclip": {
        "lora": (221_184, 442_368, 884_736), "vera": (27_792, 27_936, 28_224), "bitfit": (102_912,), "ia3": (73_728,),
    },
    "medclip_swin": {"lora": (282_624, 565_248, 1_130_496), "vera": (), "bitfit": (52_224,), "ia3": (35_328,)},
}  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    return matrix_rows()


def counts(rows, **wanted):
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return tuple(row["trainable_params"] for row in found if row["status"] == "ok")


@pytest.mark.parametrize("model", PAPER)
def test_the_paper_s_variant_trains_as_many_numbers_as_its_configurations_say(rows, model):
    for strategy, expected in PAPER[model].items():
        variant = None if strategy == "bitfit" else "paper"
        assert counts(rows, model=model, strategy=strategy, variant=variant) == expected


@pytest.mark.parametrize(("model", "expected"), [("dinov2_s", 27_648), ("dinov2_b", 55_296), ("biomedclip", 55_296)])
def test_the_published_ia3_trains_six_numbers_a_channel_and_block(rows, model, expected):
    assert counts(rows, model=model, strategy="ia3", variant="published") == (expected,)


def test_the_standard_strategies_on_dinov2_s_are_those_of_the_paper(rows):
    for strategy in ("lora", "vera"):
        standard = counts(rows, model="dinov2_s", strategy=strategy, variant="standard")
        assert standard == PAPER["dinov2_s"][strategy]


def test_separate_projections_are_slices():
    card = model_card("clip_l")
    with torch.device("meta"):
        import timm

        backbone = timm.create_model(card.architecture, **card.build)
    (lora,) = parse_strategies([{"lora": {"rank": 4, "variant": "paper"}}])
    plan = lora.plan(backbone, card)
    assert plan.by_role() == {"attention.qkv[q]": 24, "attention.qkv[k]": 24, "attention.qkv[v]": 24}
    assert [target.rows for target in plan.targets[:3]] == [(0, 1024), (1024, 2048), (2048, 3072)]


def test_every_pair_is_in_the_matrix_once(rows):
    keys = [(row["model"], row["strategy"], row["rank"], row["variant"]) for row in rows]
    assert len(keys) == len(set(keys)) == len(model_cards()) * len(matrix_strategies())
    assert {row["rank"] for row in rows if row["strategy"] in ("lora", "vera")} == {4, 8, 16}
    assert {row["status"] for row in rows} == {"ok", "refused"}


def test_a_refused_pair_says_why_and_has_no_count(rows):
    for row in rows:
        assert bool(row["reason"]) == (row["trainable_params"] is None) == (row["status"] == "refused")
    reasons = {row["reason"] for row in rows if row["model"] == "medclip_swin" and row["status"] == "refused"}
    assert reasons == {"the authors' VeRA needs layers of one shape, those of medclip_swin differ from stage to stage"}
    for row in rows:
        if row["variant"] == "paper" and model_card(row["model"]).family == "cnn":
            assert row["reason"].startswith("the authors of the paper list no modules")


@pytest.mark.parametrize("model", [card.id for card in model_cards().values() if "ia3.feedforward" in card.paper])
def test_ia3_scales_inputs_where_the_authors_call_a_module_feed_forward(model):
    card = model_card(model)
    from prognobench.strategies._ia3 import _at_input

    assert tuple(role for role in card.paper["ia3"] if _at_input(role)) == card.paper["ia3.feedforward"]


def test_lines_for_people_put_the_ranks_side_by_side(rows):
    lines = {(line["model"], line["strategy"], line["variant"]): line for line in matrix_lines(rows)}
    assert lines["dinov2_s", "lora", "paper"]["trained"] == "258,048 / 516,096 / 1,032,192"
    assert lines["medclip_swin", "vera", "paper"]["status"] == "refused"


def test_the_command_line_prints_it(rows, monkeypatch):
    monkeypatch.setattr("prognobench.strategies.matrix_rows", lambda: rows)
    done = CliRunner().invoke(app, ["strategies", "--matrix", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == rows


def test_the_command_line_prints_it_for_people(rows, monkeypatch):
    monkeypatch.setattr("prognobench.strategies.matrix_rows", lambda: rows)
    printed = CliRunner().invoke(app, ["strategies", "--matrix"], env={"COLUMNS": "160"}).stdout
    assert re.search(r"medclip_swin +│ vera \(paper\) +│ +│ refused", printed)
    assert re.search(r"dinov2_s +│ bitfit +│ 51,456 +│ ok", printed)


def test_a_failed_proof_is_a_row_of_the_matrix(monkeypatch):
    """Where every backbone stands still, every strategy that trains something fails."""
    monkeypatch.setattr("prognobench.models.load_backbone", lambda card, weights: Still(card))
    monkeypatch.setattr("prognobench.strategies._matrix.matrix_strategies", lambda: parse_strategies(["bitfit", "lp"]))
    bitfit, probe = matrix_rows(prove=True, models=["resnet18"])
    assert (bitfit["status"], probe["status"]) == ("failed", "ok")
    assert (bitfit["proved"], probe["proved"]) == (False, True)
    assert "no gradient reaches" in bitfit["reason"]


class Still(torch.nn.Module):
    def __init__(self, card):
        super().__init__()
        self.unused = torch.nn.Linear(4, 4)

    def forward(self, images):
        return torch.ones(len(images), 8)


def test_a_refused_pair_has_no_plan(rows):
    refused = [row for row in rows if row["status"] == "refused"]
    assert refused
    for row in refused:
        settings = {key: row[key] for key in ("variant", "rank") if row[key] is not None}
        (strategy,) = parse_strategies([{row["strategy"]: settings}])
        card = model_card(row["model"])
        with pytest.raises(ValueError, match=strategy.card.title):
            strategy.plan(on_meta(card), card)


def test_every_pair_that_is_not_refused_is_recorded_as_proved(rows):
    assert [row for row in rows if row["proved"] != (row["status"] == "ok")] == []
    assert sum(map(len, proved_pairs().values())) == sum(row["proved"] for row in rows)


def test_a_pair_that_trains_other_numbers_than_were_proved_is_not_proved(monkeypatch):
    recorded = {"resnet18": {"lp": 0, "bitfit": 1}}
    monkeypatch.setattr("prognobench.strategies._matrix.proved_pairs", lambda: recorded)
    rows = {row["strategy"]: row["proved"] for row in matrix_rows(models=["resnet18"])}
    assert (rows["lp"], rows["bitfit"], rows["fft"]) == (True, False, False)
    lines = {line["strategy"]: line["proved"] for line in matrix_lines(matrix_rows(models=["resnet18"]))}
    assert (lines["lp"], lines["bitfit"]) == ("yes", "no")


def test_a_new_record_takes_the_place_of_a_model_s_old_one(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "prognobench.strategies._matrix.proved_pairs", lambda: {"resnet18": {"x": 1}, "clip_l": {"lp": 0}}
    )
    row = {"model": "resnet18", "strategy": "lora", "variant": "paper", "rank": 4, "trainable_params": 7}
    write_proved_pairs([row | {"proved": True}, row | {"rank": 8, "proved": False}], tmp_path / "proved.json")
    assert json.loads((tmp_path / "proved.json").read_text()) == {"clip_l": {"lp": 0}, "resnet18": {"lora paper 4": 7}}


def test_models_are_chosen_by_any_of_their_names(rows):
    assert matrix_rows(models=["vits14_pretrain"]) == [row for row in rows if row["model"] == "dinov2_s"]
    assert {row["model"] for row in matrix_rows(models=["timm:test_vit"])} == {"timm:test_vit"}
    with pytest.raises(InputError, match="Did you mean 'resnet18'"):
        matrix_rows(models=["resnet18x"])


def chosen(card):
    """All ranks, but of the large models, whose record holds them too, the middle one: they would take half an hour."""
    middle = card.parameters > 80_000_000
    return [s for s in matrix_strategies() if not middle or getattr(s.settings, "rank", 8) == 8]


@pytest.mark.slow
@pytest.mark.parametrize("model", model_cards())
def test_the_pairs_of_the_matrix_are_proved_at_full_size_as_recorded(rows, model):
    card = model_card(model)
    proved = proved_rows(card, chosen(card))
    assert [row for row in proved if row["status"] == "failed"] == []
    assert len(proved) == len(chosen(card))
    assert all(row in rows for row in proved)
