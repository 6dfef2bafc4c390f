"""The splits of a study: every task cut by its grid's validation, every cut reduced by its grid's regimes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prognobench.cohorts import Cohort, Task
from prognobench.frame import InputError, Problems
from prognobench.protocols import Regime, Source, Split, TooFew

from ._cohorts import tasks_of, tested_cohorts
from ._spec import Block, Study


@dataclass(frozen=True)
class Short:
    """A split that has too few films for a regime, and why."""

    regime: Regime
    split: Split
    reason: str


@dataclass(frozen=True)
class Cut:
    """A task of a grid with its splits.

    Attributes
    ----------
    cohort, task
        What is cut.
    tested
        Names of the cohorts whose films are tested.
    whole
        The splits before any regime reduces them.
    splits
        The splits of each regime of the grid, without those that have too few films.
    short
        Those.
    """

    cohort: Cohort
    task: Task
    tested: tuple[str, ...]
    whole: tuple[Split, ...]
    splits: Mapping[Regime, tuple[Split, ...]]
    short: tuple[Short, ...]


class Cutter:
    """Cuts the tasks of a study, each in one way only once."""

    def __init__(self, study: Study, cohorts: Mapping[str, Cohort], problems: Problems) -> None:
        self.study, self.cohorts, self.problems = study, cohorts, problems
        self.whole: dict[tuple[Any, ...], list[Split] | None] = {}
        self.reduced: dict[tuple[Any, ...], Split | TooFew] = {}
        self.noted: set[tuple[str, str]] = set()

    def cuts(self, block: Block) -> list[Cut]:
        """Cut every task of a grid; what cannot be cut is noted as a problem and left out."""
        cuts = []
        for cohort, task in tasks_of(self.study, block, self.cohorts):
            whole = self._whole(block, cohort, task)
            if whole is None:
                continue
            splits: dict[Regime, tuple[Split, ...]] = {}
            short: list[Short] = []
            for regime in block.regimes:
                splits[regime], lacking = self._regime(block, cohort, task, regime, whole)
                short += lacking
            tested = tested_cohorts(self.study, block, cohort, self.cohorts)
            cuts.append(Cut(cohort, task, tested, tuple(whole), splits, tuple(short)))
        return cuts

    def _whole(self, block: Block, cohort: Cohort, task: Task) -> list[Split] | None:
        place = (cohort.name, task.name, block.validation.model_dump_json(), block.split_seed)
        if place not in self.whole:
            source = Source(manifest_of(cohort), cohort.films, cohort.table, self.study.path.parent)
            try:
                self.whole[place] = splits = block.validation.splits(task.rows, block.split_seed, source)
                # A way to split that is added later is checked as those that are here.
                for split in splits:
                    split.refuse_leaks()
            except InputError as error:
                self.problems.extend(error)
                self.whole[place] = None
            except ValueError as error:
                self._note(f"task '{task.name}' of cohort '{cohort.name}' cannot be split", *_parted(error))
                self.whole[place] = None
        return self.whole[place]

    def _regime(
        self, block: Block, cohort: Cohort, task: Task, regime: Regime, whole: list[Split]
    ) -> tuple[tuple[Split, ...], list[Short]]:
        splits: list[Split] = []
        short: list[Short] = []
        fewest: list[TooFew] = []
        for split in whole:
            place = (cohort.name, task.name, split.sha256, split.repeat, split.fold, block.split_seed, regime)
            try:
                if place not in self.reduced:
                    self.reduced[place] = self._reduced(block, task, regime, split)
            except ValueError as error:
                self._note(f"task '{task.name}' of cohort '{cohort.name}' cannot be reduced", *_parted(error))
                return (), []
            found = self.reduced[place]
            if isinstance(found, Split):
                splits.append(found)
            else:
                short.append(Short(regime, split, f"in {told(split)} {found.reason}"))
                fewest.append(found)
        # A named study asks one list of shots of cohorts of all sizes; there the reason is enough.
        if not splits and not self.study.preset:
            where = f"nothing is left of task '{task.name}' of cohort '{cohort.name}' under the regime {words(regime)}"
            # What every fold has, so that no fold is lost by the advice.
            largest = min(found.largest for found in fewest)
            ways = [f"use at most {largest}, which every fold has"] if largest else []
            ways += dict.fromkeys(found.other_way for found in fewest if found.other_way)
            remedy = ", or ".join(ways or ["use another regime, or another validation"])
            self._note(where, short[0].reason, remedy[0].upper() + remedy[1:])
        return tuple(splits), short

    def _reduced(self, block: Block, task: Task, regime: Regime, split: Split) -> Split | TooFew:
        try:
            found = regime.reduce(split, task.rows, block.split_seed)
        except TooFew as error:
            return error
        found.refuse_leaks()
        if _tested(found) != _tested(split):
            raise ValueError(
                f"the regime {words(regime)} changes the films that are tested. It may choose others alone"
            )
        return found

    def _note(self, where: str, what: str, remedy: str) -> None:
        # Every draw, and every grid of the same task, would say the same again.
        if (where, what) not in self.noted:
            self.noted.add((where, what))
            self.problems.add(self.study.path, f"{where}: {what}", remedy)


def _tested(split: Split) -> list[str]:
    table = split.table
    tested: list[str] = table.loc[table["part"] == "test", "image"].tolist()
    return tested


def _parted(error: ValueError) -> tuple[str, str]:
    what, _, remedy = str(error).partition(". ")
    return what, remedy


def manifest_of(cohort: Cohort) -> Path:
    """Return the table of a cohort."""
    return cohort.path.parent / cohort.spec.manifest


def words(regime: Regime) -> str:
    """Return what a person calls a regime."""
    shots = "" if regime.shots is None else f" with {regime.shots} shot{'s' if regime.shots > 1 else ''}"
    return regime.name + shots


def told(split: Split) -> str:
    """Return what a person calls a split."""
    center = "" if split.test_center is None else f" (center '{split.test_center}')"
    return f"fold {split.fold}" + (f" of repeat {split.repeat}" if split.repeat else "") + center
