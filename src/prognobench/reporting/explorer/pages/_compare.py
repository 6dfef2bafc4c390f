"""Compare: what models and strategies reach, against what they cost, and against one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from dash import html

from prognobench.evaluation import metric_column

from ..._safe import printable
from ..._shown import CELL
from ...page._numbers import MODEL, STRATEGY, marks_cell, row_look
from ...page._parts import Cell, Column, Prose, Row, is_missing, number, number_cell, records, text, with_interval
from ...page._parts import table as page_table
from .._filters import chosen_rows, filters, unknown_filters
from .._metrics import better_of, metric_name, metrics, times_of
from .._page import Context, Control, Page, State, View
from .._snapshot import regime_labels
from .._view import Component, parts, table
from ..plots import PLOTS
from ..plots._plot import NothingToShow, Scores

_COSTS = ["trainable_percent", "trainable_params", "train_seconds", "peak_memory"]
_EXTRA = ["control", "architecture", "family", "best_control", "difference", "difference_ci_low", "difference_ci_high",
          "above_controls", "undefined", "best", *_COSTS, "key"]  # fmt: skip


def _controls(context: Context, state: State) -> Sequence[Control]:
    scores = tuple((name, metric_name(name)) for name in metrics())
    plot = Control("plot", "Figure", tuple((one.name, one.title) for one in PLOTS), "one", "scatter")
    kinds = Control("of", "Each mark", (("cells", "mean over folds"), ("jobs", "one job")), "one", "cells")
    own = next(one for one in PLOTS if one.name == plot.chosen(state)[0]).controls(context)
    return (plot, Control("metric", "Score", scores, "one", "mcc"), kinds, *own, *filters(context))


@dataclass(frozen=True, eq=False)
class _Shown:
    """What is on screen: the rows with their score, and the rows of the report's CSV that they are."""

    scores: Scores
    csv: pd.DataFrame
    file: str


def _shown(context: Context, state: State) -> _Shown:
    controls = {control.key: control for control in _controls(context, state)}
    metric, of = (controls[key].chosen(state)[0] for key in ("metric", "of"))
    make = _jobs if of == "jobs" else _cells
    return make(context, state, metric)


def _cells(context: Context, state: State, metric: str) -> _Shown:
    now = context.now
    summary = now.tables.summary
    keys = [*CELL, "n_folds", "n_missing", "headline"]
    rows = summary[keys].assign(regime_label=regime_labels(summary), _row=np.arange(len(summary)))
    columns = {level: metric_column(metric, level) for level in ("film", "patient")}
    patient = summary["headline"] == "patient"
    for name, part in (("score", "mean"), ("std", "std"), ("low", "ci_low"), ("high", "ci_high"), ("folds", "n")):
        of_film, of_patient = (summary[f"{columns[level]}_{part}"] for level in ("film", "patient"))
        rows[name] = of_patient.where(patient, of_film)
    rows = chosen_rows(context, rows, state).merge(now.cells[[*CELL, *_EXTRA]], "left", CELL)
    csv = summary.iloc[rows["_row"].to_numpy(np.int64)]
    return _Shown(Scores(rows, metric_name(metric), times_of(metric), rows, better_of(metric)), csv, "summary")


def _jobs(context: Context, state: State, metric: str) -> _Shown:
    now = context.now
    folds = now.tables.fold_metrics
    headline = now.tables.summary[["test_cohort", "headline"]].drop_duplicates("test_cohort")
    patient = folds["test_cohort"].map(dict(headline.itertuples(index=False, name=None))) == "patient"
    of_film, of_patient = (folds[metric_column(metric, level)] for level in ("film", "patient"))
    rows = folds[[*CELL, "fold", "repeat", "draw", "seed", "test_center", "train_seconds", "job"]].copy()
    for name in ("trainable_params", "trainable_percent"):
        rows[name] = folds[name].astype("Float64").astype("float64")
    rows["score"], rows["headline"] = of_patient.where(patient, of_film), np.where(patient, "patient", "film")
    rows = rows.assign(std=np.nan, low=np.nan, high=np.nan, folds=1, n_folds=1, n_missing=0, _row=np.arange(len(rows)))
    rows["regime_label"] = regime_labels(rows)
    memory = now.jobs.drop_duplicates("job").set_index("job")["peak_memory_bytes"]
    rows["peak_memory"] = rows["job"].astype(object).map(memory).astype("Float64").astype("float64")
    extra = now.cells[[*CELL, *(name for name in _EXTRA if name not in (*_COSTS, "key"))]]
    rows = chosen_rows(context, rows, state).merge(extra, "left", CELL).rename(columns={"job": "key"})
    csv = folds.iloc[rows["_row"].to_numpy(np.int64)]
    cells = _cells(context, state, metric).scores.rows
    scores = Scores(rows, metric_name(metric), times_of(metric), cells, better_of(metric), of_jobs=True)
    return _Shown(scores, csv, "fold_metrics")


