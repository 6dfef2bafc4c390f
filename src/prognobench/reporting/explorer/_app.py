"""The application: one layout, and callbacks that know no page."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dash
from dash import ALL, ClientsideFunction, Input, Output, State, dcc, html, no_update
from flask import Response, abort, request

from prognobench.frame import Problem, sha256_json
from prognobench.studies import ResultsFolder

from .._csv import csv_text
from .._safe import printable
from ..page._made import redacted
from ..page._parts import Prose
from ._films import Films
from ._guard import guard
from ._live import Live
from ._page import JOB_KEY, Context, Control, Page, View, one
from ._page import State as PageState
from ._snapshot import Snapshot
from ._view import Component, link, parts
from .pages import PAGES

_TICK = 2000  # milliseconds between two questions whether anything came
_SLOW_TICK = 30_000  # while a page is made: the questions of a slow page would drop its own answer
_FIRST = 20.0  # seconds that a page waits for the first look at a study
_STEP = 0.02
_HERE = Path(__file__).parent
_INDEX = """<!doctype html>
<html lang="en">
<head>
{%metas%}
<meta name="color-scheme" content="light dark">
<title>{%title%}</title>
<link rel="stylesheet" href="/report/style.css">
{%css%}
</head>
<body>
{%app_entry%}
{%config%}
{%scripts%}
{%renderer%}
<script src="/report/sort.js"></script>
</body>
</html>"""


class Explorer:
    """A results folder and the application that shows it.

    Parameters
    ----------
    results, port, show_images, cohorts, identifiers
        As `explorer_app` takes them.

    Attributes
    ----------
    dash
        The application of Dash; `dash.server` is that of Flask.
    port
        The port that requests must name.
    """

    def __init__(
        self,
        results: Path,
        port: int,
        *,
        show_images: bool = False,
        cohorts: Sequence[Path] = (),
        identifiers: bool = False,
    ) -> None:
        self.results, self.port, self.identifiers = results, port, identifiers
        self.films = Films(identifiers, cohorts) if show_images else None
        self._folder = ResultsFolder(results)
        self._lives: dict[str, Live] = {}
        self._lock = threading.Lock()
        self.dash = dash.Dash(
            "prognobench", title="prognobench", update_title="", assets_folder=str(_HERE / "assets"),
            index_string=_INDEX, suppress_callback_exceptions=True, serve_locally=True, compress=False,
            add_log_handler=False, enable_mcp=False, websocket_callbacks=False, include_pages_meta=False,
            meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
        )  # fmt: skip
        self.dash.layout = _layout()
        _callbacks(self)
        guard(self.dash.server, lambda: self.port, self.dash.csp_hashes)
        _routes(self)
        # The study that is shown first is read while the browser is still opening.
        for study in self._folder.studies()[:1]:
            self._live(study)

    def stop(self) -> None:
        """Look at no study any more."""
        for live in self._lives.values():
            live.stop()

    def context(self, state: PageState) -> Context | None:
        """Return what pages may look at, or None where nothing can be shown."""
        studies = self._folder.studies()
        study = one(state, "study")
        if not studies or (study and study not in studies):
            return None
        now = self._first(self._live(study or studies[0]))
        if now is None:
            return None
        if self.films is not None:
            self.films.need(now.plan.cohort_files)
        return Context(self.results, now, self.films, self.identifiers, tuple(studies))

    def of_study(self, state: PageState, shown: str | None) -> PageState:
        """Name the study in a state that names none: the one that is shown already, else the first of the folder.

        Which one is the first changes when another study runs into the folder, and an open page must not follow.
        """
        study = one(state, "study") or shown or next(iter(self._folder.studies()), "")
        return {**state, "study": (study,)} if study else state

    def known(self, study: str) -> str:
        """Return a study's name where the folder has it, else blank: what comes from outside is not handed on."""
        return study if study in self._folder.studies() else ""

    def structure(self, page: Page, state: PageState) -> str:
        """Return what changes with the studies and with what can be chosen on a page."""
        studies, controls = self._folder.studies(), self.controls(page, state)
        return sha256_json([studies, [[control.key, control.label, control.options] for control in controls]])

    def problems(self, state: PageState) -> tuple[Problem, ...]:
        """Say why nothing can be shown of a study, where something is wrong."""
        live = self._lives.get(one(state, "study") or next(iter(self._folder.studies()), ""))
        return live.problems if live is not None else ()

    def version(self, state: PageState) -> str:
        """Return what changes with everything that a page may show."""
        context = self.context(state)
        if context is None:
            return ",".join(self._folder.studies())
        films = self.films.version if self.films is not None else 0
        return f"{context.now.plan.study} {context.now.version} {films} {','.join(context.studies)}"

    def view(self, page: Page, state: PageState) -> View:
        """Make what a page shows."""
        context = self.context(state)
        return View(_nothing(self, state)) if context is None else page.view(context, state)

    def controls(self, page: Page, state: PageState) -> Sequence[Control]:
        """List what can be chosen on a page."""
        context = self.context(state)
        return () if context is None else page.controls(context, state)

    def _live(self, study: str) -> Live:
        with self._lock:
            if study not in self._lives:
                self._lives[study] = Live(self._folder, study)
                self._lives[study].start()
            return self._lives[study]

    def _first(self, live: Live) -> Snapshot | None:
        # Counted from the start of the study's watch: a page asks several times, and waits once.
        while live.snapshot is None and not live.problems and time.monotonic() < live.begun + _FIRST:
            time.sleep(_STEP)
        return live.snapshot


