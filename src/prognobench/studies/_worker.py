"""A worker process: jobs in, records out. Torch lives here and nowhere else in this room."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from prognobench.cohorts import Pixels, Preprocessing, film_metadata, open_pixels
from prognobench.protocols import PARTS, Protocol

from ._job import Job
from ._kit import Kit, features_place
from ._plan import Backbone
from ._speeds import Work, note_speed
from ._store import Record, Store

if TYPE_CHECKING:
    from torch import nn

    from prognobench.training import Checkpoint, Films, FrozenFeatures, Outcome, Rows, Stacked

_PACKAGES = ("prognobench", "torch", "timm", "peft", "scikit-learn", "numpy", "pandas", "pillow")
_NAMES = ("image", "patient", "center")


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is told once.

    Attributes
    ----------
    root
        The results folder.
    threads
        Threads it computes with.
    checkpoint_seconds
        How often a long job keeps its state.
    """

    root: Path
    threads: int
    checkpoint_seconds: float


def work(connection: Connection, kit: Kit, settings: WorkerSettings) -> None:
    """Take jobs from `connection` until None comes; answer each with ("done" or "failed", key, error)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_die_with_parent, daemon=True).start()
    store = Store(settings.root)
    bench = Bench(kit, store, settings)
    from prognobench.training import keep_freed_memory  # torch, which the parent never loads

    keep_freed_memory()
    while (job := connection.recv()) is not None:
        try:
            store.write(bench.run(job))
            bench.checkpoint_of(job).unlink(missing_ok=True)
            connection.send(("done", job.key, None))
        except Exception as error:  # a job may fail in any way; it is recorded with its trace, and the others go on
            bench.forget()
            store.write_failure(job, f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
            connection.send(("failed", job.key, f"{type(error).__name__}: {error}"))


def _die_with_parent() -> None:
    """End at once when the parent is gone, however it went: nobody would take the results of a worker without one."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class Bench:
    """Does jobs; keeps the last backbone and the opened caches, so that the next job of the same model finds them."""

    def __init__(self, kit: Kit, store: Store, settings: WorkerSettings) -> None:
        from prognobench.training import use_threads

        use_threads(settings.threads)
        self.kit, self.plan, self.store, self.settings = kit, kit.plan, store, settings
        self.pixels: dict[tuple[str, str], Pixels] = {}
        self.features: dict[str, FrozenFeatures] = {}
        self.loaded: tuple[str, nn.Module] | None = None
        self.holds_freed = False  # what a network has freed, and is no memory of the next job
        self.device: dict[str, Any] | None = None
        self.films: dict[tuple[str, str], TaskFilms] = {}
        self.positions: dict[tuple[str, str, str], npt.NDArray[np.int64]] = {}
        self.cells: dict[tuple[str, str], npt.NDArray[np.object_]] = {}

    def run(self, job: Job) -> Record:
        """Do one job and return its record."""
        if self.holds_freed:
            from prognobench.training import give_back_freed_memory

            give_back_freed_memory()
        _reset_peak_memory()
        began = time.perf_counter()
        shared = self._shared_work(job)
        # What was computed for all jobs together is not this job's own time.
        waited = shared.pop("waited_seconds", 0.0)
        trained = self._train(job)
        predictions = _predict(job, trained)
        own = time.perf_counter() - began - waited
        trained.give_back()
        outcome = trained.outcome
        self.holds_freed = not job.reads_features or shared.get("forwards_here", 0) > 0
        self._note_speeds(job, outcome, shared, own)
        cost = {
            "own_seconds": own,
            "shared_seconds": shared.get("seconds_share", 0.0),
            "shared": shared,
            "peak_memory_bytes": _peak_memory(),
            "trainable_parameters": outcome.trainable_parameters,
            "total_parameters": trained.total_parameters,
            "film_passes": outcome.film_passes,
            "gflops": self._gflops(job, outcome, shared),
        }
        tensors = _safetensors(outcome) if self.plan.study.save == "weights" else None
        environment = self._environment(job)
        if outcome.warnings:
            environment["warnings"] = list(outcome.warnings)
        return Record(job, predictions, outcome.history, cost, environment, tensors)

    def _note_speeds(self, job: Job, outcome: Outcome, shared: dict[str, Any], own: float) -> None:
        """Keep how fast this job was, for the plans to come."""
        from prognobench.training import processor_name

        if job.weights is None:
            return
        card = self.plan.card(job)
        kind = "features" if job.reads_features else job.kind
        work = Work(processor_name(), self.settings.threads, card.architecture, kind, job.value("precision"))
        if job.reads_features:
            # The share of the films that were computed here; the rest lay ready.
            seconds = shared["seconds"] * shared["forwards_here"] / shared["films"] if shared["films"] else 0.0
            note_speed(work, card.gflops * shared["forwards_here"], seconds)
        else:
            passes = outcome.film_passes
            note_speed(work, card.gflops * (passes["forward"] + 2 * passes["backward"]), own)

    def forget(self) -> None:
        """Drop the backbone: after a failure nobody knows what state it is in."""
        self.loaded, self.holds_freed = None, True

    def features_of(self, job: Job, films: list[str]) -> npt.NDArray[np.float32]:
        """Return the frozen features that a job's head reads, of films by their SHA-256, (films, width) float32."""
        positions = self._pixels(job, job.cohort).positions(films)
        chosen: npt.NDArray[np.float32] = self._features(job, job.cohort).array[positions]
        return chosen

    def checkpoint_of(self, job: Job) -> Path:
        """Return where a long job keeps its state; it goes when the record is there."""
        return self.store.tmp / f"{job.key}.checkpoint"

    def parts_of(self, job: Job) -> dict[str, Parts]:
        """Return the films that a job reads, by cohort, with the features or pixels that it reads of them."""
        return {cohort: self._parts(job, cohort) for cohort in dict.fromkeys((job.cohort, *job.test_cohorts))}

    def _train(self, job: Job) -> _Trained:
        if job.reads_features:
            return self._probe(job)
        if job.kind == "control":
            return self._metadata(job) if job.strategy == "metadata" else self._majority(job)
        return self._fine_tune(job)

    def _metadata(self, job: Job) -> _Trained:
        from prognobench.training import fit_metadata

        parts, classes = self.parts_of(job), self._classes(job)
        own = parts[job.cohort]
        outcome = fit_metadata(own.films("train"), own.films("val"), len(classes), self._protocol(job))
        return _Trained(outcome, parts, classes, outcome.trainable_parameters)

    def _majority(self, job: Job) -> _Trained:
        from prognobench.training import fit_majority

        parts, classes = self.parts_of(job), self._classes(job)
        own = parts[job.cohort]
        return _Trained(fit_majority(own.films("train"), own.films("val"), len(classes)), parts, classes, 0)

    def _probe(self, job: Job) -> _Trained:
        from prognobench.training import fit_probe

        backbone, classes, parts = self.plan.backbone(job), self._classes(job), self.parts_of(job)
        own, protocol = parts[job.cohort], self._protocol(job)
        train, val, checkpoint = own.films("train"), own.films("val"), self._checkpoint(job)
        outcome = fit_probe(train, val, len(classes), protocol, backbone.card, job.seed, checkpoint)
        return _Trained(outcome, parts, classes, backbone.card.parameters + outcome.trainable_parameters)

    def _fine_tune(self, job: Job) -> _Trained:
        from prognobench.training import fine_tune

        backbone, classes = self.plan.backbones[job.model], self._classes(job)
        protocol = self._protocol(job)
        strategy = self.plan.strategies[job.strategy].under(protocol)
        parts = self.parts_of(job)
        module = self._backbone(backbone)
        adapted = strategy.apply(module, strategy.plan(module, backbone.card), job.seed)
        total = sum(parameter.numel() for parameter in adapted.parameters())
        outcome = fine_tune(
            adapted,
            strategy,
            backbone.card,
            # The training function is handed the rows of these two parts alone.
            parts[job.cohort].films("train"),
            parts[job.cohort].films("val"),
            len(classes),
            protocol,
            job.value("precision"),
            job.seed,
            self._checkpoint(job),
        )
        head = outcome.tensors["head.weight"].numel() + outcome.tensors["head.bias"].numel()

        def give_back() -> None:
            self.loaded = (backbone.name, strategy.remove(adapted))

        return _Trained(outcome, parts, classes, total + head, give_back)

    def _parts(self, job: Job, cohort: str) -> Parts:
        """Return the films of a job in one cohort; all are tested where another is trained on."""
        films = self._films(cohort, job.task)
        codes = self.kit.parts[cohort, job.task, job.value("split")] if cohort == job.cohort else films.all_tested
        variants = self._protocol(job).probe.variants if job.reads_features and cohort == job.cohort else 0
        return Parts(films, codes, *self._read(job, cohort, films), variants)

    def _read(
        self, job: Job, cohort: str, films: TaskFilms
    ) -> tuple[npt.NDArray[Any] | Stacked, npt.NDArray[np.int64]]:
        """Return the array that a job reads of a cohort, and where in it each film stands."""
        if job.weights is not None:
            array = self._features(job, cohort).array if job.reads_features else self._pixels(job, cohort).array
            place = (cohort, job.task, job.fragment("preprocessing"))
            if place not in self.positions:
                self.positions[place] = self._pixels(job, cohort).positions(films.table["sha256"].tolist())
            return array, self.positions[place]
        if job.strategy == "metadata":
            if (cohort, job.cohort) not in self.cells:
                columns = list(film_metadata(self.plan.cohorts[job.cohort]))
                cells = film_metadata(self.plan.cohorts[cohort], columns).to_numpy(dtype=object)
                self.cells[cohort, job.cohort] = cells
            return self.cells[cohort, job.cohort], films.table["film"].to_numpy(dtype=np.int64)
        return np.zeros((len(films.table), 0), dtype=np.float32), np.arange(len(films.table))

    def _films(self, cohort: str, task: str) -> TaskFilms:
        if (cohort, task) not in self.films:
            self.films[cohort, task] = TaskFilms(self.plan.cohorts[cohort].task(task).rows)
        return self.films[cohort, task]

    def _checkpoint(self, job: Job) -> Checkpoint:
        from prognobench.training import Checkpoint

        return Checkpoint(self.checkpoint_of(job), self.store.draft(job.key), self.settings.checkpoint_seconds)

    def _protocol(self, job: Job) -> Protocol:
        protocol = self.plan.protocols[job.protocol]
        return protocol.for_controls() if job.kind == "control" else protocol

    def _classes(self, job: Job) -> tuple[str, ...]:
        return self.plan.cohorts[job.cohort].task(job.task).classes

    def _backbone(self, backbone: Backbone) -> nn.Module:
        from prognobench.models import load_backbone
        from prognobench.training import device_name

        if self.loaded is None or self.loaded[0] != backbone.name:
            self.loaded = None  # the old one leaves memory before the new one comes
            # On its device once and for all, so that no job finds it elsewhere than the one before.
            module = load_backbone(backbone.card, backbone.weights).to(device_name())
            self.loaded = (backbone.name, module)
        return self.loaded[1]

    def _pixels(self, job: Job, cohort: str) -> Pixels:
        place = (cohort, job.fragment("preprocessing"))
        if place not in self.pixels:
            recipe = job.value("preprocessing")
            preprocessing = Preprocessing(name=recipe["name"], size=recipe["size"])
            self.pixels[place] = open_pixels(self.plan.cohorts[cohort], preprocessing)
        return self.pixels[place]

    def _features(self, job: Job, cohort: str) -> FrozenFeatures:
        from prognobench.training import frozen_features

        place = features_place(job, cohort)
        if place not in self.features:
            backbone = self.plan.backbone(job)
            load = partial(self._backbone, backbone)
            pixels, protocol = self._pixels(job, cohort), self._protocol(job)
            # Nothing of a cohort that is only tested is changed.
            variants = protocol.probe.variants if cohort == job.cohort else 0
            self.features[place] = frozen_features(
                load, backbone.card, backbone.weights, pixels, protocol.head, protocol.augmentation, variants
            )
        return self.features[place]

    def _shared_work(self, job: Job) -> dict[str, Any]:
        """Compute the frozen features if they are not there, and say what share of that work is this job's."""
        if not job.reads_features:
            return {}
        began = time.perf_counter()
        shared = {"forwards_here": 0, "films": 0, "seconds": 0.0, "seconds_share": 0.0, "films_share": 0.0}
        cohorts, sharers = dict.fromkeys((job.cohort, *job.test_cohorts)), self.kit.sharers
        for cohort in cohorts:
            place = features_place(job, cohort)
            first = place not in self.features
            features = self._features(job, cohort)
            shared["films"] += features.films
            shared["forwards_here"] += features.computed_here if first else 0
            shared["seconds"] += features.seconds
            shared["seconds_share"] += features.seconds / sharers[place]
            shared["films_share"] += features.films / sharers[place]
        own = features_place(job, job.cohort)
        return {
            **shared,
            "features": self.features[own].key,
            "jobs": sharers[own],
            "waited_seconds": time.perf_counter() - began,
        }

    def _gflops(self, job: Job, outcome: Outcome, shared: dict[str, Any]) -> float:
        """Return 10⁹ floating-point operations by the card's count: a backward pass counts as two forward ones."""
        if job.weights is None:
            return 0.0
        passes = outcome.film_passes
        forward = passes.get("forward", 0) + shared.get("films_share", 0)
        return float(self.plan.card(job).gflops * (forward + 2 * passes.get("backward", 0)))

    def _environment(self, job: Job) -> dict[str, Any]:
        weights = None if job.weights is None else self.plan.backbone(job).weights
        return {
            "versions": _versions(),
            "device": self._device(),
            "precision": job.value("precision"),
            "weights": None if weights is None else {"id": weights.id, "sha256": weights.sha256},
            "rows_sha256": job.value("rows"),
            "split_sha256": job.value("split"),
        }

    def _device(self) -> dict[str, Any]:
        """Describe the device; asked once, for neither it nor the threads change while a worker lives."""
        from prognobench.training import describe_device

        if self.device is None:
            self.device = describe_device()
        return self.device


