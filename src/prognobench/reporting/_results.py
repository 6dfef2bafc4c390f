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

from prognobench.evaluation import BLOCK_KEYS, CONTROLS

from ._best import architectures
from ._safe import printable

_BLOCK = [*BLOCK_KEYS, "protocol"]
_COMPARED = ["difference", "ci_low", "ci_high", "above_controls", "undefined"]
# Means of equal predictions may differ in the last bits.
_TIE = 1e-12
# From this width on a result and its marks stand on one line.
_WIDE = 100


def result_table(
    summary: pd.DataFrame,
    compared: pd.DataFrame,
    level: Literal["auto", "film", "patient"] = "auto",
    jobs: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Choose what people read first: MCC and PR-AUC of every model and strategy, and whether it is above its controls.

    Parameters
    ----------
    summary
        What `prognobench.evaluation.summarize` returns.
    compared
        What `prognobench.evaluation.compare_with_controls` returns for the same jobs and level.
    level
        `film`, `patient`, or `auto`: patients where patients have several test films, else films.
    jobs
        The planned jobs, whose `architecture` tells which `random` is a model's own; without it the model's name does.

    Returns
    -------
    pandas.DataFrame
        One row a cell, in blocks of one `cohort, task, test_cohort, regime, shots, validation, protocol`; within
        a block by model and strategy, the controls last. A control that was not planned under the protocol of a
        block is shown there as it was under another:

        - `model, strategy, control` (whether it is one), `architecture` and `level` (`film` or `patient`);
        - `mcc_mean, mcc_std, pr_auc_mean, pr_auc_std` at that level;
        - `folds`, on which MCC and PR-AUC rest, of `n_folds` planned; `n_missing`, the planned jobs not done;
        - `best`: the highest mean MCC of the block's learned cells; of no cell while jobs of the block are
          missing, for then the means rest on different folds;
        - `best_control, difference, ci_low, ci_high, above_controls, undefined`: how the cell's mean MCC differs from
          that of its best control; missing for controls and where it is not known.
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
    rows["architecture"] = architectures(jobs, rows["model"])
    rows["_place"] = place
    keys = [*_BLOCK, "model", "strategy"]
    found = compared[[*keys, "control", *_COMPARED]].rename(columns={"control": "best_control"})
    rows = rows.merge(found, "left", keys)
    rows = pd.concat([rows, _shared_controls(rows)], ignore_index=True)
    rows = rows.sort_values([*_BLOCK, "_place", "model", "strategy"], kind="stable", na_position="first")
    rows["best"] = False
    for _, block in rows.groupby(_BLOCK, dropna=False):
        learned = block[~block["control"]]
        # Of a single result there is no best.
        if learned["mcc_mean"].notna().sum() > 1 and not block["n_missing"].any():
            rows.loc[learned.index[learned["mcc_mean"] >= learned["mcc_mean"].max() - _TIE], "best"] = True
    return rows.drop(columns="_place").reset_index(drop=True)


def _shared_controls(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the controls that protocols lack and another protocol of the same films has."""
    missing = []
    for _, block in rows.groupby(BLOCK_KEYS, dropna=False):
        controls = block[block["control"]]
        for protocol in block.loc[~block["control"], "protocol"].unique():
            own = set(controls.loc[controls["protocol"] == protocol, "strategy"])
            others = controls[(controls["protocol"] != protocol) & ~controls["strategy"].isin(own)]
            missing.append(others.drop_duplicates(["model", "strategy"]).assign(protocol=protocol))
    return pd.concat(missing) if missing else rows.iloc[:0]


def print_table(
    table: pd.DataFrame, console: Console, sizes: pd.DataFrame | None = None, chosen: pd.DataFrame | None = None
) -> None:
    """Print the rows of `result_table`, one block a task, with what must be known to read them.

    Parameters
    ----------
    table
        What `result_table` returns.
    console
        Where to print; names from outside are shown as text, never as markup or control codes.
    sizes
        What `prognobench.evaluation.task_sizes` returns, to say how many films and patients were tested.
    chosen
        What `prognobench.evaluation.selection` returns, to say what is left of the best once it is corrected for having
        been chosen.
    """
    for _, block in table.groupby(_BLOCK, dropna=False, sort=False):
        console.print()
        console.print(_text(console, _title(block.iloc[0]), "bold"))
        console.print(_rows(block, console))
        for note in [*_counts(block.iloc[0], sizes), *_choice(block.iloc[0], chosen), *_notes(block)]:
            console.print(Padding(_text(console, note, "dim"), (0, 2)))


def _title(row: pd.Series[Any]) -> str:
    tested = "" if row["test_cohort"] == row["cohort"] else f", tested on {row['test_cohort']}"
    shots = "" if pd.isna(row["shots"]) else f" {row['shots']}"
    how = f"{row['regime']}{shots} · {row['validation']} · {row['protocol']}"
    return f"{row['cohort']} · {row['task']}{tested} · {how} · {row['level']} level"


def _rows(block: pd.DataFrame, console: Console) -> Table:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold")
    table.add_column("strategy", overflow="fold")
    holes, wide = _has_holes(block), console.width >= _WIDE
    for heading in ("MCC × 100", "PR-AUC × 100", *(["folds"] if holes else []), "over best control"):
        table.add_column(_text(console, heading), justify="right", no_wrap=True)
    if wide:
        table.add_column("", overflow="fold")
    previous = None
    for _, row in block.iterrows():
        if row["control"] and previous is not None and not previous["control"]:
            table.add_section()
        same = previous is not None and previous["control"] == row["control"] and _name(previous) == _name(row)
        told, marks = _difference(row), _marks(row)
        cells = [
            "" if same else _name(row),
            row["strategy"],
            _mean_and_std(row["mcc_mean"], row["mcc_std"]),
            _mean_and_std(row["pr_auc_mean"], row["pr_auc_std"]),
            *([f"{row['folds']}/{row['n_folds']}"] if holes else []),
            *([told, ", ".join(marks)] if wide else ["\n".join(filter(None, [told, *marks]))]),
        ]
        style = "italic" if row["control"] else "yellow" if _not_above(row) else "bold green" if row["best"] else ""
        table.add_row(*(_text(console, cell, style) for cell in cells))
        previous = row
    return table


def _has_holes(block: pd.DataFrame) -> bool:
    return bool((block["folds"] < block["n_folds"]).any() or block["n_folds"].nunique() > 1)


def _name(row: pd.Series[Any]) -> str:
    # Controls that look at no image have the model `none`.
    return "" if pd.isna(row["model"]) or (row["control"] and row["model"] == "none") else str(row["model"])


def _mean_and_std(mean: float, std: float) -> str:
    if np.isnan(mean):
        return "–"
    # A fixed width keeps the decimal points below one another.
    return f"{100 * mean:.1f} ± " + (f"{100 * std:4.1f}" if not np.isnan(std) else "   –")


def _difference(row: pd.Series[Any]) -> str:
    if pd.isna(row["difference"]):
        return ""
    shown = (f"{100 * row[name]:+.1f}" for name in ("difference", "ci_low", "ci_high"))
    return "{} [{}, {}]".format(*shown)


def _not_above(row: pd.Series[Any]) -> bool:
    return not pd.isna(row["above_controls"]) and not row["above_controls"]


def _marks(row: pd.Series[Any]) -> list[str]:
    if row["control"]:
        return ["control"]
    marks = ["best"] if row["best"] else []
    if _not_above(row):
        marks.append(f"not above {row['best_control']}")
    elif pd.isna(row["above_controls"]):
        marks.append("not compared")
    return marks


def _notes(block: pd.DataFrame) -> list[str]:
    unit = "a patient's mean score" if block["level"].iloc[0] == "patient" else "each film"
    folds = "test folds" if _has_holes(block) else f"{block['n_folds'].iloc[0]} test folds"
    notes = [f"Mean ± std over {folds}; MCC of {unit} at 0.5. Models are not compared with one another."]
    learned = block[~block["control"]]
    if not block["control"].any():
        notes.append("No control was run: nothing here shows that the models read the images.")
    elif learned["difference"].notna().any():
        notes.append(
            "Over best control: difference of MCC × 100 to the best control with its 95 % interval, a paired bootstrap "
            "over patients."
        )
    if any(_not_above(row) for _, row in learned.iterrows()):
        notes.append(
            "Not above: the interval is not above 0. What needs no learned image content may do as well as this model."
        )
    if block["control"].any():
        for why, rows in learned[learned["above_controls"].isna()].groupby("undefined"):
            named = ", ".join(f"{row['model']} {row['strategy']}" for _, row in rows.iterrows())
            notes.append(f"Not compared: {named}: {why}.")
    missing = int(block["n_missing"].sum())
    if missing:
        notes.append(f"{missing} planned {'job is' if missing == 1 else 'jobs are'} not done; no best is named.")
    if (block["folds"] < block["n_folds"]).any():
        notes.append("A fold counts where all its jobs are done and its test films hold both classes.")
    return notes


def _counts(row: pd.Series[Any], sizes: pd.DataFrame | None) -> list[str]:
    if sizes is None:
        return []
    there = sizes[(sizes["cohort"] == row["test_cohort"]) & (sizes["task"] == row["task"])]
    return [
        f"{one['n_films']:,} films of {one['n_patients']:,} patients, {one['n_positive_patients']:,} of them positive."
        for one in there.to_dict("records")
    ]


def _choice(row: pd.Series[Any], chosen: pd.DataFrame | None) -> list[str]:
    if chosen is None:
        return []
    same = [chosen[key].isna() if pd.isna(row[key]) else chosen[key] == row[key] for key in _BLOCK]
    rows = chosen[np.logical_and.reduce([one.fillna(False).to_numpy(bool) for one in same])]
    notes = []
    for one in rows[(rows["n_candidates"] > 1) & rows["corrected"].notna()].to_dict("records"):
        told = f"The best of {one['n_candidates']}, corrected for having been chosen: {100 * one['corrected']:.1f}"
        if not pd.isna(one["above_controls"]):
            ends = (100 * one[f"corrected_difference{end}"] for end in ("", "_ci_low", "_ci_high"))
            verdict = "above" if one["above_controls"] else "not shown to be above"
            told += ", {:+.1f} [{:+.1f}, {:+.1f}] to its best control, ".format(*ends) + f"{verdict} it"
        notes.append(f"{told}.")
    return notes


def _text(console: Console, text: str, style: str = "") -> Text:
    """Make text safe to print: no control codes, and no sign that the terminal's encoding lacks."""
    shown = "\n".join(printable(line) for line in text.split("\n"))
    if console.options.ascii_only:
        for sign, plain in {"±": "+/-", "×": "x", "·": "-", "–": "-"}.items():
            shown = shown.replace(sign, plain)
        shown = shown.encode("ascii", "replace").decode("ascii")
    return Text(shown, style)
