"""The report of a study: every number recomputed from its stored predictions."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from rich.console import Console
from rich.text import Text

from prognobench.evaluation import Budget
from prognobench.frame import InputError, Problem, nearest, write_in_one_step

from ._csv import csv_text
from ._paper_tables import paper_tables, paper_texts
from ._progress import ReportProgress, report_progress
from ._results import print_table
from ._safe import printable
from ._tables import StudyTables, study_tables

if TYPE_CHECKING:
    from prognobench.studies import Provenance

    from .figures import WrittenFigure

_PAGE = "index.html"
_TABLES = "tables"  # folder of the tables in a paper's form


@dataclass(frozen=True, eq=False)
class Report:
    """What `report` made.

    Parameters
    ----------
    files
        The tables written, by name.
    table
        The rows that `print_table` shows.
    tables
        All tables.
    page
        The page to open in a browser.
    answer
        Its first sentences.
    """

    files: dict[str, Path]
    table: pd.DataFrame
    tables: StudyTables
    page: Path
    answer: tuple[str, ...] = field(default=())


def report(
    results: Path,
    out: Path,
    console: Console | None = None,
    study: str | None = None,
    *,
    budget: Budget | None = None,
    figures: bool = True,
) -> Report:
    """Report one study that lies in `results`: its tables as CSV, its figures, and a page that shows them.

    Parameters
    ----------
    results
        A study's folder, as `prognobench run` leaves it, finished or not.
    out
        Folder of the report, made if needed.
    console
        Where to print the table of results and the page's place, if anywhere.
    study
        The study's name; may be left out where `results` holds one study.
    budget
        What one training may cost, for the decision map.
    figures
        Whether to draw figures, which take most of the time of a small study.

    Raises
    ------
    InputError
        When there is no such study, several and none is named, or a record does not match its sha256.
    """
    from prognobench.studies import study_names

    name = _chosen(results, study_names(results), study)
    with report_progress(console) as progress:
        made = _make(results, out, name, budget, figures, progress)
    if console is not None:
        print_table(made.table, console, made.tables.sizes, made.tables.selection)
        if made.tables.synthetic:
            named = ", ".join(map(printable, made.tables.synthetic))
            console.print(Text(f"The films of {named} are SYNTHETIC: nothing here is about patients.", "bold"))
        console.print()
        console.print(Text(f"{len(made.files)} tables are in {out}; open the report in a browser:"), soft_wrap=True)
        console.print(Text(str(made.page)), soft_wrap=True)
    return made


def report_studies(
    results: Path,
    out: Path,
    console: Console | None = None,
    study: str | None = None,
    *,
    budget: Budget | None = None,
    figures: bool = True,
) -> list[Report]:
    """Report every study of a results folder: into `out` itself where there is one, else each into a folder of its own.

    Of several, `out/index.html` leads to the pages. Tables and figures that lie in `out` from the time when there was
    one study are removed, since nobody would see their age.

    Parameters
    ----------
    results, out, console, budget, figures
        As `report` takes them.
    study
        The only one to report, into `out` itself.

    Raises
    ------
    InputError
        When there is no study, or a record does not match its sha256.
    """
    from prognobench.studies import study_names

    from .page import IndexEntry, index_page

    studies = study_names(results)
    if study is not None or len(studies) == 1:
        return [report(results, out, console, study or studies[0], budget=budget, figures=figures)]
    _clear(out)
    made = []
    for name in studies:
        if console is not None:
            console.print()
            console.print(Text(f"Study {name}", "bold underline"))
        made.append(report(results, out / name, console, name, budget=budget, figures=figures))
    entries = [IndexEntry(one.tables.study, f"{one.page.parent.name}/{_PAGE}", one.answer) for one in made]
    write_in_one_step(out / _PAGE, index_page(entries))
    if console is not None:
        console.print(Text(f"All studies: {out / _PAGE}"), soft_wrap=True)
    return made


def write_tables(predictions: pd.DataFrame, jobs: pd.DataFrame, out: Path) -> dict[str, Path]:
    """Write every table of a study as CSV; they hold no patient's or film's name.

    Parameters
    ----------
    predictions, jobs
        As `prognobench.evaluation.fold_metrics` takes them.
    out
        Folder of the tables, made if needed.

    Returns
    -------
    dict
        The paths by the tables' names: `fold_metrics`, `summary`, `controls` and the others of `StudyTables`.
    """
    return _write(study_tables(predictions, jobs).files(), out)


def _chosen(results: Path, studies: list[str], study: str | None) -> str:
    if study is None and len(studies) == 1:
        return studies[0]
    if study not in studies:
        what = "the folder holds several studies" if study is None else f"there is no study '{study}'"
        raise InputError([Problem(str(results), what, nearest(study or "", studies))])
    return study


def _make(
    results: Path, out: Path, study: str, budget: Budget | None, figures: bool, progress: ReportProgress
) -> Report:
    from prognobench.studies import read_audits, read_names

    from .page import AUDIT_PAGE, audit_page, study_page

    tables, predictions, made, films = read_tables(results, study, budget, progress)
    audits = read_audits(results, study)
    files = _write(tables.files(), out)
    for name, text in paper_texts(paper_tables(tables.summary, tables.controls, tables.ranking)).items():
        write_in_one_step(out / _TABLES / name, text)
    drawn: list[WrittenFigure] = []
    if figures:
        from .figures import write_figures

        progress("figures")
        drawn = write_figures(tables, out)
    progress("the page")
    names = {*predictions["image"].unique(), *predictions["patient"].unique(), *films["image"], *read_names(results)}
    html, answer = study_page(tables, names, made, drawn, has_films=len(films) > 0, audits=audits)
    write_in_one_step(out / _PAGE, html)
    if audits:
        write_in_one_step(out / AUDIT_PAGE, audit_page(audits.values(), back=_PAGE))
    else:
        (out / AUDIT_PAGE).unlink(missing_ok=True)
    return Report(files, tables.results, tables, out / _PAGE, answer)


def read_tables(
    results: Path, study: str, budget: Budget | None = None, progress: ReportProgress = lambda _: None
) -> tuple[StudyTables, pd.DataFrame, Provenance, pd.DataFrame]:
    """Read the records of one study and compute every table.

    Parameters
    ----------
    results, study, budget
        As `report` takes them.
    progress
        Told what is being done.

    Returns
    -------
    tables, predictions, made, films
        The tables, and what they were made of: `read_results`, `read_provenance` and `read_films` of
        `prognobench.studies`.
    """
    from prognobench.studies import read_cohorts, read_films, read_provenance, read_results

    from ._families import families

    progress("reading the records")
    predictions, jobs = read_results(results, study)
    progress("reading how they were made")
    made = read_provenance(results, study)
    kinds = {model: str(kind) for model, kind in families(jobs["model"].dropna().unique()).items()}
    films = read_films(results, study)
    tables = study_tables(
        predictions, jobs, films, study=study, cohorts=read_cohorts(results, study), families=kinds,
        methods=made.methods, budget=budget, progress=progress,
    )  # fmt: skip
    return tables, predictions, made, films


def _clear(out: Path) -> None:
    from .page import AUDIT_PAGE

    (out / AUDIT_PAGE).unlink(missing_ok=True)
    for name in StudyTables.csv_names():
        (out / f"{name}.csv").unlink(missing_ok=True)
    shutil.rmtree(out / _TABLES, ignore_errors=True)
    folder = out / "figures"
    if folder.is_dir():
        from .figures import FIGURES

        for figure in FIGURES:
            for old in [*folder.glob(f"{figure.name}.*"), *folder.glob(f"{figure.name}_[0-9]*.png")]:
                old.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def _write(tables: Iterable[tuple[str, pd.DataFrame]], out: Path) -> dict[str, Path]:
    files = {}
    for name, table in tables:
        files[name] = out / f"{name}.csv"
        write_in_one_step(files[name], csv_text(table))
    return files
