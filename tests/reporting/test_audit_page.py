"""What the audit found is told in the report without a film, and shown on a page of its own; nobody is named."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from made_results import make_results
from PIL import Image
from test_answer import BEATEN, tables_of
from test_page import Page

from prognobench.cohorts import AuditReport, SuspectedPair, ToldFinding
from prognobench.frame import InputError
from prognobench.reporting import report
from prognobench.reporting._report import _clear
from prognobench.reporting.page import audit_page
from prognobench.reporting.page._answer import answers
from prognobench.reporting.page._audits import confound_doubts, leak_doubts
from prognobench.studies import Store
from prognobench.studies._kept_files import keep
from prognobench.studies._store import read_plan, write_plan

HOSTILE = "<img src=x onerror=alert(1)>"


def picture() -> str:
    content = io.BytesIO()
    Image.new("L", (96, 80), 90).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode("ascii")


def column(name: str, auc: float | None = 0.84, *, rank: int | None = 1, role: str = "acquisition", task: str = "icu"):
    low, high = (None, None) if auc is None else (auc - 0.06, auc + 0.05)
    return {"task": task, "rank": rank, "column": name, "role": role, "values": 2, "auc": auc, "low": low, "high": high}


FOUND = AuditReport(
    "typed",
    (
        ToldFinding("near duplicate", "warning", "", "the same film of two: 2 pairs", "Set `on_duplicate`", 4),
        ToldFinding("outcome leak", "warning", "icu", f"'{HOSTILE}' gives the outcome away", "Write it down", 0),
        ToldFinding("few positives", "note", "icu", "few of /data/secret/FILM001.png", "Read the intervals", 0),
    ),
    (column("view"), column("sex", 0.48, rank=2, role="demographic"), column("film.brightness", None, rank=None)),
    n_pairs=3,
    n_apart=1,
    pairs=(
        SuspectedPair("identical", 1.0, False, ("patient-aa", "patient-bb"), (picture(), picture())),
        SuspectedPair("near", 0.95, True, ("patient-cc", "patient-cc"), (picture(), picture())),
    ),
    counts=(
        {
            "task": "icu", "by": "view", "value": "AP", "films": 1200, "patients": 9,
            "negative_films": 1100, "negative_patients": 5, "positive_films": 100, "positive_patients": 4,
        },
    ),
)  # fmt: skip


def keep_audits(results: Path, *audits: AuditReport, study: str = "made") -> None:
    store = Store(results)
    plan = read_plan(store, study)
    assert plan is not None
    plan.pop("sha256", None)
    kept = {audit.cohort: keep(store, "audits", audit.to_json()) for audit in audits}
    write_plan(store, study, plan | {"audits": kept})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audited")
    keep_audits(make_results(folder / "results"), FOUND)
    return report(folder / "results", folder / "out", figures=False)


@pytest.fixture(scope="module")
def pages(made) -> tuple[Page, Page]:
    """The page of the report and that of the audit."""
    return tuple(Page((made.page.parent / name).read_text("utf-8")) for name in ("index.html", "audit.html"))


def cells(page: Page, caption: str) -> list[list[str]]:
    return next(rows for told, rows in page.tables if told.startswith(caption))


def test_the_report_tells_findings_and_ranking_and_shows_no_film(pages):
    index, _ = pages
    assert cells(index, "Findings")[1] == [
        "warning", "near duplicate", "", "the same film of two: 2 pairs", "Set on_duplicate", "4",
    ]  # fmt: skip
    assert cells(index, "What goes with the outcome")[1:] == [
        ["icu", "1", "view", "acquisition", "84.0 [78.0, 89.0]"],
        ["icu", "2", "sex", "demographic", "chance"],
        ["icu", "–", "film.brightness", "acquisition", "too few patients"],
    ]
    assert not [attributes for tag, attributes in index.tags if tag == "img"]
    assert "3 pairs of films look the same; every column is ranked in the page of the audit ." in index.text
    assert "audit.html" in [attributes.get("href") for tag, attributes in index.tags if tag == "a"]


def test_the_page_of_the_audit_shows_the_films_and_leads_back(pages):
    _, audit = pages
    shown = [attributes for tag, attributes in audit.tags if tag == "img"]
    assert [one["alt"] for one in shown] == [f"film of patient-{name}" for name in ("aa", "bb", "cc", "cc")]
    for one in shown:
        content = base64.b64decode(one["src"].removeprefix("data:image/png;base64,"))
        assert Image.open(io.BytesIO(content)).size == (96, 80)
    for told in (
        "patient-aa and patient-bb: the same bytes, in two groups",
        "patient-cc: likeness 0.950, one group",
        "1 more pair is in",
    ):
        assert told in audit.text
    links = [attributes["href"] for tag, attributes in audit.tags if tag == "a"]
    assert "index.html" in links and "#cohort-1" in links
    assert cells(audit, "Findings") == cells(pages[0], "Findings")
    assert cells(audit, "What there is")[1:] == [
        ["icu", "view", "AP", "1,200", "9", "1,100 negative, 100 positive", "5 negative, 4 positive"]
    ]


def test_both_pages_need_nothing_else_and_hostile_names_are_text(pages):
    for page in pages:
        policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
        assert policy.startswith("default-src 'none'; img-src data:;")
        assert [tag for tag, _ in page.tags].count("script") == 1
        assert HOSTILE in page.text
        assert "secret" not in page.text and "FILM001" not in page.text
        for _, attributes in page.tags:
            assert "style" not in attributes and not any(name.startswith("on") for name in attributes)
            assert ":" not in attributes.get("href", "")


def test_what_ran_before_audits_were_kept_is_said_and_an_older_page_goes(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "audit.html").write_text("of another time")
    made = report(make_results(tmp_path / "results"), tmp_path / "out", figures=False)
    page = Page(made.page.read_text("utf-8"))
    assert "What the audit found is not known: the study ran before it was kept." in page.text
    assert not (tmp_path / "out" / "audit.html").exists()


def test_a_file_that_was_altered_is_refused(tmp_path):
    keep_audits(make_results(tmp_path / "results"), FOUND)
    (path,) = (tmp_path / "results" / "audits").iterdir()
    path.write_bytes(path.read_bytes().replace(b"view", b"eyes"))
    with pytest.raises(InputError, match=f"{path.name}: it was altered"):
        report(tmp_path / "results", tmp_path / "out", figures=False)


def test_where_one_study_was_and_several_are_the_older_page_goes(tmp_path):
    (tmp_path / "audit.html").write_text("of another time")
    _clear(tmp_path)
    assert not [*tmp_path.iterdir()]


def test_several_cohorts_are_told_apart():
    clean = replace(FOUND, cohort="other", findings=(), pairs=(), n_pairs=0, n_apart=0)
    page = Page(audit_page([FOUND, clean]))
    assert [attributes["id"] for tag, attributes in page.tags if tag == "section"] == ["cohort-1", "cohort-2"]
    assert "The audit found nothing in other." in page.text
    assert "Back to the report" not in page.text


class TestDoubts:
    def doubts(self, *columns, **changed) -> list[str]:
        tables = tables_of(BEATEN)
        task, cohort = tables.results[["task", "test_cohort"]].iloc[0]
        audit = replace(FOUND, cohort=cohort, confounds=tuple({**one, "task": task} for one in columns))
        (answer,) = answers(tables, {cohort: audit})
        return [one for one in answer.doubts if "alone" in one]

    def test_a_column_that_predicts_as_well_as_the_best_model_is_told_once(self):
        (told,) = self.doubts(column("view", 0.93), column("unit", 0.92, rank=2), column("sex", 0.55, rank=3))
        assert told.startswith("The column 'view' alone predicts this outcome at least as well as the best model: ")
        level = "patients" if tables_of(BEATEN).results["level"].iloc[0] == "patient" else "films"
        where = r"learned from four fifths of all patients of .+ and taken over films"
        how = rf"{where}, beside ([\d.]+), the mean over folds, taken over {level}; so does 1 other column;"
        assert 55 < float(re.search(rf"93\.0 \[87\.0, 98\.0\], {how}", told)[1]) < 92

    @pytest.mark.parametrize(
        ("changed", "told"),
        [({}, True), ({"regime": "few-shot"}, False), ({"validation": "loco"}, False), ({"role": "acquisition"}, True)],
    )
    def test_only_what_can_be_compared_is(self, changed, told):
        tables = tables_of(BEATEN)
        best = tables.results.iloc[0].to_dict() | {key: changed[key] for key in changed if key != "role"}
        one = {**column("site", 0.93, role=changed.get("role", "center")), "task": best["task"]}
        audits = {best["test_cohort"]: replace(FOUND, confounds=(one,))}
        assert bool([*confound_doubts(audits, best, 0.6)]) == told

    @pytest.mark.parametrize(
        "one",
        [
            column("view", 0.56),  # less than the model
            column("lab", 0.99, role="clinical"),
            column("film.brightness", 0.99, rank=None),
            column("view", None),
            {**column("view", 0.93), "low": 0.45},  # chance is not excluded
        ],
    )
    def test_others_are_no_doubt(self, one):
        assert self.doubts(one) == []

    def test_leaks_and_pairs_in_two_groups_are_doubts_of_the_whole(self, pages):
        told = [*leak_doubts({"typed": FOUND})]
        assert told[0].startswith("The audit of typed found 1 leak of the outcome (icu);")
        assert told[1].startswith("In typed 1 pair of films that look the same are in two groups")
        assert all(pages[0].text.count(one) == 1 for one in told)
        idle = tuple(replace(one, idle=True) for one in FOUND.findings)
        assert [*leak_doubts({"typed": replace(FOUND, findings=idle, n_apart=0)})] == []
        notes = tuple(replace(one, severity="note") for one in FOUND.findings)
        assert [*leak_doubts({"typed": replace(FOUND, findings=notes, n_apart=0)})] == []
