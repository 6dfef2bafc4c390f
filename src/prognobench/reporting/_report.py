"""The report of a study: every number recomputed from its stored predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.text import Text

from prognobench.evaluation import compare_with_controls, fold_metrics, summarize
from prognobench.frame import write_in_one_step

from ._csv import csv_text
from ._results import print_table, result_table

_TABLES = ("fold_metrics", "summary", "controls")


@dataclass(frozen=True, eq=False)
class Report:
    """What `report` made.

    Parameters
    ----------
    files
        The files written, by name.
    table
        The rows that `print_table` shows.
    """

    files: dict[str, Path]
    table: pd.DataFrame


def report(results: Path, out: Path, console: Console | None = None, study: str | None = None) -> Report:
    """Report one study that lies in `results`.

    Parameters
    ----------
    results
        A study's folder, as `prognobench run` leaves it, finished or not.
    out
        Folder of the report, made if needed.
    console
        Where to print the table of results and the files' places, if anywhere.
    study
        The study's name; may be left out where `results` holds one study.

    Raises
    ------
    InputError
        When there is no study, or a record does not match its sha256.
    """
    from prognobench.studies import read_results

    predictions, jobs = read_results(results, study)
    tables = _tables(predictions, jobs)
    made = Report(_write(tables, out), result_table(tables["summary"], tables["controls"]))
    if console is not None:
        print_table(made.table, console)
        console.print()
        for file in made.files.values():
            console.print(Text(str(file)), soft_wrap=True)
    return made


def report_studies(results: Path, out: Path, console: Console | None = None) -> list[Report]:
    """Report every study of a results folder: into `out` itself where there is one, else each into a folder of its own.

    Tables that lie in `out` from the time when there was one study are removed, since nobody would see their age.

    Parameters
    ----------
    results, out, console
        As `report` takes them.

    Raises
    ------
    InputError
        When there is no study, or a record does not match its sha256.
    """
    from prognobench.studies import study_names

    studies = study_names(results)
    if len(studies) == 1:
        return [report(results, out, console, studies[0])]
    for name in _TABLES:
        (out / f"{name}.csv").unlink(missing_ok=True)
    made = []
    for study in studies:
        if console is not None:
            console.print()
            console.print(Text(f"Study {study}", "bold underline"))
        made.append(report(results, out / study, console, study))
    return made


def write_tables(predictions: pd.DataFrame, jobs: pd.DataFrame, out: Path) -> dict[str, Path]:
    """Write `fold_metrics.csv`, `summary.csv` and `controls.csv`; they hold no patient's or film's name.

    Parameters
    ----------
    predictions, jobs
        As `prognobench.evaluation.fold_metrics` takes them.
    out
        Folder of the tables, made if needed.

    Returns
    -------
    dict
        The three paths, by the names `fold_metrics`, `summary` and `controls`.
    """
    return _write(_tables(predictions, jobs), out)


def _tables(predictions: pd.DataFrame, jobs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    folds = fold_metrics(predictions, jobs)
    return {
        "fold_metrics": folds,
        "summary": summarize(folds, jobs),
        "controls": compare_with_controls(predictions, jobs),
    }


def _write(tables: dict[str, pd.DataFrame], out: Path) -> dict[str, Path]:
    files = {}
    for name, table in tables.items():
        files[name] = out / f"{name}.csv"
        write_in_one_step(files[name], csv_text(table))
    return files
