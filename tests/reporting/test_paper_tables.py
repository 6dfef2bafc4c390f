"""Tables in the form of a paper, and the paper's own numbers beside a study."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from rich.console import Console
from synthetic_tables import study_tables
from test_result_tables import GOOD, PERFECT, study

from prognobench.evaluation import BLOCK_KEYS, compare_with_controls, fold_metrics, summarize
from prognobench.reporting import (
    PAPER_SOURCE,
    compare_studies,
    compare_with_paper,
    paper_results,
    paper_tables,
    print_comparison,
)

CELLS = [("dinov2_s", "lp", GOOD), ("dinov2_s", "fft", PERFECT), ("none", "majority", 5), ("none", "metadata", 6)]


def tables_of(*parts, ranking=None, **options):
    predictions, jobs = (pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True))
    summary = summarize(fold_metrics(predictions, jobs), jobs)
    return paper_tables(summary, compare_with_controls(predictions, jobs), ranking, **options)


def printed(table: pd.DataFrame, width: int = 120, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    print_comparison(table, Console(file=stream, width=width))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


class TestPaperTable:
    def test_models_and_strategies_stand_down_and_tasks_across(self):
        other = study([("dinov2_s", "lp", (GOOD, PERFECT))], task="death")
        other[1]["job"] += "/death"
        other[0]["job"] += "/death"
        (table,) = tables_of(study(CELLS), other).values()
        assert table.columns == ("death", "icu")
        lines = table.markdown().splitlines()
        assert lines[2:] == [
            "| model | strategy | death | icu |",
            "|---|---|--:|--:|",
            r"| dinov2\_s | fft |  | **100.0 ± 0.0** |",
            "|  | lp | 80.0 ± 28.3 | 60.0 ± 0.0 |",
            "|  | *majority* |  | 0.0 ± 0.0 |",
            "|  | *metadata* |  | 20.0 ± 0.0 |",
        ]
        assert "film level" in lines[0] and "standard deviation" in lines[0] and "controls" in lines[0]

    def test_latex_has_the_same_rows(self):
        (table,) = tables_of(study(CELLS)).values()
        body = table.latex().splitlines()
        assert body[body.index(r"\toprule") + 1 :] == [
            r"model & strategy & icu \\",
            r"\midrule",
            r"dinov2\_s & fft & \textbf{100.0 $\pm$ 0.0} \\",
            r" & lp & 60.0 $\pm$ 0.0 \\",
            r"\midrule",
            r" & \textit{majority} & 0.0 $\pm$ 0.0 \\",
            r" & \textit{metadata} & 20.0 $\pm$ 0.0 \\",
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]

    def test_a_missing_job_leaves_no_best_and_shows_its_hole(self):
        (table,) = tables_of(
            study([("m", "lp", (GOOD, None)), ("m", "fft", PERFECT), ("m", "ia3", (None, None))])
        ).values()
        text = table.markdown()
        assert "**" not in text and "60.0 ± – [1/2]" in text and "| ia3 | – |" in text
        assert "3 planned jobs are not done" in text and "No control was run" in text

    def test_ties_are_those_of_the_ranking(self):
        parts = study(CELLS)
        keys = [*BLOCK_KEYS, "protocol", "model", "strategy"]
        ranking = summarize(fold_metrics(*parts), parts[1])[keys].assign(level="film", top_group=True)
        (table,) = tables_of(parts, ranking=ranking).values()
        assert table.cells.set_index("strategy")["tied"].to_dict() == {
            "fft": True, "lp": True, "majority": False, "metadata": False,
        }  # fmt: skip
        assert r"100.0 $\pm$ 0.0$^\dagger$" in table.latex() and "not told apart" in table.header
        ranking["top_group"] = ranking["strategy"] == "fft"
        (table,) = tables_of(parts, ranking=ranking).values()
        assert not table.cells["tied"].any() and "not told apart" not in table.header

    def test_ties_are_not_marked_over_holes(self):
        parts = study([*CELLS[:2], ("dinov2_s", "ia3", (GOOD, None))])
        keys = [*BLOCK_KEYS, "protocol", "model", "strategy"]
        ranking = summarize(fold_metrics(*parts), parts[1])[keys].assign(level="film", top_group=True)
        (table,) = tables_of(parts, ranking=ranking).values()
        assert not table.cells["tied"].any() and not table.cells["best"].any()

    def test_each_regime_and_protocol_has_a_table(self):
        tables = study_tables(regimes=(("few_shot", 8), ("full", None), ("few_shot", 2)))
        made = paper_tables(tables.summary, tables.controls)
        assert list(made) == [
            "mcc_full_kfold_standard",
            "mcc_few_shot_2_kfold_standard",
            "mcc_few_shot_8_kfold_standard",
        ]
        cells = made["mcc_few_shot_2_kfold_standard"].cells
        wanted = tables.summary[tables.summary["shots"] == 2].set_index(["model", "strategy"])["mcc_mean"]
        assert cells.set_index(["model", "strategy"])["mean"].sort_index().equals(wanted.sort_index().rename("mean"))

    def test_pr_auc_has_its_own_best(self):
        tables = study_tables()
        (table,) = paper_tables(tables.summary, tables.controls, metric="pr_auc").values()
        cells = table.cells[~table.cells["control"]]
        assert cells.loc[cells["best"], "mean"].tolist() == [cells["mean"].max()] and "PR-AUC" in table.header

    def test_names_from_outside_are_text(self):
        hostile = study([("<script>|$x$", "=cmd()", GOOD), ("a_b%\\", "#{}~^&", GOOD)], task="50 % \n\x1b[31m")
        (table,) = tables_of(hostile).values()
        text, tex = table.markdown(), table.latex()
        assert r"\<script\>\|\$x\$" in text and "\x1b" not in text + tex
        assert r"\textless{}script\textgreater{}\textbar{}\$x\$" in tex
        assert r"a\_b\%\textbackslash{}" in tex and r"\#\{\}\textasciitilde{}\textasciicircum{}\&" in tex
        assert r"50 \% " in tex and "'=cmd()" in table.csv()


class TestPaper:
    def test_its_numbers_are_those_that_were_published(self):
        numbers = paper_results()
        assert (100 * numbers["mcc"]).round(1).tolist() == [77.2, 70.4, 65.0, 43.8, 51.8, 49.6, 45.1, 43.5]
        assert (100 * numbers["std"]).round(1).tolist() == [16.4, 36.8, 25.2, 7.8, 31.1, 13.8, 9.5, 10.2]

    def test_its_source_and_caveat_go_with_it(self):
        assert paper_results()["source"].str.contains("2506.18434").all()
        table = compare_with_paper(*study(CELLS))
        assert table["paper_source"].eq(PAPER_SOURCE).all() and table["paper_caveat"].str.contains("best of").all()

    def test_its_models_tasks_and_cohorts_are_known_here(self):
        from prognobench.cohorts import cohort_cards
        from prognobench.models import model_cards

        for row in paper_results().to_dict("records"):
            assert row["model"] in model_cards()
            assert cohort_cards()[row["cohort"]].task(row["task"])

    def test_a_study_stands_beside_it_and_what_differs_is_said(self):
        same = {"cohort": "covid19ar", "test_cohort": "covid19ar", "protocol": "paper"}
        cells = [("dinov2_s", "lora_r4_paper", GOOD), ("dinov2_s", "lora_r4", PERFECT), ("densenet121", "lp", GOOD)]
        table = compare_with_paper(*study(cells, task="car", **same))
        assert len(table) == 9
        first = table[(table["task"] == "CAR") & (table["model"] == "dinov2_s")].set_index("study_strategy")
        assert first.loc["lora_r4_paper", "difference"] == pytest.approx(0.6 - 0.772)
        assert first.loc["lora_r4_paper", "unlike"] == ""
        assert "not on the paper's" in first.loc["lora_r4", "unlike"]
        others = table.set_index(["task", "model"])["unlike"]
        assert others["CAR", "densenet121"] == "the study has this task and model, but not this strategy (it has lp)"
        assert others["NY_all", "clip_l"] == "the study has no such task with all training films"

    def test_another_protocol_cohort_and_missing_folds_are_named(self):
        table = compare_with_paper(*study([("dinov2_l", "bitfit", (GOOD, None))], task="NY_all"))
        (unlike,) = table.loc[table["mcc"].notna(), "unlike"]
        assert "hannover, not stonybrook" in unlike and "protocol quick" in unlike and "1 of 2 folds" in unlike

    def test_the_authors_other_names_answer(self):
        table = compare_with_paper(*study([("densenet121", "fft", GOOD)], task="AFC_death", validation="loco"))
        assert table.loc[table["mcc"].notna(), "task"].tolist() == ["AFC_m"]

    def test_the_caveat_is_printed(self):
        text = printed(compare_with_paper(*study(CELLS)))
        assert "2506.18434" in text and "best of many strategies" in text
        printed(compare_with_paper(*study(CELLS)), encoding="ascii")


class TestTwoStudies:
    def test_a_study_is_like_itself(self):
        parts = study(CELLS)
        table = compare_studies(parts, parts)
        assert (table["difference"] == 0).all() and set(table["note"]) == {"the same jobs"}
        assert (table["same_jobs"] == 2).all() and (table["patients_shared"] == table["patients_a"]).all()

    def test_differences_are_of_the_means(self):
        other = study([("dinov2_s", "lp", (PERFECT, GOOD)), ("resnet18", "lp", GOOD)])
        other[0]["job"] += "x"
        other[1]["job"] += "x"
        table = compare_studies(study(CELLS), other).set_index(["model", "strategy"])
        row = table.loc[("dinov2_s", "lp")]
        assert row["mcc_a"] == pytest.approx(0.6) and row["mcc_b"] == pytest.approx(0.8)
        assert row["difference"] == pytest.approx(0.2) and row["same_jobs"] == 0 and row["note"] == ""
        assert table.loc[("resnet18", "lp"), "note"] == "in b alone" and pd.isna(table.loc[("resnet18", "lp"), "mcc_a"])
        assert table.loc[("dinov2_s", "fft"), "note"] == "in a alone"
        assert table["control"].sum() == 2

    def test_other_patients_and_holes_are_named(self):
        other = study([("dinov2_s", "lp", (GOOD, None))])
        other[0]["patient"] = "x" + other[0]["patient"]
        other[0]["job"] += "x"
        other[1]["job"] += "x"
        table = compare_studies(study(CELLS), other).set_index("strategy")
        assert table.loc["lp", "note"] == "no patient is shared; b has 1 of 2 folds"
        assert table.loc["lp", "patients_shared"] == 0

    def test_patients_are_counted_once_where_they_have_several_films(self):
        parts = study([("dinov2_s", "lp", GOOD)], films_of_a_patient=3)
        table = compare_studies(parts, study([("dinov2_s", "lp", GOOD)]))
        assert table["level"].tolist() == ["patient"] and table["patients_a"].tolist() == [20]

    def test_it_is_printed_block_by_block_with_names_as_text(self):
        parts = study([("<b>[red]", "lp\x1b[31m", GOOD), *CELLS])
        text = printed(compare_studies(parts, parts))
        assert "[red]" in text and "\x1b[31m" not in text and "not a test" in text
        assert "PATIENT" not in text
