"""Films: which a job got right and wrong, and of which it is least certain; only where films may be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from dash import html

from prognobench.evaluation import confusion_counts
from prognobench.frame import InputError
from prognobench.studies import Record, Store

from ..._safe import printable
from ...page._made import redacted
from ...page._parts import Prose, plural
from .._films import Films
from .._filters import filters
from .._page import Context, Control, Page, State, View
from .._view import Component, parts
from ._job import asked_job, class_names, job_list, neighbors

_MOST = 12  # films of a kind
_KINDS = {
    "wrong": ("Wrong", "the farther from 0.5 the earlier"),
    "uncertain": ("Least certain", "the nearer to 0.5 the earlier"),
    "right": ("Right", "the farther from 0.5 the earlier"),
}


def _controls(context: Context, state: State) -> Sequence[Control]:
    if context.films is None:
        return ()
    if asked_job(context, state) is None:
        return filters(context)
    return (Control("show", "Films", tuple((name, title) for name, (title, _) in _KINDS.items())),)


def _view(context: Context, state: State) -> View:
    if context.films is None:
        told = ("Films are not shown unless the explorer is started with `--show-images`: "
                "`prognobench explore DIR --show-images`. They come from the image cache of this machine, under "
                "pseudonyms; start it so only where others cannot see the screen.")  # fmt: skip
        return View(parts([Prose((told,), look="answer")]))
    job = asked_job(context, state)
    if job is None:
        return job_list(context, state, [Prose(("Choose a job; its test films are shown.",))], "films")
    told_of = [html.H2(job.title, id="job-title"), *neighbors(context, job, "films")]
    try:
        record = Store(context.results).read(job.key)
    except InputError as error:
        what = tuple(redacted(f"{problem.what}. {problem.remedy}", ()) for problem in error.problems)
        return View([*told_of, *parts([Prose(what, points=True, look="doubt")])])
    chosen = _controls(context, state)[0].chosen(state) or tuple(_KINDS)
    films = _test_films(record, context.films)
    sources = _sources(record, films, context.films)
    at = parts([Prose((_threshold(context, record),), look="quiet")])
    shown = [part for kind in chosen for part in _kind(kind, films, record, context.films, sources)]
    # Last: whoever asks for a picture may learn that it is still being made.
    notes = _notes(context.films, sources)
    return View([*told_of, *notes, *at, *shown], films.drop(columns=["image", "patient"]))


def _threshold(context: Context, record: Record) -> str:
    """Say at which threshold films count as right, and which one validation chose."""
    rows = context.now.jobs[context.now.jobs["job"] == record.job.key]
    counts = confusion_counts(record.predictions.assign(job=record.job.key), rows, level="film")
    chosen = counts.loc[counts["chosen_on"] == "validation", "threshold"].dropna()
    told = "Right and wrong are counted film by film at the threshold 0.5, before any calibration. "
    if chosen.empty:
        return told + "Validation chose no threshold."
    return told + f"Validation chose {chosen.iloc[0]:.4g}; the job's page has the confusion matrix of both."


def _sources(record: Record, films: pd.DataFrame, pictures: Films) -> dict[str, str]:
    """Return of each tested cohort which loaded one has the films that the job read, blank where none has."""
    details, job = record.job.details, record.job
    rows = {**details.get("tested", {}), job.cohort: details.get("rows", "unknown")}
    return {
        name: pictures.source(name, job.task, rows.get(name, "unknown")) for name in map(str, films["cohort"].unique())
    }


def _notes(films: Films, sources: Mapping[str, str]) -> list[Component]:
    told = []
    if films.loading:
        told.append("The films are being read; their pictures follow.")
    elif not films.lacking:
        told += [
            f"The films or labels of {printable(name)} are not those that this job read, so no picture is shown beside "
            "its scores; `--cohort COHORT.yaml` tells where the cohort lies as it was"
            for name, source in sources.items()
            if not source
        ]
    told += sorted(set(films.lacking.values()))
    return parts([Prose(tuple(f"{one[0].upper()}{one[1:]}." if not one.endswith(".") else one for one in told),
                        look="doubt")]) if told else []  # fmt: skip


def _test_films(record: Record, films: Films) -> pd.DataFrame:
    """Return the test films with their names for the page, what they were called, and how sure that was."""
    rows = record.predictions[record.predictions["split"] == "test"].reset_index(drop=True)
    rows = rows[["cohort", "image", "patient", "y_true", "y_score"]].copy()
    rows["film"] = [films.name("image", str(name)) for name in rows["image"]]
    rows["of"] = [films.name("patient", str(name)) for name in rows["patient"]]
    rows["called"] = (rows["y_score"] >= 0.5).astype(int)
    rows["right"] = rows["called"] == rows["y_true"]
    return rows.assign(certainty=(rows["y_score"] - 0.5).abs())


def _kind(
    kind: str, films: pd.DataFrame, record: Record, pictures: Films, sources: Mapping[str, str]
) -> list[Component]:
    title, order = _KINDS[kind]
    chosen = films if kind == "uncertain" else films[films["right"] == (kind == "right")]
    first = chosen.sort_values("certainty", ascending=kind == "uncertain", kind="stable").head(_MOST)
    size = int(record.job.details.get("preprocessing", {}).get("size", 0))
    classes = class_names(record)
    items = [
        html.Li([
            _picture(pictures.token(sources[str(row["cohort"])], str(row["image"]), size), str(row["film"])),
            html.P([html.Strong(f"{row['y_score']:.3f}"), f" · is {classes[row['y_true']]}"]),
            html.P(f"{_short(row['film'], pictures)}, {_short(row['of'], pictures)}", className="quiet"),
        ])
        for row in first.to_dict("records")
    ]  # fmt: skip
    counted = f"{plural(len(chosen), 'test film')}; {order}. The number is P({classes[1]})."
    if kind == "uncertain":
        counted = f"{order.capitalize()}. The number is P({classes[1]})."
    listed = html.Ul(items, className="films") if items else html.P("None.", className="quiet")
    return [html.H2(title, id=f"{kind}-title"), html.P(counted, className="quiet"), listed]


def _short(name: str, pictures: Films) -> str:
    """Return as much of a pseudonym as tells it from the others on a page; the CSV has all of it."""
    return name if pictures.identifiers else f"{name[:14]}…"


def _picture(token: str, name: str) -> Component:
    if not token:
        return html.P("no picture", className="quiet")
    return html.Img(src=f"/film/{token}", alt=f"Film {name}")


PAGE = Page("films", "Films", 30, _view, _controls)
