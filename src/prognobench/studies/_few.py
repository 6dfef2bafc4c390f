"""Where planned splits test or validate on so few patients of a class that one of them decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prognobench.cohorts import FEW_POSITIVES, FEWEST_GROUPS, Cohort, Finding, Task
from prognobench.protocols import Split, ValidationKind

from ._cuts import Cut, told
from ._spec import Block

_MOST_NAMED = 3  # parts, those with the fewest first
_VERBS = {"test": "tests", "val": "validates on"}
_Counts = Mapping[tuple[str, int], int]  # groups of patients by part and label


def few_in_parts(
    grids: Iterable[tuple[Block, Sequence[Cut]]], cohorts: Mapping[str, Cohort]
) -> dict[str, list[Finding]]:
    """Find the parts that test or validate on fewer than `FEWEST_GROUPS` groups of patients of a class.

    Splits are counted before a regime reduces them: what few shots validate on is few because the study asks for it.
    A group counts for every class of which the part has a film of it.

    Parameters
    ----------
    grids
        Each grid of the study with its cuts.
    cohorts
        By their names.

    Returns
    -------
    dict
        By the name of the cohort whose films they are, a finding for each task and validation that has such parts.
    """
    counted: dict[tuple[str, str, str], _Counts] = {}
    uses: dict[tuple[str, str, str], _Use] = {}
    for block, cuts in grids:
        kind = block.validation.kind
        for cut in cuts:
            cohort, task = cut.cohort.name, cut.task
            labels = dict(zip(task.rows["image"].tolist(), task.rows["label"].tolist(), strict=True))
            use = uses.setdefault((cohort, task.name, kind.told), _Use(task, kind))
            for split in cut.whole:
                place = (cohort, task.name, split.sha256)
                if place not in counted:
                    counted[place] = _of_parts(split, labels)
                parts = ("test", "val") if cohort in cut.tested else ("val",)
                use.take(parts, counted[place], f" in {told(split)}" if len(cut.whole) > 1 else "")
            for name in cut.tested:
                if name != cohort:
                    other = cohorts[name].task(task.name)
                    use = uses.setdefault((name, task.name, kind.told), _Use(other, kind))
                    use.take(("test",), _of_all(other), "")
    found: dict[str, list[Finding]] = {}
    for (cohort, _, _), use in uses.items():
        if use.few:
            found.setdefault(cohort, []).append(use.finding())
    return found


def _of_parts(split: Split, labels: Mapping[str, int]) -> _Counts:
    images, parts, groups = (split.table[name].tolist() for name in ("image", "part", "group"))
    films = set(zip(parts, [labels[image] for image in images], groups, strict=True))
    return Counter((part, label) for part, label, _ in films)


def _of_all(task: Task) -> _Counts:
    films = set(zip(task.rows["label"].tolist(), task.rows["group"].tolist(), strict=True))
    return Counter(("test", label) for label, _ in films)


@dataclass
class _Use:
    """What one validation makes of the films of a task."""

    task: Task
    kind: ValidationKind
    few: dict[str, set[tuple[int, int, str]]] = field(default_factory=dict)  # by part: groups, their label, where

    def take(self, parts: Iterable[str], counts: _Counts, where: str) -> None:
        for part in parts:
            for label in range(len(self.task.classes)):
                groups = counts.get((part, label), 0)
                if groups < FEWEST_GROUPS:
                    self.few.setdefault(part, set()).add((groups, label, where))

    def finding(self) -> Finding:
        what = [f"{verb} {self._told(part)}" for part, verb in _VERBS.items() if part in self.few]
        least = {part: min(groups for groups, _, _ in few) for part, few in self.few.items()}
        if "test" in least:
            points = f"by up to {100 // least['test']} points" if least["test"] else "out of being defined"
            what[0] += f": one patient moves a patient-level sensitivity or specificity {points}"
        if "val" in least:
            what[-1] += ": what is chosen on them, a threshold or a penalty, hangs on one patient"
        held = min(self._held(label) for label in range(len(self.task.classes)))
        remedy = self.kind.remedy_for_few(held, FEWEST_GROUPS)
        numbers = {f"least_{part}": groups for part, groups in least.items()}
        # The sentence names the worst alone; here is every part.
        numbers |= {
            f"{part}{where}: {self.task.classes[label]}": groups
            for part, few in self.few.items()
            for groups, label, where in sorted(few)
        }
        told = f"{self.kind.told} {'; it '.join(what)}"
        return Finding(FEW_POSITIVES, "warning", told, remedy, self.task.name, numbers=numbers)

    def _told(self, part: str) -> str:
        few = sorted(self.few[part])
        named = [f"{groups} {self.task.classes[label]}{where}" for groups, label, where in few[:_MOST_NAMED]]
        more = f" and {len(few) - _MOST_NAMED} more like these" if len(few) > _MOST_NAMED else ""
        return f"few groups of patients ({', '.join(named)}{more})"

    def _held(self, label: int) -> int:
        return int(self.task.rows.loc[self.task.rows["label"] == label, "group"].nunique())
