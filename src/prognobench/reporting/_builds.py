"""What a build of a cohort says: counts beside the published ones, and everything that was left out."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from prognobench.cohorts import BuildReport, Planted

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


def print_planted(planted: Planted, out: Path, console: Console) -> None:
    """Print which faults were planted into raw files, and what of a build or an audit tells of each."""
    for one in planted.faults:
        told = f"left out: {one.left_out[0][1]}" if one.left_out else "kept"
        told += f"; `cohort check` tells: {one.check}" if one.check else ""
        line = f"  planted: {one.fault} ({', '.join(one.sources)}) → {told}"
        console.print(plain(line), highlight=False, soft_wrap=True)
    if planted.faults:
        console.print(f"All {len(planted.faults)} are listed in {plain(out / 'faults.json')}", highlight=False)
