"""From a study file to its jobs: everything is checked and resolved here, nothing is left for later."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from prognobench.cohorts import Cohort, Preprocessing, Task, load_cohort
from prognobench.frame import InputError, Problems, canonical_json, sha256_json
from prognobench.models import ModelCard, Weights, find_weights, model_card, refuses_readout
from prognobench.protocols import Regime, Split

from ._job import SCHEMA, Job
from ._spec import Study

if TYPE_CHECKING:
    from prognobench.strategies import Strategy


@dataclass(frozen=True)
class Backbone:
    """A model of the study with the weights that it will use."""

    name: str
    card: ModelCard
    weights: Weights


@dataclass(frozen=True)
class LeftOut:
    """A pair that cannot work, with the reason; no failure, but no silence either."""

    cohort: str
    task: str
    model: str
    strategy: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """A study, checked and resolved.

    Attributes
    ----------
    study
        The study file.
    jobs
        Its jobs, in the order of the grid.
    left_out
        What cannot work, and why.
    cohorts, backbones, strategies, splits
        What the jobs name, by name, label or hash.
    """

    study: Study
    jobs: tuple[Job, ...]
    left_out: tuple[LeftOut, ...]
    cohorts: Mapping[str, Cohort]
    backbones: Mapping[str, Backbone]
    strategies: Mapping[str, Strategy]
    splits: Mapping[str, Split]

    def preprocessing(self, card: ModelCard) -> Preprocessing:
        """Return how films become pixels for a model."""
        return Preprocessing(name=self.study.spec.preprocessing, size=card.input_size)

    def to_json(self) -> dict[str, Any]:
        """Return what the results folder keeps of the plan: each job's words and key, and what was left out."""
        return {
            "study": self.study.spec.name,
            "overrides": list(self.study.overrides),
            "weights": {name: backbone.weights.id for name, backbone in self.backbones.items()},
            "jobs": [job.to_json() for job in self.jobs],
            "left_out": [vars(pair) for pair in self.left_out],
        }


def plan_study(study: Study, progress: Callable[[int, int], None] | None = None) -> Plan:
    """Check all that a study names and list its jobs.

    Every film is read once here, and the pixel cache is filled in the same pass; nothing is trained.

    Parameters
    ----------
    study
        What `read_study` returned.
    progress
        Called with films done and films in all.

    Raises
    ------
    InputError
        With every problem of the cohorts, models and splits in one message.
    """
    problems = Problems()
    backbones = _backbones(study, problems)
    cohorts = _cohorts(study, backbones, progress, problems)
    splits = _splits(study, cohorts, problems)
    problems.raise_if_any()
    jobs, left_out = _jobs(study, cohorts, backbones, splits)
    _refuse_twins(study, jobs)
    return Plan(
        study,
        tuple(jobs),
        tuple(left_out),
        cohorts,
        backbones,
        {strategy.label: strategy for strategy in study.spec.strategies},
        {split.sha256: split for parts in splits.values() for split in parts},
    )


def _refuse_twins(study: Study, jobs: list[Job]) -> None:
    """Refuse a study that would compute one thing under two names; the tables would show it as two results."""
    problems = Problems()
    first: dict[str, Job] = {}
    for job in jobs:
        twin = first.setdefault(job.key, job)
        if twin is not job:
            problems.add(study.path, f"'{job.title}' is the same as '{twin.title}'", "Keep one of the two")
    if not jobs:
        problems.add(study.path, "no job is left: every pair was left out", "Choose other models or strategies")
    problems.raise_if_any()


def _splits(study: Study, cohorts: Mapping[str, Cohort], problems: Problems) -> dict[tuple[str, str], list[Split]]:
    splits: dict[tuple[str, str], list[Split]] = {}
    for name, cohort in cohorts.items():
        for task in _tasks(study, cohort):
            try:
                splits[name, task.name] = study.spec.validation.splits(task.rows, study.spec.split_seed)
            except ValueError as error:
                what, _, remedy = str(error).partition(". ")
                problems.add(study.path, f"task '{task.name}' of cohort '{name}' cannot be split: {what}", remedy)
    return splits


def _jobs(
    study: Study,
    cohorts: Mapping[str, Cohort],
    backbones: Mapping[str, Backbone],
    splits: Mapping[tuple[str, str], list[Split]],
) -> tuple[list[Job], list[LeftOut]]:
    """Go through the grid in the order in which the study file spells it, controls first."""
    maker = _JobMaker(study, cohorts, backbones)
    jobs: list[Job] = []
    left_out: list[LeftOut] = []
    for (cohort, task), parts in splits.items():
        for regime, control, split in itertools.product(study.spec.regimes, study.spec.controls, parts):
            jobs.append(maker.control(cohort, task, control, regime, split))
        for backbone, strategy in itertools.product(backbones.values(), study.spec.strategies):
            head = study.spec.protocol.head
            unread = refuses_readout(backbone.card, head.blocks, head.patch_mean)
            reason = unread or strategy.refuses(backbone.card)
            if reason is not None:
                left_out.append(LeftOut(cohort, task, backbone.name, strategy.label, reason))
                continue
            for regime, seed, split in itertools.product(study.spec.regimes, study.spec.seeds, parts):
                jobs.append(maker.learned(cohort, task, backbone, strategy, regime, split, seed))
    return jobs, left_out


