"""From a study file to its jobs: everything is checked and resolved here, nothing is left for later."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from prognobench.cohorts import Cohort, Preprocessing, published_notes
from prognobench.frame import InputError, Problems, canonical_json, sha256_json
from prognobench.models import ModelCard, Weights, find_weights, model_card, readable, refuses_readout
from prognobench.protocols import Protocol, Regime, Split, head_key

from ._cohorts import load_cohorts
from ._cuts import Cut, Cutter, words
from ._job import SCHEMA, Job
from ._spec import Block, ModelEntry, Study

if TYPE_CHECKING:
    from prognobench.strategies import Strategy

ABSENT = "absent"  # weights that an outline does without


@dataclass(frozen=True)
class Backbone:
    """A model of the study with the weights that it will use."""

    name: str
    card: ModelCard
    weights: Weights


@dataclass(frozen=True)
class LeftOut:
    """What cannot work, with the reason; no failure, but no silence either.

    Attributes
    ----------
    cohort, task, model, strategy
        A pair that cannot work, or, where the model is empty, a regime for which a fold has too few films.
    reason
        Why.
    jobs
        How many jobs that would have been.
    """

    cohort: str
    task: str
    model: str
    strategy: str
    reason: str
    jobs: int


@dataclass(frozen=True)
class Plan:
    """A study, checked and resolved.

    Attributes
    ----------
    study
        The study file.
    jobs
        Its jobs, in the order of the grids.
    left_out
        What cannot work, why, and how many jobs that would have been.
    cohorts, backbones, strategies, protocols, splits
        What the jobs name, by name, label or hash.
    outlines
        What stands in for cohorts and weights that are not here, in sentences; a plan with any cannot be run.
    """

    study: Study
    jobs: tuple[Job, ...]
    left_out: tuple[LeftOut, ...]
    cohorts: Mapping[str, Cohort]
    backbones: Mapping[str, Backbone]
    strategies: Mapping[str, Strategy]
    protocols: Mapping[str, Protocol]
    splits: Mapping[str, Split]
    outlines: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what the results folder keeps of the plan: each job's words and key, and what was left out."""
        return {
            "study": self.study.name,
            "overrides": list(self.study.overrides),
            "weights": {name: backbone.weights.id for name, backbone in self.backbones.items()},
            "jobs": [job.to_json() for job in self.jobs],
            "left_out": [vars(pair) for pair in self.left_out],
            **({"outlines": list(self.outlines)} if self.outlines else {}),
        }


def plan_study(study: Study, progress: Callable[[int, int], None] | None = None, *, outline: bool = False) -> Plan:
    """Check all that a study names and list its jobs.

    Every film is read once here, and the pixel cache is filled in the same pass; nothing is trained.

    Parameters
    ----------
    study
        What `read_study` returned.
    progress
        Called with films done and films in all.
    outline
        Whether a cohort given by name whose place nobody knows may be planned by its published counts, and, in a
        named study of the package, a model whose weights are not here. Such a plan counts jobs and cannot be run.

    Raises
    ------
    InputError
        With every problem of the cohorts, models and splits in one message.
    """
    problems = Problems()
    backbones = _backbones(study, problems, outline and study.preset)
    by_place = load_cohorts(study, lambda block: _recipes(block, backbones), progress, problems, outline)
    cohorts = {cohort.name: cohort for cohort in by_place.values()}
    grids = _grids(study, by_place, backbones, problems)
    problems.raise_if_any()
    jobs, left_out = _jobs(grids, cohorts)
    jobs = _each_once(study, jobs)
    return Plan(
        study,
        tuple(jobs),
        tuple(left_out),
        cohorts,
        {backbone.name: backbone for backbone in backbones.values()},
        {strategy.label: strategy for block in study.blocks for strategy in block.strategies},
        {block.protocol.name: block.protocol for block in study.blocks},
        {
            split.sha256: split
            for grid in grids
            for cut in grid.cuts
            for splits in cut.splits.values()
            for split in splits
        },
        (*published_notes(cohorts), *_absent_notes(backbones)),
    )


def _absent_notes(backbones: Mapping[ModelEntry, Backbone]) -> list[str]:
    absent = [backbone.name for backbone in backbones.values() if backbone.weights.id == ABSENT]
    if not absent:
        return []
    return [f"Weights that are not here yet: {', '.join(absent)}. `prognobench weights list` says where they are had."]


