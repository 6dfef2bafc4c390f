"""What the study's records say of the chosen cell: the numbers of a model's card, as the report's tables have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from prognobench.cohorts import Cohort, Finding, describe
from prognobench.evaluation import METRICS
from prognobench.reporting import StudyTables, above_as_chosen

from ._choice import Choice

_CALIBRATED = tuple(metric.name for metric in METRICS if metric.calibrated)
_MOST_CONFOUNDS = 8
# A card is handed on: what is told of a few people is told of each of them.
FEWEST_PATIENTS = 5
_SUBGROUP = ("attribute", "value", "n_patients", "n_positive", "mcc", "roc_auc", "sensitivity", "specificity")


def gather(
    tables: StudyTables,
    choice: Choice,
    cohort: Cohort,
    findings: Sequence[Finding],
    confounds: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Return all that a card tells of the study, as JSON can say it; a number that is undefined is None.

    Parameters
    ----------
    tables
        The study's tables.
    choice
        The chosen cell.
    cohort
        What it is trained on.
    findings, confounds
        What the audit of the cohort found, and its table of what predicts the outcome alone.
    """
    subgroups = choice.rows(tables.subgroups)
    large = subgroups[subgroups["n_patients"] >= FEWEST_PATIENTS]
    (summary,) = choice.rows(tables.summary).to_dict("records")
    level = str(summary["headline"])
    task = choice.cell["task"]
    described = describe(cohort)
    of_task = [row for row in confounds if row["task"] == task]
    about = {
        "level": level,
        "folds": summary["n_folds"],
        "missing_jobs": summary["n_missing"],
        "interval": summary["ci_method"],
        "metrics": [_metric(summary, metric.name, level) for metric in METRICS],
        "recalibrated": [_metric(summary, name, level, "_platt") for name in _CALIBRATED],
        "choice": _first(choice.block(tables.selection)),
        "compared": _compared(tables, choice),
        "controls": _controls(tables, choice),
        "doubts": _first(choice.rows(tables.decision)).get("doubts"),
        "subgroups": _subgroups(large),
        "n_small_subgroups": len(subgroups) - len(large),
        "confounds": of_task[:_MOST_CONFOUNDS],
        "n_confounds": len(of_task),
        "findings": [
            {"severity": one.severity, "what": one.what, "remedy": one.remedy}
            for one in findings
            if one.task in ("", task) and one.severity != "note"
        ],
        "cohort": {
            "name": cohort.name,
            "synthetic": cohort.spec.synthetic or choice.cell["cohort"] in tables.synthetic,
            "films": described["films"],
            "patients": described["patients"],
            "excluded": described["excluded"]["films"],
            "task": described["tasks"][task],
        },
    }
    plain: dict[str, Any] = _plain(about)
    return plain


def _metric(summary: dict[Any, Any], name: str, level: str, way: str = "") -> dict[str, Any]:
    column = f"{name}{'_patient' if level == 'patient' else ''}{way}"
    told = {part: summary[f"{column}_{part}"] for part in ("mean", "std", "ci_low", "ci_high", "n")}
    return {"metric": name, "column": column, **told}


def _compared(tables: StudyTables, choice: Choice) -> dict[Any, Any]:
    """Return how the cell stands to its controls; of the best of its block, corrected for having been chosen."""
    compared, selection = _first(choice.rows(tables.controls)), choice.block(tables.selection)
    if not compared:
        return {}
    is_best = not selection.empty and all(
        not pd.isna(selection[key].iloc[0]) and selection[key].iloc[0] == choice.cell[key]
        for key in ("model", "strategy")
    )
    above, chosen = above_as_chosen(compared, selection if is_best else selection.iloc[:0])
    return compared | {"is_best": is_best, "is_corrected": chosen is not None, "above": above}


def _controls(tables: StudyTables, choice: Choice) -> list[dict[Any, Any]]:
    block = choice.block(tables.results)
    architecture = choice.rows(tables.results)["architecture"].iloc[0]
    own = block["control"] & ((block["strategy"] != "random") | (block["model"] == architecture))
    columns = ["strategy", "model", "mcc_mean", "mcc_std", "pr_auc_mean", "pr_auc_std"]
    found: list[dict[Any, Any]] = block.loc[own.fillna(False).astype(bool), columns].to_dict("records")
    return found


def _subgroups(rows: pd.DataFrame) -> list[dict[Any, Any]]:
    intervals = [f"{name}_{end}" for name in ("mcc", "roc_auc") for end in ("ci_low", "ci_high")]
    found: list[dict[Any, Any]] = rows[[*_SUBGROUP, *intervals, "undefined"]].to_dict("records")
    return found


def _first(table: pd.DataFrame) -> dict[Any, Any]:
    rows: list[dict[Any, Any]] = table.to_dict("records")
    return rows[0] if rows else {}


def _plain(value: Any) -> Any:
    """Bring numbers of pandas and numpy to those of JSON; what is missing becomes None."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or value is pd.NA or (isinstance(value, float) and not np.isfinite(value)):
        return None
    if isinstance(value, np.generic):
        return _plain(value.item())
    return value
