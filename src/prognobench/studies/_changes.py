"""What tells two plans of one study apart, in the words of the study file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ._cuts import words

if TYPE_CHECKING:
    from ._plan import Plan
    from ._spec import Block

_MOST_NAMED = 6


def basis(plan: Plan) -> dict[str, Any]:
    """Return what the jobs of a plan follow from: the settings of each grid, the rows of each task, the weights."""
    rows: dict[str, str] = {}
    for job in plan.jobs:
        task = f"{job.cohort} · {job.task}"
        if task not in rows:
            rows[task] = job.details["rows"]
    weights = {name: backbone.weights.sha256 for name, backbone in plan.backbones.items()}
    return {"settings": [_settings(block) for block in plan.study.blocks], "rows": rows, "weights": weights}


def _settings(block: Block) -> dict[str, Any]:
    return {
        **block.model_dump(mode="json", include={"preprocessing", "controls", "seeds", "split_seed"}),
        "cohorts": [entry.name or str(entry.path) for entry in block.cohorts],
        "tasks": [list(entry.tasks or ("all",)) for entry in block.cohorts],
        "models": [entry.name + (f"@{entry.weights}" if entry.weights else "") for entry in block.models],
        "strategies": [strategy.label for strategy in block.strategies],
        **{f"strategies.{strategy.label}": strategy.resolved() for strategy in block.strategies},
        "regimes": [words(regime) + (f" draw {regime.draw}" if regime.draw else "") for regime in block.regimes],
        "validation": block.validation.label,
        **{f"validation.{block.validation.kind.key}": block.validation.kind.model_dump(mode="json")},
        "protocol": block.protocol.model_dump(mode="json", exclude={"name"}),
    }


def told_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say what changed between the bases of two plans, such as `split_seed: 42 → 7`.

    Parameters
    ----------
    before, now
        What `basis` returned; empty where a plan is of a version that did not keep it.
    """
    if not before:
        return "which settings changed cannot be said, the older plan did not keep them"
    if len(before["settings"]) != len(now["settings"]):
        return f"the study had {len(before['settings'])} blocks, it has {len(now['settings'])}"
    found: list[str] = []
    for number, (old, new) in enumerate(zip(before["settings"], now["settings"], strict=True)):
        where = f"blocks.{number}." if len(now["settings"]) > 1 else ""
        found += [f"{where}{line}" for line in _differences(_flat(old), _flat(new))]
    for task, rows in now["rows"].items():
        if before["rows"].get(task, rows) != rows:
            found.append(f"the films, labels, groups or centers of {task}")
    for name, sha256 in now["weights"].items():
        if before["weights"].get(name, sha256) != sha256:
            found.append(f"the weights of {name}")
    if not found:
        return "no setting changed; what did is the code, the cells that `metadata` reads, or the precision in use here"
    more = f", and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return "what changed: " + "; ".join(found[:_MOST_NAMED]) + more


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Return the settings of both that differ; what one alone has follows from another that differs."""
    return [f"{key}: {value} → {new[key]}" for key, value in old.items() if key in new and new[key] != value]


def _flat(value: Any, place: str = "") -> dict[str, str]:
    """Return the leaves of nested settings by their dotted place; a list is one leaf."""
    if not isinstance(value, Mapping):
        return {place: _spelled(value)}
    flat: dict[str, str] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{place}.{key}" if place else str(key))
    return flat


def _spelled(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_spelled(one) for one in value) + "]"
    return "none" if value is None else str(value)
