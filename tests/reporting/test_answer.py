"""What the answer says where a control wins, where jobs are missing, and beside which control."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pandas as pd
import pytest
from test_result_tables import CHANCE, GOOD, PERFECT, study

from prognobench.reporting import StudyTables, paper_tables, study_tables
from prognobench.reporting._best import best_cell, own_controls
from prognobench.reporting.page._answer import METHODS, answers, overall
from prognobench.reporting.page._numbers import subgroups_section, winners_table

# A control on top: all three are far apart.
BEATEN = (("a", "lp", 8), ("a", "fft", 6), ("none", "majority", CHANCE), ("none", "metadata", PERFECT))
CHOSEN = (("a", "lp", PERFECT), ("b", "lp", GOOD), ("none", "majority", CHANCE))
HOLES = (("a", "lp", (GOOD, None)), ("b", "lp", GOOD), ("none", "majority", CHANCE))


@cache
def tables_of(cells, **same) -> StudyTables:
    predictions, jobs = study(list(cells), **same)
    films = predictions[["cohort", "image"]].drop_duplicates().assign(view="AP", center="A", sex="", age="")
    return study_tables(predictions, jobs, films.astype("string"))


def winner(tables: StudyTables) -> dict[str, str]:
    made = winners_table(tables)
    (row,) = made.rows
    return {name: cell.text for (name, _, _), cell in zip(made.headings, row[1], strict=True)}


class TestAControlWins:
    def test_the_best_is_not_called_better_than_what_the_ranking_left_undecided(self):
        (answer,) = answers(tables_of(BEATEN))
        assert answer.sentences[0].startswith(
            "Not shown: that a with lp is above its controls. It has the highest mean"
        )
        assert " MCC × 100, 60.0 [" in answer.sentences[0]
        assert "It is not above what needs no learned image content" in answer.sentences[1]
        top = tables_of(BEATEN).ranking.query("strategy == 'lp'")["top_group"].iloc[0]
        assert ("better than" in answer.sentences[1]) <= bool(top)

    def test_a_lone_winner_is_named_only_where_the_best_itself_is_in_the_top_group(self):
        tables = tables_of(BEATEN)
        learned = tables.ranking["strategy"].isin(["lp", "fft"])

        def second(*top: str) -> str:
            marked = tables.ranking["strategy"].isin(top).astype("boolean").where(learned)
            changed = {name: getattr(tables, name) for name in tables.__dataclass_fields__}
            changed["ranking"] = tables.ranking.assign(top_group=marked)
            return answers(StudyTables(**changed))[0].sentences[1]

        assert second("lp").endswith(", and better than the other one in uncorrected paired intervals.")
        assert second("lp", "fft").endswith(
            "; 1 of 1 other cannot be told apart from the best in uncorrected paired intervals."
        )
        assert not any(word in second("fft") for word in ("better than", "told apart"))
        assert not any(word in second() for word in ("better than", "told apart"))

    def test_a_group_without_the_best_marks_nothing_in_a_paper_s_table(self):
        tables = tables_of(BEATEN)
        wrong = tables.ranking.assign(top_group=tables.ranking["strategy"].isin(["fft", "metadata"]))
        (made,) = paper_tables(tables.summary, tables.controls, wrong).values()
        assert not made.cells["tied"].any()
        right = tables.ranking.assign(top_group=tables.ranking["strategy"].isin(["lp", "fft"]))
        (made,) = paper_tables(tables.summary, tables.controls, right).values()
        assert made.cells.loc[made.cells["tied"], "strategy"].tolist() == ["fft", "lp"]
        assert "uncorrected paired intervals" in made.header


class TestOverHoles:
    def test_no_best_is_named_and_the_reason_given(self):
        (answer,) = answers(tables_of(HOLES))
        assert answer.sentences == (
            "No best is named: 1 job is not done.",
            "Of 1 result that could be compared, 1 is above its controls.",
        )
        assert answer.is_above is None and not answer.strategies

    def test_the_table_of_winners_leaves_the_winner_blank(self):
        row = winner(tables_of(HOLES))
        assert row["best"] == "none: 1 job is not done" and row[""] == ""
        assert {row[name] for name in ("naive", "corrected", "best of", "majority", "over best control")} == {"–"}

    def test_subgroups_single_out_nothing(self):
        said = [part.paragraphs for part in subgroups_section(tables_of(HOLES), True).parts if part.kind == "prose"]
        assert ("No best is named: 1 job is not done.",) in said

    def test_a_hole_of_a_control_counts_as_well(self):
        block = tables_of((("a", "lp", GOOD), ("none", "majority", (CHANCE, None)))).results
        assert best_cell(block).why == "1 job is not done"

    def test_without_a_model_or_a_score_there_is_none(self):
        block = tables_of((("a", "lp", GOOD), ("none", "majority", CHANCE))).results
        assert best_cell(block).cell["model"] == "a"
        assert best_cell(block[block["control"]]).why == "no model was run"
        assert best_cell(block.assign(mcc_mean=float("nan"))).why == "no test fold gives an MCC"


class TestChosenAmongMany:
    def test_the_best_of_many_is_above_its_controls_only_when_corrected_for_the_choice(self):
        tables = tables_of(CHOSEN)

        def said(above: bool):
            values = {"corrected_difference": 0.1 if above else -0.1, "corrected_difference_ci_low": 0.02}
            changed = {name: getattr(tables, name) for name in tables.__dataclass_fields__}
            changed["selection"] = tables.selection.assign(above_controls=above, **values)
            made = StudyTables(**changed)
            return answers(made)[0], winner(made)

        answer, row = said(above=True)
        assert answer.is_above and answer.chosen and row[""] == "above"
        assert "and corrected for having been chosen +10.0 [+2.0, " in answer.sentences[1]
        assert overall([answer, answer])[0].endswith("is above its controls, corrected for having been chosen.")
        answer, row = said(above=False)
        assert answer.is_above is False and row[""] == "not above"
        assert answer.sentences[0].startswith("Not shown: that ")
        assert answer.sentences[1].startswith("As the best of 2 it is not above what needs no learned image content (")
        assert "so nothing shows that it reads disease" in answer.sentences[1]
        assert overall([answer, answer])[0].startswith("In 0 of 2 comparisons")


class TestOneCandidate:
    def test_what_was_not_chosen_among_others_is_not_corrected(self):
        (answer,) = answers(tables_of((("a", "lp", GOOD), ("none", "majority", CHANCE))))
        assert "the only one tried" in answer.sentences[0]
        assert not any(
            word in told for told in (*answer.sentences, *answer.doubts) for word in ("best of", "corrected")
        )

    def test_what_was_is(self):
        (answer,) = answers(tables_of(BEATEN))
        assert "corrected for having been chosen among 2" in answer.sentences[0]
        assert any(told.startswith("Chosen as the best of 2") for told in answer.doubts)


class TestItsNumbers:
    def test_the_best_has_its_default_interval_and_the_task_its_size(self):
        tables = tables_of(BEATEN)
        (answer,) = answers(tables)
        own = tables.intervals.query("strategy == 'lp' and metric == 'mcc' and default").iloc[0]
        (size,) = tables.sizes.to_dict("records")
        low, high = (f"{100 * own[key]:.1f}" for key in ("ci_low", "ci_high"))
        assert f"60.0 [{low}, {high}] (95 % interval: {METHODS[own['method']]})" in answer.sentences[0]
        counted = f"{size['n_patients']} patients, {size['n_positive_patients']} of them positive."
        assert answer.sentences[0].endswith(f"; task {size['task']} of {size['cohort']}: {counted}")
        assert " points, 95 % [" in answer.sentences[1]

    def test_an_interval_that_is_not_defined_is_not_shown(self):
        tables = tables_of(BEATEN)
        tables = replace(tables, intervals=tables.intervals.assign(ci_low=float("nan")))
        assert "60.0 (no 95 % interval is defined)" in answers(tables)[0].sentences[0]


class TestSynthetic:
    @pytest.mark.parametrize(
        ("cohort", "declared", "expected"),
        [("north", True, ("north",)), ("north", False, ()), ("north", None, ()), ("phantom-2", None, ("phantom-2",))],
    )
    def test_a_cohort_is_synthetic_where_it_says_so_or_its_name_does(self, cohort, declared, expected):
        predictions, jobs = study([("a", "lp", GOOD), ("none", "majority", CHANCE)], cohort=cohort, test_cohort=cohort)
        counts = pd.DataFrame({"cohort": [cohort, cohort], "synthetic": pd.array([declared] * 2, dtype="boolean")})
        assert study_tables(predictions, jobs, cohorts=counts).synthetic == expected
        assert study_tables(predictions, jobs).synthetic == (expected if declared is None else ())


class TestOwnRandom:
    def test_the_winner_stands_beside_the_random_of_its_own_architecture(self):
        cells = (("a@x", "lp", PERFECT), ("b@x", "lp", 7), ("a", "random", 6), ("b", "random", 9))
        predictions, jobs = study(list(cells))
        jobs["architecture"] = jobs["model"].str[0]
        row = winner(study_tables(predictions, jobs))
        assert (row["best"], row["random"]) == ("a@x lp", "20.0")
        assert row["over best control"].startswith("+80.0 ")

    def test_what_looks_at_no_image_is_everybody_s(self):
        block = pd.DataFrame(
            {
                "model": ["a", "none", "a", "b", pd.NA],
                "strategy": ["lp", "metadata", "random", "random", "random"],
                "control": [False, True, True, True, True],
            }
        )
        assert own_controls(block, "b").index.tolist() == [1, 3]
