"""The table of results in the form of a paper: models and strategies down, tasks across; CSV, Markdown and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from prognobench.evaluation import BLOCK_KEYS

from ._csv import csv_text
from ._results import result_table
from ._safe import printable

_BLOCK = [*BLOCK_KEYS, "protocol"]
_CELL = [*_BLOCK, "model", "strategy"]
_METRICS = {"mcc": "MCC", "pr_auc": "PR-AUC"}


@dataclass(frozen=True, eq=False)
class PaperTable:
    """One table of results, tasks across.

    Parameters
    ----------
    header
        What its numbers are: metric, level, spread, what is bold and marked.
    columns
        The tasks as they are named.
    cells
        One row a model, strategy and task: `row`, `column` (places in the table), `model`, `strategy`, `control`,
        `task`, `mean`, `std`, `folds` of `n_folds`, `best` (bold), `tied` (of the group that is not told apart from
        the best, marked). Missing numbers stay missing.
    """

    header: str
    columns: tuple[str, ...]
    cells: pd.DataFrame

    def csv(self) -> str:
        """Return the cells as CSV, with all digits."""
        return csv_text(self.cells.drop(columns=["row", "column"]))

    def markdown(self) -> str:
        """Return the table as Markdown, the header above it."""
        lines = [_markdown(self.header), ""]
        names = [_markdown(name) for name in ("model", "strategy", *self.columns)]
        lines += ["| " + " | ".join(names) + " |", "|---|---|" + "--:|" * len(self.columns)]
        for model, strategy, control, shown in self._rows():
            texts = [f"**{text}**" if best else text for text, best in shown]
            name = [f"*{_markdown(strategy)}*" if control else _markdown(strategy)]
            lines.append("| " + " | ".join([_markdown(model), *name, *texts]) + " |")
        return "\n".join(lines) + "\n"

    def latex(self) -> str:
        r"""Return the table as LaTeX for the package booktabs, the header as its caption."""
        lines = [r"% \usepackage{booktabs}", r"\begin{table}", rf"\caption{{{_latex(self.header)}}}", r"\centering"]
        lines += [rf"\begin{{tabular}}{{ll{'r' * len(self.columns)}}}", r"\toprule"]
        lines.append(" & ".join(_latex(name) for name in ("model", "strategy", *self.columns)) + r" \\")
        lines.append(r"\midrule")
        previous = False
        for model, strategy, control, shown in self._rows():
            if control and not previous:
                lines.append(r"\midrule")
            previous = control
            texts = [text.replace("±", r"$\pm$").replace("†", r"$^\dagger$").replace("–", "--") for text, _ in shown]
            texts = [rf"\textbf{{{text}}}" if best else text for text, (_, best) in zip(texts, shown, strict=True)]
            name = rf"\textit{{{_latex(strategy)}}}" if control else _latex(strategy)
            lines.append(" & ".join([_latex(model), name, *texts]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
        return "\n".join(lines) + "\n"

    def _rows(self) -> Iterator[tuple[str, str, bool, list[tuple[str, bool]]]]:
        """Yield model, strategy, whether it is a control, and text and boldness of each task."""
        previous = None
        for _, row in self.cells.groupby("row", sort=True):
            first = row.iloc[0]
            shown = [("", False)] * len(self.columns)
            columns = ["column", "mean", "std", "folds", "n_folds", "best", "tied"]
            for column, mean, std, folds, planned, best, tied in row[columns].itertuples(index=False):
                shown[column] = _text(mean, std, folds, planned) + ("†" if tied else ""), bool(best)
            model = "" if first["model"] == "none" and first["control"] else str(first["model"])
            yield "" if model == previous else model, str(first["strategy"]), bool(first["control"]), shown
            previous = model


def paper_tables(
    summary: pd.DataFrame,
    compared: pd.DataFrame,
    ranking: pd.DataFrame | None = None,
    *,
    metric: Literal["mcc", "pr_auc"] = "mcc",
    level: Literal["auto", "film", "patient"] = "auto",
) -> dict[str, PaperTable]:
    """Set models and strategies below one another and tasks beside one another, as papers do.

    Parameters
    ----------
    summary, compared
        What `summarize` and `compare_with_controls` of `prognobench.evaluation` return for the same jobs.
    ranking
        What `prognobench.evaluation.ranking` returns; its `top_group` gives the marks. Without it there are none.
    metric
        `mcc` or `pr_auc`.
    level
        `film`, `patient`, or `auto`: patients where patients have several test films.

    Returns
    -------
    dict of PaperTable
        One for each regime, number of shots, way of validation and protocol, by a name that can be a file's. In each
        task the best mean is bold, of MCC as well the group that is not told apart from it is marked; neither where
        a job of the task is missing, for then the means rest on different folds. Controls stand below.
    """
    rows = result_table(summary, compared, level).rename(columns={f"{metric}_mean": "mean", f"{metric}_std": "std"})
    rows["tied"] = _top_group(rows, ranking) if metric == "mcc" else False
    if metric != "mcc":
        rows["best"] = _best(rows)
    how = ["regime", "shots", "validation", "protocol"]
    rows = rows.assign(_few=rows["shots"].notna()).sort_values(["_few", *how], kind="stable", na_position="first")
    tables = {}
    for _, part in rows.groupby(how, dropna=False, sort=False):
        words = [str(word) for word in part[how].iloc[0] if not pd.isna(word)]
        stem = re.sub(r"[^A-Za-z0-9]+", "_", "_".join([metric, *words])).strip("_")
        name, number = stem, 2
        while name in tables:
            name, number = f"{stem}_{number}", number + 1
        tables[name] = _table(part, metric, " ".join(words[:-2]), words[-2], words[-1])
    return tables


def _top_group(rows: pd.DataFrame, ranking: pd.DataFrame | None) -> pd.Series[Any]:
    if ranking is None or not len(ranking):
        return pd.Series(False, index=rows.index)
    top = ranking.loc[ranking["top_group"].fillna(False).astype(bool), [*_CELL, "level"]].drop_duplicates()
    top = top.assign(_top=True)
    found = rows[[*_CELL, "level"]].merge(top, "left", [*_CELL, "level"])["_top"].notna().set_axis(rows.index)
    whole = rows.groupby(_BLOCK, dropna=False)["n_missing"].transform("sum") == 0
    found &= ~rows["control"]
    blocks = [rows[key].astype("string").fillna("") for key in _BLOCK]
    # A group of one is the best itself; a group without the best is that of something else.
    several = found.groupby(blocks).transform("sum") > 1
    holds_best = (found & rows["best"]).groupby(blocks).transform("any")
    return found & whole & several & holds_best


def _best(rows: pd.DataFrame) -> pd.Series[Any]:
    learned = rows["mean"].where(~rows["control"])
    blocks = [rows[key].astype("string").fillna("") for key in _BLOCK]
    highest, count = (learned.groupby(blocks).transform(what) for what in ("max", "count"))
    whole = rows["n_missing"].groupby(blocks).transform("sum") == 0
    return (learned >= highest - 1e-12) & (count > 1) & whole


def _table(part: pd.DataFrame, metric: str, regime: str, validation: str, protocol: str) -> PaperTable:
    part = part.assign(_column=_column_names(part))
    columns = list(dict.fromkeys(part["_column"]))
    order = part.sort_values(["control", "model", "strategy"], kind="stable")
    # The weakest control first, as in the other tables; they come in that order.
    learned = order.loc[~order["control"], ["model", "strategy"]].drop_duplicates()
    controls = part.loc[part["control"], ["model", "strategy"]].drop_duplicates()
    places = {
        pair: place for place, pair in enumerate(pd.concat([learned, controls]).itertuples(index=False, name=None))
    }
    cells = part.assign(
        row=[places[pair] for pair in part[["model", "strategy"]].itertuples(index=False, name=None)],
        column=part["_column"].map({name: place for place, name in enumerate(columns)}).astype(int),
        task=part["_column"],
    ).sort_values(["row", "column"], kind="stable", ignore_index=True)
    kept = ["row", "column", "model", "strategy", "control", "task", "level", "mean", "std", "folds", "n_folds",
            "n_missing", "best", "tied"]  # fmt: skip
    missing = int(part["n_missing"].sum())
    levels = " or ".join(sorted(part["level"].dropna().unique()))
    header = (
        f"{_METRICS[metric]} × 100 at {levels} level, mean ± standard deviation over test folds (no interval); "
        f"{regime}, {validation}, {protocol}. Bold: the highest mean of a task, which may be so by chance."
    )
    if cells["tied"].any():
        header += " †: not told apart from the best in uncorrected paired intervals."
    if part["control"].any():
        header += " In italics: controls, which need no learned image content."
    else:
        header += " No control was run."
    if missing:
        header += f" {missing} planned jobs are not done: the folds that count stand in brackets, and no best is named."
    return PaperTable(header, tuple(columns), cells[kept])


def _column_names(part: pd.DataFrame) -> list[str]:
    several = part["cohort"].nunique() > 1
    return [
        (f"{cohort} · " if several else "") + task + ("" if tested == cohort else f" on {tested}")
        for cohort, task, tested in part[["cohort", "task", "test_cohort"]].itertuples(index=False)
    ]


def _text(mean: float, std: float, folds: int, planned: int) -> str:
    if np.isnan(mean):
        return "–"
    spread = "–" if np.isnan(std) else f"{100 * std:.1f}"
    return f"{100 * mean:.1f} ± {spread}" + ("" if folds == planned else f" [{folds}/{planned}]")


def _markdown(text: str) -> str:
    """Escape what Markdown, and HTML in it, would take for markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$&])", r"\\\1", printable(text))


_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
        ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$", "×": r"$\times$", "†": r"$^\dagger$",
        "·": r"$\cdot$", "–": "--", '"': "''"}  # fmt: skip
_TEX |= {sign: f"\\{sign}" for sign in "&%$#_{}"}


def _latex(text: str) -> str:
    """Escape what LaTeX would take for a command."""
    return "".join(_TEX.get(sign, sign) for sign in printable(text))


def paper_texts(tables: dict[str, PaperTable]) -> dict[str, str]:
    """Return file names and contents of tables: CSV, Markdown and LaTeX of each."""
    made: dict[str, str] = {}
    for name, table in tables.items():
        made |= {f"{name}.csv": table.csv(), f"{name}.md": table.markdown(), f"{name}.tex": table.latex()}
    return made