def _layout() -> Component:
    return html.Div(
        [
            dcc.Location(id="url", refresh="callback-nav"),
            dcc.Interval(id="tick", interval=_TICK),
            dcc.Store(id="version"),
            dcc.Store(id="seen"),
            dcc.Store(id="study"),
            dcc.Store(id="structure"),
            dcc.Store(id="defaults"),
            dcc.Store(id="restructured"),
            dcc.Store(id="named"),
            dcc.Store(id="address"),
            html.A("To the content", href="#content", className="skip"),
            html.Header(id="header"),
            # Filled when the address is known; whoever renews it needs it from the start.
            html.Main(html.Div(id="content"), id="main"),
        ]
    )


def _callbacks(explorer: Explorer) -> None:
    app = explorer.dash
    values, ids = Input({"control": ALL}, "value"), State({"control": ALL}, "id")

    @app.callback(
        Output("header", "children"), Output("main", "children"), Output("seen", "data"), Output("study", "data"),
        Output("structure", "data"), Output("defaults", "data"), Input("url", "href"), Input("restructured", "data"),
        State("study", "data"), State({"control": ALL}, "value"), ids, State("defaults", "data"),
    )  # fmt: skip
    def _open(
        href: str, restructured: Any, study: str | None, chosen: list[Any], held: list[dict[str, str]],
        defaults: dict[str, list[str]] | None,
    ) -> tuple[Any, Any, Any, Any, Any, Any]:  # fmt: skip
        page, told = _read(href)
        state = told = explorer.of_study(told, study)
        if dash.ctx.triggered_id == "restructured":
            # The same page: what is chosen on it stays chosen, and what nobody chose is chosen anew.
            state = _laid_over(told, held, chosen, defaults or {})
        study = explorer.known(one(state, "study"))
        if page is None:
            nowhere = parts([Prose(("There is no such page.",))])
            return _header(explorer, None, state), nowhere, no_update, study, "", {}
        structure = explorer.structure(page, state)
        seen, controls = explorer.version(state), explorer.controls(page, state)
        shown = _content(explorer, page, state)
        panel = [html.Aside(_panel(controls, state), **{"aria-label": "What to show"})] if controls else []
        content = html.Div(shown, id="content", tabIndex="-1")
        main = html.Div([*panel, content], className="page")
        first = {control.key: list(control.chosen({})) for control in controls}
        return _header(explorer, page, state), main, seen, study, structure, first

    @app.callback(
        Output("content", "children"), Output("seen", "data", allow_duplicate=True),
        Output("restructured", "data", allow_duplicate=True), values, Input("version", "data"), ids,
        State("url", "href"), State("study", "data"), State("structure", "data"), prevent_initial_call=True,
        running=[(Output("tick", "interval"), _SLOW_TICK, _TICK)],
    )  # fmt: skip
    def _renew(
        chosen: list[Any], version: Any, held: list[dict[str, str]], href: str, study: str | None, structure: Any
    ) -> tuple[Any, Any, Any]:
        page, told = _read(href)
        state = _laid_over(explorer.of_study(told, study), held, chosen)
        if page is None:
            return no_update, no_update, no_update
        # What lands while the content is made comes with the next question.
        seen = explorer.version(state)
        if explorer.structure(page, state) != structure:
            # Another figure has other choices.
            return no_update, no_update, seen
        return _content(explorer, page, state), seen, no_update

    @app.callback(
        Output("version", "data"), Output("restructured", "data"), Input("tick", "n_intervals"),
        State("seen", "data"), State("structure", "data"), State("url", "href"), State("study", "data"),
        State({"control": ALL}, "value"), ids, prevent_initial_call=True,
    )  # fmt: skip
    def _tick(
        count: int, seen: Any, structure: Any, href: str, study: str | None, chosen: list[Any],
        held: list[dict[str, str]],
    ) -> tuple[Any, Any]:  # fmt: skip
        page, told = _read(href)
        state = _laid_over(explorer.of_study(told, study), held, chosen)
        version = explorer.version(state)
        if version == seen or page is None:
            return no_update, no_update
        if explorer.structure(page, state) != structure:
            return no_update, version
        return version, no_update

    @app.callback(
        Output("url", "href"), Input({"graph": ALL}, "clickData"), State("url", "href"), State("study", "data"),
        prevent_initial_call=True,
    )  # fmt: skip
    def _click(clicked: list[dict[str, Any] | None], href: str, study: str | None) -> Any:
        # Of several figures only the one that was clicked says what is new.
        told = dash.ctx.triggered[0]["value"] if dash.ctx.triggered else None
        key = ((told or {}).get("points") or [{}])[0].get("customdata")
        if not isinstance(key, str) or not JOB_KEY.fullmatch(key):
            return no_update
        return link("job", study=one(explorer.of_study(_read(href)[1], study), "study"), key=key)

    app.clientside_callback(
        ClientsideFunction("explorer", "address"), Output("address", "data"), values, ids, prevent_initial_call=True
    )
    app.clientside_callback(
        ClientsideFunction("explorer", "named"), Output("named", "data"), Input("study", "data"),
        prevent_initial_call=True,
    )  # fmt: skip


