"""How a study's numbers were made: recipes, weights, machines and costs, as its records hold them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from prognobench.frame import InputError, Problem, Problems, nearest, sha256_bytes

from ._job import ListedJob
from ._results import StudyStatus
from ._store import Status, Store, read_plans

_FILES = ("job.json", "cost.json", "environment.json")
_COSTS = ["job", "own_seconds", "shared_seconds", "peak_memory_bytes", "gflops", "forward_films", "backward_films"]


@dataclass(frozen=True)
class Provenance:
    """What the records of one study tell of how they were made; each thing once, with the jobs that share it counted.

    Attributes
    ----------
    status
        How far the study is, what failed and what was left out.
    overrides
        What was laid over the study file.
    costs
        One row a finished job: `job, own_seconds, shared_seconds, peak_memory_bytes, gflops, forward_films,
        backward_films`.
    environments
        Versions and device, by `versions`, `device` and `jobs`.
    models
        `model, weights, sha256, architecture, jobs`.
    preprocessing
        `settings` (how a film becomes pixels), `jobs`.
    recipes
        `protocol, kind, strategies, settings, jobs`: the resolved training recipe of a kind of job, with its head and
        its precision.
    strategies
        `strategy, settings, jobs`: what each label means, and on which modules it works.
    methods
        Label to the strategy that it is a variant of.
    tasks
        `cohort, task, classes, jobs`.
    splits, seeds
        How many splits there are, and the seeds of training.
    """

    status: StudyStatus
    overrides: tuple[str, ...]
    costs: pd.DataFrame
    environments: tuple[dict[str, Any], ...] = ()
    models: tuple[dict[str, Any], ...] = ()
    preprocessing: tuple[dict[str, Any], ...] = ()
    recipes: tuple[dict[str, Any], ...] = ()
    strategies: tuple[dict[str, Any], ...] = ()
    methods: dict[str, str] = field(default_factory=dict)
    tasks: tuple[dict[str, Any], ...] = ()
    splits: int = 0
    seeds: tuple[int, ...] = ()


def read_provenance(results: Path, study: str) -> Provenance:
    """Read how the finished jobs of one study were made.

    Parameters
    ----------
    results
        The folder that `run` filled.
    study
        The study's name.

    Raises
    ------
    InputError
        No such study ran into this folder, or records were altered; all of them are named.
    """
    store = Store(results)
    plans = read_plans(store)
    if study not in plans:
        raise InputError([Problem(str(store.root), f"there is no study '{study}'", nearest(study, list(plans)))])
    plan = plans[study]
    jobs = [ListedJob.from_json(content) for content in plan["jobs"]]
    problems = Problems()
    told, costs = _Told(), []
    failed, missing = [], []
    for job in jobs:
        try:
            status = store.status(job.key)
            if status is None:
                missing.append(job)
            elif status.state == "failed":
                failed.append((job, status.error or "", status.attempts))
            else:
                identity, cost, environment = _documents(store, job, status)
                told.take(job, identity, environment)
                costs.append(_cost(job, cost))
        except InputError as error:
            problems.extend(error)
    problems.raise_if_any()
    left_out = tuple(plan.get("left_out", ()))
    state = StudyStatus(study, len(jobs), len(costs), tuple(failed), tuple(missing), left_out)
    return told.provenance(state, tuple(plan.get("overrides", ())), pd.DataFrame(costs, columns=_COSTS))


def read_names(results: Path) -> frozenset[str]:
    """Read the names of all films and patients that the splits of a results folder hold, so that they can be masked."""
    names: set[str] = set()
    for path in sorted(Store(results).splits.glob("*.csv")):
        table = pd.read_csv(path, dtype=str, keep_default_na=False, usecols=["image", "patient"])
        names.update(table["image"], table["patient"])
    return frozenset(names)


def _documents(store: Store, job: ListedJob, status: Status) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Read the small files of a record, each checked against its seal."""
    found = []
    for name in _FILES:
        path = store.runs / job.key / name
        try:
            content = path.read_bytes()
            sealed = status.files.get(name) == sha256_bytes(content)
            document = json.loads(content) if sealed else None
        except (OSError, ValueError):
            document = None
        if not isinstance(document, dict):
            what = f"{name} is missing or was altered: it is not what it was sealed with"
            remedy = "Put the file back as it was, or delete the record's folder and run the study again"
            raise InputError([Problem(f"record {job.key} in {store.runs}", what, remedy)])
        found.append(document)
    identity = found[0].get("identity", {})
    return identity, found[1], found[2]


def _cost(job: ListedJob, cost: dict[str, Any]) -> dict[str, Any]:
    passes = cost.get("film_passes", {})
    return {
        "job": job.key,
        "forward_films": passes.get("forward", 0) + cost.get("shared", {}).get("films_share", 0),
        "backward_films": passes.get("backward", 0),
        **{name: cost.get(name) for name in _COSTS[1:5]},
    }


class _Told:
    """Collects what records tell, each thing once."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.labels: dict[str, set[str]] = {}
        self.methods: dict[str, str] = {}
        self.splits: set[str] = set()
        self.seeds: set[int] = set()

    def take(self, job: ListedJob, identity: dict[str, Any], environment: dict[str, Any]) -> None:
        """Take what one record tells."""
        strategy = identity.get("strategy", {})
        self.methods[job.strategy] = strategy.get("name", job.strategy)
        self.splits.add(str(identity.get("split")))
        self._note("environments", {"versions": environment.get("versions"), "device": environment.get("device")})
        classes = identity.get("task", {}).get("classes")
        self._note("tasks", {"cohort": job.cohort, "task": job.task, "classes": classes})
        settings = {"head": identity.get("head"), "precision": identity.get("precision")}
        recipe = {
            **identity.get("protocol", {}),
            **{key: value for key, value in settings.items() if value is not None},
        }
        place = self._note("recipes", {"protocol": job.protocol, "kind": job.kind, "settings": recipe})
        self.labels.setdefault(place, set()).add(job.strategy)
        if "preprocessing" in identity:
            self._note("preprocessing", {"settings": identity["preprocessing"]})
        if job.kind == "control":
            return
        self.seeds.add(job.seed)
        self._note("strategies", {"strategy": job.strategy, "settings": strategy, "targets": identity.get("targets")})
        weights, model = environment.get("weights") or {}, identity.get("model", {})
        told = {"model": job.model, "weights": weights.get("id"), "sha256": weights.get("sha256")}
        self._note("models", told | {"architecture": model.get("architecture")})

    def _note(self, kind: str, what: dict[str, Any]) -> str:
        text = json.dumps(what, sort_keys=True)
        self.counts.setdefault(kind, Counter())[text] += 1
        return text

    def provenance(self, status: StudyStatus, overrides: tuple[str, ...], costs: pd.DataFrame) -> Provenance:
        """Return all that was told."""
        listed: dict[str, Any] = {
            kind: tuple({**json.loads(text), "jobs": count} for text, count in sorted(counts.items()))
            for kind, counts in self.counts.items()
            if kind != "recipes"
        }
        recipes = tuple(
            {**json.loads(text), "strategies": sorted(self.labels[text]), "jobs": count}
            for text, count in sorted(self.counts.get("recipes", {}).items())
        )
        return Provenance(
            status, overrides, costs, recipes=recipes, methods=self.methods, splits=len(self.splits),
            seeds=tuple(sorted(self.seeds)), **listed,
        )  # fmt: skip
