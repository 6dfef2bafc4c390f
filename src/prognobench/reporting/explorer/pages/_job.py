"""Job: everything about one job, from its training to its cost, and how to run it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import pandas as pd
from dash import html

from prognobench.evaluation import CONTROLS, METRICS, confusion_counts, curves, metric_column, reliability, subgroups
from prognobench.frame import InputError
from prognobench.studies import ListedJob, Record, Store, read_films

from ...page._made import redacted
from ...page._numbers import subgroup_columns, worst_look
from ...page._parts import (
    Column,
    Heading,
    Part,
    Prose,
    Row,
    Terms,
    duration,
    is_missing,
    number,
    plural,
    records,
    text,
    words,
)
from ...page._parts import table as page_table
from .._filters import chosen_rows, filters, unknown_filters
from .._metrics import METRIC_NAMES
from .._page import JOB_KEY, Context, Control, Page, State, View, one
from .._view import Component, parts, table
from ..plots._plot import GRAY, LOOKS, SYMBOLS, graph, safe, values

_MOST_CURVES = 12
_MOST_FOLDS = 60
Level = Literal["film", "patient"]


def _controls(context: Context, state: State) -> Sequence[Control]:
    job = asked_job(context, state)
    if job is None:
        states = tuple((name, name) for name in ("done", "failed", "missing"))
        return (Control("state", "State", states), *filters(context))
    levels = (("film", "films"), ("patient", "patients"))
    told = [Control("level", "Count", levels, "one", _headline(context, job))]
    if len(job.test_cohorts) > 1:
        told.append(Control("tested", "Tested cohort", tuple((name, name) for name in job.test_cohorts), "one"))
    return told


def asked_job(context: Context, state: State) -> ListedJob | None:
    """Return the job whose key stands in the address, if the study has it."""
    key = one(state, "key")
    # Nothing that is not a key of the plan ever becomes part of a path.
    return context.now.planned.get(key) if JOB_KEY.fullmatch(key) else None


def _headline(context: Context, job: ListedJob) -> str:
    summary = context.now.tables.summary
    levels = summary.loc[summary["test_cohort"].isin(job.test_cohorts), "headline"]
    return "patient" if (levels == "patient").any() else "film"


def _view(context: Context, state: State) -> View:
    job = asked_job(context, state)
    if job is None:
        asked = [Prose(("There is no such job in this study; choose one below.",), look="doubt")]
        return job_list(context, state, asked if one(state, "key") else [], "job")
    told: list[Component] = [html.H2(job.title, id="job-title"), *neighbors(context, job, "job")]
    if context.films is not None:
        told.append(html.P(html.A("Films that it got right and wrong", href=context.link("films", key=job.key))))
    row = context.now.job(job.key)
    if row is None or row["state"] != "done":
        return View([*told, *_undone(context, job)])
    try:
        record = Store(context.results).read(job.key)
    except InputError as error:
        what = tuple(redacted(f"{problem.where}: {problem.what}. {problem.remedy}", ()) for problem in error.problems)
        return View([*told, *parts([Prose(what, points=True, look="doubt")])])
    controls = {control.key: control for control in _controls(context, state)}
    level = cast(Level, controls["level"].chosen(state)[0])
    cohort = controls["tested"].chosen(state)[0] if "tested" in controls else job.test_cohorts[0]
    shown = _Shown(context, job, record, level, cohort)
    return View([*told, *shown.parts()], shown.numbers())


def job_list(context: Context, state: State, asked: Sequence[Part], page: str) -> View:
    """List the jobs that the filters leave, each with its link."""
    jobs = context.now.job_list
    wanted = [value for value in state.get("state", ()) if value in ("done", "failed", "missing")]
    jobs = chosen_rows(context, jobs[jobs["state"].isin(wanted)] if wanted else jobs, state)
    # Controls last, as everywhere; else in the order of the plan.
    jobs = jobs.iloc[jobs["strategy"].isin(CONTROLS).argsort(kind="stable")]
    names = ["cohort", "task", "test_cohort", "model", "strategy", "regime_label", "validation", "fold", "seed"]
    headings = {"regime_label": "regime", "test_cohort": "tested cohort"}
    columns = [Column(headings.get(name, name), text(name)) for name in names]
    columns += [Column("state", text("state")), Column("seconds", number("train_seconds", 1, 1))]
    made = page_table(f"{plural(len(jobs), 'job')}; each leads to its page", columns, records(jobs))
    links = [[context.link(page, key=key), *[""] * (len(columns) - 1)] for key in jobs["job"]]
    return View([*parts(asked), *unknown_filters(context, state), table(made, links)], jobs)


def neighbors(context: Context, job: ListedJob, page: str) -> list[Component]:
    """Lead to the other folds, draws and seeds of the same model and strategy."""
    same = [
        other
        for other in context.now.plan.jobs
        if all(getattr(other, key) == getattr(job, key) for key in _CELL) and other.test_cohorts == job.test_cohorts
    ]
    if len(same) < 2:
        return []
    items = [
        html.Li(_fold(other) if other.key == job.key else html.A(_fold(other), href=context.link(page, key=other.key)))
        for other in same[:_MOST_FOLDS]
    ]
    left = len(same) - len(items)
    if left > 0:
        wanted = {"cohort": job.cohort, "task": job.task, "model": job.model, "strategy": job.strategy}
        items.append(html.Li(html.A(f"{left:,} more", href=context.link(page, **wanted))))
    return [html.Nav(html.Ul(items, className="folds"), **{"aria-label": "Other folds of this model and strategy"})]


_CELL = ("cohort", "task", "model", "strategy", "regime", "shots", "validation", "protocol")


def _fold(job: ListedJob) -> str:
    told = f"fold {job.fold}" if job.test_center is None else words(job.test_center)
    told += f" repeat {job.repeat}" if job.repeat else ""
    told += f" draw {job.draw}" if job.draw is not None else ""
    return f"{told} seed {job.seed}"


def _undone(context: Context, job: ListedJob) -> list[Component]:
    now = context.now
    failed = next(((error, tries) for other, error, tries in now.status.failed if other.key == job.key), None)
    damaged = [problem for problem in now.damaged if job.key in problem.where]
    told: list[Part] = []
    if damaged:
        told.append(Prose(tuple(redacted(f"{one.what}. {one.remedy}", ()) for one in damaged), look="doubt"))
    elif failed is not None:
        error, tries = failed
        if not context.identifiers:
            from ._overview import HIDDEN, masked_names

            error = HIDDEN if now.names is None else redacted(error, masked_names(context))
        told += [Prose((f"It failed after {plural(tries, 'try', 'tries')}:", error), look="doubt")]
    else:
        told.append(Prose(("It has not run yet, or its record is being read.",), look="answer"))
    return [*parts(told), *parts(_again(job))]


def _again(job: ListedJob, overrides: Iterable[str] = ()) -> list[Part]:
    steps = (
        "To run it again, delete its folder (or let it be, if it failed) and start the study into the same folder: "
        "`prognobench run STUDY.yaml --results DIR`. All that is done is kept, and this job alone is done anew.",
        f"Its folder is `DIR/runs/{job.key}`.",
        "It gives the same predictions, bit for bit, on the same kind of device with the same threads a worker.",
    )
    laid = [f"The study was run with `{redacted(one, ())}` laid over its file." for one in overrides]
    return [Heading("How to run it again"), Prose((*steps, *laid), points=True)]


@lru_cache(maxsize=2)
def _films(results: Path, study: str, plan: str) -> pd.DataFrame:
    return read_films(results, study)


class _Shown:
    """One finished job: its record, with the numbers of the functions that make the report."""

    def __init__(self, context: Context, job: ListedJob, record: Record, level: Level, cohort: str) -> None:
        self.context, self.job, self.record, self.level, self.cohort = context, job, record, level, cohort
        now = context.now
        rows = now.jobs[now.jobs["job"] == job.key]
        tested = rows["test_cohort"] == cohort
        self.jobs = rows[tested] if tested.any() else rows
        there = record.predictions
        kept = (there["split"] != "test") | (there["cohort"] == cohort)
        self.predictions = there[kept].assign(job=job.key)

    def parts(self) -> list[Component]:
        """Return all sections, in the order in which people ask."""
        sections = (
            self._numbers, self._confusion, self._curves, self._reliability, self._training, self._subgroups,
            self._cost, self._spec,
        )  # fmt: skip
        made = [component for section in sections for component in section()]
        return [*made, *parts(_again(self.job, self.context.now.plan.overrides))]

    def numbers(self) -> pd.DataFrame:
        """Return the job's row of `fold_metrics.csv`."""
        folds = self.context.now.tables.fold_metrics
        return folds[(folds["job"] == self.job.key) & (folds["test_cohort"] == self.cohort)]

    def _numbers(self) -> list[Component]:
        rows = records(self.numbers())
        if not rows:
            return []
        row = rows[0]
        listed = []
        for metric in METRICS:
            names = {"": metric.name, "_at_val": f"{metric.name}_at_val", "_platt": f"{metric.name}_platt",
                     "_prior": f"{metric.name}_prior"}  # fmt: skip
            has = {"": True, "_at_val": metric.thresholded, "_platt": metric.calibrated, "_prior": metric.calibrated}
            listed.append(
                {"metric": METRIC_NAMES.get(metric.name, metric.name)}
                | {end: row[metric_column(name, self.level)] if has[end] else None for end, name in names.items()}
            )
        columns = [Column("metric", text("metric"))]
        columns += [
            Column(title, number(end, 4, 1))
            for end, title in (("", "at 0.5, raw"), ("_at_val", "at validation's threshold"),
                               ("_platt", "after Platt"), ("_prior", "prior put back"))
        ]  # fmt: skip
        films, positive = int(row["n_test"]), int(row["n_test_positive"])
        tested = (
            f"{plural(films, 'test film')} of {plural(int(row['n_test_patients']), 'patient')}, {positive:,} positive"
        )
        notes = [f"{tested}; {int(row['n_val']):,} films validated, {int(row['n_train']):,} trained."]
        if row["undefined"]:
            notes.append(f"Undefined: {words(row['undefined'])}.")
        made = page_table(f"Numbers of this test fold, {self.level} level; no interval", columns, listed,
                          csv="fold_metrics", notes=notes)  # fmt: skip
        return [html.H2("Numbers", id="numbers-title"), table(made)]

    def _confusion(self) -> list[Component]:
        counts = records(confusion_counts(self.predictions, self.jobs, level=self.level))
        classes = class_names(self.record)
        made: list[Component] = []
        for row in counts:
            at = "fixed before" if row["chosen_on"] == "nothing" else "chosen on validation"
            if is_missing(row["threshold"]):
                made += parts([Prose(("Validation holds one class, so it chose no threshold.",), look="quiet")])
                continue
            columns = [Column("truth", text("truth")),
                       *(Column(f"called {name}", number(name, 0, 1)) for name in reversed(classes))]  # fmt: skip
            rows: list[Row] = [
                {"truth": classes[1], classes[1]: row["true_positives"], classes[0]: row["false_negatives"]},
                {"truth": classes[0], classes[1]: row["false_positives"], classes[0]: row["true_negatives"]},
            ]
            caption = f"Confusion matrix at the threshold {row['threshold']:.4g}, {at}; {self.level}s"
            made.append(table(page_table(caption, columns, rows)))
        return [html.H2("Threshold and confusion matrix", id="confusion-title"), html.Div(made, className="two")]

    def _curves(self) -> list[Component]:
        made = curves(self.predictions, self.jobs, level=self.level)
        if made.empty:
            return parts([Prose(("The test fold holds one class: there is no ROC and no PR curve.",), look="quiet")])
        names = {"roc": ("ROC curve", "1 − specificity", "sensitivity"),
                 "pr": ("Precision-recall curve", "sensitivity (recall)", "PPV (precision)")}  # fmt: skip
        drawn = [self._curve(made[made["curve"] == curve], curve, *named) for curve, named in names.items()]
        return [html.H2("ROC and precision-recall", id="curves-title"), html.Div(drawn, className="two")]

    def _curve(self, rows: pd.DataFrame, curve: str, title: str, x: str, y: str) -> Component:
        band, line = rows[rows["threshold"].isna()], rows[rows["threshold"].notna()]
        there, color = band["x"].tolist(), LOOKS[0]
        traces: list[dict[str, Any]] = [
            {"type": "scatter", "x": [*there, *there[::-1]],
             "y": [*values(band["y_high"]), *values(band["y_low"])[::-1]], "fill": "toself", "mode": "none",
             "fillcolor": "rgba(0, 114, 178, 0.18)", "hoverinfo": "skip", "name": "95 % band"},
            {"type": "scatter", "x": values(line["x"]), "y": values(line["y"]), "mode": "lines+markers",
             "line": {"color": color, "width": 1.6, "shape": "linear" if curve == "roc" else "vh"},
             "marker": {"size": 4, "color": color}, "name": title,
             "text": [f"threshold {value:.4g}" for value in line["threshold"]], "hoverinfo": "x+y+text"},
        ]  # fmt: skip
        if curve == "roc":
            traces.append({"type": "scatter", "x": [0, 1], "y": [0, 1], "mode": "lines", "name": "chance",
                           "line": {"color": GRAY, "dash": "dot", "width": 1}, "hoverinfo": "skip"})  # fmt: skip
        return graph(
            f"{curve}-{self.job.key[:8]}", title,
            f"{self.level.capitalize()}s of the test fold. Band: 95 % of resamples of patients, place by place.",
            traces, xaxis={"title": {"text": x}, "range": [-0.02, 1.02]},
            yaxis={"title": {"text": y}, "range": [-0.02, 1.02]},
        )  # fmt: skip

    def _reliability(self) -> list[Component]:
        made = reliability(self.predictions, self.jobs, level=self.level)
        traces: list[dict[str, Any]] = [{
            "type": "scatter", "x": [0, 1], "y": [0, 1], "mode": "lines", "name": "perfect", "hoverinfo": "skip",
            "line": {"color": GRAY, "dash": "dot", "width": 1},
        }]  # fmt: skip
        named = {"raw": "raw", "platt": "after Platt", "prior": "prior put back"}
        for place, (way, name) in enumerate(named.items()):
            rows = made[made["calibration"] == way]
            if rows.empty:
                continue
            y, low, high = (rows[key] for key in ("share_positive", "share_ci_low", "share_ci_high"))
            traces.append({
                "type": "scatter", "x": values(rows["mean_score"]), "y": values(y), "mode": "lines+markers",
                "name": name, "line": {"color": LOOKS[place], "width": 1},
                "marker": {"color": LOOKS[place], "symbol": SYMBOLS[place], "size": 7},
                "text": [f"n = {n}" for n in rows["n"]], "hoverinfo": "x+y+text+name",
                "error_y": {"type": "data", "symmetric": False, "array": values(high - y),
                            "arrayminus": values(y - low), "width": 0, "thickness": 0.8},
                "visible": True if way == "raw" else "legendonly",
            })  # fmt: skip
        caption = "How often the outcome came where it was predicted with a probability; bars: Wilson's 95 % interval. "
        drawn = graph(f"reliability-{self.job.key[:8]}", "Reliability", caption + "Press a name to show or hide it.",
                      traces, xaxis={"title": {"text": "predicted probability"}, "range": [-0.02, 1.02]},
                      yaxis={"title": {"text": "share with the outcome"}, "range": [-0.02, 1.02]})  # fmt: skip
        return [html.H2("Calibration", id="calibration-title"), html.Div(drawn, className="two")]

    def _training(self) -> list[Component]:
        history = self.record.history
        told: list[Component] = [html.H2("Training and choice", id="training-title")]
        if history.empty or "val_loss" not in history:
            return [*told, *parts([Prose(("Nothing was trained or chosen.",), look="quiet")])]
        traces = _epochs(history) if "epoch" in history else _candidates(history)
        what = "epochs" if "epoch" in history else "candidates"
        x = "epoch" if "epoch" in history else "candidate"
        told.append(html.Div(graph(
            f"training-{self.job.key[:8]}", f"Loss of {what}",
            "The star is what validation chose. A lower loss is better.", traces,
            xaxis={"title": {"text": x}, **({} if x == "epoch" else {"type": "category"})},
            yaxis={"title": {"text": "loss"}},
        ), className="two"))  # fmt: skip
        if "chosen" in history and history["chosen"].any():
            chosen = history[history["chosen"].astype(bool)].iloc[0].drop("chosen")
            pairs = tuple((words(name).replace("_", " "), _short(value)) for name, value in chosen.items())
            told += parts([Terms(pairs, "What validation chose")])
        return told

    def _subgroups(self) -> list[Component]:
        now = self.context.now
        heading = html.H2("Subgroups", id="subgroups-title")
        films = _films(self.context.results, now.plan.study, now.plan.sha256)
        made = subgroups(self.predictions, self.jobs, films, level=self.level)
        if made.empty:
            return [heading, *parts([Prose(("No view, center, sex or age of the films is known.",), look="quiet")])]
        caption = (
            f"This test fold within groups, × 100, {self.level} level; 95 % interval of the bootstrap over patients"
        )
        note = "A fold holds few of each group: hold it against the subgroups of all folds in the report."
        return [heading, table(page_table(caption, subgroup_columns(), records(made), notes=[note], look=worst_look))]

    def _cost(self) -> list[Component]:
        cost = self.record.cost
        pairs = [
            ("own time", _told(cost.get("own_seconds"), duration)),
            ("share of shared work", _told(cost.get("shared_seconds"), duration)),
            ("peak memory", _told(cost.get("peak_memory_bytes"), lambda value: f"{value / 2**30:.2f} GiB")),
            ("numbers trained", _told(cost.get("trainable_parameters"), lambda value: f"{value:,.0f}")),
            ("numbers in all", _told(cost.get("total_parameters"), lambda value: f"{value:,.0f}")),
            ("operations", _told(cost.get("gflops"), lambda value: f"{value:,.1f} GFLOP by the model card's count")),
        ]
        return [html.H2("Cost", id="cost-title"), *parts([Terms(tuple(pairs))])]

    def _spec(self) -> list[Component]:
        from ...page._made import flat

        spec, made = flat(self.record.job.details), flat(self.record.environment)
        key = Terms((("key", self.job.key),))
        folded = [Terms(spec, "Resolved spec: all that changes the result", True),
                  Terms(made, "Versions, device and weights", True)]  # fmt: skip
        return [html.H2("How it was made", id="spec-title"), *parts([key, *folded])]


