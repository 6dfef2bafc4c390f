"""From a study file to its jobs: everything is checked and resolved here, nothing is left for later."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from prognobench.cohorts import Audit, Cohort, Preprocessing, audit, film_metadata, published_notes
from prognobench.frame import InputError, Problems, canonical_json, sha256_json
from prognobench.models import RANDOM, ModelCard, Weights, find_weights, model_card, readable, refuses_readout
from prognobench.protocols import KFold, Protocol, Regime, Split, head_key

from ._cohorts import load_cohorts
from ._cuts import Cut, Cutter, words
from ._few import few_in_parts
from ._job import SCHEMA, Job, identity_fragments, joined
from ._spec import Block, ModelEntry, Study

if TYPE_CHECKING:
    from prognobench.strategies import Strategy

ABSENT = "absent"  # weights that an outline does without
_RANDOM_SEEDS = (0, 1, 2)  # of the weights of the control `random`; one alone may be lucky


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
    architectures
        The cards that the controls of random weights name.
    outlines
        What stands in for cohorts and weights that are not here, in sentences; a plan with any cannot be run.
    audits
        What the audit found in each cohort, by its name, of the tasks that are planned, with what was counted in the
        splits.
    """

    study: Study
    jobs: tuple[Job, ...]
    left_out: tuple[LeftOut, ...]
    cohorts: Mapping[str, Cohort]
    backbones: Mapping[str, Backbone]
    strategies: Mapping[str, Strategy]
    protocols: Mapping[str, Protocol]
    splits: Mapping[str, Split]
    architectures: Mapping[str, ModelCard]
    outlines: tuple[str, ...] = ()
    audits: Mapping[str, Audit] = field(default_factory=dict)

    def card(self, job: Job) -> ModelCard:
        """Return the model that a job adapts or reads."""
        return self.architectures[job.model] if job.kind == "control" else self.backbones[job.model].card

    def backbone(self, job: Job) -> Backbone:
        """Return the model that a job adapts or reads, with its weights."""
        if job.kind != "control":
            return self.backbones[job.model]
        return Backbone(f"{job.model}@{job.weights}", self.card(job), find_weights(self.card(job), job.weights))

    def to_json(self) -> dict[str, Any]:
        """Return what the results folder keeps of the plan: each job's words and key, and what was left out."""
        return {
            "study": self.study.name,
            "overrides": list(self.study.overrides),
            "weights": {name: backbone.weights.id for name, backbone in self.backbones.items()},
            "jobs": [{"key": job.key, "words": job.words()} for job in self.jobs],
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
        Whether a cohort given by name whose place nobody knows may be planned by its published counts, and a model
        whose weights are not here without them. Such a plan counts jobs and cannot be run.

    Raises
    ------
    InputError
        With every problem of the cohorts, models and splits in one message.
    """
    problems = Problems()
    backbones = _backbones(study, problems, outline)
    by_place = load_cohorts(study, lambda block: _recipes(block, backbones), progress, problems, outline)
    cohorts = {cohort.name: cohort for cohort in by_place.values()}
    grids = _grids(study, by_place, backbones, problems)
    problems.raise_if_any()
    planned = _tasks_of(grids)
    audits = {name: found.of_tasks(planned.get(name, ())) for name, found in _audits(study, by_place).items()}
    few = few_in_parts(((grid.block, grid.cuts) for grid in grids), cohorts)
    audits = {name: found.with_planned(few.get(name, ())) for name, found in audits.items()}
    architectures = _architectures(backbones.values())
    jobs, left_out = _jobs(grids, cohorts, architectures)
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
        {card.id: card for card in architectures.values()},
        (*published_notes(cohorts), *_absent_notes(backbones)),
        audits,
    )


def _tasks_of(grids: Iterable[_Grid]) -> dict[str, set[str]]:
    """Return the tasks of each cohort that are trained or tested; a cohort may hold more."""
    found: dict[str, set[str]] = {}
    for grid in grids:
        for cut in grid.cuts:
            for name in {cut.cohort.name, *cut.tested}:
                found.setdefault(name, set()).add(cut.task.name)
    return found


def _audits(study: Study, by_place: Mapping[str, Cohort]) -> dict[str, Audit]:
    """Audit every cohort, cut as finely as any grid cuts; refuse what an audit forbids."""
    problems = Problems()
    folds = [kind.folds for block in study.blocks if isinstance(kind := block.validation.kind, KFold)]
    audits = {cohort.name: audit(cohort, folds=max(folds, default=5)) for cohort in by_place.values()}
    for cohort in by_place.values():
        for finding in audits[cohort.name].findings:
            if finding.severity == "error":
                problems.add(cohort.path, finding.what, finding.remedy)
    problems.raise_if_any()
    return audits


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
        # A control that no setting of a grid can change belongs to every grid of its task, and what draws nothing
        # belongs to every seed.
        same = replace(job, protocol=twin.protocol, seed=job.seed if job.is_drawn else twin.seed)
        if twin != same:
            problems.add(study.path, f"'{job.title}' is the same as '{twin.title}'", "Keep one of the two")
        elif twin.protocol != job.protocol and job.kind != "control":
            what = f"'{job.title}' is the same under {twin.protocol} and {job.protocol}, and would be shown"
            problems.add(study.path, f"{what} under one of them alone", "Ask for it in one block")
    named: dict[tuple[Any, ...], Job] = {}
    for job in first.values():
        twin = named.setdefault(tuple(job.words().values()), job)
        if twin is not job:
            what = f"two blocks ask for '{job.title}' on different splits, which no table could tell apart"
            problems.add(study.path, what, "Put them into two studies")
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


def _architectures(backbones: Collection[Backbone]) -> dict[str, ModelCard]:
    """Return the card whose random weights stand beside each backbone; models that differ in weights share one."""
    first: dict[str, ModelCard] = {}
    for backbone in backbones:
        first.setdefault(canonical_json(_network(backbone.card)), backbone.card)
    return {backbone.name: first[canonical_json(_network(backbone.card))] for backbone in backbones}


def _network(card: ModelCard) -> dict[str, Any]:
    """Return what changes the features of a model besides its weights."""
    return {
        "architecture": card.architecture,
        "build": card.build,
        "mean": card.mean,
        "std": card.std,
        "positions": card.positions,
    }


def _jobs(
    grids: Sequence[_Grid], cohorts: Mapping[str, Cohort], architectures: Mapping[str, ModelCard]
) -> tuple[list[Job], list[LeftOut]]:
    """Go through the grids in the order in which the study file spells them, controls first."""
    jobs: list[Job] = []
    left_out: list[LeftOut] = []
    hashes: dict[tuple[str, ...], str] = {}
    fragments: dict[str, str] = {}
    planned: set[_Control] = set()
    for grid in grids:
        block, maker = grid.block, _JobMaker(grid.block, cohorts, architectures, hashes, fragments)
        cards = {architectures[backbone.name].id: architectures[backbone.name] for backbone in grid.backbones}
        for cut in grid.cuts:
            cohort, task = cut.cohort.name, cut.task.name
            short = Counter((words(lacking.regime), lacking.reason) for lacking in cut.short)
            controls = [control for control in maker.controls(cut, cards) if control not in planned]
            planned.update(controls)
            for regime, control in itertools.product(block.regimes, controls):
                jobs += [maker.control(cut, control, regime, split) for split in cut.splits[regime]]
            pairs = len(controls)
            for backbone, strategy in itertools.product(grid.backbones, block.strategies):
                readouts = block.protocol.head.readouts
                # A model is read as far as it can be; a grid of heads that leaves nothing of it is refused.
                unread = None if readable(backbone.card, readouts) else refuses_readout(backbone.card, *readouts[0])
                reason = unread or strategy.refuses(backbone.card)
                seeds = maker.seeds(strategy)
                if reason is not None:
                    splits = sum(map(len, cut.splits.values())) + short.total()
                    lost = len(seeds) * splits
                    left_out.append(LeftOut(cohort, task, backbone.name, strategy.label, reason, lost))
                    continue
                pairs += len(seeds)
                for regime, seed in itertools.product(block.regimes, seeds):
                    for split in cut.splits[regime]:
                        jobs.append(maker.learned(cut, backbone, strategy, regime, split, seed))
            left_out += [LeftOut(cohort, task, "", *told, pairs * draws) for told, draws in short.items() if pairs]
    return jobs, left_out


@dataclass(frozen=True)
class _Control:
    """A control for all splits of a task; blocks that would plan the same one plan it once."""

    name: str
    model: str
    seed: int
    place: str


class _JobMaker:
    """Puts a job's words and identity together."""

    def __init__(
        self,
        block: Block,
        cohorts: Mapping[str, Cohort],
        architectures: Mapping[str, ModelCard],
        hashes: dict[tuple[str, ...], str],
        fragments: dict[str, str],
    ) -> None:
        self.block, self.cohorts, self.architectures, self.hashes = block, cohorts, architectures, hashes
        self.part_sizes: dict[str, Counter[str]] = {}
        self.fragments = fragments
        self.written: dict[tuple[Any, ...], tuple[str, ...]] = {}
        self.cards = {card.id: card for card in architectures.values()}
        # The settings of a control that is a logistic regression.
        self.solved = block.protocol.for_controls().what_matters("probe")
        self.precision = _usable_precision(block.protocol.precision)

    def controls(self, cut: Cut, cards: Iterable[str]) -> list[_Control]:
        """List the controls of the block, from the least on."""
        block = self.block
        regimes = [repr(regime) for regime in block.regimes]
        split = [block.validation.model_dump(mode="json"), block.split_seed]
        place = [cut.cohort.name, cut.task.name, cut.tested, regimes, *split]
        found: list[_Control] = []
        for name in block.controls:
            # The same classes are in the majority under every recipe.
            recipe = canonical_json([*place, {} if name == "majority" else self.solved])
            if name == RANDOM:
                found += [_Control(name, card, seed, recipe) for card in cards for seed in _RANDOM_SEEDS]
            else:
                found.append(_Control(name, "none", block.seeds[0], recipe))
        return found

    def control(self, cut: Cut, control: _Control, regime: Regime, split: Split) -> Job:
        """Make the job of one control."""
        weights: Weights | None = None
        if control.name == RANDOM:
            weights = find_weights(self.cards[control.model], f"{RANDOM}:{control.seed}")

        def told() -> dict[str, Any]:
            identity: dict[str, Any] = {"strategy": {"name": control.name}, "protocol": {}}
            if control.name != "majority":
                identity |= {"protocol": self.solved}
            if control.name == "metadata":
                identity |= {"metadata": self._metadata(cut)}
            if weights is not None:
                identity |= {
                    **self._read(self.cards[control.model], weights, "probe"),
                    "head": head_key(self.block.protocol.for_controls().head.readouts),
                    "seed": control.seed,
                }
            return identity

        who = (control.model, control.name, "control", None if weights is None else weights.id, control.model)
        fragments = self._written((control, cut.cohort.name, cut.task.name, cut.tested), told)
        return self._job(cut, who, regime, split, control.seed, fragments)

    def seeds(self, strategy: Strategy) -> tuple[int, ...]:
        """Return the seeds for which a strategy is to be trained: one where they could change nothing."""
        return self.block.seeds if self.block.protocol.draws(strategy.card.kind) else self.block.seeds[:1]

    def learned(self, cut: Cut, backbone: Backbone, strategy: Strategy, regime: Regime, split: Split, seed: int) -> Job:
        kind = strategy.card.kind

        def told() -> dict[str, Any]:
            return {
                **self._read(backbone.card, backbone.weights, kind),
                "head": head_key(readable(backbone.card, self.block.protocol.head.readouts)),
                "strategy": strategy.under(self.block.protocol).resolved(),
                # A card's list of targets may be corrected; what was trained by the older one is another result.
                **({"targets": targets} if (targets := list(strategy.roles(backbone.card))) else {}),
                "protocol": self.block.protocol.what_matters(kind, strategy.card.name),
                **({"seed": seed} if self.block.protocol.draws(kind) else {}),
            }

        who = (backbone.name, strategy.label, kind, backbone.weights.id, self.architectures[backbone.name].id)
        return self._job(cut, who, regime, split, seed, self._written((backbone.name, strategy.label, seed), told))

    def _written(self, what: tuple[Any, ...], told: Callable[[], dict[str, Any]]) -> tuple[str, ...]:
        """Return a part of an identity as JSON; what many jobs of the block share is told and written once."""
        if what not in self.written:
            self.written[what] = identity_fragments(told(), self.fragments)
        return self.written[what]

    def _read(self, card: ModelCard, weights: Weights, kind: str) -> dict[str, Any]:
        """Return what is read: the pixels, and the model with its weights."""
        return {
            "preprocessing": Preprocessing(name=self.block.preprocessing, size=card.input_size).spec(),
            "model": {
                **_network(card),
                # Where a strategy finds its modules; a probe changes none.
                "roles": None if kind == "probe" else card.roles,
                "fused": None if kind == "probe" else card.fused,
                "weights": weights.sha256,
            },
            # Frozen features are always float32; see Protocol.precision.
            "precision": "fp32" if kind == "probe" else self.precision,
        }

    def _metadata(self, cut: Cut) -> str:
        """Hash the cells that the control `metadata` reads, in the order in which jobs use the rows."""
        place = ("metadata", cut.task.name, cut.cohort.name, *cut.tested)
        if place not in self.hashes:
            columns = list(film_metadata(cut.cohort))
            cells: list[Any] = [columns]
            for name in dict.fromkeys((cut.cohort.name, *cut.tested)):
                rows = self.cohorts[name].task(cut.task.name).rows.sort_values("image")
                cells.append(film_metadata(self.cohorts[name], columns).loc[rows["film"]].to_numpy().tolist())
            self.hashes[place] = sha256_json(cells)
        return self.hashes[place]

    def _data(self, cut: Cut, regime: Regime, split: Split) -> dict[str, Any]:
        tested = {name: self._rows(name, cut.task.name) for name in self._elsewhere(cut)}
        return {
            "schema": SCHEMA,
            "cohort": cut.cohort.name,
            "task": {"name": cut.task.name, "classes": list(cut.task.classes)},
            "rows": self._rows(cut.cohort.name, cut.task.name),
            "split": split.sha256,
            "regime": {"name": regime.name, "shots": regime.shots, "draw": regime.draw},
            # What is tested goes without saying where a cohort tests itself.
            **({"tested": tested} if tested else {}),
        }

    def _elsewhere(self, cut: Cut) -> list[str]:
        return [name for name in cut.tested if name != cut.cohort.name]

    def _rows(self, cohort: str, task: str) -> str:
        if (cohort, task) not in self.hashes:
            self.hashes[cohort, task] = rows_sha256(self.cohorts[cohort].task(task).rows)
        return self.hashes[cohort, task]

    def _job(
        self,
        cut: Cut,
        who: tuple[str, str, str, str | None, str],
        regime: Regime,
        split: Split,
        seed: int,
        fragments: tuple[str, ...],
    ) -> Job:
        model, strategy, kind, weights, architecture = who
        if split.sha256 not in self.part_sizes:
            self.part_sizes[split.sha256] = Counter(split.table["part"].tolist())
        parts = self.part_sizes[split.sha256]
        tested = sum(len(self.cohorts[name].task(cut.task.name).rows) for name in self._elsewhere(cut))
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
            architecture=architecture,
            n_train=parts["train"],
            n_val=parts["val"],
            n_test=parts["test"] + tested,
            fragments=joined(
                self._written(
                    ("data", cut.cohort.name, cut.task.name, cut.tested, regime, split.sha256),
                    lambda: self._data(cut, regime, split),
                ),
                fragments,
            ),
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
            # A name that no weights have is a slip, here as there.
            if outline and entry.weights is None:
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


def rows_sha256(rows: pd.DataFrame) -> str:
    """Hash the rows that a task uses, in the order in which jobs use them: films by their SHA-256, labels and groups.

    Parameters
    ----------
    rows
        `rows` of a cohort's task.
    """
    ordered = rows.sort_values("image")
    columns = (ordered["sha256"], ordered["label"].astype(int), ordered["group"], ordered["center"])
    return sha256_json([list(row) for row in zip(*(column.tolist() for column in columns), strict=True)])


def _usable_precision(setting: str) -> str:
    # The device is asked here, so that the plan and not a worker decides; torch is loaded for nothing else.
    from prognobench.training import usable_precision

    return usable_precision(setting)