class _JobMaker:
    """Puts a job's words and identity together."""

    def __init__(self, study: Study, cohorts: Mapping[str, Cohort], backbones: Mapping[str, Backbone]) -> None:
        self.study, self.cohorts = study, cohorts
        self.rows_sha256: dict[tuple[str, str], str] = {}
        self.precision = _usable_precision(study.spec.protocol.precision)

    def control(self, cohort: str, task: str, control: str, regime: Regime, split: Split) -> Job:
        identity = {**self._data(cohort, task, regime, split), "strategy": {"name": control}, "protocol": {}}
        return self._job(
            cohort, task, "none", control, "control", None, regime, split, self.study.spec.seeds[0], identity
        )

    def learned(
        self, cohort: str, task: str, backbone: Backbone, strategy: Strategy, regime: Regime, split: Split, seed: int
    ) -> Job:
        card, kind = backbone.card, strategy.card.kind
        preprocessing = Preprocessing(name=self.study.spec.preprocessing, size=card.input_size)
        identity = {
            **self._data(cohort, task, regime, split),
            "preprocessing": preprocessing.spec(),
            "model": {
                "architecture": card.architecture,
                "build": card.build,
                "mean": card.mean,
                "std": card.std,
                "positions": card.positions,
                # Where a strategy finds its modules; a probe changes none.
                "roles": None if kind == "probe" else card.roles,
                "fused": None if kind == "probe" else card.fused,
                "weights": backbone.weights.sha256,
            },
            "strategy": strategy.resolved(),
            "head": self.study.spec.protocol.head.model_dump(),
            "protocol": self.study.spec.protocol.what_matters(kind),
            # Frozen features are always float32; see Protocol.precision.
            "precision": "fp32" if kind == "probe" else self.precision,
            "seed": seed,
        }
        weights = backbone.weights.id
        return self._job(cohort, task, backbone.name, strategy.label, kind, weights, regime, split, seed, identity)

    def _data(self, cohort: str, task: str, regime: Regime, split: Split) -> dict[str, Any]:
        found = self.cohorts[cohort].task(task)
        if (cohort, task) not in self.rows_sha256:
            self.rows_sha256[cohort, task] = _rows_sha256(found.rows)
        return {
            "schema": SCHEMA,
            "cohort": cohort,
            "task": {"name": task, "classes": list(found.classes)},
            "rows": self.rows_sha256[cohort, task],
            "split": split.sha256,
            "regime": {"name": regime.name, "shots": regime.shots, "draw": regime.draw},
        }

    def _job(
        self,
        cohort: str,
        task: str,
        model: str,
        strategy: str,
        kind: str,
        weights: str | None,
        regime: Regime,
        split: Split,
        seed: int,
        identity: dict[str, Any],
    ) -> Job:
        parts = split.table["part"].value_counts()
        return Job(
            cohort=cohort,
            task=task,
            test_cohort=cohort,
            model=model,
            strategy=strategy,
            regime=regime.name,
            shots=regime.shots,
            draw=regime.draw,
            validation=self.study.spec.validation.label,
            repeat=split.repeat,
            fold=split.fold,
            test_center=split.test_center,
            seed=seed,
            protocol=self.study.spec.protocol.name,
            kind=kind,
            weights=weights,
            n_train=int(parts["train"]),
            n_val=int(parts["val"]),
            n_test=int(parts["test"]),
            identity=canonical_json(identity),
        )


def _backbones(study: Study, problems: Problems) -> dict[str, Backbone]:
    chosen: list[tuple[ModelCard, Weights, str | None]] = []
    for entry in study.spec.models:
        try:
            card = model_card(entry.name)
            chosen.append((card, find_weights(card, entry.weights), entry.weights))
        except InputError as error:
            problems.extend(error)
    counts = Counter(card.id for card, _, _ in chosen)
    found: dict[str, Backbone] = {}
    for card, weights, asked in chosen:
        # Tables name the weights where the study compares weights or uses random ones.
        told = asked is not None and (counts[card.id] > 1 or weights.path is None)
        name = f"{card.id}@{asked}" if told else card.id
        if name in found:
            problems.add(study.path, f"the model '{name}' is asked for twice, once by another name", "Keep one")
        found[name] = Backbone(name, card, weights)
    return found


def _cohorts(
    study: Study, backbones: Mapping[str, Backbone], progress: Callable[[int, int], None] | None, problems: Problems
) -> dict[str, Cohort]:
    sizes = sorted({backbone.card.input_size for backbone in backbones.values()})
    recipes = [Preprocessing(name=study.spec.preprocessing, size=size) for size in sizes]
    cohorts: dict[str, Cohort] = {}
    for entry in study.spec.cohorts:
        path = study.path.parent / entry.path
        try:
            cohort = load_cohort(path, recipes, tasks=entry.tasks, progress=progress)
        except InputError as error:
            problems.extend(error)
            continue
        if cohort.name in cohorts:
            same = cohort.path.resolve() == cohorts[cohort.name].path.resolve()
            what = f"the cohort '{cohort.name}' is listed twice" if same else f"two cohorts are called '{cohort.name}'"
            remedy = (
                "List it once, with all its tasks" if same else "Give one of them another `name` in its cohort.yaml"
            )
            problems.add(study.path, what, remedy)
        cohorts[cohort.name] = cohort
    return cohorts


def _tasks(study: Study, cohort: Cohort) -> list[Task]:
    asked = next(
        (e.tasks for e in study.spec.cohorts if (study.path.parent / e.path).resolve() == cohort.path.resolve()), None
    )
    return [cohort.task(task) for task in dict.fromkeys(cohort.tasks if asked is None else asked)]


def _rows_sha256(rows: pd.DataFrame) -> str:
    """Hash the rows that a task uses, in the order in which jobs use them."""
    ordered = rows.sort_values("image")
    columns = (ordered["sha256"], ordered["label"].astype(int), ordered["group"], ordered["center"])
    return sha256_json([list(row) for row in zip(*(column.tolist() for column in columns), strict=True)])


def _usable_precision(setting: str) -> str:
    # The device is asked here, so that the plan and not a worker decides; torch is loaded for nothing else.
    from prognobench.training import usable_precision

    return usable_precision(setting)