def class_names(record: Record) -> tuple[str, str]:
    """Return what the negative and the positive class are called."""
    named = record.job.details.get("task", {}).get("classes") or ()
    told = [words(name) for name in named]
    return (told[0], told[1]) if len(told) == 2 and told[0] != told[1] else ("negative", "positive")


def _epochs(history: pd.DataFrame) -> list[dict[str, Any]]:
    traces: list[dict[str, Any]] = []
    heads = history["head"] if "head" in history else pd.Series(0, index=history.index)
    chosen = history["chosen"].astype(bool) if "chosen" in history else pd.Series(False, index=history.index)
    # The chosen head first, then the others, as many as can be told apart.
    order = [*heads[chosen].unique(), *(head for head in heads.unique() if head not in set(heads[chosen]))]
    for place, head in enumerate(order[:_MOST_CURVES]):
        rows, color = history[heads == head], LOOKS[place % len(LOOKS)]
        named = f"head {head}" if len(order) > 1 else "validation"
        traces.append({"type": "scatter", "mode": "lines+markers", "name": safe(named), "x": values(rows["epoch"]),
                       "y": values(rows["val_loss"]), "line": {"color": color, "width": 1.4},
                       "marker": {"size": 5, "color": color, "symbol": SYMBOLS[place % len(SYMBOLS)]}})  # fmt: skip
    if "train_loss" in history:
        rows = history[heads == order[0]]
        traces.append({
            "type": "scatter", "mode": "lines", "name": "training", "x": values(rows["epoch"]),
            "y": values(rows["train_loss"]), "line": {"color": GRAY, "dash": "dash", "width": 1.4},
        })  # fmt: skip
    return [*traces, *_star(history[chosen], "epoch")]


