"""The table of results that people read first."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ._safe import printable

# From the weakest on; a strategy of these names needs no learned image content.
CONTROLS = ("majority", "metadata", "random")
_BLOCK = ["cohort", "task", "test_cohort", "regime", "shots", "validation", "protocol"]
# Means of equal predictions may differ in the last bits.
_TIE = 1e-12


def result_table(summary: pd.DataFrame, level: Literal["auto", "film", "patient"] = "auto") -> pd.DataFrame:
    """Choose from a summary what people read first: MCC and PR-AUC of every model and strategy.

    Parameters
    ----------
    summary
        What `prognobench.evaluation.summarize` returns.
    level
        `film`, `patient`, or `auto`: patients where patients have several test films, else films.

    Returns
    -------
    pandas.DataFrame
        One row a cell, in blocks of one `cohort, task, test_cohort, regime, shots, validation, protocol`; within
        a block by model and strategy, the controls last:

        - `model, strategy, control` (whether it is one) and `level` (`film` or `patient`);
        - `mcc_mean, mcc_std, pr_auc_mean, pr_auc_std` at that level;
        - `folds`, on which MCC and PR-AUC rest, of `n_folds` planned; `n_missing`, the planned jobs not done;
        - `best`: the highest mean MCC of the block's learned cells; of no cell while jobs of the block are
          missing, for then the means rest on different folds;
        - `not_above`: the control with the highest mean MCC where the cell's mean is not above it, else blank. It
          compares means and is no test: without the mark a model is not proved to be above its controls.
    """
    rows = summary[[*_BLOCK, "model", "strategy", "n_folds", "n_missing"]].copy()
    rows["level"] = summary["headline"] if level == "auto" else level
    at_patient = rows["level"] == "patient"
    for name in ("mcc_mean", "mcc_std", "pr_auc_mean", "pr_auc_std"):
        metric, part = name.rsplit("_", 1)
        rows[name] = summary[f"{metric}_patient_{part}"].where(at_patient, summary[name])
    # Both are undefined on the same folds, those of one class.
    rows["folds"] = summary["mcc_patient_n"].where(at_patient, summary["mcc_n"])
    place = rows["strategy"].map({name: place for place, name in enumerate(CONTROLS, start=1)}).fillna(0).astype(int)
    rows["control"] = place > 0
    rows["_place"] = place
    rows = rows.sort_values([*_BLOCK, "_place", "model", "strategy"], kind="stable", na_position="first")
    rows["best"], rows["not_above"] = False, ""
    for _, block in rows.groupby(_BLOCK, dropna=False):
        _mark(rows, block)
    return rows.drop(columns="_place").reset_index(drop=True)


def _mark(rows: pd.DataFrame, block: pd.DataFrame) -> None:
    learned, controls = block[~block["control"]], block[block["control"]].dropna(subset="mcc_mean")
    # Of a single result there is no best.
    if learned["mcc_mean"].notna().sum() > 1 and not block["n_missing"].any():
        rows.loc[learned.index[learned["mcc_mean"] >= learned["mcc_mean"].max() - _TIE], "best"] = True
    if len(controls):
        best_control = controls.nlargest(1, "mcc_mean").iloc[0]
        not_above = learned["mcc_mean"] <= best_control["mcc_mean"] + _TIE
        rows.loc[learned.index[not_above], "not_above"] = best_control["strategy"]


def print_table(table: pd.DataFrame, console: Console) -> None:
    """Print the rows of `result_table`, one block a task, with what must be known to read them.

    Parameters
    ----------
    table
        What `result_table` returns.
    console
        Where to print; names from outside are shown as text, never as markup or control codes.
    """
    for _, block in table.groupby(_BLOCK, dropna=False, sort=False):
        console.print()
        console.print(_text(console, _title(block.iloc[0]), "bold"))
        console.print(_rows(block, console))
        for note in _notes(block):
            console.print(Padding(_text(console, note, "dim"), (0, 2)))


def _title(row: pd.Series[Any]) -> str:
    tested = "" if row["test_cohort"] == row["cohort"] else f", tested on {row['test_cohort']}"
    shots = "" if pd.isna(row["shots"]) else f" {row['shots']}"
    how = f"{row['regime']}{shots} · {row['validation']} · {row['protocol']}"
    return f"{row['cohort']} · {row['task']}{tested} · {how} · {row['level']} level"


def _rows(block: pd.DataFrame, console: Console) -> Table:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, header_style="bold")
    table.add_column("model", overflow="fold")
    table.add_column("strategy", overflow="fold")
    for heading in ("MCC × 100", "PR-AUC × 100", "folds"):
        table.add_column(_text(console, heading), justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    previous = None
    for _, row in block.iterrows():
        if row["control"] and previous is not None and not previous["control"]:
            table.add_section()
        same = previous is not None and previous["control"] == row["control"] and _name(previous) == _name(row)
        cells = [
            "" if same else _name(row),
            row["strategy"],
            _mean_and_std(row["mcc_mean"], row["mcc_std"]),
            _mean_and_std(row["pr_auc_mean"], row["pr_auc_std"]),
            f"{row['folds']}/{row['n_folds']}",
            _mark_of(row),
        ]
        style = "italic" if row["control"] else "yellow" if row["not_above"] else "bold green" if row["best"] else ""
        table.add_row(*(_text(console, cell, style) for cell in cells))
        previous = row
    return table


def _name(row: pd.Series[Any]) -> str:
    # Controls that look at no image have the model `none`.
    return "" if pd.isna(row["model"]) or (row["control"] and row["model"] == "none") else str(row["model"])


def _mean_and_std(mean: float, std: float) -> str:
    if np.isnan(mean):
        return "–"
    # A fixed width keeps the decimal points below one another.
    return f"{100 * mean:.1f} ± " + (f"{100 * std:4.1f}" if not np.isnan(std) else "   –")


def _mark_of(row: pd.Series[Any]) -> str:
    if row["control"]:
        return "control"
    return "; ".join(filter(None, ["best" if row["best"] else "", f"≤ {row['not_above']}" if row["not_above"] else ""]))


def _notes(block: pd.DataFrame) -> list[str]:
    unit = "a patient's mean score" if block["level"].iloc[0] == "patient" else "each film"
    notes = [f"Mean ± std over test folds; MCC of {unit} at 0.5. Differences are not tested."]
    if not block["control"].any():
        notes.append("No control was run: nothing here shows that the models read the images.")
    elif (block["not_above"] != "").any():
        notes.append("≤ name: mean MCC is not above that of this control, which needs no learned image content.")
    missing = int(block["n_missing"].sum())
    if missing:
        notes.append(f"{missing} planned {'job is' if missing == 1 else 'jobs are'} not done; no best is named.")
    if (block["folds"] < block["n_folds"]).any():
        notes.append("A fold counts where all its jobs are done and its test films hold both classes.")
    return notes


def _text(console: Console, text: str, style: str = "") -> Text:
    """Make text safe to print: no control codes, and no sign that the terminal's encoding lacks."""
    shown = printable(text)
    if console.options.ascii_only:
        for sign, plain in {"±": "+/-", "×": "x", "·": "-", "–": "-", "≤": "<="}.items():
            shown = shown.replace(sign, plain)
        shown = shown.encode("ascii", "replace").decode("ascii")
    return Text(shown, style)
