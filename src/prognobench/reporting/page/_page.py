"""One self-contained HTML page: no network, no inline attribute that could run, nothing but what is shown."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from prognobench import __version__
from prognobench.cohorts import AuditReport
from prognobench.studies import Provenance

from .._tables import StudyTables
from ._answer import Answer, answers, overall
from ._audits import audit_section, audits_of_a_study, leak_doubts
from ._made import (
    GLOSSARY,
    cohort_section,
    environment_section,
    holes_section,
    protocol_section,
    reproduce_section,
    unused_controls,
    with_stems,
)
from ._numbers import (
    calibration_section,
    comparisons_section,
    cost_section,
    decision_section,
    intervals_section,
    ranking_section,
    results_section,
    subgroups_section,
    winners_table,
)
from ._parts import Card, Part, Picture, Prose, Section, Terms, data_uri, plural, words

if TYPE_CHECKING:
    from jinja2 import Environment

    from ..figures import WrittenFigure

AUDIT_PAGE = "audit.html"


@dataclass(frozen=True)
class IndexEntry:
    """One study in the index of several."""

    study: str
    href: str
    answer: tuple[str, ...]


def study_page(
    tables: StudyTables,
    names: Iterable[str],
    made: Provenance,
    figures: Sequence[WrittenFigure] = (),
    *,
    has_films: bool = False,
    audits: Mapping[str, AuditReport] | None = None,
) -> tuple[str, tuple[str, ...]]:
    """Write the page of one study.

    Parameters
    ----------
    tables
        The study's tables.
    names
        Of films and patients, which are masked where an error or a reason holds one.
    made
        How the numbers were made.
    figures
        The figures that lie beside the page.
    has_films
        Whether the folder holds what is known of the films.
    audits
        What the audit found, by the cohort's name; where it is known the page leads to `AUDIT_PAGE` beside it.

    Returns
    -------
    html
        The page.
    answer
        Its first sentences.
    """
    audits = audits or {}
    found = answers(tables, audits)
    masked = with_stems(names)
    cohorts = cohort_section(tables, masked)
    sections = [
        _summary(tables, found, [*general_doubts(tables, made), *leak_doubts(audits)]),
        Section("words", "Words on this page", (Terms(GLOSSARY, "What MCC, fold, control and the others mean", True),)),
        results_section(tables),
        comparisons_section(tables),
        ranking_section(tables),
        intervals_section(tables),
        subgroups_section(tables, has_films),
        calibration_section(tables),
        *_figures(figures),
        decision_section(tables),
        replace(cohorts, parts=(*cohorts.parts, *audits_of_a_study(audits, AUDIT_PAGE))),
        protocol_section(made),
        cost_section(tables, made.costs),
        environment_section(made),
        holes_section(made, masked),
        reproduce_section(tables, made),
    ]
    versions = sorted({(one["versions"] or {}).get("prognobench", "?") for one in made.environments})
    html = _render("page.html.j2", title=f"{words(tables.study)} – prognobench", heading=words(tables.study),
                   sections=sections, versions=", ".join(versions), first="the answer", back="")  # fmt: skip
    return html, overall(found)


def audit_page(audits: Iterable[AuditReport], back: str = "") -> str:
    """Write the page of audits, a section a cohort; it shows films.

    Parameters
    ----------
    audits
        What may be shown of each.
    back
        The page that leads to it, where there is one.
    """
    sections = [audit_section(place, audit) for place, audit in enumerate(audits, start=1)]
    return _render("page.html.j2", title="Audit – prognobench", heading="What the audit found", sections=sections,
                   versions=__version__, first="the findings", back=back)  # fmt: skip


def index_page(entries: Sequence[IndexEntry]) -> str:
    """Write the page that leads to the pages of several studies."""
    return _render("index.html.j2", title="Studies – prognobench", entries=entries)


def _summary(tables: StudyTables, found: Sequence[Answer], general: Sequence[str]) -> Section:
    doubts = [*general, *(found[0].doubts if len(found) == 1 else ())]
    parts: list[Part] = [Prose(overall(list(found)), look="answer")]
    if doubts:
        parts.append(Prose(tuple(doubts), points=True, look="doubt"))
    parts.append(winners_table(tables))
    if len(found) > 1:
        parts += [Card(one.title, one.sentences, one.doubts) for one in found]
    return Section("summary", "Answer", tuple(parts))


def general_doubts(tables: StudyTables, made: Provenance) -> list[str]:
    """Say what must be known of the study as a whole before its answer is believed."""
    doubts = []
    if tables.synthetic:
        named = ", ".join(map(words, tables.synthetic))
        doubts.append(f"The films of {named} are SYNTHETIC: nothing here is about patients.")
    quick = sorted({words(one) for one in tables.jobs["protocol"].dropna() if re.match(r"quick(\[|$)", str(one))})
    if quick:
        # A derived protocol bears the name of its preset, with its own settings in brackets.
        named = "quick" if quick == ["quick"] else f"quick ({', '.join(quick)})"
        doubts.append(f"Made with the protocol {named}, for a first look; use standard for results to report.")
    lost = made.status.planned - made.status.done
    if lost:
        doubts.append(f"{plural(lost, 'planned job')} not done; see Holes and failures.")
    lacking = unused_controls(tables)
    if lacking:
        doubts.append(f"Controls that were not run: {', '.join(lacking)}.")
    if len(made.environments) > 1:
        doubts.append(f"The jobs ran under {len(made.environments)} different sets of versions or machines.")
    blocks = len(tables.decision[["cohort", "task", "test_cohort", "regime", "shots", "validation"]].drop_duplicates())
    if blocks > 1:
        doubts.append("Tasks and regimes that share patients are not independent of one another.")
    return doubts


def _figures(figures: Sequence[WrittenFigure]) -> list[Section]:
    parts: list[Part] = [
        Picture(
            words(one.title),
            words(one.caption),
            tuple(data_uri(path) for path in one.pages),
            tuple(f"figures/{path.name}" for path in (one.pdf, one.csv) if path is not None),
        )
        for one in figures
        if one.pages
    ]
    left = [f"{words(one.title)}: {words(one.left_out)}." for one in figures if one.left_out]
    if left:
        parts += [Prose(("Figures that these data cannot fill:",), look="quiet"), Prose(tuple(left), points=True)]
    return [Section("figures", "Figures", tuple(parts))] if parts else []


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("prognobench.reporting", "page")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["code"] = _code
    return made


def _code(text: str) -> str:
    """Set what stands between backticks as code; all of it is escaped."""
    from markupsafe import Markup

    parts = text.split("`")
    if len(parts) % 2 == 0:
        return text
    pieces = [Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)]
    return Markup("").join(pieces)


def _render(template: str, **content: object) -> str:
    from markupsafe import Markup

    style, script = (_text(name) for name in ("style.css", "sort.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    # Ours, and free of closing tags; everything else is escaped.
    own = {"style": Markup(style), "script": Markup(script), "policy": policy}
    return _environment().get_template(template).render(**own, **content) + "\n"


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