@cache
def _versions() -> dict[str, str]:
    return {"python": sys.version.split()[0], **{name: version(name) for name in _PACKAGES}}


def _nothing_to_give_back() -> None:
    """Stand in where a job took no backbone."""


class TaskFilms:
    """The films of a task, ordered by image, so that no order of a table changes a result.

    Attributes
    ----------
    table
        Their rows.
    labels
        Class of each.
    patients
        A number for each patient.
    all_tested
        The codes of a split that tests all of them.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        self.table = rows.sort_values("image", ignore_index=True)
        self.labels = self.table["label"].to_numpy(dtype=np.int64)
        self.patients = pd.factorize(self.table["patient"])[0].astype(np.int64)
        self.all_tested = np.full(len(self.table), PARTS.index("test"), dtype=np.int8)
        # Once for all jobs, in the form that a table on disk has: pandas is many times slower to cut and join them.
        self._names = {name: pa.array(self.table[name].tolist(), pa.large_string()) for name in _NAMES}

    def named(self, chosen: npt.NDArray[np.int64]) -> dict[str, pa.Array]:
        """Return image, patient and center of some films."""
        places = pa.array(chosen)
        return {name: names.take(places) for name, names in self._names.items()}


@dataclass(frozen=True)
class Parts:
    """The films of a job in one cohort, which can be had part by part.

    Attributes
    ----------
    task
        All films of the task.
    codes
        The part of each; see `Kit`.
    array, positions
        What is read of the films, and where in it each of them stands.
    variants
        How many changed copies of each film are trained on beside it.
    """

    task: TaskFilms
    codes: npt.NDArray[np.int8]
    array: npt.NDArray[Any] | Stacked
    positions: npt.NDArray[np.int64]
    variants: int = 0

    def places(self, part: str) -> npt.NDArray[np.int64]:
        """Return the places of a part's films among those of the task."""
        return np.flatnonzero(self.codes == PARTS.index(part))

    def rows(self, part: str) -> Rows:
        """Return the rows of a part."""
        from prognobench.training import Rows

        return Rows(self.array, self.positions[self.places(part)])

    def films(self, part: str) -> Films:
        """Return the films of a part with their labels."""
        from prognobench.training import Films, with_variants

        chosen = self.places(part)
        films = Films(self.rows(part), self.task.labels[chosen], self.task.patients[chosen])
        return with_variants(films, self.variants) if part == "train" else films


