"""The page: what it says and in which order, that it needs nothing else, and that names in it are harmless."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from made_results import make_results
from rich.console import Console
from typer.testing import CliRunner

from prognobench.cli import app
from prognobench.evaluation import Budget
from prognobench.frame import InputError
from prognobench.reporting import report, report_studies
from prognobench.reporting.page._answer import METHODS
from prognobench.reporting.page._made import GLOSSARY, redacted, with_stems
from prognobench.reporting.page._numbers import calibration_section, ranking_section, results_section
from prognobench.reporting.page._page import general_doubts
from prognobench.studies import read_provenance

SECTIONS = [
    "summary", "words", "results", "comparisons", "ranking", "intervals", "subgroups", "calibration", "figures",
    "decision", "cohorts", "protocol", "cost", "environment", "holes", "reproduce",
]  # fmt: skip


class Page(HTMLParser):
    """A page as a browser reads it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.within: list[str] = []
        self.own: dict[str, str] = {}
        self.tables: list[tuple[str, list[list[str]]]] = []  # caption, rows of cells, the headings first
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.within.append(tag)
        if tag == "table":
            self.tables.append((dict(attributes)["aria-label"] or "", []))
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][1][-1].append("")

    def handle_data(self, data):
        if self.within and self.within[-1] in ("style", "script"):
            self.own[self.within[-1]] = data
        else:
            self.said.append(data)
            if {"td", "th"} & set(self.within):
                self.tables[-1][1][-1][-1] += data

    def handle_endtag(self, tag):
        while self.within and self.within.pop() != tag:
            pass

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


def _shown(number: float) -> str:
    return f"{100 * number + 0.0:.1f}".replace("-0.0", "0.0")


