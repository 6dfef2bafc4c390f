"""Figures show what the tables hold, say what they lack, and are the same bytes for the same tables."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from synthetic_tables import CELL, study_tables

from prognobench.evaluation import CONTROLS
from prognobench.reporting._csv import csv_text
from prognobench.reporting._families import families
from prognobench.reporting._shown import natural, short, signed
from prognobench.reporting.figures import FIGURES, Shown, house_style, write_figures
from prognobench.reporting.figures._pareto import _fronts
from prognobench.reporting.figures._second import write_by_two

NAMES = [figure.name for figure in FIGURES]
TYPICAL = {
    "models": ("efficientnet_lite0", "dinov2_s"),
    "strategies": ("lp", "lora_r8", "fft"),
    "tasks": ("icu", "icu_early"),
    "regimes": (("full", None), ("few_shot", 2), ("few_shot", 8)),
    "holes": (("dinov2_s", "fft", 2, "icu_early"),),
}


@pytest.fixture(scope="module")
def tables():
    return study_tables(**TYPICAL, memory=True)


@pytest.fixture(scope="module")
def written(tables, tmp_path_factory):
    return {one.name: one for one in write_figures(tables, tmp_path_factory.mktemp("report"))}


def data_of(name: str, tables) -> pd.DataFrame:
    (figure,) = [figure for figure in FIGURES if figure.name == name]
    with house_style():
        return pd.concat([drawing.data for drawing in figure.draw(Shown(tables))], ignore_index=True)


def reason(name: str, tables, out: Path) -> str:
    (one,) = write_figures(tables, out, [figure for figure in FIGURES if figure.name == name])
    assert not one.pages and one.pdf is None and one.csv is None
    return one.left_out


class TestEveryFigure:
    def test_all_figures_of_the_paper_and_more_are_there(self):
        assert NAMES == [
            "mcc_by_strategy", "heat_map", "over_controls", "cnn_vs_foundation", "mcc_intervals", "mcc_vs_trained",
            "learning_curves", "pareto", "reliability", "subgroups",
        ]  # fmt: skip

    @pytest.mark.parametrize("name", NAMES)
    def test_a_typical_study_fills_it(self, written, name):
        one = written[name]
        assert not one.left_out and len(one.caption) > 100 and one.title
        assert one.pdf.read_bytes().startswith(b"%PDF")
        for page in one.pages:
            pixels = np.asarray(Image.open(page).convert("L"))
            assert pixels.shape[1] == 864
            # Not blank, and nothing is cut at the left and right edge.
            assert (pixels < 128).mean() > 0.004
            assert (pixels[:, [0, -1]] > 250).all()

    def test_letters_stay_letters_in_the_pdf(self, written):
        content = written["heat_map"].pdf.read_bytes()
        assert b"/CIDFontType2" in content and b"/Type3" not in content

    @pytest.mark.parametrize("name", NAMES)
    def test_its_csv_is_its_data(self, written, tables, name):
        assert written[name].csv.read_text() == csv_text(data_of(name, tables))

    def test_the_same_tables_give_the_same_bytes_in_another_process(self, written, tmp_path):
        code = (
            "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
            "from synthetic_tables import study_tables; from test_figures import TYPICAL;"
            "from prognobench.reporting.figures import FIGURES, write_figures;"
            "write_figures(study_tables(**TYPICAL, memory=True), Path(sys.argv[2]),"
            " [f for f in FIGURES if f.name in ('heat_map', 'pareto')])"
        )
        subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)], check=True)
        for name in ("heat_map", "pareto"):
            for file in (*written[name].pages, written[name].pdf, written[name].csv):
                assert (tmp_path / "figures" / file.name).read_bytes() == file.read_bytes(), file.name

    def test_pages_of_an_earlier_report_do_not_stay(self, tables, tmp_path):
        old = tmp_path / "figures" / "heat_map_7.png"
        old.parent.mkdir()
        old.touch()
        (one,) = write_figures(tables, tmp_path, [figure for figure in FIGURES if figure.name == "heat_map"])
        assert sorted(path.name for path in old.parent.glob("*")) == ["heat_map.csv", "heat_map.pdf", "heat_map.png"]
        assert one.pages == (tmp_path / "figures" / "heat_map.png",)

    def test_names_from_outside_are_plain_text(self, tmp_path):
        hostile = study_tables(
            models=("<script>$x$", "日本\u202e\x1b[31m" + "W" * 90),
            strategies=("=cmd()", "$\\frac{"),
            tasks=("<b>$\\alpha", "T" * 200),
        )
        for one in write_figures(hostile, tmp_path):
            assert one.pages or one.left_out
            if one.csv is not None:
                assert "\n=cmd" not in one.csv.read_text() and ",=cmd" not in one.csv.read_text()
                assert all((np.asarray(Image.open(page))[:, -1, :3] > 250).all() for page in one.pages)

    def test_many_cells_are_drawn_by_two_processes_and_alike(self, tables, written, tmp_path):
        both = write_by_two(FIGURES[:3], tables, tmp_path)
        assert [one.name for one in both] == NAMES[:3]
        for one in both:
            assert one.caption == written[one.name].caption
            for file in (*one.pages, one.pdf, one.csv):
                assert file.read_bytes() == (written[one.name].csv.parent / file.name).read_bytes()

    def test_without_a_second_process_one_draws_all(self, tables, tmp_path, monkeypatch):
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        assert [one.name for one in write_by_two(FIGURES[:2], tables, tmp_path)] == NAMES[:2]

    def test_the_user_s_own_settings_do_not_show(self, tables, written, tmp_path):
        import matplotlib as mpl

        with mpl.rc_context({"font.size": 30, "text.parse_math": True, "savefig.dpi": 30, "pdf.fonttype": 3}):
            (one,) = write_figures(tables, tmp_path, FIGURES[:1])
        assert one.pages[0].read_bytes() == written["mcc_by_strategy"].pages[0].read_bytes()
        assert one.pdf.read_bytes() == written["mcc_by_strategy"].pdf.read_bytes()


class TestNumbers:
    """What figures draw is what the tables say."""

    @pytest.mark.parametrize("name", ["mcc_by_strategy", "mcc_intervals"])
    def test_means_and_counts_are_those_of_the_summary(self, tables, name):
        data = data_of(name, tables).merge(tables.summary, "left", CELL, suffixes=("", "_summary"), validate="1:1")
        assert len(data) == len(tables.summary)
        assert (data["mcc"] == data["mcc_mean"]).all()
        assert (data["folds"] == data["mcc_n"]).all() and (data["n_missing"] == data["n_missing_summary"]).all()

    def test_patients_are_the_headline_where_they_have_several_films(self):
        tables = study_tables(patients=True)
        tables.summary["mcc_patient_mean"] += 0.25
        data = data_of("mcc_by_strategy", tables).merge(tables.summary, "left", CELL, suffixes=("", "_summary"))
        assert (data["mcc"] == data["mcc_patient_mean"]).all() and set(data["level"]) == {"patient"}

    def test_intervals_are_the_default_ones(self, tables):
        data = data_of("mcc_intervals", tables)
        wanted = tables.intervals[tables.intervals["default"]]
        data = data.merge(wanted, "left", CELL, suffixes=("", "_table"), validate="1:1")
        known = data["ci_low_table"].notna()
        assert known.all() and set(data["ci_method"]) == {"nadeau_bengio"}
        assert (data["ci_low"] == data["ci_low_table"]).all() and (data["ci_high"] == data["ci_high_table"]).all()

    def test_controls_are_never_left_out(self, tables):
        for name in ("mcc_by_strategy", "mcc_intervals", "heat_map", "learning_curves"):
            data = data_of(name, tables)
            assert set(CONTROLS) <= set(data["strategy"]), name

    def test_differences_are_those_of_the_table_of_controls(self, tables):
        data = data_of("over_controls", tables).merge(tables.controls, "left", CELL, suffixes=("", "_table"))
        assert data["difference"].equals(data["difference_table"])
        assert data["difference_ci_low"].equals(data["ci_low"])
        assert data.loc[data["difference"].isna(), "undefined"].str.contains("not done").all()

    def test_a_hole_is_not_the_best_and_not_in_a_front(self, tables):
        best = data_of("heat_map", tables).groupby("task")["best"].sum()
        assert best.to_dict() == {"icu": 1, "icu_early": 0}  # where fft of dinov2_s lacks a job
        front = data_of("pareto", tables)
        cell = (front["model"] == "dinov2_s") & (front["strategy"] == "fft")
        assert set(front.loc[cell, "task"]) <= {"icu"}

    def test_over_holes_no_best_is_shown(self, tables, tmp_path):
        assert set(data_of("subgroups", tables)["task"]) == {"icu"}
        shown = Shown(tables)
        (whole,) = [block for block in shown.largest if "icu_early" not in block.title]
        (torn,) = [block for block in shown.largest if "icu_early" in block.title]
        assert shown.best(torn).cell is None and shown.best(torn).why == "1 job is not done"
        learned = shown.of(whole, shown.learned)
        assert shown.best(whole).cell["mcc"] == learned["mcc"].max()
        with house_style():
            (figure,) = [figure for figure in FIGURES if figure.name == "reliability"]
            said = [text.get_text() for d in figure.draw(shown) for axes in d.canvas.axes for text in axes.texts]
        assert sum(text.startswith("no best: ") for text in said) == 2  # raw and recalibrated
        every = study_tables(holes=(("dinov2_s", "lp", 0), ("none", "majority", 1)))
        assert reason("subgroups", every, tmp_path) == "icu: no best is named, 2 jobs are not done"

    def test_random_stands_by_every_model_of_its_architecture_and_by_no_other(self):
        shown = Shown(study_tables(models=("dinov2_s", "resnet18"), weights=("@a", "@b"), regimes=(("full", None),)))
        (block,) = shown.blocks
        rows = shown.rows_of(block)
        assert rows["dinov2_s"] == ["dinov2_s@a", "dinov2_s@b"] and rows["resnet18"] == ["resnet18@a", "resnet18@b"]
        alone = study_tables(models=("dinov2_s", "resnet18"))
        gone = alone.summary["model"].eq("resnet18") & ~alone.summary["strategy"].isin(CONTROLS)
        alone = replace(alone, summary=alone.summary[~gone].reset_index(drop=True))
        (block,) = Shown(alone).blocks
        assert Shown(alone).rows_of(block)["resnet18"] == ["resnet18"]
        assert len(data_of("heat_map", alone)) == len(alone.summary)
        with house_style():
            (figure,) = [figure for figure in FIGURES if figure.name == "heat_map"]
            (drawing,) = figure.draw(shown)
        names = [*shown.strategies, "random"]
        at = {text.get_position() for axes in drawing.canvas.axes for text in axes.texts}
        # After a gap, in the rows of all four models, and in none below.
        assert {(names.index("random") + 0.25, row) for row in range(4)} <= at
        assert (names.index("random") + 0.25, 4) not in at

    def test_a_learning_curve_has_the_random_of_its_architecture(self):
        data = data_of("learning_curves", study_tables(weights=("@a", "@b"), regimes=(("full", None), ("few_shot", 4))))
        learned = data[~data["control"]]
        assert set(learned["model"]) == {"dinov2_s@a", "dinov2_s@b", "resnet18@a", "resnet18@b"}
        # Each of four panels has its own two, of both sizes.
        random = data[data["strategy"] == "random"]
        assert random["model"].value_counts().to_dict() == {"dinov2_s": 4, "resnet18": 4}

    def test_figures_of_cost_show_the_largest_regime_of_each_task(self, tables):
        assert data_of("pareto", tables)["shots"].isna().all()
        few = study_tables(regimes=(("few_shot", 2), ("few_shot", 8)))
        assert set(data_of("pareto", few)["shots"]) == {8}

    def test_the_front_holds_what_nothing_beats(self):
        part = pd.DataFrame({"mcc": [0.5, 0.6, 0.6, 0.4, 0.7], "train_seconds": [1.0, 2.0, 3.0, 1.0, np.nan]})
        assert list(_fronts(part, ["train_seconds"])["front_train_seconds"]) == [True, True, False, False, False]

    def test_families_are_compared_where_both_have_results(self, tables):
        data = data_of("cnn_vs_foundation", tables)
        assert set(zip(data["model"], data["family"], strict=True)) == {
            ("efficientnet_lite0", "cnn"),
            ("dinov2_s", "foundation"),
        }

    def test_reliability_and_subgroups_are_rows_of_their_tables(self, tables):
        for name, keys in (("reliability", ["calibration", "bin_low"]), ("subgroups", ["attribute", "value"])):
            data, table = data_of(name, tables), getattr(tables, name)
            value = "share_positive" if name == "reliability" else "mcc"
            both = data.merge(table, "left", [*CELL, *keys], suffixes=("", "_table"), validate="1:1")
            assert len(data) and both[value].equals(both[f"{value}_table"])
            assert data["shots"].isna().all()


class TestLeftOut:
    def test_an_unfinished_study_says_so(self, tmp_path):
        holes = [("dinov2_s", strategy, fold) for strategy in ("lp", "fft") for fold in range(5)]
        nothing = study_tables(models=("dinov2_s",), strategies=("lp", "fft"), holes=holes)
        assert reason("mcc_by_strategy", nothing, tmp_path) == "no model has an MCC yet"
        assert reason("mcc_intervals", nothing, tmp_path) == "no model has an MCC yet"

    def test_what_a_small_study_cannot_fill(self, tmp_path):
        one = study_tables(models=("dinov2_s",), strategies=("lp",), controls=())
        assert "no control was run" in reason("over_controls", one, tmp_path)
        assert "CNN" in reason("cnn_vs_foundation", one, tmp_path)
        assert "few-shot" in reason("learning_curves", one, tmp_path)
        assert "fewer than two strategies" in reason("mcc_vs_trained", one, tmp_path)
        assert "one model with one strategy" in reason("heat_map", one, tmp_path)
        assert "fewer than two" in reason("pareto", one, tmp_path)

    def test_tables_that_are_not_there(self, tmp_path):
        bare = replace(study_tables(), subgroups=pd.DataFrame(), reliability=pd.DataFrame())
        assert "view, center, sex or age" in reason("subgroups", bare, tmp_path)
        assert "reliability" in reason("reliability", bare, tmp_path)


def test_families_follow_the_cards():
    assert families(["densenet121", "medclip_resnet", "clip_l", "nobody"]) == {
        "densenet121": "cnn",
        "medclip_resnet": "foundation",
        "clip_l": "foundation",
        "nobody": "other",
    }


def test_drawing_needs_no_torch():
    code = (
        "import sys; import prognobench.reporting; assert 'matplotlib' not in sys.modules;"
        "import prognobench.reporting.figures; assert 'torch' not in sys.modules;"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_are_sorted_and_shortened_for_people():
    assert sorted(["lora_r16", "lora_r8", "fft"], key=natural) == ["fft", "lora_r8", "lora_r16"]
    assert short("a" * 10 + "b" * 20, 12) == "aaaaaaa…bbbb" and len(short("x" * 99, 24)) == 24
    assert short("a\nb\x1b") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
    assert [signed(-0.004), signed(-0.123), signed(0.05, "+.1f")] == ["0", "−12", "+5.0"]
