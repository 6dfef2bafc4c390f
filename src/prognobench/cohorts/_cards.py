"""What is published about a cohort, told before anyone holds its films."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_NOT_YET_RUN = (
    "The builder follows public descriptions of the raw files. It is tested on synthetic files of that layout and has "
    "not yet run on the published files themselves."
)
Count = Annotated[int, Field(ge=0)]


class PublishedClass(BaseModel):
    """How many films and patients of one class, in one center or in all.

    Attributes
    ----------
    center
        The hospital; empty where the publication does not tell them apart.
    films, patients
        Their numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    center: str = ""
    films: Count
    patients: Count


class PublishedTask(BaseModel):
    """The counts of one task as published.

    Attributes
    ----------
    name
        As the benchmark of Ruffini et al. (arXiv:2506.18434) calls it.
    aliases
        Further names that answer: those of the authors' repository.
    outcome
        What is predicted, in words.
    negative, positive
        The counts of the two classes, center by center where they are known.
    assumed
        What of these counts is not published and was filled in for planning; empty where nothing was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    aliases: tuple[str, ...] = ()
    outcome: str
    negative: tuple[PublishedClass, ...]
    positive: tuple[PublishedClass, ...]
    assumed: str = ""


class CohortCard(BaseModel):
    """A published cohort.

    Attributes
    ----------
    id
        Its name in study files and in `--cohort NAME=DIR`.
    title, citation, source, license
        What it is called, where it was published, where the files are had, and under which terms.
    tasks
        Its tasks with the published counts.
    counts_from
        Where the counts were read.
    decisions
        What the publications leave open, and what `cohort build` does about it.
    proved
        How far its builder is proved.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+$")]
    title: str
    citation: str
    source: str
    license: str
    tasks: tuple[PublishedTask, ...]
    counts_from: str
    decisions: tuple[str, ...] = ()
    proved: str = _NOT_YET_RUN

    def task(self, name: str) -> PublishedTask | None:
        """Return a task by its name or alias, or None."""
        return next((task for task in self.tasks if name in (task.name, *task.aliases)), None)