def _each_once(study: Study, jobs: list[Job]) -> list[Job]:
    """Keep one of what two grids ask for in the same words; refuse one thing under two names: tables would show two."""
    problems = Problems()
    first: dict[str, Job] = {}
    for job in jobs:
        twin = first.setdefault(job.key, job)
        # A control that no setting of a protocol can change belongs to every grid of its task.
        if twin != replace(job, protocol=twin.protocol):
            problems.add(study.path, f"'{job.title}' is the same as '{twin.title}'", "Keep one of the two")
    if not jobs:
        problems.add(study.path, "no job is left: every pair was left out", "Choose other models or strategies")
    problems.raise_if_any()
    return list(first.values())


@dataclass(frozen=True)
class _Grid:
    """One block of the study with what its words stand for."""

    block: Block
    backbones: tuple[Backbone, ...]
    cuts: tuple[Cut, ...]


def _grids(
    study: Study, cohorts: Mapping[str, Cohort], backbones: Mapping[ModelEntry, Backbone], problems: Problems
) -> list[_Grid]:
    cutter = Cutter(study, cohorts, problems)
    return [
        _Grid(
            block,
            tuple(backbones[entry] for entry in block.models if entry in backbones),
            tuple(cutter.cuts(block)),
        )
        for block in study.blocks
    ]


def _jobs(grids: Sequence[_Grid], cohorts: Mapping[str, Cohort]) -> tuple[list[Job], list[LeftOut]]:
    """Go through the grids in the order in which the study file spells them, controls first."""
    jobs: list[Job] = []
    left_out: list[LeftOut] = []
    rows_sha256: dict[tuple[str, str], str] = {}
    for grid in grids:
        block, maker = grid.block, _JobMaker(grid.block, cohorts, rows_sha256)
        for cut in grid.cuts:
            cohort, task = cut.cohort.name, cut.task.name
            for regime, control in itertools.product(block.regimes, block.controls):
                jobs += [maker.control(cut, control, regime, split) for split in cut.splits[regime]]
            pairs = len(block.controls)
            for backbone, strategy in itertools.product(grid.backbones, block.strategies):
                readouts = block.protocol.head.readouts
                # A model is read as far as it can be; a grid of heads that leaves nothing of it is refused.
                unread = None if readable(backbone.card, readouts) else refuses_readout(backbone.card, *readouts[0])
                reason = unread or strategy.refuses(backbone.card)
                if reason is not None:
                    lost = len(block.seeds) * sum(len(splits) for splits in cut.splits.values())
                    left_out.append(LeftOut(cohort, task, backbone.name, strategy.label, reason, lost))
                    continue
                pairs += len(block.seeds)
                for regime, seed in itertools.product(block.regimes, block.seeds):
                    for split in cut.splits[regime]:
                        jobs.append(maker.learned(cut, backbone, strategy, regime, split, seed))
            short = Counter((words(lacking.regime), lacking.reason) for lacking in cut.short)
            left_out += [LeftOut(cohort, task, "", *told, pairs * draws) for told, draws in short.items()]
    return jobs, left_out


