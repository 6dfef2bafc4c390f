"""From a study to a model: the chosen cell, trained once more on all its films."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from prognobench.cohorts import Preprocessing, built_with, open_pixels
from prognobench.evaluation import out_of_fold
from prognobench.frame import InputError, Problem, file_lock, sha256_json
from prognobench.reporting import read_tables
from prognobench.studies import Job, Plan, Store, plan_study, study_as_run

from ._card import card_text
from ._choice import Choice, choose
from ._description import (
    ADAPTER,
    CARD,
    DESCRIPTION,
    FILES,
    HEAD,
    LIKENESS,
    Adaptation,
    Backbone,
    Calibration,
    Check,
    Description,
    Head,
    Limit,
    Outcome,
    versions_here,
    write_folder,
)
from ._evidence import gather
from ._likeness import SHARE, Likeness, fit_likeness

if TYPE_CHECKING:
    from torch import Tensor

    from prognobench.cohorts import Task
    from prognobench.strategies import Strategy
    from prognobench.training import Checkpoint, Chosen, Films, Stacked
    from prognobench.training import Outcome as Trained

    from ._model import Model
    from ._network import Network

Progress = Callable[[str], None]
_CHECK_SEED = 0
_ALTERED = 24  # training films of which copies are made that must be called unlike


def fit(
    results: Path,
    out: Path,
    *,
    named: Mapping[str, str] | None = None,
    study: str | None = None,
    file: Path | None = None,
    cohorts: Sequence[str] = (),
    threads: int | None = None,
    progress: Progress = lambda _: None,
) -> Model:
    """Train the chosen cell of a study on all films of its task, and write the model as a folder.

    Parameters
    ----------
    results
        The folder that `prognobench run` filled.
    out
        The model's folder; one that is there already is replaced, if it is empty or holds a model and
        nothing else.
    named
        Words of the cell, such as `{"task": "icu", "model": "dinov2_s", "strategy": "lp"}`; without model and
        strategy those with which the study's decision map begins.
    study
        The study's name; may be left out where the folder holds one study.
    file, cohorts
        As `study_as_run` takes them: where the study file and its cohorts lie, if not where they lay.
    threads
        To compute with; all cores by default.
    progress
        Told what is being done.

    Returns
    -------
    Model
        The model in memory; `Model.load(out)` gives the same, bit for bit.

    Raises
    ------
    InputError
        The study is not finished for the cell, its films or weights have changed since, several cells are meant, or
        the task has more than two classes.

    Notes
    -----
    Nothing is chosen on the films that the model is tested on, since it is tested on none: its card tells the scores
    of the study, whose models saw fewer films. Head and number of epochs are those that validation chose over the
    folds (`training.choose_over_folds`); Platt's calibration and the threshold rest on the out-of-fold predictions
    (`evaluation.out_of_fold`). Several seeds in a study are several trainings there; here the first one trains.
    """
    from prognobench.training import use_threads

    _refuse_foreign(out)
    if threads is not None:
        use_threads(threads)
    progress("planning the study again, to find its films")
    again = study_as_run(results, study, file, cohorts)
    plan = plan_study(again)
    tables, predictions, _, _ = read_tables(results, plan.study.name, progress=progress)
    choice = choose(tables, named or {}, str(results))
    jobs = _jobs(plan, choice, results)
    _refuse_many(plan.cohorts[jobs[0].cohort].task(jobs[0].task), results)
    store = Store(results)
    progress("reading what validation chose")
    histories = [store.read(job.key).history for job in jobs]
    own = predictions[predictions["job"].isin([job.key for job in jobs])]
    own = own[(own["split"] == "test") & (own["cohort"] == choice.cell["test_cohort"])]
    where = str(choice.cell["test_cohort"])
    calibration = {level: Calibration.of(found, where) for level, found in out_of_fold(own).items()}
    progress("training on all films")
    trained = _train(plan, jobs[0], histories, store, progress)
    progress("learning what its films look like")
    likeness = fit_likeness(trained.features(), trained.groups, trained.altered())
    evidence = gather(
        tables,
        choice,
        plan.cohorts[jobs[0].cohort],
        plan.audits[jobs[0].cohort].findings,
        plan.audits[jobs[0].cohort].tables.get("confounds", []),
    )
    model = _model(plan, jobs, choice, trained, calibration, likeness, evidence)
    progress("writing the model")
    model.description = write_folder(out, model.description, _files(model.description, trained, likeness))
    return model


def _refuse_foreign(out: Path) -> None:
    """Refuse to replace a folder that no model lies in, or anything beside it."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / DESCRIPTION).is_file())):
        what = "something else than a model is there already"
        raise InputError([Problem(str(out), what, "Give --out a new folder")])
    if not out.is_dir():
        return
    others = sorted(path.name for path in out.iterdir() if path.name not in (DESCRIPTION, *FILES))
    if others:
        what = f"files that are not of the model lie beside it ({', '.join(others[:3])}{', …' if others[3:] else ''})"
        raise InputError([Problem(str(out), what, "Move them elsewhere, or give --out a new folder")])


