"""What the audit of a cohort found: for the terminal, before a study, and as a page with the suspected films."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding

from prognobench.cohorts import FEW_POSITIVES, Audit, Cohort, Finding, audit_report
from prognobench.frame import write_in_one_step

from ._listings import listing
from ._safe import plain

_COLORS = {"error": "red", "warning": "yellow", "note": "dim"}
_MOST_ROWS = 8  # lines of the table, in a listing
_MOST_COLUMNS = 8  # a task, in the ranking
_MOST_TOLD = 3  # findings, before a study


def print_audit(audit: Audit, console: Console) -> None:
    """Print every finding with its remedy, and how well each column alone predicts each outcome."""
    if not audit.findings:
        console.print("The audit found nothing.", highlight=False)
    else:
        for finding in audit.findings:
            mark = f"[{_COLORS[finding.severity]}]{finding.severity}[/] [bold]{finding.check}[/bold]"
            task = f"{finding.task}: " if finding.task else ""
            console.print(f"{mark} {plain(task + finding.what + _rows(finding))}.", highlight=False)
            console.print(Padding(f"→ {plain(finding.remedy)}.", (0, 0, 0, 4)), highlight=False)
    ranked = audit.tables.get("confounds", [])
    if ranked:
        table = listing("task", "rank", "column alone", "role", "AUC", "95 % interval")
        for task in dict.fromkeys(row["task"] for row in ranked):
            for row in [row for row in ranked if row["task"] == task][:_MOST_COLUMNS]:
                table.add_row(plain(task), str(row["rank"] or ""), plain(row["column"]), row["role"], *_auc(row))
            table.add_section()
        console.print(table)
    counts = audit.tables.get("counts", [])
    if counts:
        _print_counts(counts, console)


def _print_counts(counts: list[dict[str, Any]], console: Console) -> None:
    table = listing("task", "by", "value", "films", "patients", "patients of each class")
    for task in dict.fromkeys(row["task"] for row in counts):
        for row in (row for row in counts if row["task"] == task):
            held = {key.removesuffix("_patients"): row[key] for key in row if key.endswith("_patients")}
            classes = ", ".join(f"{patients:,} {name}" for name, patients in held.items())
            sizes = (f"{row['films']:,}", f"{row['patients']:,}", plain(classes))
            table.add_row(plain(task), row["by"], plain(row["value"]), *sizes)
        table.add_section()
    console.print(table)


def print_audits(audits: Mapping[str, Audit], console: Console) -> None:
    """Print how many findings each cohort of a study has, and the first of them."""
    for name, audit in audits.items():
        counts = Counter(finding.severity for finding in audit.findings)
        worst = [finding for finding in audit.findings if finding.severity != "note"]
        if not worst:
            continue
        told = ", ".join(f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in counts.items())
        console.print(f"[yellow]audit[/yellow] of {plain(name)}: {told}", highlight=False)
        # What was counted in the splits of the study, `cohort check` cannot tell.
        planned = [finding for finding in worst if finding.check == FEW_POSITIVES]
        others = _of_each_check([finding for finding in worst if finding.check != FEW_POSITIVES])
        for finding in [*planned, *others[:_MOST_TOLD]]:
            task = f"{finding.task}: " if finding.task else ""
            console.print(f"  {plain(task + finding.what)}", highlight=False)
            if finding in planned:
                console.print(f"    → {plain(finding.remedy)}.", highlight=False)
        if others:
            told = "  `prognobench cohort check` on its cohort.yaml tells all of its films and columns, with remedies."
            console.print(told, highlight=False)


def write_audit(audit: Audit, cohort: Cohort, out: Path) -> list[Path]:
    """Write `audit.json`, in which films are lines of the table, and `audit.html`, which names no film or patient."""
    from .page import AUDIT_PAGE, audit_page

    document, page = out / "audit.json", out / AUDIT_PAGE
    write_in_one_step(document, json.dumps(audit.to_json(), indent=1) + "\n")
    write_in_one_step(page, audit_page([audit_report(audit, cohort)]))
    return [document, page]


def _of_each_check(findings: list[Finding]) -> list[Finding]:
    """Put the first finding of each check before the second of any."""
    seen: Counter[str] = Counter()
    order = []
    for place, finding in enumerate(findings):
        order.append((seen[finding.check], place))
        seen[finding.check] += 1
    return [findings[place] for _, place in sorted(order)]


def _rows(finding: Finding) -> str:
    if not finding.rows:
        return ""
    more = len(finding.rows) - _MOST_ROWS
    listed = ", ".join(map(str, finding.rows[:_MOST_ROWS])) + (f" and {more} more" if more > 0 else "")
    return f" (row{'s' if len(finding.rows) > 1 else ''} {listed})"


def _auc(row: Mapping[str, Any]) -> tuple[str, str]:
    if row["auc"] is None:
        return "", "too few patients"
    if row["auc"] <= 0.5:
        # Below a half, learning from other patients misled, which says as little as a half does.
        return "chance", ""
    return f"{row['auc']:.2f}", f"{row['low']:.2f} to {row['high']:.2f}"
