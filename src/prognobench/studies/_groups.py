"""Which jobs a worker takes together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from ._job import Job
from ._kit import features_places

# Jobs of a chunk: enough to open features once for many, few enough that several workers share a small study.
_CHUNK = 16


def group_of(job: Job) -> tuple[str, ...]:
    """Name the group of a job: those of a group read the same features under one protocol, or adapt one model.

    Probes of one model and cohort are one group, whatever their splits and draws. The group of a job that trains says
    which backbone a worker then has at hand.
    """
    if job.reads_features:
        return (job.cohort, job.model, job.protocol, *features_places(job))
    return (job.cohort, job.model)


def chunks_of(jobs: Sequence[Job]) -> list[tuple[Job, ...]]:
    """Cut the jobs of a plan into chunks of one group each, in the plan's order.

    Which job is in which chunk follows from the plan alone, and no bit of a result from either: a job's arithmetic is
    its own. A chunk tells what a worker does next while it has everything at hand.
    """
    groups: dict[tuple[str | int, ...], list[Job]] = {}
    for number, job in enumerate(jobs):
        # A job that trains a backbone lasts, and is dealt by itself.
        alone = () if job.kind in ("probe", "control") else (number,)
        groups.setdefault((*group_of(job), *alone), []).append(job)
    return [tuple(group[at : at + _CHUNK]) for group in groups.values() for at in range(0, len(group), _CHUNK)]


class Dealer:
    """Deals jobs to workers: chunk by chunk, and in the end what others have not begun."""

    def __init__(self, chunks: Iterable[Sequence[Job]]) -> None:
        self._groups: dict[tuple[str, ...], deque[deque[Job]]] = {}
        for chunk in chunks:
            self._add(deque(chunk))
        self._held: dict[object, deque[Job]] = {}
        self._last: dict[object, tuple[str, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._groups) or any(self._held.values())

    def next(self, worker: object) -> Job | None:
        """Return a worker's next job: of its chunk, of its group, of a group that no other has, of the fullest hand."""
        held = self._held.get(worker)
        if not held:
            held = self._chunk(worker)
        if held is None:
            return None
        job = held.popleft()
        self._last[worker] = group_of(job)
        return job

    def leave(self, worker: object) -> None:
        """Take back what a worker has not begun."""
        held = self._held.pop(worker, None)
        self._last.pop(worker, None)
        if held:
            self._add(held)

    def _add(self, chunk: deque[Job]) -> None:
        if chunk:
            self._groups.setdefault(group_of(chunk[0]), deque()).append(chunk)

    def _chunk(self, worker: object) -> deque[Job] | None:
        if self._groups:
            own = self._last.get(worker)
            others = {group for other, group in self._last.items() if other is not worker}
            free = next((group for group in self._groups if group not in others), next(iter(self._groups)))
            group = own if own is not None and own in self._groups else free
            self._held[worker] = self._groups[group].popleft()
            if not self._groups[group]:
                del self._groups[group]
            return self._held[worker]
        fullest = max(self._held.values(), key=len, default=None)
        if not fullest:
            return None
        # From its end: its owner goes on at the other.
        self._held[worker] = deque([fullest.pop()])
        return self._held[worker]