def _view(context: Context, state: State) -> View:
    shown = _shown(context, state)
    controls = {control.key: control for control in _controls(context, state)}
    plot = next(one for one in PLOTS if one.name == controls["plot"].chosen(state)[0])
    try:
        drawn = list(plot.draw(context, shown.scores, state))
    except NothingToShow as why:
        drawn = parts([Prose((f"{plot.title}: {why}.",), look="answer")])
    return View([*unknown_filters(context, state), *drawn, _table(context, shown)], shown.csv)


def _table(context: Context, shown: _Shown) -> Component:
    scores = shown.scores
    rows = scores.rows.sort_values("score", ascending=scores.better == "lower", kind="stable", na_position="last")
    one_job = shown.file == "fold_metrics"
    # What all rows share is told once: each cell of a table costs a browser half a millisecond at every filter.
    where = {"cohort": "cohort", "task": "task", "regime": "regime_label"}
    shared = {name: str(rows[key].iloc[0]) for name, key in where.items() if rows[key].nunique(dropna=False) == 1}
    columns = [
        MODEL, STRATEGY, Column(scores.name, _score(scores)),
        *([] if one_job else [
            Column("95 % interval", _interval(scores)),
            Column("over best control", with_interval("difference", "difference_ci_low", "difference_ci_high",
                                                      sign=True), "MCC × 100"),
            Column("", marks_cell),
        ]),
        *(Column(name, text(key)) for name, key in where.items() if name not in shared),
        *([Column("fold", _fold)] if one_job else [
            Column("folds", lambda row: Cell(f"{row['folds']:.0f}/{row['n_folds']:.0f}", row["folds"], "number")),
        ]),
        Column("% trained", _percent_trained),
        Column("seconds", number("train_seconds", 1, 1), "of training one job"),
        Column("memory GiB", number("peak_memory", 2, 2.0**-30)),
    ]  # fmt: skip
    level = " and ".join(sorted(set(rows["headline"].dropna()))) or "film"
    notes = [f"All digits are in `{shown.file}.csv`; “CSV of what is shown” has its rows that are chosen here."]
    if shared:
        notes.insert(0, f"All rows: {', '.join(f'{name} {printable(value)}' for name, value in shared.items())}.")
    if not context.now.current:
        notes.append("Intervals and the comparison with the controls follow when they are computed.")
    what = "one job" if one_job else "mean over test folds, ± std"
    made = page_table(
        f"{len(rows):,} rows · {what} · {level} level", columns, records(rows), notes=notes, look=row_look
    )
    links = [[context.link("job", key=None if is_missing(key) else key), *[""] * (len(columns) - 1)]
             for key in rows["key"]]  # fmt: skip
    shown_table = table(made, links)
    return html.Section([html.H2("Numbers", id="numbers-title"), shown_table], id="numbers")


def _score(scores: Scores) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        own = number_cell(row["score"], scores.digits, scores.times)
        if is_missing(row["score"]) or is_missing(row["std"]):
            return own
        return Cell(f"{own.text} ± {number_cell(row['std'], scores.digits, scores.times).text}", own.sort, "number")

    return cell


def _interval(scores: Scores) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        if is_missing(row["low"]):
            return Cell("–", None, "number")
        low, high = (number_cell(row[key], scores.digits, scores.times) for key in ("low", "high"))
        return Cell(f"[{low.text}, {high.text}]", low.sort, "number")

    return cell


def _percent_trained(row: Row) -> Cell:
    # A control without images has no backbone of which it trains a share.
    own = number_cell(row["trainable_percent"], 3, 1)
    return Cell("–", None, "number") if row["model"] == "none" else own


def _fold(row: Row) -> Cell:
    told = f"{row['fold']}" if is_missing(row["test_center"]) else str(row["test_center"])
    more = [f"repeat {row['repeat']}"] if row["repeat"] else []
    more += [f"draw {row['draw']}"] if not is_missing(row["draw"]) else []
    return Cell(", ".join([told, *more, f"seed {row['seed']}"]), told)


PAGE = Page("compare", "Compare", 10, _view, _controls)
