"""Tell a person how a run goes: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from prognobench.studies import Job

from ._safe import plain


class RunProgress:
    """A `Watcher` of a run that prints.

    Parameters
    ----------
    console
        Where to; on a terminal a bar is kept at the bottom, elsewhere each job is one line.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began: dict[str, float] = {}
        self.total = self.count = 0
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("jobs", total=None)

    def begin(self, jobs: int, done: int) -> None:
        """Print how many jobs there are."""
        self.total, self.count = jobs, done
        ready = f", {done} of them done before" if done else ""
        self.console.print(f"{jobs} jobs{ready}.", highlight=False)
        self.bar.update(self.task, total=jobs, completed=done)
        self.bar.start()

    def started(self, job: Job) -> None:
        """Note when the job began."""
        self.began[job.key] = time.perf_counter()
        self.bar.update(self.task, description=plain(job.title))

    def ended(self, job: Job, error: str | None) -> None:
        """Print the job with its time, or its error."""
        self.count += 1
        seconds = time.perf_counter() - self.began.pop(job.key, time.perf_counter())
        place = f"[{self.count}/{self.total}]"
        if error is None:
            self.console.print(f"{plain(place)} {plain(job.title)} · {seconds:.1f} s", highlight=False)
        else:
            self.console.print(f"{plain(place)} [red]failed[/red] {plain(job.title)}: {plain(error)}", highlight=False)
        self.bar.update(self.task, advance=1)

    def end(self) -> None:
        """Take the bar away."""
        self.bar.stop()


ReportProgress = Callable[[str], None]
_SOON = 3.0  # seconds within which nobody wonders whether anything goes on


@contextmanager
def report_progress(console: Console | None) -> Iterator[ReportProgress]:
    """Tell what a report is at: a moving line on a terminal, plain lines elsewhere once it takes long."""
    if console is None:
        yield lambda _: None
    elif console.is_terminal:
        with console.status("…") as status:
            yield lambda step: status.update(plain(f"{step} …"))
    else:
        began = time.perf_counter()

        def tell(step: str) -> None:
            if (seconds := time.perf_counter() - began) > _SOON:
                console.print(f"{plain(step)} … ({seconds:.0f} s)", highlight=False)

        yield tell


class FilmProgress:
    """Count films while cohorts are read."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = Progress(
            TextColumn("reading films"), BarColumn(), MofNCompleteColumn(), console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip
        self.task = self.bar.add_task("films", total=None)

    def __call__(self, done: int, total: int) -> None:
        """Move the bar."""
        self.bar.update(self.task, completed=done, total=total)


@contextmanager
def film_progress(console: Console) -> Iterator[FilmProgress]:
    """Show a bar while the block reads films."""
    progress = FilmProgress(console)
    with progress.bar:
        yield progress