@dataclass(frozen=True)
class _Trained:
    """A trained job before its backbone is given back."""

    outcome: Outcome
    parts: Mapping[str, Parts]  # by cohort: the one that was trained on, and those that are tested
    classes: tuple[str, ...]
    total_parameters: int
    give_back: Callable[[], None] = _nothing_to_give_back


def _predict(job: Job, trained: _Trained) -> pd.DataFrame:
    """Score validation and test films."""
    found = []
    for part, cohort in [("val", job.cohort), *(("test", tested) for tested in job.test_cohorts)]:
        parts = trained.parts[cohort]
        chosen = parts.places(part)
        scores = trained.outcome.score(parts.rows(part))
        if not np.isfinite(scores).all():
            raise ValueError(f"the {part} predictions hold values that are not finite")
        columns = {
            "cohort": _repeated(cohort, len(chosen)),
            **parts.task.named(chosen),
            "split": _repeated(part, len(chosen)),
            "y_true": pa.array(parts.task.labels[chosen]),
            "y_score": pa.array(scores[:, 1]),
        }
        if len(trained.classes) > 2:
            more = {f"y_score_{name}": pa.array(scores[:, index]) for index, name in enumerate(trained.classes)}
            columns |= more
        found.append(pa.table(columns))
    predictions: pd.DataFrame = pa.concat_tables(found).to_pandas()
    return predictions


def _repeated(text: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.large_string()), count)


def _safetensors(outcome: Outcome) -> bytes | None:
    from safetensors.torch import save

    if not outcome.tensors:
        return None
    content: bytes = save({name: tensor.detach().cpu().contiguous() for name, tensor in outcome.tensors.items()})
    return content


def _reset_peak_memory() -> None:
    """Let the kernel count the peak anew, where it can (Linux); elsewhere the peak is that of the process so far."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peak_memory() -> int | None:
    """Return the most memory this process held, in bytes, or None where the system does not say."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import psutil

    info = psutil.Process().memory_info()
    peak: int | None = getattr(info, "peak_wset", None)
    return peak
