"""What people read: tables that say their level, their holes and their controls, and files that are safe to open."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from prognobench.evaluation import compare_with_controls, fold_metrics, intervals, selection, summarize, task_sizes
from prognobench.reporting import print_table, result_table, write_tables
from prognobench.reporting._csv import csv_text

# Of ten positives and ten negatives, how many are right: MCC = (right − wrong) / 10.
PERFECT, GOOD, CHANCE = 10, 8, 5


def study(cells, folds: int = 2, films_of_a_patient: int = 1, **same):
    """Make the predictions and jobs of (model, strategy, right) cells, `right` a number or one for each fold."""
    jobs, films = [], [pd.DataFrame(columns=FILM)]
    for model, strategy, right in cells:
        rights = right if isinstance(right, tuple) else (right,) * folds
        for fold, number in enumerate(rights):
            job = {
                **JOB,
                "job": f"{model}/{strategy}/{fold}",
                "model": model,
                "strategy": strategy,
                "fold": fold,
                **same,
            }
            jobs.append(job | {"state": "missing" if number is None else "done"})
            if number is None:
                continue
            rows = [(y, 0.9 if (y == 1) == (place < number) else 0.1) for y in (1, 0) for place in range(10)]
            films.extend(_films(job, split, rows, films_of_a_patient) for split in ("val", "test"))
    return pd.concat(films[1:] or films), pd.DataFrame(jobs)


def _films(job, split, rows, films_of_a_patient):
    everything = [(*row, place, copy) for place, row in enumerate(rows) for copy in range(films_of_a_patient)]
    values = [
        (job["job"], job["test_cohort"], f"film-{split}{p}-{c}.png", f"PATIENT{split}{p}", "A", split, y, score)
        for y, score, p, c in everything
    ]
    return pd.DataFrame(values, columns=FILM)


FILM = ["job", "cohort", "image", "patient", "center", "split", "y_true", "y_score"]
JOB = {
    "cohort": "hannover", "task": "icu", "test_cohort": "hannover", "regime": "full", "shots": None, "draw": None,
    "validation": "kfold", "repeat": 0, "test_center": None, "seed": 42, "protocol": "quick", "n_train": 60,
    "trainable_params": 7, "total_params": 11, "train_seconds": 0.1,
}  # fmt: skip
CELLS = [
    ("dinov2_s", "lp", GOOD),
    ("none", "majority", CHANCE),
    ("dinov2_s", "random", 6),
    ("dinov2_s", "lora_r8", PERFECT),
    ("resnet18", "lp", CHANCE),
]


def table_of(predictions: pd.DataFrame, jobs: pd.DataFrame, **options) -> pd.DataFrame:
    summary = summarize(fold_metrics(predictions, jobs), jobs)
    return result_table(summary, compare_with_controls(predictions, jobs, **options), **options)


def printed(table: pd.DataFrame, width: int = 80, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    print_table(table, Console(file=stream, width=width))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


class TestResultTable:
    def test_controls_stand_last_from_the_weakest_on(self):
        table = table_of(*study(CELLS))
        assert list(table["strategy"]) == ["lora_r8", "lp", "lp", "majority", "random"]
        assert list(table["control"]) == [False, False, False, True, True]

    def test_the_best_learned_cell_is_marked_and_what_is_not_above_its_controls_too(self):
        table = table_of(*study(CELLS)).set_index(["model", "strategy"])
        assert table.index[table["best"]].tolist() == [("dinov2_s", "lora_r8")]
        # `random` has an MCC of 0.2 and is the stronger control, but of its own architecture alone.
        assert table["best_control"].dropna().to_dict() == {
            ("dinov2_s", "lora_r8"): "random",
            ("dinov2_s", "lp"): "random",
            ("resnet18", "lp"): "majority",
        }
        assert table["above_controls"].dropna().to_dict() == {
            ("dinov2_s", "lora_r8"): True,
            ("dinov2_s", "lp"): False,  # 0.4 more, on 40 films
            ("resnet18", "lp"): False,
        }
        assert table.loc[("dinov2_s", "lora_r8"), "difference"] == pytest.approx(1.0 - 0.2)

    def test_a_control_that_another_protocol_has_is_shown_with_this_one_too(self):
        first, second = study(CELLS), study([("dinov2_s", "fft", GOOD)], protocol="standard")
        table = table_of(pd.concat([first[0], second[0]]), pd.concat([first[1], second[1]]))
        other = table[table["protocol"] == "standard"]
        assert list(other["strategy"]) == ["fft", "majority", "random"]
        assert other["best_control"].dropna().tolist() == ["random"]
        assert len(table) == 8

    def test_a_control_is_never_the_best(self):
        table = table_of(*study([("m", "fft", CHANCE), ("m", "lp", 6), ("m", "random", PERFECT)]))
        assert list(table["best"]) == [False, True, False]
        assert list(table["above_controls"][:2]) == [False, False]
        assert pd.isna(table["above_controls"][2])

    def test_of_a_single_result_there_is_no_best(self):
        table = table_of(*study([("m", "lp", GOOD), ("none", "majority", CHANCE)]))
        assert not table["best"].any()

    def test_equals_are_all_best(self):
        table = table_of(*study([("a", "lp", GOOD), ("b", "lp", GOOD), ("none", "majority", CHANCE)]))
        assert list(table["best"]) == [True, True, False]

    def test_while_jobs_are_missing_nothing_is_best(self):
        table = table_of(*study([("a", "lp", GOOD), ("b", "lp", (PERFECT, None)), ("none", "majority", CHANCE)]))
        assert not table["best"].any()
        assert table["n_missing"].tolist() == [0, 1, 0]
        assert table["folds"].tolist() == [2, 1, 2]

    def test_a_hole_in_another_task_withholds_no_mark(self):
        first, second = study([("a", "lp", GOOD), ("b", "lp", CHANCE)]), study([("a", "lp", None)], task="death")
        jobs = pd.concat([first[1], second[1].assign(job=["x", "y"])])
        table = table_of(first[0], jobs)
        assert table.groupby("task")["best"].sum().to_dict() == {"icu": 1, "death": 0}

    def test_numbers_are_means_over_folds(self):
        row = table_of(*study([("m", "lp", (GOOD, PERFECT))])).iloc[0]
        assert row["mcc_mean"] == pytest.approx((0.6 + 1.0) / 2)
        assert row["mcc_std"] == pytest.approx(0.4 / 2**0.5)

    def test_patients_are_the_headline_where_they_have_several_films(self):
        predictions, jobs = study([("m", "lp", PERFECT)], films_of_a_patient=2)
        # Each patient's second film is misread slightly: films lose, patients (0.9 + 0.45) / 2 do not.
        second = predictions["image"].str.endswith("-1.png") & (predictions["y_true"] == 1)
        predictions.loc[second, "y_score"] = 0.45
        assert table_of(predictions, jobs)[["level", "mcc_mean"]].values.tolist() == [["patient", 1.0]]
        film = table_of(predictions, jobs, level="film").iloc[0]
        assert film["level"] == "film"
        assert film["mcc_mean"] < 0.7


class TestPrinted:
    def test_a_block_shows_its_title_rows_and_marks(self):
        text = printed(table_of(*study(CELLS)))
        assert "hannover · icu · full · kfold · quick · film level" in text
        rows = [" ".join(line.split()) for line in text.splitlines()]
        at = rows.index(
            next(row for row in rows if row.startswith("dinov2_s lora_r8 100.0 ± 0.0 100.0 ± 0.0 +80.0 [+"))
        )
        assert rows[at + 1] == "best"
        at = rows.index(next(row for row in rows if row.startswith("resnet18 lp 0.0 ± 0.0 50.0 ± 0.0 +0.0 [+0.0")))
        assert rows[at + 1] == "not above majority"
        assert any(row.startswith("majority 0.0 ± 0.0 50.0") and row.endswith("control") for row in rows)
        assert "std over 2 test folds" in text
        assert "the interval is not above 0" in text

    def test_a_wide_terminal_gets_one_line_a_result(self):
        rows = [" ".join(line.split()) for line in printed(table_of(*study(CELLS)), 120).splitlines()]
        assert any(row.startswith("resnet18 lp 0.0") and row.endswith("] not above majority") for row in rows)
        assert any(row.startswith("dinov2_s lora_r8 100.0") and row.endswith("] best") for row in rows)

    def test_films_and_patients_are_counted_where_sizes_are_given(self):
        predictions, jobs = study(CELLS, films_of_a_patient=2)
        stream = io.StringIO()
        sizes = task_sizes(predictions, jobs)
        print_table(table_of(predictions, jobs), Console(file=stream, width=80), sizes)
        assert "80 films of 40 patients, 20 of them positive." in stream.getvalue()

    def test_the_best_of_several_is_told_corrected_for_the_choice(self):
        predictions, jobs = study(CELLS)
        stream = io.StringIO()
        chosen = selection(predictions, jobs)
        print_table(table_of(predictions, jobs), Console(file=stream, width=200), chosen=chosen)
        text = " ".join(stream.getvalue().split())
        one = chosen.iloc[0]
        ends = [f"{100 * one[f'corrected_difference{end}']:+.1f}" for end in ("", "_ci_low", "_ci_high")]
        told = "The best of 3, corrected for having been chosen: {:.1f}, {} [{}, {}] to its best control, above it."
        assert told.format(100 * one["corrected"], *ends) in text

    def test_a_result_that_cannot_be_compared_says_why(self):
        text = " ".join(printed(table_of(*study([("m", "lp", GOOD), ("none", "majority", (GOOD, None))]))).split())
        assert "Not compared: m lp: of the control majority 1 of 2 jobs are not done." in text

    def test_few_shots_external_tests_and_patients_are_said_in_the_title(self):
        few = study([("m", "lp", GOOD)], regime="few_shot", shots=4, films_of_a_patient=2, test_cohort="brixia")
        title = printed(table_of(*few)).strip().splitlines()[0].strip()
        assert title == "hannover · icu, tested on brixia · few_shot 4 · kfold · quick · patient level"

    def test_holes_are_said(self):
        text = printed(table_of(*study([("m", "lp", (GOOD, None)), ("none", "majority", None)])))
        assert "3 planned jobs are not done; no best is named." in text
        assert "1/2" in text
        assert "0/2" in text
        assert "nan" not in text

    def test_a_table_without_controls_says_so(self):
        assert "No control was run" in printed(table_of(*study([("m", "lp", GOOD)])))
        assert "No control was run" not in printed(table_of(*study(CELLS)))

    @pytest.mark.parametrize("width", [60, 80, 120])
    def test_it_fits_the_terminal_and_shortens_no_name(self, width: int):
        model = "a_backbone_with_a_name_much_longer_than_usual_x7"
        text = printed(table_of(*study([(model, "lora_r16", GOOD), ("none", "majority", CHANCE)])), width)
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        # A long name goes on below itself.
        words = [line.split()[0] for line in text.splitlines() if line.strip()]
        assert model in "".join(word for word in words if word in model)

    def test_names_are_shown_as_text_not_as_markup_or_control_codes(self):
        text = printed(table_of(*study([("[red]x[/red]", "\x1b[31mlp", GOOD)], task="[link=http://x]t")), 120)
        assert "[red]x[/red]" in text
        assert "[link=http://x]t" in text
        assert "\x1b" not in text

    def test_a_terminal_without_unicode_gets_plain_signs(self):
        text = printed(table_of(*study([*CELLS, ("modèle", "lp", GOOD)])), encoding="ascii")
        assert "100.0 +/-  0.0" in text
        assert "mod?le" in text


class TestFiles:
    def test_both_tables_are_written_and_read_back_equal(self, tmp_path: Path):
        predictions, jobs = study(CELLS, films_of_a_patient=3)
        predictions["y_score"] = pd.util.hash_pandas_object(predictions["image"] + predictions["job"]) / 2**64
        files = write_tables(predictions, jobs, tmp_path / "new" / "out")
        folds = fold_metrics(predictions, jobs)
        compared = compare_with_controls(predictions, jobs)
        known = summarize(folds, jobs, intervals(predictions, jobs))
        tables = {"fold_metrics": folds, "summary": known, "controls": compared}
        for name, table in tables.items():
            assert files[name] == tmp_path / "new" / "out" / f"{name}.csv"
            back = pd.read_csv(files[name], dtype=str, keep_default_na=False)
            assert list(back.columns) == list(table.columns)
            numbers = table.select_dtypes("number").columns
            assert len(numbers) > 5
            for column in numbers:
                read = [float(cell) if cell else None for cell in back[column]]
                assert read == [None if pd.isna(number) else number for number in table[column]]
            for column in table.columns.difference(numbers):
                assert list(back[column]) == [str(cell) for cell in table[column].astype(object).fillna("")]
        assert b"\r" not in files["summary"].read_bytes()

    def test_no_file_names_a_patient_or_a_film(self, tmp_path: Path):
        for path in write_tables(*study(CELLS), tmp_path).values():
            assert "PATIENT" not in path.read_text("utf-8")
            assert "film-" not in path.read_text("utf-8")

    @pytest.mark.parametrize("name", ["=cmd()", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x")'])
    def test_no_cell_begins_as_a_formula(self, tmp_path: Path, name: str):
        for path in write_tables(*study([(name, "lp", (GOOD, 2))], task=name), tmp_path).values():
            with path.open(encoding="utf-8", newline="") as stream:
                header, *rows = csv.reader(stream)
            for row in rows:
                assert len(row) == len(header)
                for column in {"model", "task"} & set(header):
                    assert row[header.index(column)] == "'" + name
                assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for cell in row)

    def test_a_negative_number_stays_a_number(self, tmp_path: Path):
        files = write_tables(*study([("m", "lp", 2)]), tmp_path)
        assert pd.read_csv(files["summary"])["mcc_mean"].tolist() == pytest.approx([-0.6])

    @given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
    def test_any_text_comes_back_save_for_the_apostrophe(self, texts: list[str]):
        written = csv_text(pd.DataFrame({"first": "x", "name": texts}))
        header, *rows = csv.reader(io.StringIO(written, newline=""))
        assert header == ["first", "name"]
        for text, (_, cell) in zip(texts, rows, strict=True):
            assert cell in (text, "'" + text)
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))

    @given(numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
    def test_any_number_reads_back_equal(self, numbers: list[float]):
        _, *lines = csv_text(pd.DataFrame({"x": numbers})).splitlines()
        assert [float(line) for line in lines] == numbers

    def test_missing_values_are_blank(self):
        table = pd.DataFrame({"a": [None, "x"], "b": pd.array([1, None], "Int64"), "c": [float("nan"), 1.0]})
        assert csv_text(table) == "a,b,c\n,1,\nx,,1.0\n"
