"""Overview: how far the study is, its answer so far, its controls, holes and failures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pandas as pd
from dash import html

from prognobench.cohorts import AuditReport
from prognobench.frame import InputError
from prognobench.studies import Provenance, read_audits

from ...page._answer import answers, overall
from ...page._audits import leak_doubts
from ...page._made import holes_section, redacted, with_stems
from ...page._numbers import results_section, winners_table
from ...page._page import general_doubts
from ...page._parts import Card, Column, Prose, Row, number, plural, records, text
from ...page._parts import table as page_table
from .._page import Context, Page, State, View
from .._snapshot import Snapshot
from .._view import Component, parts, section, table

HIDDEN = "the text follows when the names are known that it may hold"


def _view(context: Context, state: State) -> View:
    now = context.now
    told = [*_progress(context), *_problems(now)]
    if not now.status.done:
        told += parts([Prose((_what_to_do(now),), look="answer")])
    else:
        told += _answer(context)
    told.append(section(holes_section(_provenance(context), masked_names(context))))
    return View(told, now.tables.summary)


def _progress(context: Context) -> list[Component]:
    now, status = context.now, context.now.status
    failed, missing = len(status.failed), len(status.missing)
    bar = html.Div(
        [
            html.Div(className=f"share {look}", style={"flexGrow": count})
            for look, count in (("done", status.done), ("failed", failed), ("missing", missing + now.unread))
            if count
        ],
        className="progress", role="img",
        **{"aria-label": f"{status.done} of {status.planned} jobs done, {failed} failed"},
    )  # fmt: skip
    counts = f"{status.done:,} of {plural(status.planned, 'planned job')} done · {failed:,} failed · {missing:,} to do"
    counts += f" · {now.unread:,} being read" if now.unread else ""
    notes = [f"{plural(now.unread, 'record')} still being read; their numbers follow."] if now.unread else []
    rows = _per_task(now)
    columns = [Column(name, text(name)) for name in ("cohort", "task", "model", "strategy")]
    columns += [Column(name, number(name, 0, 1)) for name in ("planned", "done", "failed")]
    details = page_table("Jobs of each model and strategy; no interval", columns, rows)
    links = [[context.link("compare", task=row["task"], model=row["model"], strategy=row["strategy"]), *[""] * 6]
             for row in rows]  # fmt: skip
    return [
        html.H2("Progress", id="progress-title"),
        bar,
        html.P(counts, className="counts", **{"aria-live": "polite"}),
        *(html.P(note, className="quiet") for note in notes),
        html.Details([html.Summary("By model and strategy"), table(details, links)]),
    ]


def _per_task(now: Snapshot) -> Sequence[Row]:
    jobs = now.jobs.drop_duplicates("job")
    keys = ["cohort", "task", "model", "strategy"]
    counts = pd.DataFrame(
        {
            "planned": 1,
            "done": (jobs["state"] == "done").astype(int),
            "failed": (jobs["state"] == "failed").astype(int),
        },
        index=jobs.index,
    )
    summed = pd.concat([jobs[keys], counts], axis=1).groupby(keys, dropna=False, sort=True).sum().reset_index()
    # What lacks most stands first.
    return records(summed.assign(_left=summed["done"] - summed["planned"]).sort_values("_left", kind="stable"))


def _problems(now: Snapshot) -> list[Component]:
    told = []
    if now.damaged:
        told.append(f"{plural(len(now.damaged), 'record')} refused; the report refuses the whole folder until this is "
                    "mended.")  # fmt: skip
    # Their places are paths of this machine, and the key is what tells a record.
    told += [redacted(f"{problem.where}: {problem.what}. {problem.remedy}", ()) for problem in now.damaged[:20]]
    told += [redacted(f"{problem.where}: {problem.what}. {problem.remedy}", ()) for problem in now.problems[:20]]
    return parts([Prose(tuple(told), points=True, look="doubt")]) if told else []


def _what_to_do(now: Snapshot) -> str:
    if now.unread:
        return "The records are being read; this page fills by itself."
    if now.status.failed and not now.status.missing:
        return (
            "All jobs failed so far; their errors stand below. `prognobench run` with the same folder tries them again."
        )
    return "No job is done yet. Leave `prognobench run` going: this page fills by itself, record by record."


def _answer(context: Context) -> list[Component]:
    now, made = context.now, context.now.made
    told: list[Component] = [html.H2("Answer so far", id="answer-title")]
    if made is None:
        waiting = (
            "The comparison with the controls, intervals and ranking are being computed, as in the report; they follow "
            "here. The means below are there already."
        )
        told += parts([Prose((waiting,), look="quiet")])
        return [*told, *_means(now)]
    if not now.current:
        told += parts([Prose((f"As of {plural(now.made_records, 'record')}; newer ones are not in it yet.",),
                             look="quiet")])  # fmt: skip
    audits, lost = _audits(context.results, now.plan.study, now.plan.sha256)
    found = answers(made, audits)
    told += parts([Prose(overall(found), look="answer")])
    leaks = [told.replace("under Cohorts", "in the report, under Cohorts") for told in leak_doubts(audits)]
    doubts = [*lost, *general_doubts(made, _provenance(context)), *leaks]
    doubts += found[0].doubts if len(found) == 1 else ()
    if doubts:
        told += parts([Prose(tuple(doubts), points=True, look="doubt")])
    told += parts([winners_table(made)])
    if len(found) > 1:
        cards = parts([Card(one.title, one.sentences, one.doubts) for one in found])
        told.append(html.Details([html.Summary("Each comparison in words"), *cards]))
    if now.current and len(found) <= 3:
        told.append(section(results_section(made)))
    return told


def _means(now: Snapshot) -> list[Component]:
    from ...page._numbers import MODEL, STRATEGY
    from ...page._parts import mean_and_std

    columns = [
        Column("cohort", text("cohort")), Column("task", text("task")), MODEL, STRATEGY,
        Column("regime", text("regime")), Column("MCC", mean_and_std("mcc_mean", "mcc_std")),
        Column("PR-AUC", mean_and_std("pr_auc_mean", "pr_auc_std")), Column("folds", number("folds", 0, 1)),
        Column("of", number("n_folds", 0, 1)),
    ]  # fmt: skip
    rows = now.results[now.results["folds"] > 0].sort_values("mcc_mean", ascending=False, kind="stable")
    return parts([page_table("Means over test folds so far, × 100, controls among them; no interval yet", columns,
                             records(rows), csv="summary")])  # fmt: skip


def _audits(results: Path, study: str, plan: str) -> tuple[dict[str, AuditReport], tuple[str, ...]]:
    """Return what the audits found, and why that cannot be read, if so."""
    try:
        return _audits_once(results, study, plan), ()
    except InputError as error:
        return {}, tuple(
            redacted(f"{problem.where}: {problem.what}. {problem.remedy}", ()) for problem in error.problems
        )


@lru_cache(maxsize=4)
def _audits_once(results: Path, study: str, plan: str) -> dict[str, AuditReport]:
    return read_audits(results, study)


def _provenance(context: Context) -> Provenance:
    status = context.now.status
    if context.now.names is None:
        hidden = tuple((job, HIDDEN if error else "", tries) for job, error, tries in status.failed)
        status = type(status)(status.name, status.planned, status.done, hidden, status.missing, status.left_out)
    return Provenance(status, context.now.plan.overrides, pd.DataFrame(columns=["job"]))


def masked_names(context: Context) -> frozenset[str]:
    """Return the names that are masked in texts from outside."""
    return frozenset() if context.identifiers else _with_stems(context.now.names or frozenset())


@lru_cache(maxsize=4)
def _with_stems(names: frozenset[str]) -> frozenset[str]:
    return with_stems(names)


PAGE = Page("", "Overview", 0, _view)
