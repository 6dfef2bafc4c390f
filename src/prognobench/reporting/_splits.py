"""What a person sees of splits: counts, never names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from prognobench.studies import StudySplit

from ._safe import plain


def split_rows(splits: Sequence[StudySplit]) -> list[dict[str, Any]]:
    """Return the splits as rows that JSON can say: their words, their hash, and the counts of each part."""
    return [one.words() | {"sha256": one.split.sha256, "parts": one.counts()} for one in splits]


def print_splits(splits: Sequence[StudySplit], console: Console) -> None:
    """Print films / patients / positive films of each part, one block a task, validation and regime."""
    blocks: dict[tuple[str, ...], list[StudySplit]] = {}
    for one in splits:
        others = [name for name in one.tested if name != one.cohort.name]
        tested = [f"tested on {', '.join(others)}"] if others else []
        title = (one.cohort.name, one.task.name, one.validation, *tested, one.regime.name)
        blocks.setdefault(title, []).append(one)
    for title, block in blocks.items():
        console.print(f"[bold]{plain(' · '.join(title))}[/bold]", highlight=False)
        table = Table(box=box.SIMPLE_HEAD, header_style="bold")
        rows = [_cells(one) for one in block]
        for name in rows[0]:
            if any(row[name] for row in rows):
                table.add_column(name, justify="left" if name == "tested center" else "right")
        for row in rows:
            table.add_row(*(plain(cell) for name, cell in row.items() if any(other[name] for other in rows)))
        console.print(table)
    console.print("Each part: films / patients / positive films.")


def _cells(one: StudySplit) -> dict[str, str]:
    parts = {
        part: " / ".join(str(count) for count in counts.values()) if counts["films"] else ""
        for part, counts in one.counts().items()
    }
    several = {"shots": one.regime.shots, "draw": one.regime.draw, "repeat": one.split.repeat or None}
    told = {name: "" if value is None else str(value) for name, value in several.items()}
    return {**told, "fold": str(one.split.fold), "tested center": one.split.test_center or "", **parts}
