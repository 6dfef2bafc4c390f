"""From a study's tables to files: each figure as PNG pages, one PDF, and its data as CSV."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import PdfPages

from prognobench.frame import write_in_one_step

from .._csv import csv_text
from .._shown import Shown, Tables
from ._figure import Drawing, Figure, NothingToShow
from ._page import house_style

# No time and no version in the files: the same tables give the same bytes.
_PDF = {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None}
_PNG = {"Software": None}
# From this many cells on a second process is worth its start.
_MANY = 100


@dataclass(frozen=True)
class WrittenFigure:
    """One figure of a report.

    Parameters
    ----------
    name, title, caption
        As the figure has them; texts to be shown as they are.
    pages
        PNG files, one or several.
    pdf, csv
        All pages, and what they show.
    left_out
        Why the study's data cannot fill it; blank where it was drawn.
    """

    name: str
    title: str
    caption: str
    pages: tuple[Path, ...] = ()
    pdf: Path | None = None
    csv: Path | None = None
    left_out: str = ""


def write_figures(tables: Tables, out: Path, figures: Sequence[Figure] | None = None) -> list[WrittenFigure]:
    """Draw every figure that a study's tables can fill.

    Parameters
    ----------
    tables
        The tables of one study.
    out
        Folder of the report; the files go to `figures/` in it. Those of figures that were there before are removed.
    figures
        Which ones; all by default.

    Returns
    -------
    list of WrittenFigure
        In the order of the report, also those that were left out, with the reason.
    """
    from . import FIGURES

    folder = out / "figures"
    if figures is not None or len(tables.summary) < _MANY or cores() < 2:
        shown = Shown(tables)
        return [write_figure(figure, shown, folder) for figure in (FIGURES if figures is None else figures)]
    from ._second import write_by_two

    return write_by_two(FIGURES, tables, folder)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write_figure(figure: Figure, shown: Shown, folder: Path) -> WrittenFigure:
    """Draw one figure and write its files, or say why the tables cannot fill it."""
    _remove(folder, figure.name)
    with house_style(), warnings.catch_warnings():
        # A name in letters that the font lacks is drawn with boxes; its table and CSV have it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        try:
            drawings = figure.draw(shown)
        except NothingToShow as reason:
            return WrittenFigure(figure.name, figure.title, "", left_out=str(reason))
        return _write(figure, figure.caption(shown), drawings, folder)


def _remove(folder: Path, name: str) -> None:
    for pattern in (f"{name}.*", f"{name}_[0-9]*.png"):
        for old in folder.glob(pattern):
            old.unlink()


def _write(figure: Figure, caption: str, drawings: Sequence[Drawing], folder: Path) -> WrittenFigure:
    pages, book = [], io.BytesIO()
    with PdfPages(book, metadata=dict(_PDF)) as pdf:
        for place, drawing in enumerate(drawings, start=1):
            # One picture, rendered twice: letters are measured once.
            FigureCanvasAgg(drawing.canvas)
            image = io.BytesIO()
            drawing.canvas.savefig(image, format="png", metadata=dict(_PNG))
            pages.append(folder / (f"{figure.name}.png" if len(drawings) == 1 else f"{figure.name}_{place}.png"))
            write_in_one_step(pages[-1], image.getvalue())
            pdf.savefig(drawing.canvas)
    files = folder / f"{figure.name}.pdf", folder / f"{figure.name}.csv"
    write_in_one_step(files[0], book.getvalue())
    data = pd.concat([drawing.data for drawing in drawings], ignore_index=True)
    write_in_one_step(files[1], csv_text(data))
    return WrittenFigure(figure.name, figure.title, caption, tuple(pages), *files)
