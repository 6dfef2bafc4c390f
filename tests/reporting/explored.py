"""What the tests of the explorer share: its pages without a browser, and results of films that are there."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
from made_results import make_results

from prognobench.reporting.explorer import explorer_app

BASE = "http://127.0.0.1:8050"


def text_of(parts: Any) -> str:
    """Return components as the JSON that a browser gets."""
    from plotly.utils import PlotlyJSONEncoder

    return json.dumps(parts, cls=PlotlyJSONEncoder, ensure_ascii=False)


def open_page(explorer, href: str, base: str = BASE) -> str:
    """Return what the callback answers that opens a page."""
    inputs = [_has("url.href", base + href), _has("restructured.data", None)]
    state = [_has("study.data", None), [], [], _has("defaults.data", None)]
    return json.dumps(_ask(explorer, "header.children", inputs, state, "url.href"), ensure_ascii=False)


def reopen_page(explorer, href: str, chosen: dict[str, Any], opened: dict[str, Any]) -> str:
    """Return what the callback answers that opens a page once more as what can be chosen changed."""
    values, ids = _controls(chosen)
    inputs = [_has("url.href", BASE + href), _has("restructured.data", "new")]
    state = [
        _has("study.data", opened["study"]["data"]),
        values,
        ids,
        _has("defaults.data", opened["defaults"]["data"]),
    ]
    return json.dumps(_ask(explorer, "header.children", inputs, state, "restructured.data"), ensure_ascii=False)


def renew_page(explorer, href: str, opened: dict[str, Any], **chosen: Any) -> dict[str, Any]:
    """Return what the callback answers that fills an open page anew."""
    values, ids = _controls(chosen)
    state = [ids, _has("url.href", BASE + href), _has("study.data", opened["study"]["data"]),
             _has("structure.data", opened["structure"]["data"])]  # fmt: skip
    return _ask(explorer, "content.children", [values, _has("version.data", "new")], state, "version.data")


def tick(explorer, href: str, opened: dict[str, Any], **chosen: Any) -> dict[str, Any]:
    """Return what the callback answers that asks whether anything came."""
    values, ids = _controls(chosen)
    state = [*(_has(f"{name}.data", opened[name]["data"]) for name in ("seen", "structure")),
             _has("url.href", BASE + href), _has("study.data", opened["study"]["data"]), values, ids]  # fmt: skip
    return _ask(explorer, "version.data", [_has("tick.n_intervals", 1)], state, "tick.n_intervals")


def _controls(chosen: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    ids = [{"control": key} for key in chosen]
    told = zip(ids, chosen.values(), strict=True)
    return (
        [{"id": one, "property": "value", "value": value} for one, value in told],
        [{"id": one, "property": "id", "value": one} for one in ids],
    )


def _has(what: str, value: Any) -> dict[str, Any]:
    return {**dict(zip(("id", "property"), what.split("."), strict=True)), "value": value}


def _ask(explorer, first: str, inputs: list[Any], state: list[Any], changed: str) -> dict[str, Any]:
    """Ask the callback whose first output is named, as a browser does."""
    rule = next(one for one in explorer.dash.callback_map if one.strip(".").startswith(first))
    outputs = [dict(zip(("id", "property"), one.rsplit(".", 1), strict=True)) for one in rule.strip(".").split("...")]
    asked = {"output": rule, "outputs": outputs, "inputs": inputs, "state": state, "changedPropIds": [changed]}
    answer = explorer.dash.server.test_client().post("/_dash-update-component", json=asked, base_url=BASE)
    if answer.status_code == 204:
        return {}
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.get_json()["response"]
    return told


def figures(answer: str) -> list[Any]:
    """Return the figures of an answer, as plotly.js gets them."""

    def found(part: Any) -> list[Any]:
        if isinstance(part, list):
            return [figure for one in part for figure in found(one)]
        if not isinstance(part, dict):
            return []
        own = [part["props"]["figure"]] if part.get("type") == "Graph" else []
        return own + [figure for one in part.values() for figure in found(one)]

    return found(json.loads(answer))


def csv_of(explorer, query: str) -> pd.DataFrame:
    """Return the table that is exported, all cells as texts."""
    answer = explorer.dash.server.test_client().get(f"/export.csv?{query}", base_url=BASE)
    assert answer.status_code == 200
    return read(answer.text)


def read(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)


def settled(folder: Path, **options: Any):
    """Return an explorer that has made all tables of the folder's first study."""
    explorer = explorer_app(folder, **options)
    until = time.monotonic() + 120
    while not ((context := explorer.context({})) and context.now.current and context.now.names is not None):
        assert time.monotonic() < until, explorer.problems({})
        time.sleep(0.05)
    return explorer


def all_read(folder: Path, **options: Any):
    """Return an explorer that has read all records of the folder's first study."""
    explorer = explorer_app(folder, **options)
    until = time.monotonic() + 120
    while not ((context := explorer.context({})) and not context.now.unread):
        assert time.monotonic() < until, explorer.problems({})
        time.sleep(0.05)
    return explorer


def filmed_results(folder: Path, cohort: Path) -> Path:
    """Write results of a cohort's own films, with a plan that says where it lies."""
    from prognobench.cohorts import load_cohort
    from prognobench.studies import Store, rows_sha256
    from prognobench.studies._store import read_plan, write_plan

    loaded = load_cohort(cohort)
    films = loaded.films[["image", "patient"]]
    task = next(iter(loaded.tasks))
    rows = rows_sha256(loaded.task(task).rows)
    make_results(folder, "filmed", cohort=loaded.name, tasks=(task,), films=films, rows=rows)
    store = Store(folder)
    plan = read_plan(store, "filmed")
    write_plan(store, "filmed", {**plan, "basis": {"settings": [{"cohorts": [str(cohort)]}]}})
    return folder
