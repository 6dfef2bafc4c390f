"""A study beside another one, or beside the numbers of the paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from importlib import resources
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prognobench.evaluation import BLOCK_KEYS, CONTROLS, fold_metrics, summarize
from prognobench.frame import write_in_one_step

from ._csv import csv_text
from ._safe import printable

PAPER = "paper"
PAPER_SOURCE = "Ruffini et al., arXiv:2506.18434, headline numbers of the authors' README (cosbidev/Deep-Sick)"
PAPER_CAVEAT = (
    "The paper's numbers are each the best of many strategies on the same folds, which flatters them; a single "
    "strategy chosen beforehand scores lower on average."
)
# What pandas makes of a row.
_Row = dict[Hashable, Any]
Study = tuple[pd.DataFrame, pd.DataFrame]
_CELL = [*BLOCK_KEYS, "protocol", "model", "strategy"]


def paper_results() -> pd.DataFrame:
    """Return the numbers of the paper that are publicly readable.

    Returns
    -------
    pandas.DataFrame
        One row a result, `cohort, task, model, strategy, validation` by the names that this package uses, `mcc` and
        `std`: mean and standard deviation over folds; whether of films or patients is not said. `source` says where
        it stands, `caveat` what to know: each is the best of many strategies on the same folds.

    Examples
    --------
    >>> list(paper_results()["task"])
    ['CAR', 'CAR', 'NY_small', 'NY_small', 'AFC_m', 'AFC', 'NY_all', 'NY_all']
    """
    text = resources.files(__package__).joinpath("reference", "ruffini.csv").read_text(encoding="utf-8")
    return pd.read_csv(StringIO(text), dtype="string").astype({"mcc": "float64", "std": "float64"})


def compare_with_paper(predictions: pd.DataFrame, jobs: pd.DataFrame) -> pd.DataFrame:
    """Set a study beside the numbers of the paper.

    Parameters
    ----------
    predictions, jobs
        As `prognobench.evaluation.fold_metrics` takes them.

    Returns
    -------
    pandas.DataFrame
        One row a number of the paper and cell of the study that answers to it: the same task and model with all
        training films, and the same strategy where the study has it, in any variant. `paper_mcc, paper_std` (with
        `paper_caveat, paper_source`); the
        cell's keys, `mcc, std, folds, n_folds, n_missing` at film level, `difference` (study − paper), and `unlike`:
        what does not match. Where nothing answers, the cell is missing and `unlike` says so.
    """
    summary = summarize(fold_metrics(predictions, jobs), jobs)
    learned = summary[~summary["strategy"].isin(CONTROLS) & (summary["regime"] == "full")]
    rows = []
    for reference in paper_results().to_dict("records"):
        task = learned["task"].str.casefold().isin(_names_of(reference["task"]))
        cells = learned[task & (learned["model"] == reference["model"])]
        same = cells[cells["strategy"].map(_family) == reference["strategy"]]
        known = {
            "task": reference["task"], "model": reference["model"], "strategy": reference["strategy"],
            "paper_mcc": reference["mcc"], "paper_std": reference["std"],
            "paper_caveat": reference["caveat"], "paper_source": reference["source"],
        }  # fmt: skip
        if not len(same):
            rows.append(known | {"unlike": _nothing(learned, cells, reference)})
        for _, cell in same.iterrows():
            rows.append(known | _beside(cell, reference))
    return pd.DataFrame(rows, columns=_PAPER_COLUMNS).astype(_PAPER_TYPES)


_PAPER_TYPES: dict[Any, Any] = dict.fromkeys(("paper_mcc", "paper_std", "mcc", "std", "difference"), "float64")
_PAPER_TYPES |= dict.fromkeys(("folds", "n_folds", "n_missing"), "Int64")
_PAPER_COLUMNS = [
    *("task", "model", "strategy", "paper_mcc", "paper_std", "mcc", "std", "difference", "folds", "n_folds"),
    *("n_missing", "study_cohort", "study_task", "study_strategy", "study_validation", "study_protocol", "unlike"),
    *("paper_caveat", "paper_source"),
]


def _names_of(task: str) -> set[str]:
    """Return a task's names, the authors' other ones as well."""
    also = {"AFC_m": {"AFC_death"}, "CC": {"CoCross"}, "NY_small": {"NY"}}
    return {name.casefold() for name in (task, *also.get(task, ()))}


def _family(strategy: str) -> str:
    """Return a strategy's label without its variant: the paper's own module lists are one."""
    return strategy.removesuffix("_paper")


def _nothing(learned: pd.DataFrame, cells: pd.DataFrame, reference: _Row) -> str:
    if len(cells):
        there = ", ".join(cells["strategy"].drop_duplicates())
        return f"the study has this task and model, but not this strategy (it has {there})"
    if learned["task"].str.casefold().isin(_names_of(reference["task"])).any():
        return "the study has this task, but not this model"
    return "the study has no such task with all training films"


def _beside(cell: pd.Series[Any], reference: _Row) -> dict[str, Any]:
    unlike = []
    if cell["cohort"] != reference["cohort"]:
        unlike.append(f"the cohort is called {cell['cohort']}, not {reference['cohort']}")
    if cell["test_cohort"] != cell["cohort"]:
        unlike.append(f"tested on {cell['test_cohort']}")
    if cell["validation"] != reference["validation"]:
        unlike.append(f"validation {cell['validation']}, not {reference['validation']}")
    if cell["protocol"] != PAPER:
        unlike.append(f"protocol {cell['protocol']}, not {PAPER}")
    if cell["strategy"] == reference["strategy"] and reference["strategy"].startswith("lora"):
        unlike.append("LoRA on this package's modules, not on the paper's")
    if cell["mcc_n"] < cell["n_folds"]:
        unlike.append(f"{cell['mcc_n']} of {cell['n_folds']} folds count")
    return {
        "mcc": cell["mcc_mean"], "std": cell["mcc_std"], "difference": cell["mcc_mean"] - reference["mcc"],
        "folds": cell["mcc_n"], "n_folds": cell["n_folds"], "n_missing": cell["n_missing"],
        "study_cohort": cell["cohort"], "study_task": cell["task"], "study_strategy": cell["strategy"],
        "study_validation": cell["validation"], "study_protocol": cell["protocol"], "unlike": "; ".join(unlike),
    }  # fmt: skip


def compare_studies(a: Study, b: Study, level: Literal["auto", "film", "patient"] = "auto") -> pd.DataFrame:
    """Set two studies beside one another, cell by cell.

    Parameters
    ----------
    a, b
        Predictions and jobs of each, as `prognobench.evaluation.fold_metrics` takes them.
    level
        `film`, `patient`, or `auto`: patients where patients have several test films in either study, else films.

    Returns
    -------
    pandas.DataFrame
        One row a cell of either study, sorted by its keys; `control` tells the controls. For each of `a` and `b`
        `mcc_`, `std_`, `folds_`, `n_folds_` and `n_missing_`; `difference` is b − a, of MCC averaged over folds.

        - `same_jobs`: how many done jobs have one key in both. Theirs are one record made twice, or the same one.
        - `patients_a`, `patients_b`, `patients_shared`: tested patients by the names in the tables.
        - `note`: what keeps the difference from being one between models alone.
    """
    summaries = [summarize(fold_metrics(*study), study[1]) for study in (a, b)]
    several = any((summary["headline"] == "patient").any() for summary in summaries)
    tables = []
    for study, summary in zip((a, b), summaries, strict=True):
        at = summary["headline"] if level == "auto" else pd.Series(level, index=summary.index)
        if level == "auto" and several:
            # One study alone may not show that patients have several films.
            cohorts = {c for s in summaries for c in s.loc[s["headline"] == "patient", "test_cohort"]}
            at = at.mask(summary["test_cohort"].isin(cohorts), "patient")
        tables.append(_cells(summary, at).merge(_tested(*study), "left", _CELL))
    both = tables[0].merge(tables[1], "outer", _CELL, suffixes=("_a", "_b"))
    both["level"] = both["level_a"].fillna(both["level_b"])
    both["difference"] = both["mcc_b"] - both["mcc_a"]
    both["control"] = both["strategy"].isin(CONTROLS)
    for name in ("jobs", "patients"):
        pairs = zip(both[f"{name}_a"], both[f"{name}_b"], strict=True)
        both[f"shared_{name}"] = [len(_set(one) & _set(other)) for one, other in pairs]
    both["same_jobs"] = both["shared_jobs"]
    both["patients_shared"] = both["shared_patients"]
    both["note"] = [_note(row) for row in both.to_dict("records")]
    for name in ("patients_a", "patients_b"):
        both[name] = both[name].map(lambda found: len(_set(found))).astype("int64")
    both = both.sort_values(
        [*BLOCK_KEYS, "protocol", "control", "model", "strategy"], kind="stable", na_position="first"
    )
    columns = [*_CELL, "control", "level", "mcc_a", "std_a", "mcc_b", "std_b", "difference", "folds_a", "n_folds_a",
               "n_missing_a", "folds_b", "n_folds_b", "n_missing_b", "same_jobs", "patients_a", "patients_b",
               "patients_shared", "note"]  # fmt: skip
    counts = [name for name in columns if name.startswith(("folds_", "n_"))]
    return both[columns].astype(dict.fromkeys(counts, "Int64")).reset_index(drop=True)


def _cells(summary: pd.DataFrame, at: pd.Series[Any]) -> pd.DataFrame:
    rows = summary[[*_CELL, "n_folds", "n_missing"]].assign(level=at)
    patient = at == "patient"
    for name, part in (("mcc", "mean"), ("std", "std"), ("folds", "n")):
        rows[name] = summary[f"mcc_patient_{part}"].where(patient, summary[f"mcc_{part}"])
    return rows


def _tested(predictions: pd.DataFrame, jobs: pd.DataFrame) -> pd.DataFrame:
    """Return the keys of done jobs and the tested patients of each cell."""
    jobs = jobs[jobs["state"] == "done"]
    jobs = jobs.assign(test_cohort=jobs["test_cohort"].fillna(jobs["cohort"]))
    texts = [key for key in _CELL if key != "shots"]
    jobs = jobs.astype(dict.fromkeys([*texts, "job"], "string")).astype({"shots": "Int64"})
    test = predictions.loc[predictions["split"] == "test", ["job", "cohort", "patient"]].drop_duplicates()
    pairs = test.astype("string").groupby(["job", "cohort"])["patient"].agg(frozenset)
    rows = []
    for keys, cell in jobs.groupby(_CELL, dropna=False, sort=False):
        tested = [
            pairs.get((job, cohort), frozenset())
            for job, cohort in cell[["job", "test_cohort"]].itertuples(index=False, name=None)
        ]
        rows.append([*keys, frozenset(cell["job"]), frozenset().union(*tested)])
    made = pd.DataFrame(rows, columns=[*_CELL, "jobs", "patients"])
    return made.astype(jobs[_CELL].dtypes.to_dict())


def _set(found: Any) -> frozenset[str]:
    return found if isinstance(found, frozenset) else frozenset()


def _note(row: _Row) -> str:
    for one, other in (("a", "b"), ("b", "a")):
        if pd.isna(row[f"n_folds_{one}"]):
            return f"in {other} alone"
    notes = []
    jobs_a, jobs_b = _set(row["jobs_a"]), _set(row["jobs_b"])
    if jobs_a and jobs_a == jobs_b:
        notes.append("the same jobs")
    elif _set(row["patients_a"]) != _set(row["patients_b"]):
        shared = row["shared_patients"]
        notes.append("no patient is shared" if not shared else f"other patients ({shared} shared)")
    for one in ("a", "b"):
        if row[f"folds_{one}"] < row[f"n_folds_{one}"]:
            notes.append(f"{one} has {row[f'folds_{one}']:.0f} of {row[f'n_folds_{one}']:.0f} folds")
    if row["n_folds_a"] != row["n_folds_b"]:
        notes.append("another number of folds")
    return "; ".join(notes)


def compare(
    a: Path,
    b: Path | Literal["paper"],
    out: Path | None = None,
    console: Console | None = None,
    *,
    studies: tuple[str | None, str | None] = (None, None),
) -> pd.DataFrame:
    """Compare a study with the numbers of the paper, or with another study.

    Parameters
    ----------
    a
        A results folder, as `prognobench run` leaves it.
    b
        `paper`, or another results folder.
    out
        A CSV file to write.
    console
        Where to print the comparison, if anywhere.
    studies
        Names of the studies, where a folder holds several.

    Returns
    -------
    pandas.DataFrame
        What `compare_with_paper` or `compare_studies` returns.

    Raises
    ------
    InputError
        When there is no study, or a record does not match its sha256.
    """
    from prognobench.studies import read_results

    first = read_results(a, studies[0])
    if str(b) == PAPER and not Path(b).is_dir():
        table = compare_with_paper(*first)
    else:
        table = compare_studies(first, read_results(Path(b), studies[1]))
    if out is not None:
        write_in_one_step(out, csv_text(table))
    if console is not None:
        print_comparison(table, console)
    return table


def print_comparison(table: pd.DataFrame, console: Console) -> None:
    """Print what `compare_with_paper` or `compare_studies` returned."""
    if "paper_mcc" in table:
        _print_paper(table, console)
    else:
        _print_studies(table, console)


def _print_paper(table: pd.DataFrame, console: Console) -> None:
    shown = _grid(("task", "model", "strategy"), ("paper", "study", "difference"))
    for row in table.to_dict("records"):
        strategy = row["strategy"] if pd.isna(row["study_strategy"]) else row["study_strategy"]
        names = (row["task"], row["model"], strategy)
        numbers = (_mean(row["paper_mcc"], row["paper_std"]), _mean(row["mcc"], row["std"]), _signed(row["difference"]))
        shown.add_row(*(_plain(cell, console) for cell in (*names, *numbers, row["unlike"])))
    console.print(shown)
    for note in (
        "MCC × 100, mean ± std over folds, the study's at film level; difference: study − paper, not a test.",
        PAPER_CAVEAT,
        f"Source: {PAPER_SOURCE}.",
    ):
        console.print(_plain(note, console, "dim"))


def _print_studies(table: pd.DataFrame, console: Console) -> None:
    for _, block in table.groupby([*BLOCK_KEYS, "protocol"], dropna=False, sort=False):
        first = block.iloc[0]
        shots = "" if pd.isna(first["shots"]) else f" {first['shots']}"
        tested = "" if first["test_cohort"] == first["cohort"] else f", tested on {first['test_cohort']}"
        how = f"{first['regime']}{shots} · {first['validation']} · {first['protocol']}"
        title = f"{first['cohort']} · {first['task']}{tested} · {how} · {first['level']} level"
        console.print()
        console.print(_plain(title, console, "bold"))
        shown = _grid(("model", "strategy"), ("a", "b", "b − a"))
        for row in block.to_dict("records"):
            names = ("" if row["control"] and row["model"] == "none" else row["model"], row["strategy"])
            numbers = (_mean(row["mcc_a"], row["std_a"]), _mean(row["mcc_b"], row["std_b"]), _signed(row["difference"]))
            style = "italic" if row["control"] else ""
            shown.add_row(*(_plain(cell, console, style) for cell in (*names, *numbers, row["note"])))
        console.print(shown)
    counts = Counter(table["note"])
    console.print(
        _plain("MCC × 100, mean ± std over folds; b − a is a difference of means, not a test.", console, "dim")
    )
    if counts["the same jobs"] == len(table):
        console.print(_plain("All cells rest on jobs of the same keys in both studies.", console, "dim"))


def _grid(left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, header_style="bold")
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    return table


def _mean(mean: float, std: float) -> str:
    if pd.isna(mean):
        return "–"
    return f"{100 * mean:.1f} ± " + ("–" if pd.isna(std) else f"{100 * std:.1f}")


def _signed(difference: float) -> str:
    return "" if np.isnan(difference) else f"{100 * difference:+.1f}"


def _plain(text: Any, console: Console, style: str = "") -> Text:
    shown = printable("" if pd.isna(text) else text)
    if console.options.ascii_only:
        shown = shown.replace("±", "+/-").replace("×", "x").replace("−", "-").replace("·", "-").replace("–", "-")
        shown = shown.encode("ascii", "replace").decode("ascii")
    return Text(shown, style)