def _routes(explorer: Explorer) -> None:
    server = explorer.dash.server

    @server.errorhandler(dash.exceptions.DependencyException)
    def _no_such_script(error: Exception) -> tuple[str, int]:
        # Dash would answer with an error of its own making, and a traceback in the terminal.
        return "There is no such file.", 404

    @server.get("/export.csv")
    def _export() -> Response:
        try:
            state = _state(request.query_string.decode("utf-8", "replace"))
        except ValueError:
            return abort(404)
        page = _page(one(state, "page"))
        table = explorer.view(page, state).table if page is not None else None
        if page is None or table is None:
            return abort(404)
        name = f"prognobench-{page.name or 'overview'}.csv"
        return Response(
            csv_text(table), mimetype="text/csv", headers={"Content-Disposition": f'attachment; filename="{name}"'}
        )

    @server.get("/report/<any('style.css', 'sort.js'):name>")
    def _of_report(name: str) -> Response:
        # The report's own, so that both look and work alike.
        kind = "text/css" if name.endswith("css") else "text/javascript"
        return Response(resources.files("prognobench.reporting.page").joinpath(name).read_bytes(), mimetype=kind)

    @server.get("/film/<token>")
    def _film(token: str) -> Response:
        picture = explorer.films.picture(token) if explorer.films is not None else None
        if picture is None:
            return abort(404)
        return Response(picture, mimetype="image/png")


def _page(name: str) -> Page | None:
    return next((page for page in PAGES if page.name == name), None)


def _read(href: Any) -> tuple[Page | None, PageState]:
    """Return the page and the state of an address; what is no address leads to no page."""
    try:
        told = urlsplit(str(href))
        return _page(told.path.strip("/")), _state(told.query)
    except ValueError:
        return None, {}


