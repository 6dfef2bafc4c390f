"""Named studies: published benchmarks as study files, put together from blocks."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml

from prognobench.frame import InputError, Problem, nearest
from prognobench.protocols import Validation

_BENCHMARK = "paper"
# What the authors' launcher calls the few-shot kinds, behind a task's name.
_REGIMES = {"fsl": "few_shot", "cfsl": "center_few_shot", "fcsl": "center_few_shot", "vanilla": "full"}


def preset_names() -> list[str]:
    """List the named studies.

    Examples
    --------
    >>> [name for name in preset_names() if name.startswith("paper/car")]
    ['paper/car', 'paper/car_few_shot']
    """
    return list(_studies(_read()))


def preset_titles() -> dict[str, str]:
    """Return the named studies, each with a line that says what it is.

    Examples
    --------
    >>> preset_titles()["paper/car_few_shot"]
    'CAR of covid19ar, few_shot with 2, 4, 8, 16, 32 shots, kfold5_paper'
    """
    content = _read()
    titles: dict[str, str] = {}
    for name, parts in _studies(content).items():
        tasks, regimes = (list(dict.fromkeys(part[place] for part in parts)) for place in (0, 1))
        if len(parts) == 1:
            facts = content["tasks"][tasks[0]]
            what = f"{tasks[0]} of {facts['cohort']}"
            how = [_regime_title(content, regimes[0]), Validation.model_validate(facts["validation"]).label]
        else:
            what = f"{len(tasks)} tasks ({', '.join(tasks)})"
            how = [_regime_title(content, regimes[0]) if len(regimes) == 1 else f"all of {', '.join(regimes)}"]
        titles[name] = ", ".join([what, *how])
    return titles


def _regime_title(content: dict[str, Any], regime: str) -> str:
    (asked,) = content["regimes"][regime]
    if isinstance(asked, str):
        return "all films"
    shots = ", ".join(str(k) for k in asked[regime]["shots"])
    return f"{regime} with {shots} shots"


def preset_text(name: str) -> str:
    """Return a named study as the text of a study file, to be run, or kept and changed.

    Parameters
    ----------
    name
        One of `preset_names`, in any case; the task also by the names of the authors' repository, such as
        `paper/AFC_death` or `paper/CoCross_FSL`.

    Raises
    ------
    InputError
        No study has that name; the nearest one is named.
    """
    content = _read()
    studies = _studies(content)
    plain = name.lower()
    for task, facts in content["tasks"].items():
        for alias in facts.get("also", ()):
            stem = f"{_BENCHMARK}/{alias.lower()}"
            # Longer names that begin alike, such as NY_all beside NY, are names of their own.
            if plain not in studies and (plain == stem or plain.startswith(f"{stem}_")):
                plain = f"{_BENCHMARK}/{task.lower()}{plain.removeprefix(stem)}"
    stem, _, ending = plain.rpartition("_")
    if plain not in studies and ending in _REGIMES:
        plain = stem if _REGIMES[ending] == "full" else f"{stem}_{_REGIMES[ending]}"
    if plain not in studies:
        what = f"no study is called '{name}'"
        raise InputError([Problem(f"study '{name}'", what, nearest(plain, list(studies)))])
    blocks = [block for task, regime in studies[plain] for block in _blocks(content, task, regime)]
    document = {"name": plain.replace("/", "-"), "protocol": "paper", "blocks": blocks}
    heading = "# Ruffini et al., arXiv 2506.18434. Cohorts by name: say where they lie with --cohort NAME=DIR.\n"
    return heading + yaml.dump(document, Dumper=_Plain, sort_keys=False, default_flow_style=None, width=110)


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice: a person is to read it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _read() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("presets", f"{_BENCHMARK}.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def _studies(content: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Return which tasks and regimes each named study holds."""
    found: dict[str, list[tuple[str, str]]] = {}
    for task, facts in content["tasks"].items():
        found[f"{_BENCHMARK}/{task.lower()}"] = [(task, "full")]
        for regime in facts["few_shot"]:
            found[f"{_BENCHMARK}/{task.lower()}_{regime}"] = [(task, regime)]
    for regime in content["regimes"]:
        found[f"{_BENCHMARK}/{regime}"] = [(t, r) for parts in found.values() for t, r in parts if r == regime]
    singles = [name for name in found if name.removeprefix(f"{_BENCHMARK}/") not in content["regimes"]]
    found[f"{_BENCHMARK}/all"] = [part for name in singles for part in found[name]]
    return found


def _blocks(content: dict[str, Any], task: str, regime: str) -> list[dict[str, Any]]:
    facts = content["tasks"][task]
    return [
        {
            "cohorts": [{"name": facts["cohort"], "tasks": [task]}],
            "models": content["models"][grid["models"]],
            "strategies": grid["strategies"],
            "regimes": content["regimes"][regime],
            "validation": facts["validation"],
            "protocol": {"base": _BENCHMARK, "batch_size": facts["batch_size"], **grid.get("protocol", {})},
        }
        for grid in content["grids"]
        if regime in grid.get("regimes", [regime])
    ]