def _candidates(history: pd.DataFrame) -> list[dict[str, Any]]:
    named = history["candidate"] if "candidate" in history else pd.Series(range(len(history)), index=history.index)
    history = history.assign(_named=[safe(name) for name in named])
    color = LOOKS[0]
    line = {"type": "scatter", "mode": "lines+markers", "name": "validation", "x": history["_named"].tolist(),
            "y": values(history["val_loss"]), "line": {"color": color, "width": 1.2},
            "marker": {"size": 6, "color": color}}  # fmt: skip
    chosen = history[history["chosen"].astype(bool)] if "chosen" in history else history.iloc[:0]
    return [line, *_star(chosen, "_named")]


def _star(chosen: pd.DataFrame, x: str) -> list[dict[str, Any]]:
    if chosen.empty:
        return []
    return [{"type": "scatter", "mode": "markers", "name": "chosen", "x": chosen[x].tolist()[:1],
             "y": values(chosen["val_loss"])[:1],
             "marker": {"symbol": "star", "size": 15, "color": LOOKS[1], "line": {"width": 1}}}]  # fmt: skip


def _short(value: Any) -> str:
    if is_missing(value):
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else words(value)


def _told(value: Any, how: Callable[[float], str]) -> str:
    return "not recorded" if is_missing(value) else how(float(value))


PAGE = Page("job", "Job", 20, _view, _controls)
