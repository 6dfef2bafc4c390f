"""The explorer in a real browser, served as `prognobench explore` serves it: it works, complains of nothing, and fits.

The pictures of docs/explore.md are made here, of synthetic results, where PROGNOBENCH_SCREENSHOTS names a folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import made_results
import pandas as pd
import psutil
import pytest
from explored import filmed_results, read
from made_results import make_results
from test_page_in_browser import CONTRASTS, FLAGS, browser  # noqa: F401  a fixture

from prognobench.reporting import report
from prognobench.studies import Store

pytestmark = pytest.mark.slow
WIDTHS = {"phone": 390, "desk": 1280}
CELLS = (*(
    (model, strategy) for model in ("dinov2_s", "biomedclip", "resnet18", "efficientnet_lite0")
    for strategy in ("lp", "bitfit", "lora_r8", "fft")
), ("none", "majority"), ("none", "metadata"))  # fmt: skip


def serve(folder: Path, home: Path, *options: str):
    """Start the command as a user does, and return the process and its address."""
    command = [sys.executable, "-u", "-m", "prognobench.cli", "explore", str(folder), "--port", "0", *options]
    environment = os.environ | {"PROGNOBENCH_HOME": str(home), "COLUMNS": "200"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
            return process, found[0]
    raise AssertionError("it did not start")


TRAINED = {"lp": 2, "bitfit": 7, "lora_r8": 31, "fft": 1000}  # of 1000 numbers


@pytest.fixture(scope="module")
def folders(tmp_path_factory, phantom, monkeypatch_module):
    told = made_results._cost
    monkeypatch_module.setattr(made_results, "_cost", lambda strategy: told(strategy) | {
        "trainable_parameters": TRAINED.get(strategy, 1)})  # fmt: skip
    folder = tmp_path_factory.mktemp("explorer")
    make_results(folder / "plain", "phantom-study", cells=CELLS, tasks=("icu", "death"), cohort="phantom", patients=90)
    make_results(folder / "odd", "odd", missing=2, error="E" * 300, cohort="phantom", cells=(
        ("a_backbone_with_a_name_much_longer_than_usual_x7_and_longer_still", "lora_r16"),
        ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>"), ("none", "majority"),
    ))  # fmt: skip
    filmed_results(folder / "filmed", phantom)
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(scope="module")
def addresses(folders, home):
    """Each folder served by a process of its own."""
    running = {}
    try:
        for name in ("plain", "odd", "filmed", "empty"):
            running[name] = serve(folders / name, home, *(["--show-images"] if name == "filmed" else []))
        yield {name: address for name, (_, address) in running.items()}
    finally:
        for process, _ in running.values():
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def reported(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("reported")
    return {name: read(path.read_text()) for name, path in
            report(folders / "plain", out, figures=False).files.items()}  # fmt: skip


@pytest.fixture
def opened(browser, addresses):  # noqa: F811
    """Open a page, and fail where the console complained, a dialog came, or anything was asked of elsewhere."""
    contexts, complaints = [], []

    def show(name: str, path: str = "/", width: str = "desk", **options):
        context = browser.new_context(
            viewport={"width": WIDTHS[width], "height": 900}, accept_downloads=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        own = (addresses[name], "data:", f"blob:{addresses[name]}")
        page.on("request", lambda asked: None if asked.url.startswith(own) else complaints.append(asked.url))
        page.goto(addresses[name].rstrip("/") + path)
        page.wait_for_selector("#content h1")
        return page

    yield show
    for context in contexts:
        context.close()
    assert complaints == []


def until(page, condition: str) -> None:
    """Wait for a condition, asked from outside: the page itself may not evaluate texts."""
    end = time.monotonic() + 120
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(100)


def overflow(page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def settle(page) -> None:
    """Wait until all tables of the report are made and figures are drawn."""
    until(page, "!/follow when they are computed|being computed|being read/.test(document.body.innerText)")
    until(page, "[...document.querySelectorAll('.dash-graph')].every((one) => one.querySelector('.main-svg'))")
    page.wait_for_timeout(300)


# A table that is wider than its box says so, and no other one does.
HINTED = ("[...document.querySelectorAll('#content .scroll')].every((one) => "
          "(one.scrollWidth > one.clientWidth + 1) !== one.parentElement.querySelector('.more').hidden)")  # fmt: skip

PAGES = ("/", "/compare", "/compare?plot=heat", "/compare?plot=families", "/compare?plot=curves", "/compare?plot=pairs",
         "/compare?of=jobs", "/job", "/films")  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_opens_and_fits(opened, path, width):
    for name in ("plain", "odd", "empty"):
        page = opened(name, path, width, color_scheme="dark" if width == "phone" else "light")
        settle(page)
        for details in page.locator("details").all():
            details.evaluate("one => one.open = true")
        assert overflow(page) == 0, name
        until(page, HINTED)
        if path == "/" and name == "plain":
            # A finished bar that ended before the page does would look like one that is not.
            bar, content = (page.locator(one).bounding_box()["width"] for one in (".progress", "#content"))
            assert bar == pytest.approx(content, abs=2)
        if path == "/compare" and name == "plain":
            score = page.locator("#numbers th").nth(2).bounding_box()
            assert score["x"] + score["width"] <= WIDTHS[width]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_job_and_its_films_open_and_fit(opened, reported, folders, width):
    page = opened("plain", f"/job?key={reported['fold_metrics']['job'][0]}", width)
    settle(page)
    assert page.locator(".js-plotly-plot").count() == 4 and overflow(page) == 0
    key = Store(folders / "filmed").record_keys()[0]
    page = opened("filmed", f"/films?key={key}", width)
    settle(page)
    page.wait_for_selector(".films img")
    wide = (
        "async () => { const one = document.querySelector('.films img'); await one.decode(); return one.naturalWidth }"
    )
    assert page.evaluate(wide) >= 90
    assert overflow(page) == 0 and "PATIENT" not in page.inner_text("main")


def shown_scores(page) -> list[str]:
    return [text.split(" ")[0] for text in page.locator("#numbers tbody tr td:nth-child(3)").all_inner_texts()]


def test_filters_change_the_numbers_to_exactly_those_of_the_report(opened, reported, tmp_path):
    page = opened("plain", "/compare")
    settle(page)

    def expected(rows: pd.DataFrame) -> list[str]:
        means = sorted((float(value) for value in rows["mcc_mean"]), reverse=True)
        return [f"{100 * mean:.1f}".replace("-0.0", "0.0") for mean in means]

    summary = reported["summary"]
    assert shown_scores(page) == expected(summary)
    page.get_by_text("Model", exact=True).click()
    page.get_by_label("dinov2_s", exact=True).check()
    until(page, "document.querySelector('#numbers .caption').innerText.startsWith('8 rows')")
    chosen = summary[summary["model"] == "dinov2_s"]
    assert shown_scores(page) == expected(chosen)
    page.get_by_text("Task", exact=True).click()
    page.get_by_label("icu", exact=True).check()
    until(page, "document.querySelector('#numbers .caption').innerText.startsWith('4 rows')")
    chosen = chosen[chosen["task"] == "icu"]
    assert shown_scores(page) == expected(chosen)
    # What is exported is to the letter what the report has.
    with page.expect_download() as started:
        page.get_by_role("link", name="CSV of what is shown").click()
    started.value.save_as(tmp_path / "shown.csv")
    pd.testing.assert_frame_equal(read((tmp_path / "shown.csv").read_text()), chosen.reset_index(drop=True))
    # The address has come along, and gives the same view to whoever opens it.
    assert "model=dinov2_s" in page.url and "task=icu" in page.url
    again = opened("plain", page.url.split("/", 3)[3].join(["/", ""]))
    settle(again)
    assert shown_scores(again) == expected(chosen)
    assert again.get_by_label("dinov2_s", exact=True).is_checked()


def test_the_score_and_the_figure_are_chosen_by_keyboard_alone(opened, reported):
    page = opened("plain", "/compare?task=icu&model=resnet18")
    settle(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    assert page.locator("header [aria-current=page]").inner_text() == "Compare"
    field = page.get_by_role("group", name="Score", exact=True).locator("button").first
    field.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".dash-dropdown-content")
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.wait_for_timeout(300)
        page.keyboard.press(key)
    until(page, "!/^.*MCC × 100 against/m.test(document.querySelector('#content h3').innerText)")
    assert "metric=" in page.url and "metric=mcc" not in page.url
    # Another figure has other choices, and keeps what was chosen before.
    page.get_by_role("group", name="Figure", exact=True).locator("button").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".dash-dropdown-content")
    for key in ("End", "Enter"):
        page.wait_for_timeout(300)
        page.keyboard.press(key)
    until(
        page,
        "!!document.querySelector('aside [aria-label=Test]') && !document.querySelector('aside [aria-label=Color]')",
    )
    until(page, "/plot=pairs/.test(location.search) && !/metric=mcc/.test(location.search)")
    # Every mark of a figure has a link in the table below it.
    link = page.locator("#numbers tbody a").first
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#job-title")
    assert page.evaluate("!!document.querySelector('#confusion-title')")


def test_a_click_on_a_mark_opens_its_job(opened):
    page = opened("plain", "/compare?task=icu&model=dinov2_s&strategy=lora_r8&facet=&of=jobs")
    settle(page)
    mark = page.locator(".js-plotly-plot .points path").first
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#job-title")
    assert "dinov2_s · lora_r8" in page.inner_text("#job-title") and "/job?study=" in page.url
    page.go_back()
    page.wait_for_selector("#numbers")


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_figure_is_saved(opened, tmp_path, kind):
    page = opened("plain", "/compare?task=icu")
    settle(page)
    with page.expect_download() as started:
        page.get_by_role("button", name=re.compile(f"^Save .* as {kind.upper()}$")).first.click()
    assert started.value.suggested_filename.endswith(f".{kind}")
    started.value.save_as(tmp_path / "figure")
    content = (tmp_path / "figure").read_bytes()
    assert content.startswith(b"\x89PNG" if kind == "png" else b"<svg")


def test_the_link_of_a_view_is_copied_and_restores_it(opened, addresses):
    page = opened("plain", "/compare?task=death")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=addresses["plain"])
    settle(page)
    page.get_by_text("Strategy", exact=True).click()
    page.get_by_label("bitfit", exact=True).check()
    until(page, "document.querySelector('#numbers .caption').innerText.startsWith('4 rows')")
    page.get_by_role("button", name="Copy the link to this view").click()
    until(page, "document.querySelector('[role=status]').innerText === 'The link is copied.'")
    copied = page.evaluate("navigator.clipboard.readText()")
    again = opened("plain", "/" + copied.split("/", 3)[3])
    assert again.inner_text("#numbers .caption").startswith("4 rows")


def test_a_record_that_lands_appears_by_itself(opened, folders, addresses):
    runs = folders / "odd" / "runs"
    page = opened("odd", "/")
    until(page, "document.body.innerText.includes('3 of 6 planned jobs done')")
    page.get_by_text("By model and strategy").focus()
    page.keyboard.press("Enter")
    whole = make_results(folders / "odd-whole", "odd", cohort="phantom", cells=(
        ("a_backbone_with_a_name_much_longer_than_usual_x7_and_longer_still", "lora_r16"),
        ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>"), ("none", "majority"),
    ))  # fmt: skip
    missing = sorted(set(Store(whole).record_keys()) - set(Store(folders / "odd").record_keys()))
    (whole / "runs" / missing[0]).rename(runs / missing[0])
    until(page, "document.body.innerText.includes('4 of 6 planned jobs done')")
    # What was open stays open, and the keyboard stays where it was.
    assert page.evaluate("document.querySelector('#content details').open")
    assert page.evaluate("document.activeElement.textContent") == "By model and strategy"
    other = opened("odd", "/job?state=done")
    assert other.locator(f"#content a[href*='{missing[0]}']").count() == 1


def test_a_study_that_begins_appears_in_an_empty_folder(browser, tmp_path, home):  # noqa: F811
    process, address = serve(tmp_path, home)
    try:
        page = browser.new_page()
        page.set_default_timeout(90_000)
        page.goto(address)
        until(page, "document.body.innerText.includes('No study has run into this folder yet')")
        make_results(tmp_path, missing=4)
        until(page, "document.body.innerText.includes('6 of 10 planned jobs done')")
        page.close()
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/compare", "/compare?plot=curves"])
def test_text_stands_out_from_its_ground(opened, scheme, path):
    page = opened("plain", path, color_scheme=scheme)
    settle(page)
    # A tick's text stands on the figure's ground, whose own color the browser does not tell.
    low = [one for one in page.evaluate(CONTRASTS) if one[0] != "text"]
    assert low == []
    ink = page.evaluate("getComputedStyle(document.body).color")
    ticks = page.evaluate("[...document.querySelectorAll('.xtick text')].map((one) => getComputedStyle(one).fill)")
    assert set(ticks) <= {ink}


def test_a_heading_sorts_and_what_comes_later_stays_readable(opened):
    page = opened("plain", "/compare?task=icu")
    settle(page)
    heading = page.locator("#numbers th", has_text="MCC × 100").first
    heading.get_by_role("button").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    scores = [float(score) for score in shown_scores(page)]
    assert scores == sorted(scores)
    # Other rows come into the table's place: they are all there, as the report has them, and in the order of a heading.
    page.get_by_text("Strategy", exact=True).click()
    page.get_by_label("lora_r8", exact=True).check()
    until(page, "document.querySelector('#numbers .caption').innerText.startsWith('4 rows')")
    assert page.locator("#numbers th[aria-sort]:not([aria-sort=none])").count() == 0
    four = [float(score) for score in shown_scores(page)]
    assert four == sorted(four, reverse=True) and set(four) <= set(scores)
    page.get_by_label("lora_r8", exact=True).uncheck()
    until(page, "document.querySelector('#numbers .caption').innerText.startsWith('18 rows')")
    until(page, "document.querySelectorAll('#numbers th[aria-sort=ascending]').length === 1")
    assert [float(score) for score in shown_scores(page)] == scores


def test_it_listens_on_this_machine_alone(addresses):
    for address in addresses.values():
        port = int(address.rsplit(":", 1)[1].strip("/"))
        listening = [one for one in psutil.net_connections("inet") if one.laddr.port == port and one.status == "LISTEN"]
        assert [one.laddr.ip for one in listening] == ["127.0.0.1"]
        with pytest.raises(urllib.error.HTTPError, match="421"):
            urllib.request.urlopen(urllib.request.Request(address, headers={"Host": "evil.example"}))


SHOTS = {
    "explore-overview": ("plain", "/", "desk", "light"),
    "explore-compare": ("plain", "/compare?task=icu", "desk", "light"),
    "explore-heat-map": ("plain", "/compare?plot=heat&task=icu", "desk", "dark"),
    "explore-pairs": ("plain", "/compare?plot=pairs&task=icu", "desk", "light"),
    "explore-job": ("plain", "/job?key={}", "desk", "light"),
    "explore-films": ("filmed", "/films?key={}&show=uncertain", "desk", "light"),
    "explore-phone": ("plain", "/compare?task=icu&strategy=lora_r8&strategy=fft", "phone", "dark"),
}


@pytest.mark.parametrize("shot", SHOTS)
def test_the_pictures_of_the_docs_are_made(opened, folders, reported, tmp_path, shot):
    name, path, width, scheme = SHOTS[shot]
    rows = reported["fold_metrics"]
    key = rows[(rows["strategy"] == "lora_r8") & (rows["task"] == "icu")]["job"].iloc[0]
    if name == "filmed":
        key = next(key for key in Store(folders / "filmed").record_keys()
                   if Store(folders / "filmed").read(key).job.strategy == "lora_r8")  # fmt: skip
    page = opened(name, path.format(key), width, color_scheme=scheme)
    settle(page)
    if "/job" in path:
        page.evaluate("document.querySelector('#confusion-title').scrollIntoView()")
    page.wait_for_timeout(1000)
    target = Path(os.environ.get("PROGNOBENCH_SCREENSHOTS", tmp_path)) / f"{shot}.png"
    page.screenshot(path=target, full_page=False)
    smaller(target, colors=64 if name == "filmed" else 0)
    assert target.stat().st_size < 150_000


def smaller(path: Path, colors: int) -> None:
    """Write a picture anew as small as it gets; films are gray, and stay readable with fewer colors."""
    from PIL import Image

    picture = Image.open(path).convert("RGB")
    (picture.quantize(colors, dither=Image.Dither.NONE) if colors else picture).save(path, optimize=True)


def test_the_pictures_lie_in_the_docs():
    page = (Path(__file__).parents[2] / "docs" / "explore.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\(images/(explore-[\w-]+)\.png\)", page)) == set(SHOTS)
