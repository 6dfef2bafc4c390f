"""What a build of a cohort says: counts beside the published ones, and everything that was left out."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from prognobench.cohorts import BuildReport

from ._safe import plain


def print_build(report: BuildReport, console: Console) -> None:
    """Print what was built, what was left out and why, and what else should be known."""
    console.print(
        f"[bold]{report.films} films of {report.patients} patients[/bold] are described by {plain(report.path)}",
        highlight=False,
    )
    counts = {"films": 0, "patients": 1, "positive films": 2}
    published = any(task.published for task in report.tasks)
    table = Table("task", box=None, pad_edge=False, header_style="bold")
    for name in counts:
        table.add_column(name, justify="right")
        if published:
            table.add_column("published", justify="right")
    for task in report.tasks:
        cells = []
        for place, built in zip(counts.values(), (task.films, task.patients, task.positive), strict=True):
            cells.append(str(built))
            if published:
                cells.append("" if task.published is None else str(task.published[place]))
        table.add_row(plain(task.task), *cells)
    console.print(table)
    for (kind, reason), count in report.reasons.items():
        console.print(
            f"  {count} {kind}{'s' if count > 1 else ''} left out: {plain(reason)}", highlight=False, soft_wrap=True
        )
    if report.left_out:
        console.print(f"Each is named in {plain(report.path.parent / 'left_out.csv')}", highlight=False)
    if report.burned_in:
        console.print(
            f"[yellow]{len(report.burned_in)} films say of themselves that identifying text is burned into the "
            "picture (BurnedInAnnotation).[/yellow] Look at them before you pass them on.",
            highlight=False,
            soft_wrap=True,
        )
    for note in report.notes:
        console.print(plain(note), highlight=False, soft_wrap=True)
