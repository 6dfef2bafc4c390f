"""The explorer without a browser: who may ask, what every page shows, and that its numbers are the report's."""

from __future__ import annotations

import inspect
import io
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from explored import (
    BASE,
    all_read,
    csv_of,
    figures,
    filmed_results,
    open_page,
    read,
    renew_page,
    reopen_page,
    settled,
    text_of,
    tick,
)
from made_results import make_results

from prognobench.evaluation import fold_metrics
from prognobench.frame import InputError, Problem
from prognobench.reporting import report
from prognobench.reporting._csv import csv_text
from prognobench.reporting.explorer import _child, _live, explore, explorer_app
from prognobench.reporting.explorer._live import Live
from prognobench.reporting.explorer.pages import PAGES
from prognobench.reporting.explorer.plots import PLOTS
from prognobench.studies import ResultsFolder, Store, read_results

HOSTILE = (
    ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>"), ("=cmd()", "../../etc"), ("none", "majority"),
    ("none", "metadata"),
)  # fmt: skip
NAMES = re.compile(r"PATIENT\d|FILM\d")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study of two tasks, all done."""
    return make_results(tmp_path_factory.mktemp("explored"), tasks=("icu", "death"), patients=40)


@pytest.fixture(scope="module")
def explorer(folder):
    made = settled(folder)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def reported(folder, tmp_path_factory):
    """The CSV files that the report writes of the same folder."""
    out = tmp_path_factory.mktemp("reported")
    return {name: read(path.read_text()) for name, path in report(folder, out, figures=False).files.items()}


@pytest.fixture
def client(explorer):
    return explorer.dash.server.test_client()


@pytest.fixture
def watched():
    """Explorers and studies under watch that are ended with the test."""
    made = []
    yield made
    for one in made:
        one.stop()


@pytest.fixture
def at_once(monkeypatch):
    """Make tables in this process; the start of another one takes longer than they do."""
    monkeypatch.setattr(_live, "in_child", lambda task, begun, **given: _child._TASKS[task](**given))


class TestWhoMayAsk:
    PATHS = ("/", "/compare", "/_dash-layout", "/_dash-dependencies", "/assets/explorer.js", "/export.csv", "/film/x",
             "/report/style.css", "/_reload-hash", "/favicon.ico")  # fmt: skip

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("host", ["evil.example:8050", "127.0.0.1", "127.0.0.1:8051", "localhost.evil.example:8050",
                                      "127.0.0.1.nip.io:8050", "0.0.0.0:8050", "[::1]:8050", ""])  # fmt: skip
    def test_another_name_than_this_machine_s_is_refused(self, client, path, host):
        assert client.get(path, headers={"Host": host}).status_code == 421

    @pytest.mark.parametrize("host", ["127.0.0.1:8050", "localhost:8050"])
    def test_this_machine_s_own_names_are_answered(self, client, host):
        assert client.get("/", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize("headers", [
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
    ])  # fmt: skip
    def test_what_another_page_sends_is_refused(self, client, headers):
        assert client.post("/_dash-update-component", json={}, base_url=BASE, headers=headers).status_code == 403

    @pytest.mark.parametrize("site", ["cross-site", "same-site"])
    @pytest.mark.parametrize(("mode", "dest", "status"), [
        ("no-cors", "image", 403), ("no-cors", "script", 403), ("cors", "empty", 403), ("navigate", "iframe", 403),
        ("navigate", "document", 200),
    ])  # fmt: skip
    def test_another_page_may_lead_here_and_let_nothing_be_computed(self, client, site, mode, dest, status):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
        assert client.get("/", base_url=BASE, headers=headers).status_code == status
        if status == 403:
            assert client.get("/export.csv?page=compare", base_url=BASE, headers=headers).status_code == 403

    def test_no_route_answers_another_name(self, explorer, client):
        rules = list(explorer.dash.server.url_map.iter_rules())
        paths = {re.sub("<[^>]*>", "x", rule.rule) for rule in rules}
        assert "/_dash-update-component" in paths and any(path.startswith("/_dash-component-suites/") for path in paths)
        for path in paths:
            for method in ("get", "post"):
                answer = getattr(client, method)(path, headers={"Host": "evil.example:8050"})
                assert answer.status_code == 421, path

    @pytest.mark.parametrize("method", ["put", "delete", "patch", "options"])
    def test_nothing_can_be_changed(self, client, method):
        assert getattr(client, method)("/", base_url=BASE).status_code == 405

    def test_it_listens_on_this_machine_alone_and_nothing_can_change_that(self):
        from prognobench.reporting.explorer import _serve

        assert _serve.HOST == "127.0.0.1"
        assert not {"host", "address", "bind"} & set(inspect.signature(explore).parameters)

    def test_no_debugging_aid_is_on(self, explorer, client):
        assert not explorer.dash.server.debug
        page = client.get("/", base_url=BASE).text
        assert '"ui":false' in page and "dash_debug" not in page and "hot_reload" not in page
        rules = {rule.rule for rule in explorer.dash.server.url_map.iter_rules()}
        assert not [rule for rule in rules if "mcp" in rule or "ws" in rule.split("/")]

    def test_a_page_may_load_nothing_from_elsewhere(self, client):
        answer = client.get("/", base_url=BASE)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy and "'unsafe-inline'" not in policy.split("style-src")[0]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.findall(r'(?:src|href)="(?:https?:)?//[^"]*', answer.text)
        for name in ("explorer.css", "explorer.js"):
            assert not re.search(r"https?://|@import", client.get(f"/assets/{name}", base_url=BASE).text)

    @pytest.mark.parametrize("path", [
        "/assets/../_app.py", "/assets/..%2f_app.py", "/assets/%2e%2e/_app.py", "/assets//etc/passwd",
        "/film/../../etc/passwd", "/film/..%2f..%2fetc%2fpasswd", "/report/..%2f_page.py", "/report/_page.py",
        "/_dash-component-suites/dash/../../../_app.py", "/_dash-component-suites/os/path.py", "/static/../_app.py",
        "/export.csv?page=../../etc/passwd", "/export.csv?page=job&key=../../../etc/passwd",
    ])  # fmt: skip
    def test_no_path_leads_out(self, client, path):
        answer = client.get(path, base_url=BASE)
        assert "root:" not in answer.text and "import annotations" not in answer.text
        # What is no file of its own is the page that then says so, or nothing; of a job that is not, the list of jobs.
        is_jobs = path.startswith("/export.csv?page=job&")
        assert answer.status_code in (404, 400) or (answer.status_code == 200 and (
            answer.text.startswith("job,") if is_jobs else "react-entry-point" in answer.text
        ))  # fmt: skip

    @pytest.mark.parametrize("query", [
        "?study=../../etc/passwd", "?study=.made", "?study=%00", "?key=%2e%2e%2fx", "?task=" + "x" * 5000,
        "?color=__class__&x=..&metric=%3Cscript%3E&plot=none&page=job", "?" + "&".join(f"k{i}=1" for i in range(400)),
    ])  # fmt: skip
    @pytest.mark.parametrize("page", ["/compare", "/job"])
    def test_hostile_addresses_are_harmless(self, explorer, page, query):
        # Of what comes from outside nothing is read but what is known, and nothing is said again but as text.
        answer = open_page(explorer, page + query)
        assert f'"children": "{page[1:].title()}"' in answer and "/etc/passwd" not in answer

    def test_what_is_no_address_leads_nowhere(self, explorer, client):
        many = "?" + "&".join(f"k{i}=1" for i in range(600))
        for base, path in (("http://[", ""), ("", ""), (BASE, "/compare" + many)):
            assert ("There is no such page" in open_page(explorer, path, base)) == (base != "")
        assert client.get(f"/export.csv{many}&page=compare", base_url=BASE).status_code == 404


def _rows_of(part):
    """Return the rows of tables within an answer."""
    if isinstance(part, list):
        return [row for one in part for row in _rows_of(one)]
    if not isinstance(part, dict):
        return []
    own = [part] if part.get("type") == "Tr" else []
    return own + [row for one in part.values() for row in _rows_of(one)]


class TestPages:
    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.title)
    def test_every_page_opens(self, explorer, page):
        answer = open_page(explorer, f"/{page.name}")
        own = {"Overview": "20 of 20 planned jobs done", "Compare": "10 rows · mean over test folds",
               "Job": "20 jobs; each leads to its page", "Films": "--show-images"}  # fmt: skip
        assert f'"children": "{page.title}"' in answer and own[page.title] in answer
        assert not NAMES.search(answer)
        # A screen reader hears which page this is.
        assert re.findall(r'"aria-current": "page"', answer) == ['"aria-current": "page"']

    def test_what_is_chosen_and_what_changes_is_told_to_screen_readers(self, explorer):
        answer = open_page(explorer, "/compare")
        for name in ("Figure", "Score", "Color", "Model", "Task"):
            assert re.search(rf'"role": "group"[^{{}}]*"aria-label": "{name}"', answer) or re.search(
                rf'"aria-label": "{name}"[^{{}}]*"role": "group"', answer
            ), name
        assert '"aria-live": "polite"' in open_page(explorer, "/")

    def test_the_choices_follow_the_figure(self, explorer):
        opened = json.loads(open_page(explorer, "/compare"))
        assert set(renew_page(explorer, "/compare", opened, plot="scatter", task=["icu"])) == {"content", "seen"}
        assert set(renew_page(explorer, "/compare", opened, plot="pairs", task=["icu"])) == {"restructured"}
        again = reopen_page(explorer, "/compare", {"plot": "pairs", "task": ["icu"], "x": "train_seconds"}, opened)
        assert '"control": "test"' in again and '"control": "x"' not in again and '"value": ["icu"]' in again
        # Then all is as it should be, and nothing is asked for once more.
        again = json.loads(again)
        assert set(renew_page(explorer, "/compare", again, plot="pairs", task=["icu"])) == {"content", "seen"}
        again["seen"]["data"] = "older"
        assert set(tick(explorer, "/compare", again, plot="pairs", task=["icu"])) == {"version"}

    def test_what_nobody_chose_is_chosen_anew_when_the_plan_changes(self, tmp_path, watched):
        make_results(tmp_path)
        watched.append(all_read(tmp_path))
        opened = json.loads(open_page(watched[0], "/compare"))
        assert opened["defaults"]["data"]["facet"] == ["none"]
        make_results(tmp_path, tasks=("icu", "death"))
        (live,) = watched[0]._lives.values()
        live.look()
        chosen = {"facet": "none", "color": "model"}
        again = reopen_page(watched[0], "/compare", chosen, opened)
        assert len(figures(again)) == 2 and '"value": "task"' in again and '"value": "model"' in again
        # What stands in the address was chosen.
        assert len(figures(reopen_page(watched[0], "/compare?facet=none", chosen, opened))) == 1

    def test_a_slow_page_is_not_asked_for_anew_before_it_is_there(self, client):
        rules = client.get("/_dash-dependencies", base_url=BASE).get_json()
        (renews,) = (rule for rule in rules if rule["output"].strip(".").startswith("content.children"))
        # Never off: where the server went away the page must learn when it is back.
        for name, milliseconds in (("running", 30_000), ("runningOff", 2000)):
            assert str(milliseconds) in json.dumps(renews["running"][name]), renews["running"]

    def test_a_study_that_is_still_being_read_is_not_said_to_be_none(self, tmp_path, watched, monkeypatch):
        from prognobench.reporting.explorer import _app

        make_results(tmp_path)
        monkeypatch.setattr(Live, "look", lambda self: None)
        monkeypatch.setattr(_app, "_FIRST", 0.05)
        watched.append(explorer_app(tmp_path))
        for query in ("", "?study=made"):
            answer = open_page(watched[0], f"/compare{query}")
            assert "The study is still being read" in answer and "No study has run" not in answer
        assert "There is no study of that name" in open_page(watched[0], "/compare?study=other")

    def test_rows_that_are_not_shown_are_told_and_other_rows_are_another_table(self):
        from prognobench.reporting.explorer._view import table
        from prognobench.reporting.page._parts import Column, text
        from prognobench.reporting.page._parts import table as page_table

        def shown(rows):
            made = table(page_table("rows", [Column("name", text("name"))], [{"name": f"r{row}"} for row in rows]))
            return text_of(made), json.loads(text_of(made))["props"]["children"][2]["props"]["children"]["props"]["key"]

        told, key = shown(range(150))
        assert "50 more rows are in the CSV; headings sort the 100 that are shown" in told
        # Rows that a heading sorted must not be filled with those of another table.
        assert shown(range(150))[1] == key != shown([*range(1, 150), 0])[1]

    def test_folds_that_are_not_listed_are_counted(self, explorer, reported, monkeypatch):
        from prognobench.reporting.explorer.pages import _job

        monkeypatch.setattr(_job, "_MOST_FOLDS", 1)
        row = reported["fold_metrics"].iloc[0]
        answer = open_page(explorer, f"/job?key={row['job']}")
        (href,) = re.findall(r'"children": "1 more", "href": "([^"]*)"', answer)
        assert all(f"{key}={row[key]}" in href for key in ("task", "model", "strategy"))

    @pytest.mark.parametrize("page", ["job", "films"])
    def test_lists_of_jobs_begin_with_learned_models(self, explorer, shown, page):
        answer = open_page(shown[0] if page == "films" else explorer, f"/{page}")
        strategies = csv_of(explorer, "page=job")["strategy"]
        learned = [name not in ("majority", "metadata", "random") for name in strategies]
        assert learned == sorted(learned, reverse=True) and set(learned) == {True, False}
        assert answer.index('"children": "lora_r8"') < answer.index('"children": "majority"')

    def test_a_control_without_a_model_says_so_and_trains_no_share_of_one(self, explorer):
        answer = json.loads(open_page(explorer, "/compare"))
        rows = [text_of(row) for row in _rows_of(answer)]
        (control,) = [row for row in rows if '"metadata"' in row and '"icu"' in row]
        assert '"no model"' in control and '"open"' not in control and "100.000" not in control

    def test_a_table_that_may_be_too_wide_has_a_hint(self, explorer, reported):
        for page in ("/compare", f"/job?key={reported['fold_metrics']['job'][0]}"):
            answer = open_page(explorer, page)
            assert answer.count('"children": "scroll sideways for more"') == answer.count('"className": "scroll"') > 0

    def test_scores_stand_before_what_tells_their_place(self, explorer):
        answer = open_page(explorer, "/compare")
        headings = re.findall(r'"children": "([^"]*)", "className": "sort"', answer)
        assert headings[:4] == ["model", "strategy", "MCC × 100", "95 % interval"]

    def test_audits_that_could_not_be_read_are_read_again(self, tmp_path, monkeypatch):
        from prognobench.reporting.explorer.pages import _overview

        told = [InputError([Problem("audit", "it cannot be read", "")]), {}, {}]

        def read_audits(results, study):
            answer = told.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(_overview, "read_audits", read_audits)
        assert "it cannot be read" in _overview._audits(tmp_path, "made", "plan")[1][0]
        for _ in range(2):
            assert _overview._audits(tmp_path, "made", "plan") == ({}, ())
        assert len(told) == 1

    def test_marks_that_have_no_place_are_counted(self, tmp_path, watched, monkeypatch):
        import made_results

        real = made_results._cost
        lacks = {"lora_r8": None, "lp": 0}
        monkeypatch.setattr(made_results, "_cost", lambda strategy: real(strategy) | {
            "peak_memory_bytes": lacks.get(strategy, 2**30)})  # fmt: skip
        make_results(tmp_path)
        watched.append(all_read(tmp_path))
        assert "not recorded or 0: 2; they are in the table" in open_page(watched[0], "/compare?x=peak_memory")
        assert "not recorded or 0" not in open_page(watched[0], "/compare?x=train_seconds")
        assert "○ not above its controls in MCC" in open_page(watched[0], "/compare?plot=heat&metric=roc_auc")

    @pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
    @pytest.mark.parametrize("of", ["cells", "jobs"])
    def test_every_figure_is_drawn_or_says_why_not(self, explorer, plot, of):
        answer = open_page(explorer, f"/compare?plot={plot.name}&of={of}")
        lacks = {"curves": "no few-shot regime", "families": "no strategy has results of both"}
        if of == "jobs":
            # A cell holds one number, and no fold stands for the others.
            lacks |= dict.fromkeys(("heat", "curves"), "it shows means; choose “mean over folds”")
        if plot.name in lacks:
            assert lacks[plot.name] in answer and '"type": "Graph"' not in answer
        else:
            assert '"type": "Graph"' in answer

    @pytest.mark.parametrize(("metric", "x"), [
        ("mcc_at_val", "train_seconds"), ("brier_platt", "peak_memory"), ("calibration_slope", "trainable_params"),
    ])  # fmt: skip
    def test_every_score_is_drawn_against_every_cost(self, explorer, metric, x):
        assert '"type": "Graph"' in open_page(explorer, f"/compare?metric={metric}&x={x}&shape=model&facet=strategy")

    @pytest.mark.parametrize(("facet", "panels"), [("none", 1), ("task", 2), ("strategy", 5)])
    def test_panels_are_as_many_as_were_chosen(self, explorer, facet, panels):
        answer = open_page(explorer, f"/compare?facet={facet}&shape=none")
        assert len(figures(answer)) == panels
        # What is chosen comes back from the address.
        assert f'"value": "{facet}"' in answer

    def test_an_unknown_page_says_so(self, explorer):
        assert "There is no such page" in open_page(explorer, "/nowhere")

    def test_a_new_page_or_figure_is_a_new_module(self):
        assert [page.title for page in PAGES] == ["Overview", "Compare", "Job", "Films"]
        assert {plot.name for plot in PLOTS} == {"scatter", "families", "heat", "curves", "pairs"}

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.title)
    def test_an_empty_folder_says_what_to_do(self, tmp_path, page):
        explorer = explorer_app(tmp_path)
        answer = open_page(explorer, f"/{page.name}")
        assert "No study has run into this folder yet" in answer and "prognobench run" in answer

    def test_a_study_of_which_nothing_is_done_says_what_to_do(self, tmp_path, watched):
        make_results(tmp_path, missing=10)
        watched.append(explorer_app(tmp_path))
        assert "No job is done yet" in open_page(watched[0], "/")
        for page in ("/compare", "/job", "/films"):
            open_page(watched[0], page)

    def test_a_half_done_study_shows_what_is_there(self, tmp_path, watched, at_once):
        make_results(tmp_path, missing=3, error="FILM001.png of PATIENT001 is gone")
        watched.append(settled(tmp_path))
        answer = open_page(watched[0], "/")
        assert "6 of 10 planned jobs done · 1 failed · 3 to do" in answer and "No best is named" in answer
        # Names are known by now, and masked.
        assert "of … is gone" in answer and not NAMES.search(answer)
        failed = csv_of(watched[0], "page=job&state=failed")
        for query in ("page=", "page=job", "page=job&state=failed", f"page=job&key={failed['job'][0]}"):
            told = watched[0].dash.server.test_client().get(f"/export.csv?{query}", base_url=BASE).text
            assert not NAMES.search(told), query
        assert len(failed) == 1 and "It failed after 1 try" in open_page(watched[0], f"/job?key={failed['job'][0]}")
        named = explorer_app(tmp_path, identifiers=True)
        watched.append(named)
        assert "FILM001.png of PATIENT001 is gone" in open_page(named, f"/job?key={failed['job'][0]}")

    @pytest.mark.parametrize("page", ["compare&of=jobs", "compare&of=cells", "job&state=done"])
    def test_a_filter_of_which_nothing_is_done_leaves_no_number(self, tmp_path, watched, page):
        make_results(tmp_path, missing=4)  # all of dinov2_s
        watched.append(all_read(tmp_path))
        shown = csv_of(watched[0], f"page={page}&model=dinov2_s")
        # The report's summary has a row of what is planned, without a number.
        assert set(shown["model"]) <= ({"dinov2_s"} if "cells" in page else set())
        assert not shown.get("mcc_mean", pd.Series(dtype=str)).any()

    def test_a_filter_that_the_study_does_not_know_is_named(self, explorer):
        for page in ("compare", "job"):
            answer = open_page(explorer, f"/{page}?task=no-such-task&model=dinov2_s")
            assert "no-such-task" in answer and "by that nothing is filtered" in answer
            assert "nothing is filtered" not in open_page(explorer, f"/{page}?task=icu")

    def test_an_error_s_text_waits_until_names_can_be_masked(self, tmp_path, watched):
        make_results(tmp_path, error="FILM001.png of PATIENT001 is gone")
        live = Live(ResultsFolder(tmp_path), "made")
        live._make_tables = lambda: None
        live.look()
        from prognobench.reporting.explorer._page import Context

        for page in PAGES:
            shown = text_of(page.view(Context(tmp_path, live.snapshot), {}).parts)
            assert not NAMES.search(shown), page.title
            if page.title == "Overview":
                assert "the text follows" in shown

    def test_names_of_another_plan_unlock_no_error(self, tmp_path, watched, at_once):
        make_results(tmp_path)
        live = Live(ResultsFolder(tmp_path), "made")
        watched.append(live)
        live.look()
        live.look()
        live._maker.join()
        assert live.snapshot.names is not None
        # The study is run with another cohort, and a job of that fails.
        make_results(tmp_path, cohort="other", error="OTHER7 of PATIENT001 is gone")
        live._make_tables = lambda: None
        live.look()
        from prognobench.reporting.explorer._page import Context

        assert live.snapshot.names is None and live.snapshot.status.failed
        shown = text_of(PAGES[0].view(Context(tmp_path, live.snapshot), {}).parts)
        assert "the text follows" in shown and "OTHER7" not in shown

    def test_hostile_names_stay_text(self, tmp_path, watched, at_once):
        make_results(tmp_path, "<b>odd", cells=HOSTILE, cohort="a&b<i>")
        watched.append(settled(tmp_path))
        answer = open_page(watched[0], "/compare")
        # Where plotly.js reads HTML the signs are spelled out; all else is text of React.
        drawn = json.dumps(figures(answer))
        assert "&lt;img" in drawn and "<img" not in drawn and "<script" not in drawn
        exported = watched[0].dash.server.test_client().get("/export.csv?page=compare", base_url=BASE).text
        assert "'=cmd()" in exported
        for plot in PLOTS:
            open_page(watched[0], f"/compare?plot={plot.name}")

    def test_several_studies_are_chosen_by_name(self, tmp_path, watched, at_once):
        for name in ("first", "second"):
            make_results(tmp_path, name, tasks=(name,), cells=(("dinov2_s", "lp"), ("none", "majority")))
        watched.append(explorer_app(tmp_path))
        assert set(csv_of(watched[0], "study=second&page=compare")["task"]) == {"second"}
        assert set(csv_of(watched[0], "page=compare")["task"]) == {"first"}
        assert "/job?study=second&key=" in open_page(watched[0], "/compare?study=second")

    def test_an_open_page_stays_with_its_study_when_an_earlier_name_lands(self, tmp_path, watched):
        make_results(tmp_path, "icu", tasks=("icu",))
        watched.append(all_read(tmp_path))
        opened = json.loads(open_page(watched[0], "/compare"))
        assert opened["study"]["data"] == "icu" and "page=compare" in str(opened) and "study=icu" in str(opened)
        make_results(tmp_path, "death", tasks=("death",))
        # The other study is offered, beside the one that is shown.
        assert set(tick(watched[0], "/compare", opened)) == {"restructured"}
        # What is drawn of an open page is of the study that it shows.
        content = reopen_page(watched[0], "/compare", {}, opened)
        drawn = json.dumps(figures(content))
        assert "icu" in drawn and "death" not in drawn
        # Every link of the page says of which study it is.
        links = re.findall(r'"href": "(/[^"#]*)"', json.dumps(opened)) + re.findall(r'"href": "(/[^"#]*)"', content)
        assert links and all("study=icu" in link for link in links if link != "/?study=death")

    def test_a_page_of_an_empty_folder_gets_its_filters_when_a_study_runs(self, tmp_path, watched):
        watched.append(explorer_app(tmp_path))
        opened = json.loads(open_page(watched[0], "/compare"))
        make_results(tmp_path)
        assert set(tick(watched[0], "/compare", opened)) == {"restructured"}
        assert '"control": "metric"' in open_page(watched[0], "/compare")

    def test_without_dash_it_says_what_to_install(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "dash", None)
        with pytest.raises(InputError, match=r"pip install 'prognobench\[explore\]'"):
            explorer_app(tmp_path)

    def test_a_folder_that_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="there is no such folder"):
            explorer_app(tmp_path / "none")


FILTERS = ("", "task=icu", "model=dinov2_s", "strategy=lp&strategy=fft", "task=death&model=resnet18", "model=none",
           "cohort=typed&regime_label=full&validation=kfold2", "task=no-such-task")  # fmt: skip


def rows_of(table: pd.DataFrame, query: str) -> pd.DataFrame:
    """Filter a table of the report by hand."""
    wanted: dict[str, list[str]] = {}
    for pair in filter(None, query.split("&")):
        key, value = pair.split("=")
        wanted.setdefault("regime" if key == "regime_label" else key, []).append(value)
    for key, values in wanted.items():
        if set(values) & set(table[key]):
            table = table[table[key].isin(values)]
    return table.reset_index(drop=True)


class TestNumbers:
    @pytest.mark.parametrize("query", FILTERS)
    def test_what_is_filtered_is_to_the_letter_what_the_report_s_csv_has(self, explorer, reported, query):
        for of, file in (("cells", "summary"), ("jobs", "fold_metrics")):
            shown = csv_of(explorer, f"page=compare&of={of}&{query}")
            pd.testing.assert_frame_equal(shown, rows_of(reported[file], query))

    @pytest.mark.parametrize("metric", ["mcc", "roc_auc", "brier_platt", "f1_at_val"])
    def test_the_cells_on_screen_are_those_numbers(self, explorer, reported, metric):
        answer = open_page(explorer, f"/compare?metric={metric}&task=icu&model=dinov2_s")
        rows = rows_of(reported["summary"], "task=icu&model=dinov2_s")
        times, digits = (1, 3) if "brier" in metric else (100, 1)
        for mean, std in zip(rows[f"{metric}_mean"], rows[f"{metric}_std"], strict=True):
            assert f'"{times * float(mean):.{digits}f} ± {times * float(std):.{digits}f}"' in answer
            assert f"{float(mean) * times}" in answer  # what the figure draws, all digits

    def test_the_best_control_is_the_better_one_by_its_mean(self, tmp_path, watched):
        cells = (("dinov2_s", "lp"), ("resnet18", "lp"), ("none", "majority"), ("none", "metadata"))
        make_results(tmp_path, cells=cells)
        watched.append(all_read(tmp_path))
        for metric, best in (("mcc", max), ("brier", min), ("log_loss_platt", min), ("calibration_slope", None)):
            means = csv_of(watched[0], "page=compare&strategy=majority&strategy=metadata")[f"{metric}_mean"]
            means = [float(mean) for mean in means if mean]
            for of in ("cells", "jobs"):
                query = f"plot=families&metric={metric}&of={of}"
                lines = [trace for figure in figures(open_page(watched[0], f"/compare?{query}"))
                         for trace in figure["data"] if trace["name"] == "best control"]  # fmt: skip
                if best is None:
                    assert not lines
                else:
                    times = 100 if metric == "mcc" else 1
                    assert lines[0]["y"] == pytest.approx([best(means) * times])
                drawn = figures(open_page(watched[0], f"/compare?plot=scatter&metric={metric}&of={of}"))
                named = {trace["name"] for figure in drawn for trace in figure["data"]}
                assert any(name.startswith("control") for name in named) == (best is not None)

    @pytest.mark.parametrize(("metric", "digits"), [("mcc", 1), ("brier", 3)])
    def test_a_mark_tells_as_many_digits_as_the_table(self, explorer, metric, digits):
        drawn = figures(open_page(explorer, f"/compare?metric={metric}&task=icu&facet=none"))
        told = [text for trace in drawn[0]["data"] for text in trace.get("text", ())]
        assert told
        for text in told:
            assert all(len(number) == digits for number in re.findall(r"-?\d+\.(\d+)", text.split("<br>")[-1]))

    @pytest.mark.parametrize(("metric", "first"), [("mcc", max), ("brier", min)])
    def test_the_better_stand_first(self, explorer, reported, metric, first):
        answer = open_page(explorer, f"/compare?metric={metric}&task=icu")
        means = [float(mean) for mean in rows_of(reported["summary"], "task=icu")[f"{metric}_mean"] if mean]
        cells = re.findall(r'"children": "(-?[0-9.]+) ± [0-9.]+"', answer)
        assert float(cells[0]) == pytest.approx(first(means) * (100 if metric == "mcc" else 1), abs=0.051)

    def test_the_report_s_own_sentences_open_the_overview(self, explorer, folder, tmp_path):
        answer = open_page(explorer, "/")
        for sentence in report(folder, tmp_path, figures=False).answer:
            assert sentence in answer

    def test_a_job_s_numbers_are_its_row_of_the_report(self, explorer, reported):
        for key in reported["fold_metrics"]["job"][:3]:
            row = reported["fold_metrics"].query("job == @key").reset_index(drop=True)
            pd.testing.assert_frame_equal(csv_of(explorer, f"page=job&key={key}"), row)
            answer = open_page(explorer, f"/job?key={key}")
            for name in ("mcc", "roc_auc", "brier_platt", "mcc_at_val"):
                if row[name][0]:
                    assert f'"{float(row[name][0]):,.4f}"' in answer.replace('"-0.0000"', '"0.0000"')

    def test_a_job_tells_all_that_is_known_of_it(self, explorer, reported):
        key = reported["fold_metrics"].query("strategy == 'lora_r8'")["job"].iloc[0]
        answer = open_page(explorer, f"/job?key={key}")
        for told in ("Confusion matrix at the threshold 0.5, fixed before", "ROC curve", "Precision-recall curve",
                     "Reliability", "Loss of candidates", "Subgroups", "peak memory", "3.00 GiB", "Resolved spec",
                     "protocol.epochs", "Some CPU", "How to run it again", key):  # fmt: skip
            assert told in answer, told
        assert not NAMES.search(answer)

    def test_each_part_alone_gives_the_bits_of_all_together(self, folder):
        from prognobench.reporting.explorer._measured import measure, study_folds, study_jobs, together
        from prognobench.studies import job_rows

        plan = ResultsFolder(folder).plan("made")
        parts = together([measure(folder, plan.jobs[start : start + 3]) for start in range(0, len(plan.jobs), 3)])
        folds = study_folds(parts, study_jobs(job_rows(plan.jobs, {}), parts))
        assert csv_text(folds) == csv_text(fold_metrics(*read_results(folder)))

    def test_the_address_alone_gives_the_view(self, explorer):
        query = "/compare?plot=heat&metric=roc_auc&task=icu&strategy=lp&strategy=fft"
        assert open_page(explorer, query) == open_page(explorer, query)
        assert open_page(explorer, query) != open_page(explorer, "/compare?plot=heat&metric=roc_auc&task=icu")


class TestLive:
    def watch(self, folder, watched) -> Live:
        live = Live(ResultsFolder(folder), "made")
        live._make_tables = lambda: None
        watched.append(live)
        # The first look may show what was kept, and the second one looks at every file.
        live.look()
        live.look()
        return live

    def test_a_record_that_lands_appears_and_is_read_alone(self, tmp_path, watched, monkeypatch):
        whole = make_results(tmp_path / "whole")
        keys = Store(whole).record_keys()
        part = make_results(tmp_path / "part")
        (part / "runs" / keys[0]).rename(tmp_path / "later")
        live = self.watch(part, watched)
        before = live.snapshot
        assert len(before.folds) == 9 and before.status.done == 9
        read_keys = []
        real = _live.measure
        monkeypatch.setattr(_live, "measure", lambda root, jobs: read_keys.extend(jobs) or real(root, jobs))
        live.look()
        assert live.snapshot is before and not read_keys
        (tmp_path / "later").rename(part / "runs" / keys[0])
        live.look()
        assert [job.key for job in read_keys] == [keys[0]]
        assert live.snapshot.version > before.version and len(live.snapshot.folds) == 10

    def test_what_lands_while_a_page_is_drawn_is_not_taken_for_seen(self, tmp_path, watched, monkeypatch):
        make_results(tmp_path)
        explorer = explorer_app(tmp_path)
        watched.append(explorer)
        opened = json.loads(open_page(explorer, "/"))
        (live,) = explorer._lives.values()
        real = explorer.view

        def drawn(page, state):
            made = real(page, state)
            live._publish()
            return made

        monkeypatch.setattr(explorer, "view", drawn)
        live.stop()
        assert renew_page(explorer, "/", opened)["seen"]["data"] != explorer.version({})

    def test_a_failure_gives_way_to_a_result(self, tmp_path, watched):
        make_results(tmp_path, error="boom")
        live = self.watch(tmp_path, watched)
        assert len(live.snapshot.status.failed) == 1
        failed = live.snapshot.status.failed[0][0].key
        other = make_results(tmp_path / "other")
        (tmp_path / "runs" / failed).rename(tmp_path / "old")
        (other / "runs" / failed).rename(tmp_path / "runs" / failed)
        live.look()
        assert not live.snapshot.status.failed and len(live.snapshot.folds) == 10

    def test_a_record_that_goes_is_missing(self, tmp_path, watched):
        make_results(tmp_path)
        live = self.watch(tmp_path, watched)
        key = Store(tmp_path).record_keys()[0]
        (tmp_path / "runs" / key).rename(tmp_path / "gone")
        live.look()
        assert [job.key for job in live.snapshot.status.missing] == [key] and len(live.snapshot.folds) == 9

    def test_an_altered_record_is_refused_by_name(self, tmp_path, watched):
        make_results(tmp_path)
        key = Store(tmp_path).record_keys()[0]
        path = tmp_path / "runs" / key / "predictions.parquet"
        live = self.watch(tmp_path, watched)
        content = bytearray(path.read_bytes())
        content[40] ^= 1
        path.write_bytes(content)
        live._all_seen = -np.inf  # as after a minute
        live.look()
        assert len(live.snapshot.folds) == 9 and key in live.snapshot.damaged[0].where
        from prognobench.reporting.explorer._page import Context

        overview = text_of(PAGES[0].view(Context(tmp_path, live.snapshot), {}).parts)
        assert "1 record refused" in overview and key in overview and str(tmp_path) not in overview

    @pytest.mark.parametrize("few", [100, 3])
    def test_a_sealed_record_that_does_not_fit_is_named_and_stops_no_other(self, tmp_path, watched, monkeypatch, few):
        from dataclasses import replace

        monkeypatch.setattr(_live, "_FEW", few)
        make_results(tmp_path)
        store = Store(tmp_path)
        key = store.record_keys()[4]
        record = store.read(key)
        scores = record.predictions["y_score"].copy()
        scores.iloc[3] = np.nan
        shutil.rmtree(tmp_path / "runs" / key)
        store.write(replace(record, predictions=record.predictions.assign(y_score=scores)))
        live = self.watch(tmp_path, watched)
        assert not live.snapshot.unread and len(live.snapshot.folds) == 9
        assert [key in problem.where for problem in live.snapshot.damaged] == [True]
        assert "score" in live.snapshot.damaged[0].what
        live.look()
        assert len(live.snapshot.damaged) == 1
        # Put right, it is read.
        shutil.rmtree(tmp_path / "runs" / key)
        store.write(record)
        live._all_seen = -np.inf  # the new folder may have the number of the old one
        live.look()
        assert not live.snapshot.damaged and len(live.snapshot.folds) == 10

    def test_what_a_process_did_not_read_is_tried_again(self, tmp_path, watched, monkeypatch):
        def killed(task, begun, **given):
            raise _child.Failed("exit status -9")
            yield

        make_results(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(_live, "_FEW", 3)
            patched.setattr(_live, "in_child", killed)
            live = self.watch(tmp_path, watched)
            assert live.snapshot.unread == 10 and "exit status -9" in str(live.snapshot.problems)
        from prognobench.reporting.explorer._page import Context

        # What was not read is neither done nor to do.
        overview = text_of(PAGES[0].view(Context(tmp_path, live.snapshot), {}).parts)
        assert "0 of 10 planned jobs done · 0 failed · 0 to do · 10 being read" in overview
        # One went in the meantime; it is waited for no more.
        (tmp_path / "runs" / Store(tmp_path).record_keys()[0]).rename(tmp_path / "gone")
        live._all_seen = -np.inf  # as after a minute
        live.look()
        assert live.snapshot.unread == 0 and not live.snapshot.problems and len(live.snapshot.folds) == 9

    def test_a_record_that_cannot_be_looked_at_is_named_until_it_can(self, tmp_path, watched):
        make_results(tmp_path)
        key = Store(tmp_path).record_keys()[0]
        place = tmp_path / "runs" / key
        place.rename(tmp_path / "away")
        place.touch()  # no folder: it can no more be listed than one that is another user's
        live = self.watch(tmp_path, watched)
        assert not live.snapshot.unread and len(live.snapshot.folds) == 9
        assert [key in problem.where for problem in live.snapshot.damaged] == [True]
        place.unlink()
        (tmp_path / "away").rename(place)
        live._all_seen = -np.inf  # as after a minute
        live.look()
        assert not live.snapshot.damaged and len(live.snapshot.folds) == 10

    def test_tables_that_could_not_be_made_are_tried_again(self, tmp_path, watched, monkeypatch):
        make_results(tmp_path)
        asked = []

        def once_full(task, begun, **given):
            asked.append(task)
            if len(asked) < 3:
                raise OSError("no space left")
            yield from _child._TASKS[task](**given)

        monkeypatch.setattr(_live, "in_child", once_full)
        live = Live(ResultsFolder(tmp_path), "made")
        watched.append(live)
        live.look()
        live._maker.join()
        assert "no space left" in str(live.snapshot.problems)
        live.look()
        live._maker.join()
        assert len(asked) == 1  # not every second
        status = tmp_path / "runs" / Store(tmp_path).record_keys()[0] / "status.json"
        status.write_bytes(status.read_bytes())  # a file was put back
        live._all_seen = -np.inf  # as after a minute
        live.look()
        live._maker.join()
        assert len(asked) == 2 and not live.snapshot.current
        live._tables.again = 0.0  # as after a while
        live.look()
        live._maker.join()
        assert len(asked) == 3 and live.snapshot.current and not live.snapshot.problems

    def test_a_plan_that_cannot_be_shown_ends_no_watch(self, tmp_path, watched, monkeypatch):
        make_results(tmp_path)
        live = self.watch(tmp_path, watched)
        with monkeypatch.context() as patched:
            patched.setattr(_live, "study_folds", lambda *given: (_ for _ in ()).throw(ValueError("cannot be told")))
            live._refused("look", ValueError("cannot be told"))
            assert "cannot be told" in str(live.snapshot.problems)
        (tmp_path / "runs" / Store(tmp_path).record_keys()[0]).rename(tmp_path / "gone")
        live.look()
        assert not live.snapshot.problems and len(live.snapshot.folds) == 9

    def test_the_next_start_reads_only_what_changed(self, tmp_path, watched, monkeypatch):
        make_results(tmp_path)
        first = self.watch(tmp_path, watched).snapshot.folds
        read_keys = []
        real = _live.measure
        monkeypatch.setattr(_live, "measure", lambda root, jobs: read_keys.extend(jobs) or real(root, jobs))
        again = self.watch(tmp_path, watched).snapshot.folds
        assert not read_keys
        assert csv_text(again) == csv_text(first)
        key = Store(tmp_path).record_keys()[0]
        status = tmp_path / "runs" / key / "status.json"
        status.write_bytes(status.read_bytes())  # another time of change alone
        self.watch(tmp_path, watched)
        assert [job.key for job in read_keys] == [key]

    @pytest.mark.parametrize("harm", ["seal.json", "metrics.parquet", "records.parquet"])
    def test_what_was_kept_and_is_damaged_is_made_anew(self, tmp_path, watched, harm):
        make_results(tmp_path)
        live = self.watch(tmp_path, watched)
        path = live._kept / "measured" / harm
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
        assert csv_text(self.watch(tmp_path, watched).snapshot.folds) == csv_text(live.snapshot.folds)

    @pytest.mark.parametrize("name", ["numpy", "pandas", "pyarrow", "scikit-learn", "scipy"])
    def test_what_other_libraries_made_is_not_shown(self, monkeypatch, name):
        from prognobench.reporting.explorer import _frames

        real = _frames.version
        monkeypatch.setattr(_frames, "version", lambda asked: "0" if asked == name else real(asked))
        assert _frames.code_key.__wrapped__() != _frames.code_key()

    def test_what_is_kept_names_nobody(self, tmp_path, watched, at_once):
        make_results(tmp_path, error="FILM001.png of PATIENT001 is gone")
        explorer = settled(tmp_path)
        watched.append(explorer)
        (live,) = explorer._lives.values()
        for path in live._kept.rglob("*.parquet"):
            assert not NAMES.search(path.read_bytes().decode("latin-1"))
            assert not NAMES.search(pd.read_parquet(path).to_csv())

    def test_tables_are_kept_under_what_they_were_made_of(self, tmp_path, watched, monkeypatch, at_once):
        whole = make_results(tmp_path / "whole")
        key = Store(whole).record_keys()[0]
        (whole / "runs" / key).rename(tmp_path / "later")
        asked = []

        def landing(task, begun, **given):
            # A record lands after the tables are asked for, and before they are made.
            if not asked:
                (tmp_path / "later").rename(whole / "runs" / key)
            asked.append(task)
            yield from _child._TASKS[task](**given)

        monkeypatch.setattr(_live, "in_child", landing)
        monkeypatch.setattr(_live, "_PATIENCE", 0.0)
        live = Live(ResultsFolder(whole), "made")
        watched.append(live)
        live.look()
        live._maker.join()
        # The tables hold ten records, and nine are known yet.
        assert not live.snapshot.current and live.snapshot.made_records == 10
        live.look()
        assert live.snapshot.current and len(asked) == 1
        (whole / "runs" / key).rename(tmp_path / "gone")
        live.look()
        assert not live.snapshot.current and len(live.snapshot.tables.fold_metrics) == 9
        live._maker.join()
        assert live.snapshot.current and len(live.snapshot.tables.fold_metrics) == 9 and len(asked) == 2

    def test_kept_tables_whose_check_fails_are_shown_no_more(self, tmp_path, watched, monkeypatch, at_once):
        make_results(tmp_path)
        live = Live(ResultsFolder(tmp_path), "made")
        watched.append(live)
        live.look()
        live._maker.join()
        assert live.snapshot.current

        def refused(task, begun, **given):
            raise InputError([Problem("record", "it was altered", "")])
            yield

        monkeypatch.setattr(_live, "in_child", refused)
        again = Live(ResultsFolder(tmp_path), "made")
        watched.append(again)
        again.look()
        assert again.snapshot.current
        again.look()
        again._maker.join()
        assert not again.snapshot.current and "it was altered" in str(again.snapshot.problems)

    def test_a_study_that_grows_is_followed(self, tmp_path, watched):
        make_results(tmp_path, tasks=("icu",))
        live = self.watch(tmp_path, watched)
        make_results(tmp_path, tasks=("icu", "death"))
        live.look()
        assert set(live.snapshot.folds["task"]) == {"icu", "death"}

    def test_what_is_computed_elsewhere_ends_with_who_asked(self, tmp_path):
        make_results(tmp_path)
        program = (
            "import os, sys\nfrom prognobench.reporting.explorer._child import in_child\n"
            "told = in_child('tables', lambda process: print(process.pid, flush=True), "
            f"results={str(tmp_path)!r}, study='made', out={str(tmp_path / 'out')!r})\n"
            "next(told)\nos._exit(0)\n"
        )
        pid = int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
        until = time.monotonic() + 60
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert not (tmp_path / "out").exists()

    def test_many_records_are_read_by_processes_and_give_the_same_numbers(self, tmp_path, watched, monkeypatch):
        monkeypatch.setattr(_live, "_FEW", 3)
        make_results(tmp_path)
        live = self.watch(tmp_path, watched)
        assert live.snapshot.unread == 0
        assert csv_text(live.snapshot.folds) == csv_text(fold_metrics(*read_results(tmp_path)))


@pytest.fixture(scope="module")
def shown(phantom, tmp_path_factory):
    folder = filmed_results(tmp_path_factory.mktemp("filmed"), phantom)
    explorer = explorer_app(folder, show_images=True)
    until = time.monotonic() + 60
    while explorer.context({}) is None or explorer.films.loading:
        assert time.monotonic() < until
        time.sleep(0.05)
    yield explorer, phantom
    explorer.stop()


class TestFilms:
    def key(self, explorer, strategy="lora_r8"):
        return csv_of(explorer, f"page=job&strategy={strategy}")["job"][0]

    def test_without_leave_no_film_is_shown(self, explorer, client):
        answer = open_page(explorer, f"/films?key={self.key(explorer)}")
        assert "--show-images" in answer and "/film/" not in answer
        assert client.get("/film/anything", base_url=BASE).status_code == 404

    @pytest.mark.parametrize("strategy", ["lora_r8", "metadata"])
    def test_right_wrong_and_least_certain_films_under_pseudonyms(self, shown, strategy):
        from PIL import Image

        from prognobench.cohorts import load_cohort

        explorer, cohort = shown
        answer = open_page(explorer, f"/films?key={self.key(explorer, strategy)}")
        assert all(f'"children": "{title}"' in answer for title in ("Wrong", "Right", "Least certain"))
        tokens = re.findall(r"/film/([\w-]+)", answer)
        assert tokens
        picture = explorer.dash.server.test_client().get(f"/film/{tokens[0]}", base_url=BASE)
        image = Image.open(io.BytesIO(picture.data))
        assert (picture.mimetype, image.mode) == ("image/png", "L")
        # The metadata of a picture could tell more than the picture.
        assert not image.info
        films = load_cohort(cohort).films
        for name in (*films["image"], *films["patient"], *films["sha256"]):
            assert str(name) not in answer
        assert "patient-" in answer and "image-" in answer
        exported = csv_of(explorer, f"page=films&key={self.key(explorer, strategy)}")
        assert len(exported)
        assert not {*films["image"], *films["patient"], *films["sha256"]} & set(exported.to_numpy().ravel())

    def test_the_picture_is_what_the_model_read(self, shown):
        from PIL import Image

        from prognobench.cohorts import Preprocessing, load_cohort, open_pixels

        explorer, path = shown
        cohort = load_cohort(path)
        film = cohort.films.iloc[3]
        token = explorer.films.token(str(path), film["image"], 224)
        picture = Image.open(io.BytesIO(explorer.films.picture(token)))
        pixels = open_pixels(cohort, Preprocessing(size=224))
        expected = pixels.array[int(pixels.positions([film["sha256"]])[0])] >> 8
        np.testing.assert_array_equal(np.asarray(picture), expected)

    def test_no_other_film_than_the_one_that_was_read_is_shown(self, phantom, tmp_path, watched):
        from PIL import Image

        from prognobench.cohorts import load_cohort

        shutil.copytree(phantom.parent, tmp_path / "cohort")
        path = tmp_path / "cohort" / phantom.name
        folder = filmed_results(tmp_path / "results", path)
        cohort = load_cohort(path)
        place = next(one for one in (tmp_path / "cohort").rglob("*") if one.name == Path(cohort.films["image"][0]).name)
        image = Image.open(place)
        Image.fromarray(255 - np.asarray(image.convert("L"))).save(place)
        # The film was replaced after the run; where the cohort lies as it was, its films are shown.
        for cohorts, is_shown in (((), False), ((path, phantom), True)):
            explorer = explorer_app(folder, show_images=True, cohorts=cohorts)
            watched.append(explorer)
            while explorer.context({}) is None or explorer.context({}).now.unread or explorer.films.loading:
                time.sleep(0.05)
            answer = open_page(explorer, f"/films?key={self.key(explorer)}")
            assert ("/film/film-" in answer) == is_shown
            assert ("are not those that this job read" in answer) == (not is_shown)

    @pytest.mark.parametrize("fails", [False, True])
    def test_films_that_the_cache_lacks_hold_up_no_page(self, shown, monkeypatch, fails):
        from prognobench.reporting.explorer import _films

        explorer = shown[0]
        films, ready, real = explorer.films, threading.Event(), _films.open_pixels

        def built(*given):
            assert ready.wait(60)
            if fails:
                raise InputError([Problem("films", "one has changed", "")])
            return real(*given)

        monkeypatch.setattr(_films, "open_pixels", built)
        monkeypatch.setattr(_films, "_QUICK", 0.01)
        monkeypatch.setattr(films, "_pixels", {})
        monkeypatch.setattr(films, "_wanted", set())
        monkeypatch.setattr(films, "lacking", {})
        page = f"/films?key={self.key(explorer)}"
        for _ in range(2):
            answer = open_page(explorer, page)
            assert "The films are being read; their pictures follow" in answer and "/film/" not in answer
        before = films.version
        ready.set()
        while films.loading:
            time.sleep(0.05)
        # The page learns of it with its next question.
        assert films.version == before + 1
        answer = open_page(explorer, page)
        assert ("/film/film-" in answer) == (not fails)
        assert ("are not in the image cache and cannot be put there" in answer) == fails

    @pytest.mark.parametrize("token", ["image0.png", "cohort.yaml", "film-0000-224", "%00"])
    def test_what_was_not_shown_cannot_be_asked_for(self, shown, token):
        assert shown[0].dash.server.test_client().get(f"/film/{token}", base_url=BASE).status_code == 404

    @pytest.mark.parametrize("named", [False, True])
    def test_a_cohort_is_found_from_the_study_file_wherever_the_explorer_starts(
        self, phantom, tmp_path, watched, monkeypatch, named
    ):
        from prognobench.studies._store import read_plan, write_plan

        shutil.copytree(phantom.parent, tmp_path / "studies" / "cohort")
        there = tmp_path / "studies" / "cohort" / phantom.name
        folder = filmed_results(tmp_path / "results", there)
        store = Store(folder)
        told = "mine" if named else f"cohort/{phantom.name}"
        source = {"file": str(tmp_path / "studies" / "study.yaml"), "places": {"mine": str(there)} if named else {}}
        basis = {"settings": [{"cohorts": [told]}]}
        write_plan(store, "filmed", {**read_plan(store, "filmed"), "basis": basis, "source": source})
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert ResultsFolder(folder).plan("filmed").cohort_files == (str(there),)
        explorer = explorer_app(folder, show_images=True)
        watched.append(explorer)
        while explorer.context({}) is None or explorer.context({}).now.unread or explorer.films.loading:
            time.sleep(0.05)
        assert "/film/film-" in open_page(explorer, f"/films?key={self.key(explorer)}")

    def test_a_cohort_that_cannot_be_read_is_said_by_its_place(self, phantom, tmp_path, watched):
        folder = filmed_results(tmp_path / "results", phantom)
        broken = tmp_path / "broken.yaml"
        broken.write_text("name: 3")
        explorer = explorer_app(folder, show_images=True, cohorts=[broken])
        watched.append(explorer)
        while explorer.context({}) is None or explorer.context({}).now.unread or explorer.films.loading:
            time.sleep(0.05)
        answer = open_page(explorer, f"/films?key={self.key(explorer)}")
        assert "is there and cannot be read" in answer and str(broken) in answer

    def test_the_threshold_at_which_films_count_is_told_beside_that_of_validation(self, shown):
        explorer = shown[0]
        key = self.key(explorer)
        answer = open_page(explorer, f"/films?key={key}")
        job = open_page(explorer, f"/job?key={key}&level=film")
        (chosen,) = set(re.findall(r"at the threshold ([\d.e-]+), chosen on validation", job))
        assert f"Validation chose {chosen};" in answer and "at the threshold 0.5, before any calibration" in answer

    def test_a_cohort_that_moved_is_said(self, phantom, tmp_path, watched):
        from prognobench.studies._store import read_plan, write_plan

        folder = filmed_results(tmp_path, phantom)
        store = Store(folder)
        plan = read_plan(store, "filmed")
        write_plan(store, "filmed", {**plan, "basis": {"settings": [{"cohorts": ["/nowhere/cohort.yaml"]}]}})
        explorer = explorer_app(folder, show_images=True)
        watched.append(explorer)
        while explorer.context({}) is None or explorer.films.loading:
            time.sleep(0.05)
        answer = open_page(explorer, f"/films?key={self.key(explorer)}")
        assert "There is no cohort at " in answer and "/nowhere/cohort.yaml" in answer
        there = explorer_app(folder, show_images=True, cohorts=[phantom])
        watched.append(there)
        while there.context({}) is None or there.films.loading:
            time.sleep(0.05)
        assert "/film/film-" in open_page(there, f"/films?key={self.key(there)}")
        with pytest.raises(InputError, match="there is no such file"):
            explorer_app(folder, show_images=True, cohorts=[tmp_path / "none.yaml"])
