"""The report in a real browser, as wide as a phone and as a desk: nothing overflows or complains, and it works."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from made_results import make_results
from test_audit_page import FOUND, keep_audits

from prognobench.reporting import report

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
# No sandbox, for tests run as root in containers; and nothing that asks the network.
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--no-first-run", "--no-default-browser-check"]  # fmt: skip
WIDTHS = {"phone": 390, "desk": 1280}
HOSTILE = (
    ("a_backbone_with_a_name_much_longer_than_usual_x7_and_longer_still", "lora_r16"),
    ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>"),
    ("dinov2_s", "lp"),
    ("none", "majority"),
    ("none", "metadata"),
)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"Chromium is absent: {CHROMIUM}")
    with sync_api.sync_playwright() as play:
        running = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """Reports of a small study, and of one with hostile names, holes and a failure."""
    folder = tmp_path_factory.mktemp("pages")
    make_results(folder / "plain", tasks=("icu", "death"), patients=40)
    make_results(folder / "odd", cells=HOSTILE, cohort="phantom", missing=1, error="E" * 300)
    keep_audits(folder / "plain", FOUND)
    made = {name: report(folder / name, folder / f"{name}-out").page for name in ("plain", "odd")}
    return made | {"audit": made["plain"].with_name("audit.html")}


@pytest.fixture
def opened(browser, pages, request):
    """Open a page in a way of its own, and fail where the console complained or a dialog came."""
    contexts, complaints = [], []

    def show(name: str, width: str = "desk", **options):
        context = browser.new_context(viewport={"width": WIDTHS[width], "height": 900}, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto(pages[name].as_uri())
        page.wait_for_load_state("load")
        return page

    yield show
    shots = os.environ.get("PROGNOBENCH_SCREENSHOTS")
    if shots and contexts:
        name = request.node.name.replace("[", "-").replace("]", "")
        contexts[-1].pages[0].screenshot(path=Path(shots) / f"{name}.png", full_page=True)
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.parametrize("name", ["plain", "odd"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_never_scrolls_sideways_and_shows_its_figures(opened, name, width, scheme):
    page = opened(name, width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == WIDTHS[width]
    for details in page.locator("details").all():
        details.evaluate("one => one.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") == WIDTHS[width]
    pictures = page.locator(".picture img")
    assert pictures.count() > 2
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("async one => { await one.decode(); return one.naturalWidth; }") > 300
        # A figure is drawn in dark ink, so it stands on white in either scheme.
        assert picture.evaluate("one => getComputedStyle(one).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_the_audit_shows_its_films_and_never_scrolls_sideways(opened, width, scheme):
    page = opened("audit", width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == WIDTHS[width]
    films = page.locator(".gallery img")
    assert films.count() == 4
    for film in films.all():
        film.scroll_into_view_if_needed()
        assert film.evaluate("async one => { await one.decode(); return one.naturalWidth; }") == 96
    beside = [film.bounding_box() for film in films.all()[:2]]
    assert beside[0]["y"] == beside[1]["y"] and beside[0]["x"] + beside[0]["width"] <= beside[1]["x"]
    page.locator("header a").click()
    assert page.url.endswith("index.html")


@pytest.mark.parametrize("name", ["odd", "audit"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(opened, name, scheme):
    page = opened(name, color_scheme=scheme)
    low = page.evaluate(CONTRASTS)
    assert low == []


# Every text against the ground it stands on, by the ratio of WCAG 2.2; what is below 4.5 is returned.
CONTRASTS = """() => {
  const numbers = (color) => (color.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const color = numbers(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  return Array.from(document.querySelectorAll("main *, nav *, header *"))
    .filter((one) => Array.from(one.childNodes).some((node) => node.nodeType === 3 && node.textContent.trim()))
    .map((one) => {
      const [a, b] = [light(numbers(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
      return [one.tagName, one.textContent.slice(0, 40), (a + 0.05) / (b + 0.05)];
    })
    .filter(([, , ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_that_scrolls_shows_it_and_no_other(opened, width):
    page = opened("plain", width)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.wait_for_timeout(200)
    told = page.evaluate(SCROLLING)
    assert told and all(wide == line == fades for wide, line, fades in told)
    assert {wide for wide, _, _ in told} >= ({True} if width == "phone" else {False})
    page.evaluate("document.querySelectorAll('.scroll').forEach((one) => { one.scrollLeft = 1e6; })")
    page.wait_for_timeout(200)
    told = page.evaluate(SCROLLING)
    assert all(wide == line and not fades for wide, line, fades in told)


SCROLLING = """() => Array.from(document.querySelectorAll(".scroll")).map((one) => [
  one.scrollWidth > one.clientWidth + 1,
  one.parentElement.querySelector(".more").offsetHeight > 0,
  getComputedStyle(one).maskImage !== "none",
])"""


def column(page, table: int, place: int) -> list[str]:
    rows = page.locator("#results table").nth(table).locator("tbody tr")
    return [rows.nth(row).locator("td").nth(place).inner_text() for row in range(rows.count())]


def test_a_heading_sorts_by_mouse_and_by_keyboard(opened):
    page = opened("plain")
    heading = page.locator("#results table").first.locator("th").nth(2)
    before = column(page, 0, 2)
    heading.locator("button").click()
    falling = [float(text.split()[0]) for text in column(page, 0, 2)]
    assert falling == sorted(falling, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    rising = [float(text.split()[0]) for text in column(page, 0, 2)]
    assert rising == sorted(rising)
    assert heading.get_attribute("aria-sort") == "ascending"
    assert sorted(before) == sorted(column(page, 0, 2))
    # The other table stays as it was.
    assert page.locator("#results table").nth(1).locator("th").nth(2).get_attribute("aria-sort") == "none"


def test_what_is_missing_stays_last(opened):
    page = opened("plain")
    place = [*page.locator("#results table").first.locator("th").all_inner_texts()].index("over best control")
    for _ in range(2):
        page.locator("#results table").first.locator("th").nth(place).locator("button").click()
        assert column(page, 0, place)[-2:] == ["–", "–"]


def test_it_can_be_read_by_keyboard_alone(opened):
    page = opened("plain")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the answer"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#summary"
    # Wide tables are scrolled in their own box, which takes the focus.
    boxes = page.locator(".scroll")
    assert boxes.count() == page.locator("table").count()
    assert boxes.evaluate_all("all => all.every(one => one.tabIndex === 0 && one.getAttribute('aria-label'))")
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None


def test_on_paper_everything_is_open_and_nothing_is_cut(opened):
    page = opened("plain")
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    assert page.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    # A4 landscape within its margins, in pixels of 1/96 inch.
    page.set_viewport_size({"width": round((297 - 24) / 25.4 * 96), "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_the_index_of_several_studies_opens_its_pages(browser, tmp_path):
    from prognobench.reporting import report_studies

    for name in ("first", "second"):
        make_results(tmp_path / "results", name, tasks=(name,), cells=(("dinov2_s", "lp"), ("none", "majority")))
    report_studies(tmp_path / "results", tmp_path / "out", figures=False)
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.goto((tmp_path / "out" / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("link", name="second").click()
    assert page.locator("h1").inner_text() == "second"
    page.close()
