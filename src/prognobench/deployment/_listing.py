"""What the terminal shows of predictions."""

from __future__ import annotations

from rich.console import Console

from prognobench.reporting import plain

from ._predict import Predicted

_MOST_NAMED = 20  # films that could not be read; the table has all


def print_predicted(predicted: Predicted, console: Console) -> None:
    """Print how many films were predicted, how many look unlike the training films, and which could not be read."""
    good = len(predicted.table) - len(predicted.bad)
    positive = predicted.table["decision"].value_counts().to_dict()
    told = ", ".join(f"{count} {plain(name)}" for name, count in positive.items())
    resumed = f" ({predicted.resumed} of them before)" if predicted.resumed else ""
    console.print(f"{good} {'film' if good == 1 else 'films'} predicted{resumed}: {told or 'none'}.", highlight=False)
    if predicted.unlike:
        verb = "does" if predicted.unlike == 1 else "do"
        console.print(
            f"[yellow]{predicted.unlike} {verb} not look like the films it was trained on[/yellow] (column unlike): "
            "do not believe these.",
            highlight=False,
        )
    if predicted.bad:
        console.print(f"[red]{len(predicted.bad)} could not be read:[/red]", highlight=False)
    for problem in predicted.bad[:_MOST_NAMED]:
        console.print(f"  • {plain(problem)}", highlight=False, soft_wrap=True)
    if len(predicted.bad) > _MOST_NAMED:
        console.print(f"  and {len(predicted.bad) - _MOST_NAMED} more (column problem)", highlight=False)
    console.print(plain(predicted.out), highlight=False, soft_wrap=True)
    if predicted.patients is not None:
        console.print(plain(predicted.patients), highlight=False, soft_wrap=True)