def _laid_over(
    state: PageState,
    held: Sequence[dict[str, str]],
    chosen: Sequence[Any],
    defaults: Mapping[str, Sequence[str]] | None = None,
) -> PageState:
    """Return a state with the values of controls laid over it, but for those that are their defaults."""
    laid = dict(state)
    for control, value in zip(held, chosen, strict=True):
        key, values = str(control["control"]), value if isinstance(value, list) else [value]
        told = tuple(str(one) for one in values if one not in (None, ""))
        if key in state or defaults is None or list(told) != list(defaults.get(key, ())):
            laid[key] = told
    return laid


def _state(query: str) -> dict[str, tuple[str, ...]]:
    return {key: tuple(values) for key, values in parse_qs(query, max_num_fields=500).items()}


def _content(explorer: Explorer, page: Page, state: PageState) -> list[Component]:
    view = explorer.view(page, state)
    tools: list[Component] = [html.Button("Copy the link to this view", type="button", **{"data-do": "copy"})]
    if view.table is not None:
        address = link("export.csv", **{**state, "page": page.name})
        tools.insert(0, html.A("CSV of what is shown", href=address, download="", className="button"))
    return [html.H1(page.title), html.Div([*tools, html.Span(role="status")], className="tools"), *view.parts]


def _panel(controls: Sequence[Control], state: PageState) -> list[Component]:
    told = []
    for control in controls:
        chosen, options = control.chosen(state), [{"value": v, "label": t} for v, t in control.options]
        name = {"control": control.key}
        if control.kind == "one":
            field = dcc.Dropdown(
                options, chosen[0] if chosen else None, id=name, clearable=False, searchable=len(options) > 12
            )
            # Dash names the button by what is chosen.
            named = {"role": "group", "aria-label": control.label}
            told.append(html.Div([html.Div(control.label, className="label"), field], className="control", **named))
            continue
        count = f" ({len(chosen)})" if chosen else ""
        boxes = html.Div(dcc.Checklist(options, list(chosen), id=name), role="group", **{"aria-label": control.label})
        told.append(html.Details([html.Summary(control.label + count), boxes], open=bool(chosen), className="control"))
    return [html.Details([html.Summary("Choose and filter"), html.Div(told, className="controls")], open=True)]


def _header(explorer: Explorer, page: Page | None, state: PageState) -> list[Component]:
    context = explorer.context(state)
    study = context.now.plan.study if context is not None else ""
    links = [
        html.Li(dcc.Link(other.title, href=link(other.name, study=study),
                         **({"className": "here"} if other is page else {})),
                **({"aria-current": "page"} if other is page else {}))
        for other in PAGES
    ]  # fmt: skip
    told: list[Component] = [html.P(["prognobench", *([" · ", html.Strong(printable(study))] if study else [])])]
    if context is not None and len(context.studies) > 1:
        others = [html.Li(dcc.Link(printable(name), href=link("", study=name))) for name in context.studies]
        told.append(html.Nav(html.Ul(others), **{"aria-label": "Studies"}))
    return [*told, html.Nav(html.Ul(links), **{"aria-label": "Pages"})]


def _nothing(explorer: Explorer, state: PageState) -> list[Component]:
    """Say what to do where there is no study to show."""
    problems = explorer.problems(state)
    if problems:
        told = tuple(redacted(f"{problem.where}: {problem.what}. {problem.remedy}", ()) for problem in problems)
        return parts([Prose(told, points=True, look="doubt")])
    if explorer.known(one(explorer.of_study(state, None), "study")):
        return parts([Prose(("The study is still being read; this page fills by itself.",), look="answer")])
    if one(state, "study"):
        return parts([Prose(("There is no study of that name in this folder; choose one above.",), look="answer")])
    return parts([
        Prose(("No study has run into this folder yet.",), look="answer"),
        Prose(("Start one with `prognobench run STUDY.yaml --results DIR`, with this folder as DIR. This page fills by "
               "itself as soon as there is something to show; nothing needs to be loaded again.",)),
    ])  # fmt: skip
