"""What a study leaves of its cohorts: counts, and what subgroups are made of, sealed by the plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from prognobench.cohorts import Cohort, describe

from ._kept_files import keep, read_kept
from ._store import Store

_KNOWN = ("view", "sex", "age")  # columns that `cohort.yaml` may name
_FILM = ("image", "view", "center", "sex", "age")
_SIZES = ["films", "patients", "groups"]
_COUNTS = ["cohort", "task", "class", "center", "left_out", *_SIZES]


def keep_cohorts(store: Store, cohorts: Iterable[Cohort]) -> dict[str, str]:
    """Write each cohort's films and counts into `cohorts/<sha256>.json`, and return the SHA-256 by the cohort's name.

    Of the table only image, view, center, sex and age are kept, as they are spelled.
    """
    return {
        cohort.name: keep(store, "cohorts", {"description": _description(cohort), "films": _films(cohort)})
        for cohort in cohorts
    }


def read_films(results: Path, study: str | None = None) -> pd.DataFrame:
    """Read what is known about the films of a study's cohorts.

    Parameters
    ----------
    results
        The folder that `run` filled.
    study
        The study's name; may be left out where the folder holds one study.

    Returns
    -------
    pandas.DataFrame
        One row a film: `cohort, image, view, center, sex, age`, as the cohort's table spells them; an empty text is
        not known. No row where the study ran before these were kept; to run it again adds them.

    Raises
    ------
    InputError
        There is no such study, or a file is missing or was altered; all of them are named.
    """
    tables = [
        pd.DataFrame(content["films"]).assign(cohort=name) for name, content in read_kept(results, study, "cohorts")
    ]
    rows = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["cohort", *_FILM])
    return rows[["cohort", *_FILM]].astype("string")


def read_cohorts(results: Path, study: str | None = None) -> pd.DataFrame:
    """Read how much a study's cohorts hold; counts alone.

    Parameters
    ----------
    results, study
        As `read_films` takes them.

    Returns
    -------
    pandas.DataFrame
        `cohort, task, class, center, left_out, films, patients, groups, synthetic`. What is missing in a row is not
        told apart: a row with a cohort alone counts all of it, one with a task that task, one with `class` and `center`
        the films of that class there. `left_out` says why films are not in the cohort (`excluded`) or not in the task.
        `synthetic` is what the cohort declares, missing where the study ran before that was kept.

    Raises
    ------
    InputError
        As `read_films`.
    """
    rows = [
        row | {"synthetic": content["description"].get("synthetic")}
        for name, content in read_kept(results, study, "cohorts")
        for row in _counts(name, content["description"])
    ]
    table = pd.DataFrame(rows, columns=[*_COUNTS, "synthetic"])
    types = {name: "Int64" if name in _SIZES else "string" for name in _COUNTS}
    return table.astype(types | {"synthetic": "boolean"})


def _films(cohort: Cohort) -> dict[str, list[str]]:
    blank = [""] * len(cohort.films)
    named = {name: getattr(cohort.spec.columns, name) for name in _KNOWN}
    known = {name: blank if column is None else cohort.table[column].tolist() for name, column in named.items()}
    own = {name: cohort.films[name].tolist() for name in ("image", "center")}
    return {name: {**known, **own}[name] for name in _FILM}


def _description(cohort: Cohort) -> dict[str, Any]:
    described = describe(cohort)
    # Which rows were left out is for the eyes of whoever checks the cohort.
    return described | {"excluded": {"films": described["excluded"]["films"]}}


def _counts(name: str, described: dict[str, Any]) -> Iterator[dict[str, Any]]:
    def sizes(counted: dict[str, Any]) -> dict[str, Any]:
        return {size: counted[size] for size in _SIZES}

    yield {"cohort": name, **sizes(described)}
    if described["excluded"]["films"]:
        yield {"cohort": name, "left_out": "excluded", "films": described["excluded"]["films"]}
    for task, told in described["tasks"].items():
        row = {"cohort": name, "task": task}
        yield {**row, **sizes(told)}
        for label, counted in told["classes"].items():
            yield {**row, "class": label, **sizes(counted)}
        for center, classes in told["centers"].items():
            if center:
                yield from ({**row, "class": label, "center": center, "films": n} for label, n in classes.items())
        for reason, films in told["left_out"].items():
            yield {**row, "left_out": reason, "films": films}
