"""What the audit of a cohort found: for the terminal, before a study, and as a page with the suspected films."""

from __future__ import annotations

import base64
import html
import io
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding

from prognobench.cohorts import Audit, Cohort, Finding, film_thumbnails
from prognobench.frame import pseudonyms, write_in_one_step

from ._listings import listing
from ._safe import plain

_COLORS = {"error": "red", "warning": "yellow", "note": "dim"}
_MOST_ROWS = 8  # lines of the table, in a listing
_MOST_COLUMNS = 8  # a task, in the ranking
_MOST_PAIRS = 60  # on the page
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


def print_audits(audits: Mapping[str, Audit], console: Console) -> None:
    """Print how many findings each cohort of a study has, and the first of them."""
    for name, audit in audits.items():
        counts = Counter(finding.severity for finding in audit.findings)
        worst = [finding for finding in audit.findings if finding.severity != "note"]
        if not worst:
            continue
        told = ", ".join(f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in counts.items())
        console.print(f"[yellow]audit[/yellow] of {plain(name)}: {told}", highlight=False)
        for finding in _of_each_check(worst)[:_MOST_TOLD]:
            task = f"{finding.task}: " if finding.task else ""
            console.print(f"  {plain(task + finding.what)}", highlight=False)
        console.print("  `prognobench cohort check` on its cohort.yaml tells all, with remedies.", highlight=False)


def write_audit(audit: Audit, cohort: Cohort, out: Path) -> list[Path]:
    """Write `audit.json`, in which films are lines of the table, and `audit.html`, which names no film or patient."""
    document, page = out / "audit.json", out / "audit.html"
    write_in_one_step(document, json.dumps(audit.to_json(), indent=1) + "\n")
    write_in_one_step(page, _page(audit, cohort))
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


def _page(audit: Audit, cohort: Cohort) -> str:
    parts = [_findings(audit), _confounds(audit), _pairs(audit, cohort)]
    return _PAGE.format(name=html.escape(cohort.name), style=_STYLE, body="\n".join(parts))


def _findings(audit: Audit) -> str:
    if not audit.findings:
        return "<p>The audit found nothing.</p>"
    rows = [
        [finding.severity, finding.check, finding.task, finding.what, finding.remedy, str(len(finding.rows) or "")]
        for finding in audit.findings
    ]
    heads = ["", "check", "task", "found", "what to do", "films"]
    return "<h2>Findings</h2>" + _table(heads, rows, "audit.json lists the lines of the table.")


def _confounds(audit: Audit) -> str:
    ranked = audit.tables.get("confounds", [])
    if not ranked:
        return ""
    rows = [[row["task"], str(row["rank"] or ""), row["column"], row["role"], *_auc(row)] for row in ranked]
    told = (
        "ROC-AUC of predicting the outcome from the column alone, out of fold, with films of a patient taken together."
    )
    return "<h2>What goes with the outcome</h2>" + _table(
        ["task", "rank", "column", "role", "AUC", "95 % interval"], rows, told
    )


def _table(heads: list[str], rows: list[list[str]], caption: str) -> str:
    head = "".join(f"<th scope='col'>{html.escape(word)}</th>" for word in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _pairs(audit: Audit, cohort: Cohort) -> str:
    pairs = audit.tables.get("duplicates", [])
    if not pairs:
        return ""
    shown = sorted(pairs, key=lambda pair: (pair["one_patient"], -pair["likeness"]))[:_MOST_PAIRS]
    place_of = {int(row): place for place, row in enumerate(cohort.films["row"])}
    names = pseudonyms()
    figures = []
    for pair in shown:
        films = [place_of[row] for row in pair["rows"]]
        patients = [names("patient", cohort.films["patient"].iloc[film]) for film in films]
        images = "".join(
            f"<img alt='film of {patient}' src='data:image/png;base64,{_png(picture)}'>"
            for patient, picture in zip(patients, film_thumbnails(cohort, films), strict=True)
        )
        kind = "the same bytes" if pair["kind"] == "identical" else f"likeness {pair['likeness']:.3f}"
        together = "one group" if pair["one_group"] else "<strong>in two groups</strong>"
        told = f"{' and '.join(dict.fromkeys(patients))}: {kind}, {together}"
        figures.append(f"<figure>{images}<figcaption>{told}</figcaption></figure>")
    more = f"<p>{len(pairs) - len(shown)} more pairs are in audit.json.</p>" if len(pairs) > len(shown) else ""
    return f"<h2>Suspected pairs</h2><div class='pairs'>{''.join(figures)}</div>{more}"


def _png(picture: Any) -> str:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode("ascii")


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24;
  background: #fff; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
caption { text-align: left; padding: .3rem 0; color: #57606a; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #d0d7de; }
.pairs { display: flex; flex-wrap: wrap; gap: 1.5rem; }
figure { margin: 0; max-width: 22rem; }
img { width: 10rem; image-rendering: auto; background: #000; margin-right: .3rem; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) {
  body { background: #0d1117; color: #e6edf3; } caption { color: #9198a1; } th, td { border-color: #3d444d; }
}
"""

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Audit of {name}</title><style>{style}</style></head>
<body><h1>Audit of {name}</h1>
{body}
</body></html>
"""