def _is_formula(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
    return False


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    make_results(folder / "results", overrides=("protocol=quick",))
    return report(folder / "results", folder / "out")


@pytest.fixture(scope="module")
def page(made) -> Page:
    return Page(made.page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """The report of a study with a hole, a failure, a pair left out and hostile names."""
    folder = tmp_path_factory.mktemp("broken")
    make_results(
        folder / "results",
        "hostile",
        cells=(("<script>alert(1)</script>", "lp"), ("=cmd()", "<img src=x onerror=alert(1)>"), ("none", "majority")),
        tasks=('"><b>icu',),
        missing=1,
        error="OSError: '/data/secret/FILM003.png' of PATIENT003 is broken </script><script>alert(2)</script>",
        overrides=("cohorts=[/data/secret/cohort.yaml]",),
        left_out=({"cohort": "typed", "task": "icu", "model": "m", "strategy": "ia3", "reason": "no k", "jobs": 5},),
    )
    return report(folder / "results", folder / "out")


class TestWhatItSays:
    def test_the_sections_stand_in_their_order(self, page: Page):
        assert [attributes["id"] for tag, attributes in page.tags if tag == "section"] == SECTIONS

    def test_the_answer_is_two_sentences_about_the_best(self, made, page: Page):
        assert len(made.answer) == 2
        best = made.table[made.table["best"]].iloc[0]
        name = f"{best['model']} with {best['strategy']}"
        opened = name if best["above_controls"] else f"Not shown: that {name} is above its controls. It"
        assert made.answer[0].startswith(f"{opened} has the highest mean MCC × 100, ")
        assert "learned image content" in made.answer[1]
        assert made.answer[0] in page.text

    def test_what_no_control_was_run_for_is_a_doubt(self, page: Page):
        assert "Controls that were not run: random." in page.text

    @pytest.mark.parametrize(
        ("protocol", "named"),
        [("quick", "quick"), ("quick[epochs=1]", "quick (quick[epochs=1])"), ("standard", ""), ("quicker", "")],
    )
    def test_a_first_look_is_a_doubt(self, made, protocol: str, named: str):
        tables = replace(made.tables, jobs=made.tables.jobs.assign(protocol=protocol))
        told = general_doubts(tables, read_provenance(made.page.parents[1] / "results", "made"))
        doubt = f"Made with the protocol {named}, for a first look; use standard for results to report."
        assert [one for one in told if one.startswith("Made with")] == ([doubt] if named else [])

    def test_the_glossary_has_what_the_page_says(self):
        terms = {word for term, _ in GLOSSARY for word in re.split(r", | (?=k$)", term)}
        words = {"protocol", "bootstrap", "naive", "corrected", "std", "kfold", "seed", "top group"}
        assert words <= terms

    def test_every_table_with_an_interval_says_which(self, page: Page):
        kinds = "bootstrap", "each named in its row", "the default one, named under Intervals"
        with_intervals = [
            caption
            for caption, rows in page.tables
            if any(re.search(r"\[[^\]]*\d, [^\]]*\d\]", cell) for row in rows[1:] for cell in row)
        ]
        assert len(with_intervals) > 5
        for caption in with_intervals:
            assert "interval" in caption and any(kind in caption for kind in kinds), caption

    @pytest.mark.parametrize("is_default", [True, False])
    def test_the_interval_of_the_results_is_the_one_that_its_title_names(self, made, is_default: bool):
        file = pd.read_csv(made.files["intervals"])
        file = file[(file["metric"] == "mcc") & file["ci_low"].notna()]
        tables = made.tables
        if not is_default:
            tables = replace(tables, intervals=tables.intervals.assign(default=False))
        (shown,) = [part for part in results_section(tables).parts if part.kind == "table"]
        (method,) = [word for word, told in METHODS.items() if f"95 % interval: {told}" in shown.caption]
        assert set(file.loc[file["default"], "method"]) == {"bootstrap"}
        assert (method == "bootstrap") == is_default
        assert ("not known to hold here" in shown.caption) != is_default
        told = file[file["method"] == method].set_index(["model", "strategy"])
        heading = [name for name, _, _ in shown.headings]
        compared = 0
        for _, cells in shown.rows:
            row = dict(zip(heading, (cell.text for cell in cells), strict=True))
            key = (row["model"] or "none", row["strategy"])
            if key in told.index:
                low, high = told.loc[key, ["ci_low", "ci_high"]]
                assert row["95 % interval"] == f"[{_shown(low)}, {_shown(high)}]"
                compared += 1
            else:
                assert row["95 % interval"] == "–"
        assert compared > 3

    def test_results_link_both_of_their_files(self, page: Page):
        links = [attributes.get("href") for tag, attributes in page.tags if tag == "a"]
        assert links[links.index("summary.csv") + 1] == "controls.csv"

    def test_ranks_that_are_shared_keep_their_half(self, made):
        ranking = made.tables.ranking.assign(rank=[1.0, 2.5, 2.5, 4.0, 5.0])
        shown = next(
            part
            for part in ranking_section(replace(made.tables, ranking=ranking)).parts
            if part.kind == "table"
            if part.csvs == ("ranking",)
        )
        assert [cells[0].text for _, cells in shown.rows] == ["1", "2.5", "2.5", "4", "5"]

    def test_taking_back_no_weights_is_not_shown(self, made):
        def headings(summary):
            section = calibration_section(replace(made.tables, summary=summary))
            return [name for part in section.parts if part.kind == "table" for name, _, _ in part.headings]

        summary = made.tables.summary
        raw = [name for name in summary if name.endswith("_prior_mean")]
        same = summary.assign(**{name: summary[name.replace("_prior", "")] for name in raw})
        assert not any("prior" in name for name in headings(same))
        changed = same.assign(brier_prior_mean=same["brier_mean"] + 0.1)
        assert "Brier prior" in headings(changed)

    def test_cohorts_are_counted(self, page: Page):
        assert re.search(r"typed icu 24 24 10 10 41\.7 1", page.text)

    def test_the_resolved_protocol_is_there(self, page: Page):
        for told in (
            "Laid over the study file: protocol=quick",
            "schedule.kind cosine",
            "epochs 3",
            "steps 1.step gray",
        ):
            assert told in page.text

    def test_costs_weights_and_machines_are_there(self, page: Page):
        for told in ("Some CPU", "9.9.9", "ab" * 32, "Apache-2.0", "3.00", "All jobs together took"):
            assert told in page.text

    def test_each_number_can_be_made_again(self, made, page: Page):
        assert "prognobench report DIR --study made --out OUT" in page.text
        links = [attributes["href"] for tag, attributes in page.tags if tag == "a" and ".csv" in attributes["href"]]
        assert {link for link in links if "/" not in link} <= {path.name for path in made.files.values()}
        assert all((made.page.parent / link).exists() for link in links)

    def test_the_command_that_runs_it_again_has_what_was_laid_over_the_study_file(self, page: Page, broken):
        assert "prognobench run STUDY.yaml --results DIR protocol=quick ; what is done is kept." in page.text
        text = Page(broken.page.read_text("utf-8")).text
        assert "--results DIR 'cohorts=[…]' ;" in text

    def test_a_synthetic_cohort_is_called_so(self, tmp_path: Path):
        make_results(tmp_path / "results", cohort="phantom")
        text = Page(report(tmp_path / "results", tmp_path / "out", figures=False).page.read_text("utf-8")).text
        assert "SYNTHETIC" in text[: text.index("Words on this page", text.index("The best of"))]

    def test_the_same_records_give_the_same_page(self, made, tmp_path: Path):
        again = report(made.page.parents[1] / "results", tmp_path)
        assert again.page.read_bytes() == made.page.read_bytes()

    def test_holes_failures_and_pairs_left_out_are_said(self, broken):
        text = Page(broken.page.read_text("utf-8")).text
        assert "4 of 6 planned jobs are done." in text
        assert "2 planned jobs not done" in text
        assert "OSError: '…' of … is broken" in text
        assert "no k" in text

    def test_several_tasks_are_answered_together_and_each(self, tmp_path: Path):
        make_results(tmp_path / "results", tasks=("icu", "death"))
        made = report(tmp_path / "results", tmp_path / "out", figures=False)
        above = made.tables.selection["above_controls"].astype(bool)
        assert len(above) == 2
        assert made.answer[0] == (
            f"In {above.sum()} of 2 comparisons the model with the highest MCC is above its controls, corrected for "
            "having been chosen."
        )
        page = Page(made.page.read_text("utf-8"))
        assert "Tasks and regimes that share patients are not independent of one another." in page.text
        tests = made.tables.task_tests[made.tables.task_tests["scope"] == "strategy"]
        rows = [row[:3] for _, table in page.tables for row in table]
        assert len(tests) == 3
        for a, b in zip(tests["strategy_a"], tests["strategy_b"], strict=True):
            assert ["full · kfold2 · quick", a, b] in rows

    def test_a_budget_marks_what_keeps_to_it(self, tmp_path: Path, made):
        limited = report(made.page.parents[1] / "results", tmp_path, budget=Budget(seconds=30), figures=False)
        within = limited.tables.decision.set_index("strategy")["within_budget"]
        assert within.to_dict() == {"lora_r8": True, "lp": True, "fft": False}


class TestItNeedsNothingElse:
    def test_no_address_leads_out_and_no_attribute_runs(self, page: Page, broken):
        for one in (page, Page(broken.page.read_text("utf-8"))):
            for tag, attributes in one.tags:
                assert tag not in ("link", "iframe", "object", "embed", "form", "base")
                assert "style" not in attributes
                assert not any(name.startswith("on") for name in attributes)
                assert attributes.get("src", "data:").startswith("data:image/png;base64,") or "src" not in attributes
                assert ":" not in attributes.get("href", "")

    def test_the_policy_allows_its_own_style_and_script_alone(self, page: Page):
        policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
        assert policy.startswith("default-src 'none'; img-src data:;")
        for kind in ("style", "script"):
            digest = base64.b64encode(hashlib.sha256(page.own[kind].encode("utf-8")).digest()).decode("ascii")
            assert f"{kind}-src 'sha256-{digest}'" in policy
        assert "unsafe" not in policy


class TestNamesAreHarmless:
    def test_hostile_names_are_text(self, broken):
        page = Page(broken.page.read_text("utf-8"))
        assert [tag for tag, _ in page.tags].count("script") == 1
        assert "alert" not in page.own["script"]
        assert "<script>alert(1)</script>" in page.text
        assert "<img src=x onerror=alert(1)>" in page.text
        assert "=cmd()" in page.text
        assert '"><b>icu' in page.text
        assert not any(attributes.get("src") == "x" for _, attributes in page.tags)

    def test_no_cell_of_a_file_is_a_formula(self, broken):
        files = sorted(broken.page.parent.rglob("*.csv"))
        assert {path.parent.name for path in files} == {"out", "tables", "figures"}
        cells = 0
        for path in files:
            with path.open(encoding="utf-8", newline="") as lines:
                for cell in (cell for row in csv.reader(lines) for cell in row):
                    assert not _is_formula(cell), (path.name, cell)
                    cells += "cmd" in cell
        assert cells > 20  # the hostile model is in them

    def test_no_patient_film_or_folder_is_named(self, made, broken):
        for one in (made, broken):
            for path in one.page.parent.rglob("*"):
                if path.suffix in (".csv", ".html"):
                    text = path.read_text("utf-8")
                    for name in ("PATIENT", "FILM0", "/data/", "secret", str(one.page.parents[1])):
                        assert name not in text, (path.name, name)

    def test_a_film_that_no_finished_job_has_is_masked_too(self, tmp_path: Path):
        results = make_results(tmp_path / "results", missing=1, error="scan_77 of MRS_SMITH is broken")
        (results / "splits").mkdir(exist_ok=True)
        (results / "splits" / "a.csv").write_text("image,patient,group,part\nsub/scan_77.png,MRS_SMITH,1,train\n")
        made = report(results, tmp_path / "out", figures=False)
        assert "… of … is broken" in Page(made.page.read_text("utf-8")).text

    @pytest.mark.parametrize(
        ("told", "shown"),
        [
            ("FileNotFoundError: /home/me/films/a.dcm", "FileNotFoundError: …"),
            (r"C:\films\x is gone", "… is gone"),
            ("the film 'with blank.JPG' is gone", "the film '…' is gone"),
            ("of P12, P13 and P123.", "of …, P13 and P123."),
            ("plain words stay", "plain words stay"),
            ("rate 0.5/step", "rate 0.5/step"),
        ],
    )
    def test_paths_and_names_are_masked(self, told: str, shown: str):
        assert redacted(told, {"P12"}) == shown

    @pytest.mark.parametrize(
        "name", ["Doe John", "A#7", "Müller, Anna", "P12:a", "img 7", "12/34", "O'Brien, Pat", "(x)", "a b\\c", "d e+"]
    )
    @pytest.mark.parametrize("around", ["of {} is broken", "'{}' is broken", "{}: broken", "broken: {}", "of {}."])
    def test_names_of_more_than_one_word_are_masked(self, name: str, around: str):
        assert redacted(around.format(name), with_stems([name])) == around.format("…")

    def test_the_longest_name_is_masked_first(self):
        names = with_stems(["Doe John", "Doe John/7.png", "Doe Johnson"])
        shown = redacted("Doe John/7.png and Doe Johnson and Doe Johns and Doe John/7 of Doe John", names)
        assert shown == "… and … and Doe Johns and … of …"

    @pytest.mark.parametrize(
        ("told", "shown"),
        [
            ("in /data/Max Muster/x.csv is no column", "in … is no column"),
            ("in '/data/Max Muster/of him' is nothing", "in '…' is nothing"),
            ("'/data/Pat O'Brien/x.csv' and '/data/b' are gone", "'…' and '…' are gone"),
            ('"/data/Pat O\'Brien" is gone', '"…" is gone'),
            (r"C:\Max Muster\x.xlsx: no sheet", "…: no sheet"),
            ("~/my films/x.tar.gz. Nothing else", "…. Nothing else"),
            ("of 'lp' the film 'Pat O'Brien 7.png' is gone", "of 'lp' the film '…' is gone"),
            ("/data/x took 0.5 s", "… took 0.5 s"),
            ("lp / fft", "lp / fft"),
        ],
    )
    def test_a_path_is_masked_to_its_end(self, told: str, shown: str):
        assert redacted(told, ()) == shown


class TestSeveralStudies:
    def test_each_has_its_page_and_an_index_leads_to_them(self, tmp_path: Path):
        make_results(tmp_path / "results", "first")
        report(tmp_path / "results", tmp_path / "out", figures=False)
        (tmp_path / "out" / "figures").mkdir()
        make_results(tmp_path / "results", "second", cells=(("dinov2_s", "lp"), ("none", "majority")))
        stream = io.StringIO()
        made = report_studies(tmp_path / "results", tmp_path / "out", Console(file=stream, width=80), figures=False)
        assert [one.page for one in made] == [tmp_path / "out" / name / "index.html" for name in ("first", "second")]
        index = Page((tmp_path / "out" / "index.html").read_text("utf-8"))
        links = [attributes["href"] for tag, attributes in index.tags if tag == "a"]
        assert links == ["first/index.html", "second/index.html"]
        assert made[0].answer[0] in index.text
        # What lay there while there was one study is gone.
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["first", "index.html", "second"]
        assert str(tmp_path / "out" / "index.html") in stream.getvalue().replace("\n", "")

    def test_one_may_be_chosen(self, tmp_path: Path):
        make_results(tmp_path / "results", "first")
        make_results(tmp_path / "results", "second", cells=(("dinov2_s", "lp"),))
        called = CliRunner().invoke(app, ["report", str(tmp_path / "results"), "--study", "second", "--no-figures"])
        assert called.exit_code == 0, called.output
        text = (tmp_path / "results" / "report" / "index.html").read_text("utf-8")
        assert "<h1>second</h1>" in text
        with pytest.raises(InputError, match=r"several studies\. Known: first, second"):
            report(tmp_path / "results", tmp_path / "out")
        with pytest.raises(InputError, match=r"there is no study 'secnd'\. Did you mean 'second'"):
            report_studies(tmp_path / "results", tmp_path / "out", study="secnd")


class TestProvenance:
    def test_it_holds_each_thing_once_and_counts_its_jobs(self, made):
        found = read_provenance(made.page.parents[1] / "results", "made")
        assert (found.status.planned, found.status.done, found.splits, found.seeds) == (10, 10, 2, (42,))
        assert [one["jobs"] for one in found.environments] == [10]
        assert {(one["model"], one["jobs"]) for one in found.models} == {("dinov2_s", 4), ("resnet18", 2)}
        assert found.methods["lora_r8"] == "lora"
        assert [one["strategies"] for one in found.recipes] == [["lora_r8"], ["fft"], ["majority", "metadata"], ["lp"]]
        assert found.costs["own_seconds"].sum() == 2 * (1 + 20 + 60 + 20 + 20)
        assert set(found.costs["forward_films"]) == {14}

    @pytest.mark.parametrize("name", ["job.json", "cost.json", "environment.json"])
    def test_what_was_altered_is_refused_by_name(self, tmp_path: Path, name: str):
        results = make_results(tmp_path / "results", cells=(("dinov2_s", "lp"),))
        record = sorted((results / "runs").iterdir())[0]
        (record / name).write_text("{}")
        with pytest.raises(InputError, match=f"{record.name}.*{name} is missing or was altered"):
            read_provenance(results, "made")

    def test_an_unknown_study_is_named(self, made):
        with pytest.raises(InputError, match="there is no study 'other'"):
            read_provenance(made.page.parents[1] / "results", "other")
