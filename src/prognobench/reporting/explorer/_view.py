"""Parts of the report's page as components of Dash; Dash escapes all that stands in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from dash import html

from prognobench.frame import sha256_json

from ..page._parts import Card, Cell, Heading, PageTable, Part, Picture, Prose, Section, Terms

Component = Any  # Dash has no type that all its components share
MOST_ROWS = 100  # of one table; more make a browser slow, and all of them are in the CSV


def link(page: str, /, **state: Any) -> str:
    """Return the address of a page in a state; what comes from outside is encoded."""
    shown = {key: value for key, value in state.items() if value not in (None, "", [])}
    return f"/{page}" + (f"?{urlencode(shown, doseq=True)}" if shown else "")


def parts(given: Iterable[Part]) -> list[Component]:
    """Show parts of a page."""
    return [_part(one) for one in given]


def section(given: Section) -> Component:
    """Show one section of the report."""
    return html.Section(
        [html.H2(given.title, id=f"{given.id}-title"), *parts(given.parts)],
        id=given.id,
        **{"aria-labelledby": f"{given.id}-title"},
    )


def _part(one: Part) -> Component:
    match one:
        case PageTable():
            return table(one)
        case Terms():
            return _terms(one)
        case Heading():
            return html.H3(one.text)
        case Card():
            return _card(one)
        case Prose():
            return _prose(one)
        case Picture():
            raise NotImplementedError("figures of the report are drawn anew here")


def table(one: PageTable, links: Sequence[Sequence[str]] = (), most: int = MOST_ROWS) -> Component:
    """Show a table of the report.

    Parameters
    ----------
    one
        The table.
    links
        For each row and cell where it leads, blank where nowhere; empty where no cell leads anywhere.
    most
        How many rows are shown.
    """
    head = html.Thead(html.Tr([_heading(*heading) for heading in one.headings]))
    shown = list(enumerate(one.rows))[:most]
    rows = [
        html.Tr(
            [_cell(cell, links[row][place] if links else "") for place, cell in enumerate(cells)],
            className=look or None,
        )
        for row, (look, cells) in shown
    ]
    if not rows:
        rows = [html.Tr(html.Td("nothing", colSpan=len(one.headings), className="quiet"))]
    left = len(one.rows) - len(shown)
    more = f"{left:,} more rows are in the CSV; headings sort the {len(shown)} that are shown. Filter to see others."
    notes = [*one.notes, *([more] if left > 0 else [])]
    # Rows that were sorted are not where React left them: a table of other rows is another one.
    of = sha256_json([[cell.text for cell in cells] for _, (_, cells) in shown])
    box = html.Div(
        html.Table([head, html.Tbody(rows)], key=of, **{"aria-label": one.caption}),
        className="scroll", tabIndex="0", role="region", **{"aria-label": one.caption},
    )  # fmt: skip
    figure = html.Figure(
        # The script shows the hint where the table is wider than its box.
        [
            html.P(one.caption, className="caption"),
            html.P("scroll sideways for more", className="more", hidden=True),
            box,
        ]
        + ([html.Figcaption(_coded(" ".join(notes)))] if notes else []),
        className="table",
    )
    return html.Details([html.Summary(one.folded), figure]) if one.folded else figure


def _heading(text: str, told: str, number: bool) -> Component:
    named = html.Button(text, type="button", className="sort") if text else html.Span("note", className="hidden")
    return html.Th(
        [named, *([html.Small(told)] if told else [])],
        scope="col", className="number" if number else None, **{"aria-sort": "none"},
    )  # fmt: skip


def _cell(cell: Cell, href: str) -> Component:
    sort = {} if cell.sort is None else {"data-sort": str(cell.sort)}
    content = html.A(cell.text or "no model", href=href, className="inner") if href else cell.text
    return html.Td(content, className=cell.look or None, **sort)


def _terms(one: Terms) -> Component:
    pairs = html.Dl([html.Div([html.Dt(term), html.Dd(meaning)]) for term, meaning in one.pairs])
    if one.folded:
        return html.Details([html.Summary(one.title), pairs])
    return html.Div([html.H3(one.title), pairs] if one.title else pairs)


def _card(one: Card) -> Component:
    verdict = [" ", html.Span(one.verdict, className=f"verdict {one.look}".strip())] if one.verdict else []
    points = [html.Ul([html.Li(_coded(point)) for point in one.points])] if one.points else []
    told = [html.P(_coded(sentence)) for sentence in one.sentences]
    return html.Article([html.H4([one.title, *verdict]), *told, *points], className="card")


def _prose(one: Prose) -> Component:
    if one.points:
        return html.Ul([html.Li(_coded(text)) for text in one.paragraphs], className=one.look or None)
    return html.Div([html.P(_coded(text), className=one.look or None) for text in one.paragraphs])


def _coded(text: str) -> list[Component]:
    """Set what stands between backticks as code, as the report does."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return [text]
    return [html.Code(piece) if place % 2 else piece for place, piece in enumerate(pieces) if piece]
