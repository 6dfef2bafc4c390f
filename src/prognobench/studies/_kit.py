"""What workers are sent of a plan: what jobs share, without the jobs, and parts of splits as small numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from prognobench.protocols import PARTS

from ._job import Job
from ._plan import Plan

Codes = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Kit:
    """What a worker needs of a plan.

    Attributes
    ----------
    plan
        The plan without its jobs, splits and audits.
    parts
        By cohort, task and the split's hash: the part of each film of the task, ordered by image, as its place in
        `PARTS`; −1 where the split has no use for the film.
    sharers
        How many jobs of the plan read the same features, by their place.
    """

    plan: Plan
    parts: Mapping[tuple[str, str, str], Codes]
    sharers: Mapping[str, int]


def kit_of(plan: Plan, jobs: Iterable[Job] | None = None) -> Kit:
    """Return what workers need for some jobs of a plan; for all by default."""
    parts: dict[tuple[str, str, str], Codes] = {}
    images: dict[tuple[str, str], list[str]] = {}
    for job in plan.jobs if jobs is None else jobs:
        task, split = (job.cohort, job.task), job.value("split")
        if (*task, split) in parts:
            continue
        if task not in images:
            images[task] = sorted_images(plan, *task)
        table = plan.splits[split].table
        part_of = dict(zip(table["image"].tolist(), table["part"].tolist(), strict=True))
        code_of = {image: PARTS.index(part) for image, part in part_of.items()}
        parts[*task, split] = np.array([code_of.get(image, -1) for image in images[task]], dtype=np.int8)
    readers = (job for job in plan.jobs if job.reads_features)
    sharers = Counter(place for job in readers for place in features_places(job))
    return Kit(replace(plan, jobs=(), left_out=(), splits={}, audits={}), parts, sharers)


def sorted_images(plan: Plan, cohort: str, task: str) -> list[str]:
    """Return the images of a task in the order in which jobs use them."""
    images: list[str] = plan.cohorts[cohort].task(task).rows["image"].sort_values().tolist()
    return images


def features_places(job: Job) -> list[str]:
    """Tell which features a job reads, of its own cohort and of each other that it tests."""
    return [features_place(job, cohort) for cohort in dict.fromkeys((job.cohort, *job.test_cohorts))]


def features_place(job: Job, cohort: str) -> str:
    """Tell which features a job reads of a cohort: of which model, by which preprocessing and readout, how changed."""
    parts = [job.fragment(name) for name in ("model", "preprocessing", "head")]
    # Most recipes have no variants; where they have, what else the recipe says does not split what is shared by much.
    recipe = job.fragment("protocol")
    return "\n".join((cohort, *parts, *([recipe] if '"variants":' in recipe else [])))