def _refuse_many(task: Task, results: Path) -> None:
    if len(task.classes) > 2:
        what = f"the task {task.name} has {len(task.classes)} classes, and a model for use tells two apart"
        raise InputError([Problem(str(results), what, "Name a task of two classes, such as task=icu")])


def _jobs(plan: Plan, choice: Choice, results: Path) -> list[Job]:
    """Return the jobs of a cell, the one whose seed trains first."""
    cell = choice.cell
    keys = ("cohort", "task", "model", "strategy", "regime", "validation", "protocol")
    jobs = [
        job
        for job in plan.jobs
        if all(getattr(job, key) == cell[key] for key in keys) and cell["test_cohort"] in job.test_cohorts
    ]
    store = Store(results)
    states = {job.key: store.status(job.key) for job in jobs}
    undone = [job for job in jobs if (state := states[job.key]) is None or state.state != "done"]
    if not jobs or undone:
        told = f"{len(undone)} of its {len(jobs)} jobs have no result in this folder" if jobs else "it has no job"
        what = f"{cell['model']} {cell['strategy']} cannot be fitted: {told} as the study stands now"
        remedy = (
            "Run the study again to finish it; if films, weights or settings have changed since, the keys have, too"
        )
        raise InputError([Problem(str(results), what, remedy)])
    seeds = list(dict.fromkeys(job.seed for job in jobs))
    return sorted(jobs, key=lambda job: seeds.index(job.seed))


