"""Centers and folds in which nothing could be measured."""

from __future__ import annotations

from collections import Counter

from .._tasks import Task
from ._check import Check, Finding, Subject, count

# With fewer patients of a class in a fold, one patient moves the sensitivity or specificity over patients by more than
# 20 points; that over films by the share of the patient's films, which may be far more.
FEWEST_GROUPS = 5
FEW_POSITIVES = "few positives"
FEWEST_FOLDS = 3  # of a k-fold validation: one tests, another validates


def _one_class(subject: Subject) -> list[Finding]:
    found = []
    for task in subject.cohort.tasks.values():
        if task.rows["center"].nunique() < 2:
            continue
        for center, films in task.rows.groupby("center", sort=True):
            labels = films["label"].unique()
            if len(labels) < len(task.classes):
                held = " and ".join(task.classes[label] for label in sorted(labels))
                found.append(
                    Finding(
                        "one-class center",
                        "warning",
                        f"the center '{center}' has {held} films only ({len(films)}): it cannot be tested alone, and "
                        "a model may learn the center instead of the outcome",
                        "Leave the center out with `where`, or do not use `loco`; hold results against the controls",
                        task.name,
                        (subject.cohort.spec.columns.center or "",),
                        subject.rows_of(films["film"].tolist()),
                        {"films": len(films), "patients": int(films["patient"].nunique())},
                    )
                )
    return found


def _few(subject: Subject) -> list[Finding]:
    found = []
    for task in subject.cohort.tasks.values():
        found += [*_of_a_task(subject, task), *_of_its_centers(subject, task)]
    return found


def _of_a_task(subject: Subject, task: Task) -> list[Finding]:
    # A group counts for the highest of its labels, as the splits have it.
    groups = Counter(task.rows.groupby("group")["label"].max().tolist())
    label = min(range(len(task.classes)), key=lambda label: groups[label])
    held, folds = groups[label], subject.folds
    a_fold = held // folds
    if a_fold >= FEWEST_GROUPS:
        return []
    numbers = {"groups": held, "folds": folds, "a_fold": a_fold}
    what = f"{count(held, f'{task.classes[label]} group')} of patients shared out to {folds} folds"
    if a_fold:
        points = 100 // a_fold
        what += f" are {a_fold} in the smallest: one patient moves its patient-level rate by up to {points} points"
    else:
        what += " leave a fold that cannot be tested"
    fewer = f"Use {held // FEWEST_GROUPS} folds" if held // FEWEST_GROUPS >= FEWEST_FOLDS else "Use a holdout"
    remedy = f"{fewer}, or repeat the folds, and read the intervals, not the means"
    return [Finding(FEW_POSITIVES, "warning", what, remedy, task.name, numbers=numbers)]


def _of_its_centers(subject: Subject, task: Task) -> list[Finding]:
    """Tell the centers that `loco` would test on too few of a class; those without any of it are told apart."""
    few: dict[str, int] = {}
    for center, films in task.rows.groupby("center", sort=True):
        counts = films.groupby("label")["group"].nunique()
        if len(counts) == len(task.classes) and counts.min() < FEWEST_GROUPS:
            few[str(center)] = int(counts.min())
    if not few or task.rows["center"].nunique() < 2:
        return []
    told = ", ".join(f"'{center}' ({held})" for center, held in few.items())
    return [
        Finding(
            FEW_POSITIVES,
            "note",
            f"fewer than {FEWEST_GROUPS} groups of patients of a class in {count(len(few), 'center')}: {told}. Left "
            "out alone (`loco`), one patient can move its patient-level rate by more than 20 points",
            "Read the intervals of these centers, not their means",
            task.name,
            (subject.cohort.spec.columns.center or "",),
            numbers={"centers": len(few), "least": min(few.values())},
        )
    ]


CHECKS = (Check("one-class center", 30, _one_class), Check(FEW_POSITIVES, 40, _few))
