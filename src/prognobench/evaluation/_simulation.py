"""How often intervals hold the truth and tests err, on made studies whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from prognobench.frame import write_in_one_step

from ._intervals import block_intervals
from ._made_studies import Design, made_studies, shared_task_differences, threshold_of_equal_mcc
from ._pairwise import TESTS, compare_pairs
from ._resampling import Floats
from ._selection import chosen
from ._simulated import SIMULATED
from ._task_tests import signed_rank_p
from ._weighted import WEIGHTED

_SEED = 2026
_RESAMPLES = 400
_LEVEL = 0.05
_TWO = (1.6, 1.6)
_FEW, _MANY = (20,) * 5, (60,) * 5
_CENTERS = (60, 40, 80, 50, 40, 30)

DESIGNS = (
    Design("5 folds of 20 patients", "kfold", _FEW),
    Design("5 folds of 60 patients", "kfold", _MANY),
    Design("5 folds of 20 patients, dealt twice", "kfold", _FEW, repeats=2),
    Design("5 folds of 20 patients, by film", "kfold", _FEW, level="film"),
    Design("5 folds of 30 patients, 15 % positive", "kfold", (30,) * 5, share=0.15),
    Design("5 folds of 20 patients, 200 features", "kfold", _FEW, features=200, extreme=True),
    Design("30 of 150 patients held out, 10 times", "holdout", (30,) * 5, repeats=10),
    Design("6 centers of 30 to 80 patients", "loco", _CENTERS),
)
_ALIKE = "two ways to train that are equally good"
_EQUAL = "two given models of equal MCC"
NULLS = (
    (_ALIKE, replace(DESIGNS[0], effects=_TWO)),
    (_ALIKE, replace(DESIGNS[1], effects=_TWO)),
    (_ALIKE, replace(DESIGNS[5], effects=_TWO)),
    (_ALIKE, replace(DESIGNS[6], effects=_TWO)),
    (_ALIKE, replace(DESIGNS[7], effects=_TWO)),
    (_EQUAL, replace(DESIGNS[0], effects=_TWO, thresholds=(0.0, 0.0))),
    (f"{_EQUAL}, one of them calling more patients positive", replace(DESIGNS[0], effects=_TWO, thresholds=(-0.5,))),
)
CHOICES = (
    ("20 equally good candidates", replace(DESIGNS[0], effects=(1.6,) * 20)),
    ("20 candidates, some better", replace(DESIGNS[0], effects=tuple(np.linspace(1.1, 2.1, 20)))),
    ("20 candidates, some better", replace(DESIGNS[1], effects=tuple(np.linspace(1.1, 2.1, 20)))),
)
TASKS = (
    ("4 tasks of 100 patients each, 5 folds", 4, False),
    ("4 tasks of the same 100 patients, 5 folds", 4, True),
    ("12 tasks of the same 100 patients, 5 folds", 12, True),
)


def simulate(studies: int, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """Simulate everything.

    Parameters
    ----------
    studies
        How many studies of each design; of the choices among 20 candidates a fifth as many.
    tell
        Takes a line about what was done.

    Returns
    -------
    dict
        What `write_simulated` records.
    """
    found: dict[str, Any] = {"studies": studies, "resamples": _RESAMPLES}
    for name, make in (("designs", _designs), ("tests", _tests), ("tasks", _tasks), ("choices", _choices)):
        found[name] = []
        for part in make(studies):
            found[name].append(part)
            tell(json.dumps(part))
    return found


def write_simulated(found: dict[str, Any], path: Path = SIMULATED) -> None:
    """Record what `simulate` found."""
    write_in_one_step(path, json.dumps(found, indent=1) + "\n")


def _designs(studies: int) -> Iterator[dict[str, Any]]:
    for design in DESIGNS:
        yield coverage(design, studies)


def coverage(design: Design, studies: int) -> dict[str, Any]:
    """Return how often the 95 % intervals of a design hold each truth.

    The truths are `made_again`, the mean over all such studies of the mean over folds, so that the folds' size and the
    luck of training belong to it; and `these_models`, what the models of this study reach on all patients.
    """
    methods: list[str] = []
    bounds: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in WEIGHTED}
    estimates: dict[str, list[float]] = {name: [] for name in WEIGHTED}
    models: dict[str, list[float]] = {name: [] for name in WEIGHTED}
    for study in made_studies(design, studies, _RESAMPLES, _SEED):
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in WEIGHTED}
        for metric, interval in block_intervals(study.block, 0.95):
            if metric == WEIGHTED[0] and interval.method not in methods:
                methods.append(interval.method)
            found[metric].append((interval.low[0], interval.high[0]))
            estimate = interval.estimate[0]
            if interval.method == "t":
                estimates[metric].append(estimate)
                models[metric].append(float(study.truth[metric][:, 0].mean()))
        for metric, pairs in found.items():
            bounds[metric].append(pairs)
    result: dict[str, Any] = _described(design) | {"extreme": design.extreme, "estimates": {}, "coverage": {}}
    for metric in WEIGHTED:
        again = float(np.nanmean(estimates[metric]))
        these = np.array(models[metric])
        result["estimates"][metric] = {
            "made_again": _short(again),
            "all_patients": _short(these.mean()),
            "sd": _short(np.nanstd(estimates[metric])),
        }
        array = np.array(bounds[metric])
        result["coverage"][metric] = {
            method: {"made_again": _share(array[:, place], again), "these_models": _share(array[:, place], these)}
            for place, method in enumerate(methods)
            if not np.isnan(array[:, place]).all()
        }
    return result


def _share(bounds: Floats, truth: float | Floats) -> float:
    """Return how often bounds hold the truth, among the studies where they are defined."""
    there = ~np.isnan(bounds).any(axis=1)
    held = (bounds[:, 0] <= truth) & (truth <= bounds[:, 1])
    return _short(held[there].mean())


def _tests(studies: int) -> Iterator[dict[str, Any]]:
    for null, design in NULLS:
        yield errors(null, design, studies)


def errors(null: str, design: Design, studies: int) -> dict[str, Any]:
    """Return how often each paired test finds a difference at 5 % where there is none."""
    if len(design.thresholds) == 1:
        design = replace(design, thresholds=(*design.thresholds, threshold_of_equal_mcc(design)))
    p: dict[str, list[float]] = {test: [] for test in TESTS}
    for study in made_studies(design, studies, _RESAMPLES, _SEED + 1):
        one, two = study.block.cells
        found = compare_pairs(study.block, [one], [two], 0.95)
        for test in TESTS:
            p[test].append(float(getattr(found, test)[0]))
    shares = {
        test: _short(np.mean(np.array(values) <= _LEVEL)) for test, values in p.items() if not np.isnan(values).all()
    }
    return _described(design) | {"null": null, "error": shares}


def _tasks(studies: int) -> Iterator[dict[str, Any]]:
    for name, tasks, shared in TASKS:
        differences = shared_task_differences(tasks, shared, studies, _SEED + 2)
        p = signed_rank_p(differences)
        yield {"name": name, "shared": shared, "blocks": len(differences), "error": _short(np.mean(p <= _LEVEL))}


def _choices(studies: int) -> Iterator[dict[str, Any]]:
    for name, design in CHOICES:
        yield choice(name, design, max(1, studies // 5))


def choice(name: str, design: Design, studies: int) -> dict[str, Any]:
    """Return how far the winner's naive and corrected scores are off, and how often their intervals hold the truth."""
    rows = []
    for study in made_studies(design, studies, _RESAMPLES, _SEED + 3):
        found = chosen(study.block, study.block.cells, 0.95)
        truth = float(study.truth["mcc"][:, found.winner.place].mean())
        held = [low <= truth <= high for low, high in (found.naive_interval, found.corrected_interval)]
        rows.append((truth, found.naive - truth, found.corrected - truth, *held))
    truth, naive, corrected, naive_held, corrected_held = np.array(rows, dtype=np.float64).mean(axis=0)
    return _described(design) | {
        "name": f"{name}; {design.name}",
        "studies": studies,
        "truth": _short(truth),
        "bias": {"naive": _short(naive), "corrected": _short(corrected)},
        "coverage": {"naive": _short(naive_held), "corrected": _short(corrected_held)},
    }


def _described(design: Design) -> dict[str, Any]:
    return {"name": design.name, "validation": design.validation}


def _short(number: Any) -> float:
    return round(float(number), 4)