class _JobMaker:
    """Puts a job's words and identity together."""

    def __init__(self, block: Block, cohorts: Mapping[str, Cohort], rows_sha256: dict[tuple[str, str], str]) -> None:
        self.block, self.cohorts, self.rows_sha256 = block, cohorts, rows_sha256
        self.part_sizes: dict[str, Counter[str]] = {}
        self.precision = _usable_precision(block.protocol.precision)

    def control(self, cut: Cut, control: str, regime: Regime, split: Split) -> Job:
        identity = {**self._data(cut, regime, split), "strategy": {"name": control}, "protocol": {}}
        return self._job(cut, "none", control, "control", None, regime, split, self.block.seeds[0], identity)

    def learned(self, cut: Cut, backbone: Backbone, strategy: Strategy, regime: Regime, split: Split, seed: int) -> Job:
        card, kind = backbone.card, strategy.card.kind
        preprocessing = Preprocessing(name=self.block.preprocessing, size=card.input_size)
        identity = {
            **self._data(cut, regime, split),
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
            "strategy": strategy.under(self.block.protocol).resolved(),
            "head": head_key(readable(card, self.block.protocol.head.readouts)),
            "protocol": self.block.protocol.what_matters(kind, strategy.card.name),
            # Frozen features are always float32; see Protocol.precision.
            "precision": "fp32" if kind == "probe" else self.precision,
            "seed": seed,
        }
        weights = backbone.weights.id
        return self._job(cut, backbone.name, strategy.label, kind, weights, regime, split, seed, identity)

    def _data(self, cut: Cut, regime: Regime, split: Split) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "cohort": cut.cohort.name,
            "task": {"name": cut.task.name, "classes": list(cut.task.classes)},
            "rows": self._rows(cut.cohort.name, cut.task.name),
            "split": split.sha256,
            "regime": {"name": regime.name, "shots": regime.shots, "draw": regime.draw},
            # What is tested goes without saying where a cohort tests itself.
            **({"tested": tested} if (tested := self._tested(cut)) else {}),
        }

    def _tested(self, cut: Cut) -> dict[str, str]:
        return {name: self._rows(name, cut.task.name) for name in cut.tested if name != cut.cohort.name}

    def _rows(self, cohort: str, task: str) -> str:
        if (cohort, task) not in self.rows_sha256:
            self.rows_sha256[cohort, task] = _rows_sha256(self.cohorts[cohort].task(task).rows)
        return self.rows_sha256[cohort, task]

    def _job(
        self,
        cut: Cut,
        model: str,
        strategy: str,
        kind: str,
        weights: str | None,
        regime: Regime,
        split: Split,
        seed: int,
        identity: dict[str, Any],
    ) -> Job:
        if split.sha256 not in self.part_sizes:
            self.part_sizes[split.sha256] = Counter(split.table["part"])
        parts = self.part_sizes[split.sha256]
        elsewhere = (name for name in cut.tested if name != cut.cohort.name)
        return Job(
            cohort=cut.cohort.name,
            task=cut.task.name,
            test_cohorts=cut.tested,
            model=model,
            strategy=strategy,
            regime=regime.name,
            shots=regime.shots,
            draw=regime.draw,
            validation=self.block.validation.label,
            repeat=split.repeat,
            fold=split.fold,
            test_center=split.test_center,
            seed=seed,
            protocol=self.block.protocol.name,
            kind=kind,
            weights=weights,
            n_train=parts["train"],
            n_val=parts["val"],
            n_test=parts["test"] + sum(len(self.cohorts[name].task(cut.task.name).rows) for name in elsewhere),
            identity=canonical_json(identity),
        )


def _backbones(study: Study, problems: Problems, outline: bool) -> dict[ModelEntry, Backbone]:
    chosen: dict[ModelEntry, tuple[ModelCard, Weights]] = {}
    for entry in dict.fromkeys(entry for block in study.blocks for entry in block.models):
        try:
            card = model_card(entry.name)
        except InputError as error:
            problems.extend(error)
            continue
        try:
            chosen[entry] = (card, find_weights(card, entry.weights))
        except InputError as error:
            if outline:
                chosen[entry] = (card, Weights(ABSENT, card.id, None, ABSENT, card.source, card.license))
            else:
                problems.extend(error)
    weights_of: dict[str, set[str]] = {}
    for card, weights in chosen.values():
        weights_of.setdefault(card.id, set()).add(weights.id)
    found: dict[ModelEntry, Backbone] = {}
    for entry, (card, weights) in chosen.items():
        # Tables name the weights where the study compares weights or uses random ones.
        told = entry.weights is not None and (len(weights_of[card.id]) > 1 or weights.path is None)
        found[entry] = Backbone(f"{card.id}@{entry.weights}" if told else card.id, card, weights)
    for block in study.blocks:
        names = Counter(found[entry].name for entry in block.models if entry in found)
        for name, count in names.items():
            if count > 1:
                problems.add(study.path, f"the model '{name}' is asked for twice, once by another name", "Keep one")
    return found


def _recipes(block: Block, backbones: Mapping[ModelEntry, Backbone]) -> list[Preprocessing]:
    sizes = dict.fromkeys(backbones[entry].card.input_size for entry in block.models if entry in backbones)
    return [Preprocessing(name=block.preprocessing, size=size) for size in sizes]


def _rows_sha256(rows: pd.DataFrame) -> str:
    """Hash the rows that a task uses, in the order in which jobs use them."""
    ordered = rows.sort_values("image")
    columns = (ordered["sha256"], ordered["label"].astype(int), ordered["group"], ordered["center"])
    return sha256_json([list(row) for row in zip(*(column.tolist() for column in columns), strict=True)])


def _usable_precision(setting: str) -> str:
    # The device is asked here, so that the plan and not a worker decides; torch is loaded for nothing else.
    from prognobench.training import usable_precision

    return usable_precision(setting)