@dataclass(frozen=True, eq=False)
class _Fitted:
    """What training on all films leaves, and the films themselves."""

    strategy: Strategy
    network: Network
    tensors: dict[str, Tensor]
    chosen: Chosen
    readout: tuple[int, bool]
    trained: Trained
    squares: npt.NDArray[np.uint16]
    groups: npt.NDArray[np.int64]
    rows: pd.DataFrame
    pack: str
    frozen: npt.NDArray[np.float32] | None

    def features(self) -> npt.NDArray[np.float32]:
        """Return the features of all films that the head reads; those of a frozen backbone lie ready."""
        return self._computed(self.squares) if self.frozen is None else self.frozen

    def altered(self) -> dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """Return of some films which they are, and the features of copies that are no such films any more, by kind."""
        films = np.unique(np.linspace(0, len(self.squares) - 1, _ALTERED).round().astype(np.int64))
        some = self.squares[films]
        noise = np.random.Generator(np.random.PCG64(_CHECK_SEED)).integers(0, 65536, some.shape, dtype=np.uint16)
        copies: dict[str, npt.NDArray[np.uint16]] = {
            "turned upside down": some[:, ::-1, ::-1],
            "inverted": ~some,
            "noise": noise,
        }
        return {kind: (films, self._computed(np.ascontiguousarray(changed))) for kind, changed in copies.items()}

    def _computed(self, squares: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
        from ._network import Scorer

        nothing = np.zeros(0, np.float32)
        return Scorer(self.network, Likeness(nothing, nothing, nothing, 1.0)).features(squares)


def _train(plan: Plan, job: Job, histories: Sequence[pd.DataFrame], store: Store, progress: Progress) -> _Fitted:
    from prognobench.models import columns, load_backbone, readable, widest
    from prognobench.training import Checkpoint, choose_over_folds, chosen_readout, device_name

    from ._network import LinearHead, Network, merged

    backbone = plan.backbone(job)
    protocol = plan.protocols[job.protocol]
    chosen = choose_over_folds(histories, protocol)
    readout = chosen_readout(backbone.card, protocol, job.kind, chosen)
    rows = plan.cohorts[job.cohort].task(job.task).rows.sort_values("image", ignore_index=True)
    recipe = job.details["preprocessing"]
    pixels = open_pixels(plan.cohorts[job.cohort], Preprocessing(name=recipe["name"], size=recipe["size"]))
    positions = pixels.positions(rows["sha256"].tolist())
    strategy = plan.strategies[job.strategy].under(protocol)
    module = load_backbone(backbone.card, backbone.weights).to(device_name())
    adapted = strategy.apply(module, strategy.plan(module, backbone.card), job.seed)
    # What it is named by is all that changes the result, so that no other training goes on from it.
    key = sha256_json([job.identity, chosen.candidate, chosen.epochs, chosen.cuts])
    checkpoint = Checkpoint(store.tmp / f"{key}.checkpoint", store.draft(key))
    with file_lock(store.tmp / f"{key}.lock"):  # one at a time writes the checkpoint
        outcome, frozen = _outcome(plan, job, chosen, adapted, strategy, rows, pixels, positions, checkpoint, progress)
        checkpoint.path.unlink(missing_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in outcome.tensors.items()}
    network = Network(
        merged(strategy, adapted),
        backbone.card,
        readout,
        LinearHead(tensors),
        # The line of the calibration is laid in when the model is put together.
        Calibration(
            cohort="", level="film", slope=1.0, intercept=0.0, threshold=0.5, n=0, n_positive=0, at_threshold={}
        ),
    )
    groups = pd.factorize(rows["group"])[0].astype(np.int64)
    squares = np.asarray(pixels.array[positions])
    read = (
        None
        if frozen is None
        else frozen[:, columns(backbone.card, readout, widest(readable(backbone.card, protocol.head.readouts)))]
    )
    return _Fitted(strategy, network, tensors, chosen, readout, outcome, squares, groups, rows, pixels.key, read)


def _outcome(
    plan: Plan, job: Job, chosen: Chosen, module: Any, strategy: Strategy, rows: pd.DataFrame, pixels: Any,
    positions: npt.NDArray[np.int64], checkpoint: Checkpoint, progress: Progress,
) -> tuple[Trained, npt.NDArray[np.float32] | None]:  # fmt: skip
    from prognobench.training import Films, Rows, frozen_features, refit, refit_probe, with_variants

    backbone, protocol = plan.backbone(job), plan.protocols[job.protocol]
    classes = len(plan.cohorts[job.cohort].task(job.task).classes)

    def films(array: npt.NDArray[Any] | Stacked) -> Films:
        patients = pd.factorize(rows["patient"])[0].astype(np.int64)
        return Films(Rows(array, positions), rows["label"].to_numpy(dtype=np.int64), patients)

    if job.kind == "probe":
        variants = protocol.probe.variants
        features = frozen_features(
            module, backbone.card, backbone.weights, pixels, protocol.head, protocol.augmentation, variants
        )
        seen = with_variants(films(features.array), variants)
        outcome = refit_probe(seen, classes, protocol, backbone.card, job.seed, chosen)
        return outcome, np.asarray(features.array[positions])
    precision = job.details["precision"]

    def tell(done: int, _: int) -> None:
        progress(f"training on all films, {done} of {chosen.epochs} epochs")

    data = films(pixels.array)
    outcome = refit(
        module, strategy, backbone.card, data, classes, protocol, precision, job.seed, chosen, checkpoint, tell
    )
    return outcome, None


def _model(
    plan: Plan,
    jobs: Sequence[Job],
    choice: Choice,
    trained: _Fitted,
    calibration: Mapping[str, Calibration],
    likeness: Likeness,
    evidence: dict[str, Any],
) -> Model:
    from prognobench.training import describe_device

    from ._model import Model, make_check

    job = jobs[0]
    cohort, backbone = plan.cohorts[job.cohort], plan.backbone(job)
    task, spec = cohort.task(job.task), cohort.spec.tasks[job.task]
    details = job.details
    film = calibration["film"]
    trained.network.slope, trained.network.intercept = film.slope, film.intercept
    description = Description(
        study=plan.study.name,
        cell={key: None if pd.isna(value) else str(value) for key, value in choice.cell.items()},
        reason=choice.reason,
        outcome=Outcome(
            task=task.name,
            classes=task.classes,
            label=spec.label,
            positive=tuple(spec.positive),
            negative=tuple(spec.negative),
            where={column: tuple(values) for column, values in spec.where.items()},
        ),
        backbone=Backbone(
            card=backbone.card,
            weights=backbone.weights.id,
            sha256=backbone.weights.sha256,
            license=backbone.weights.license,
            source=backbone.weights.source,
        ),
        adaptation=Adaptation(
            kind=job.kind, label=trained.strategy.label, settings=trained.strategy.resolved(), seed=job.seed
        ),
        protocol=details["protocol"],
        preprocessing=details["preprocessing"],
        built=built_with(cohort.path),
        head=Head(blocks=trained.readout[0], patch_mean=trained.readout[1]),
        training={
            "films": len(trained.rows),
            "patients": int(trained.rows["patient"].nunique()),
            "positive_films": int(trained.rows["label"].sum()),
            "jobs": len(jobs),
            "candidate": trained.chosen.candidate,
            "validation_losses": list(trained.chosen.losses),
            "epochs": trained.chosen.epochs,
            "cuts": list(trained.chosen.cuts),
            "precision": details["precision"],
            "trained_parameters": trained.trained.trainable_parameters,
            "pixels": trained.pack,
        },
        calibration=dict(calibration),
        limit=Limit(
            distance=likeness.limit,
            share=SHARE,
            films=len(trained.rows),
            held_out=bool(np.ptp(trained.groups)),  # of one group alone nothing can be held out
            caught=dict(likeness.caught),
        ),
        check=Check(seed=_CHECK_SEED, scores=(), distances=()),
        versions=versions_here(),
        device={key: value for key, value in describe_device().items() if key in ("device", "processor", "threads")},
        evidence=evidence,
    )
    model = Model(description, trained.network, likeness)
    model.description = description.model_copy(update={"check": make_check(model, _CHECK_SEED)})
    return model


def _files(description: Description, trained: _Fitted, likeness: Likeness) -> dict[str, bytes]:
    import torch
    from safetensors.torch import save

    head = {name: tensor for name, tensor in trained.tensors.items() if name.startswith("head.")}
    adapter = {name: tensor for name, tensor in trained.tensors.items() if name not in head}
    arrays = {"center": likeness.center, "scale": likeness.scale, "whiten": likeness.whiten}
    files: dict[str, bytes] = {
        HEAD: save(head),
        LIKENESS: save({name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}),
        CARD: card_text(description).encode("utf-8"),
    }
    return files | ({ADAPTER: save(adapter)} if adapter else {})
