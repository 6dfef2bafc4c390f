"""Train a strategy and its heads by gradient steps; validation chooses epoch and head."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from prognobench.protocols import Protocol

from ._augment import Augmenter
from ._bodies import Adapted, Body, Change, Ready
from ._device import Precision, device_name
from ._films import Films, Outcome, Rows, class_weights, film_weights, weighted_log_loss
from ._heads import Candidate, Heads, candidates

if TYPE_CHECKING:
    from prognobench.models import ModelCard
    from prognobench.strategies import Strategy

    from ._chosen import Chosen

_LOG = logging.getLogger(__name__)
# Of films scored at once; fixed, since the size of a batch can change the last bits.
_SCORING_BATCH = 32
_NOT_ASKED = -1


@dataclass(frozen=True)
class Checkpoint:
    """Where a long job keeps its state, and how often.

    Parameters
    ----------
    path
        The file. Whoever stores the result removes it.
    draft
        Where it is written before it is renamed to `path`.
    every_seconds
        Least time between two writes.
    """

    path: Path
    draft: Path
    every_seconds: float = 600.0


@dataclass
class _Progress:
    """All that changes while a job trains, and so all that a checkpoint holds beside the tensors of the moment.

    Attributes
    ----------
    run
        Which run it is; where heads are trained separately, there is one for each.
    epoch, step, train_loss
        Where in the run it is, and the losses of the steps since the last validation.
    best_loss, best_epoch
        Of each head of the run.
    cuts, last_cut
        How often a plateau cut the learning rates, and in which epoch it last did.
    done
        Whether the run is over.
    best
        Of all heads and epochs, the one with the lowest validation loss: `head`, `epoch`, `loss`, `weight`, `bias`
        and the body's `state`. Validation chooses no other, so no other is kept.
    history
        What validation said of each head in each epoch.
    forward, backward
        Films that passed through the backbone.
    """

    run: int = 0
    epoch: int = 0
    step: int = 0
    train_loss: list[float] = field(default_factory=list)
    best_loss: list[float] = field(default_factory=list)
    best_epoch: list[int] = field(default_factory=list)
    cuts: int = 0
    last_cut: int = -1
    done: bool = False
    best: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    forward: int = 0
    backward: int = 0

    def next_run(self, run: int, heads: int) -> _Progress:
        """Return the progress at the start of a run, with what the runs before it found."""
        found = replace(self, epoch=0, step=0, train_loss=[], cuts=0, last_cut=-1, done=False)
        return replace(found, run=run, best_loss=[math.inf] * heads, best_epoch=[-1] * heads)


def fine_tune(
    module: nn.Module,
    strategy: Strategy,
    card: ModelCard,
    train: Films,
    val: Films,
    classes: int,
    protocol: Protocol,
    precision: Precision,
    seed: int,
    checkpoint: Checkpoint | None = None,
    heartbeat: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Train what a strategy leaves trainable, together with the grid of heads.

    Under `heads: shared` the sum of the heads' weighted cross-entropies trains one backbone, and training stops when
    no head has improved for the patience; under `separate` each head trains its own backbone, from the same start.
    The head and epoch with the lowest validation loss score.

    Parameters
    ----------
    module
        What `strategy.apply` returned.
    strategy, card
        The strategy, and the card of the backbone.
    train, val
        Films whose rows are pixels, (films, size, size) uint16.
    classes
        How many classes the task has.
    protocol
        The recipe.
    precision
        `bf16` computes the backbone in bfloat16; what trains, heads, losses and the optimizer stay float32.
    seed
        Of the heads, the order of the films and dropout.
    checkpoint
        Where to keep the state of a long job; a state found there is gone on from, with the same result.
    heartbeat
        Called after each epoch with the epochs done and the most there can be.

    Raises
    ------
    ValueError
        A class has no training film, a trainable tensor gets no gradient, or the loss is no longer finite.
    """
    grid = candidates(card, protocol)
    body = Adapted(module, strategy, card, protocol, precision, device_name())
    trainer = _Trainer(body, _runs(grid, protocol), train, val, classes, protocol, seed)
    trainer.run(checkpoint, heartbeat)
    return trainer.outcome()


def _runs(grid: list[Candidate], protocol: Protocol) -> list[list[Candidate]]:
    """Return which heads train together, run by run."""
    return [grid] if protocol.heads == "shared" else [[candidate] for candidate in grid]


def train_heads(
    card: ModelCard,
    train: Films,
    val: Films,
    classes: int,
    protocol: Protocol,
    seed: int,
    checkpoint: Checkpoint | None = None,
) -> Outcome:
    """Train the grid of heads by gradient steps on features that are ready; see `fine_tune`.

    No backbone is shared, so `heads: shared` and `separate` differ in when training stops and the rates are cut: when
    no head improves, or each head by itself.

    Parameters
    ----------
    card
        The card of the backbone that the features are of.
    train, val
        Films whose rows are the features of the widest readout, (films, width) float32.
    classes, protocol, seed, checkpoint
        As for `fine_tune`. Nothing is augmented: the features are computed once.
    """
    runs = _runs(candidates(card, protocol), protocol)
    trainer = _Trainer(Ready(device_name()), runs, train, val, classes, protocol, seed)
    trainer.run(checkpoint, None)
    return trainer.outcome()


def refit(
    module: nn.Module,
    strategy: Strategy,
    card: ModelCard,
    films: Films,
    classes: int,
    protocol: Protocol,
    precision: Precision,
    seed: int,
    chosen: Chosen,
    checkpoint: Checkpoint | None = None,
    heartbeat: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Train on all films what `fine_tune` trained on the training part of each fold; nothing is validated.

    Parameters
    ----------
    module, strategy, card, classes, protocol, precision, seed, checkpoint, heartbeat
        As for `fine_tune`.
    films
        All films, with their labels.
    chosen
        Head, number of epochs and cuts of the rates, as `choose_over_folds` fixes them. Under `heads: shared` the
        other heads train along as they did, since their gradients are part of what trained the backbone.
    """
    body = Adapted(module, strategy, card, protocol, precision, device_name())
    return _refit(body, candidates(card, protocol), films, classes, protocol, seed, chosen, checkpoint, heartbeat)


def refit_heads(card: ModelCard, films: Films, classes: int, protocol: Protocol, seed: int, chosen: Chosen) -> Outcome:
    """Train heads on ready features of all films; see `refit` and `train_heads`."""
    return _refit(Ready(device_name()), candidates(card, protocol), films, classes, protocol, seed, chosen, None, None)


def _refit(
    body: Body,
    grid: list[Candidate],
    films: Films,
    classes: int,
    protocol: Protocol,
    seed: int,
    chosen: Chosen,
    checkpoint: Checkpoint | None,
    heartbeat: Callable[[int, int], None] | None,
) -> Outcome:
    heads = grid if protocol.heads == "shared" else [grid[chosen.candidate]]
    trainer = _Refit(body, [heads], films, films, classes, protocol, seed)
    trainer.chosen = chosen
    trainer.run(checkpoint, heartbeat)
    return trainer.outcome()


class _Trainer:
    """One job: the runs of its heads, one after the other."""

    def __init__(
        self,
        body: Body,
        runs: list[list[Candidate]],
        train: Films,
        val: Films,
        classes: int,
        protocol: Protocol,
        seed: int,
    ) -> None:
        self.device, self.body, self.runs = device_name(), body, runs
        self.train, self.val, self.classes = train, val, classes
        self.protocol, self.seed = protocol, seed
        weighted = protocol.film_weights != "none"
        self.film_weights = film_weights(train, protocol.film_weights) if weighted else None
        self.val_weights = film_weights(val, protocol.film_weights) if weighted else None
        self.weights = class_weights(train.labels, classes, protocol.class_weights, self.film_weights)
        self.steps = math.ceil(len(train.labels) / protocol.batch_size)
        self.start = body.state() if len(runs) > 1 else {}
        self.proved_alive = False
        self.at_once: int | None = _NOT_ASKED
        self.warnings: list[str] = []
        self.progress = _Progress()
        self._begin(0)

    def run(self, checkpoint: Checkpoint | None, heartbeat: Callable[[int, int], None] | None) -> None:
        if checkpoint is not None and checkpoint.path.exists():
            self._restore(checkpoint.path)
        saver = None if checkpoint is None else _Saver(self, checkpoint)
        self._finish_run(saver, heartbeat)
        while self.progress.run + 1 < len(self.runs):
            self.body.load(self.start)
            self._begin(self.progress.run + 1)
            self._finish_run(saver, heartbeat)
        if not self.progress.best:
            raise ValueError("no epoch gave a finite validation loss: lower the learning rates")

    def outcome(self) -> Outcome:
        best = self.progress.best
        self.body.load(best["state"])
        chosen = next(c for grid in self.runs for c in grid if c.number == best["head"])
        weight, bias = best["weight"], best["bias"]
        history = pd.DataFrame(self.progress.history)
        history["chosen"] = (history["head"] == best["head"]) & (history["epoch"] == best["epoch"])

        passes: dict[str, int] = {}

        def count() -> None:
            if self.body.passes:
                passes.update(forward=self.progress.forward, backward=self.progress.backward)

        def score(rows: Rows) -> npt.NDArray[np.float64]:
            logits = functional.linear(self._features(rows)[:, chosen.columns], weight, bias)
            count()
            probabilities: npt.NDArray[np.float64] = torch.softmax(logits.double(), dim=-1).cpu().numpy()
            return probabilities

        count()
        return Outcome(
            score,
            history,
            self.body.trainable + weight.numel() + bias.numel(),
            {"head.weight": weight, "head.bias": bias, **best["state"]},
            passes,
            tuple(self.warnings),
        )

    def _begin(self, run: int) -> None:
        """Set up the heads and the optimizer of a run."""
        self.heads = Heads(self.runs[run], self.classes, self.seed).to(self.device)
        groups = [*self.body.groups(self.protocol), *self.heads.groups()]
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(groups, fused=True)
            if self.protocol.optimizer == "adamw"
            else torch.optim.SGD(groups, momentum=self.protocol.momentum)
        )
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.progress = self.progress.next_run(run, len(self.runs[run]))

    def _finish_run(self, saver: _Saver | None, heartbeat: Callable[[int, int], None] | None) -> None:
        progress = self.progress
        while not progress.done:
            batches = self._batches(progress.epoch)
            while progress.step < self.steps:
                progress.train_loss.append(self._step(batches[progress.step]))
                progress.step += 1
                if saver is not None:
                    saver.save_if_due()
            self._end_epoch()
            if heartbeat is not None:
                heartbeat(progress.epoch, self.protocol.epochs)

    def _batches(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        """Deal the films of one epoch; a function of seed and epoch, so that nothing of it must be kept."""
        random = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        if self.protocol.sampler == "balanced":
            order = evenly(self.train.labels, self.classes, random)
        else:
            order = random.permutation(len(self.train.labels))
        # Nearly equal batches: a last batch of one film would upset batch normalization.
        return list(np.array_split(order, self.steps))

    def _step(self, chosen: npt.NDArray[np.int64]) -> float:
        progress, how = self.progress, self.protocol.augmentation
        self._schedule()
        self.body.mode(training=True)
        films = len(chosen)
        at_once = self._at_once() or films
        # Dropout draws from the global generator; a function of the step alone lets a resumed job draw the same.
        torch.manual_seed(_mixed_seed(self.seed, progress.epoch, progress.step))
        change = None if how is None else Augmenter(how, films, self.seed, progress.epoch, progress.step)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for start in range(0, films, at_once):
            part = slice(start, start + at_once)
            total += self._learn(chosen[part], None if change is None else change.of(part), films)
        if not self.proved_alive:
            self.body.refuse_silence()
            self.proved_alive = True
        self.optimizer.step()
        progress.forward += films
        progress.backward += films
        return total / len(self.heads.grid)

    def _at_once(self) -> int | None:
        """Return how many films may be in memory together; the gradients of a step's parts add up to the step's."""
        if self.at_once == _NOT_ASKED:
            self.at_once = self.body.films_at_once(self.train.rows[:1])
        return self.at_once

    def _learn(self, chosen: npt.NDArray[np.int64], change: Change | None, films: int) -> float:
        """Add to the gradients what some of a step's films say, and return their share of the step's loss."""
        features = self.body.read(self.train.rows[chosen], change)
        losses = self._losses(self.heads(features.float()), chosen)
        # Divided by the films, not by their weights: a batch that holds the rare class counts for more.
        loss = losses.sum() / films
        if not torch.isfinite(loss):
            epoch = self.progress.epoch + 1
            raise ValueError(f"the training loss is no longer finite in epoch {epoch}: lower the rates")
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def _losses(self, logits: Tensor, chosen: npt.NDArray[np.int64]) -> Tensor:
        """Return the weighted cross-entropy of each head and film, (heads × films)."""
        labels = torch.from_numpy(self.train.labels[chosen]).to(self.device)
        weights = torch.from_numpy(self.weights).float().to(self.device)
        repeated = labels.expand(logits.shape[0], -1)
        losses = functional.cross_entropy(logits.flatten(0, 1), repeated.flatten(), weight=weights, reduction="none")
        if self.film_weights is None:
            return losses
        films = torch.from_numpy(self.film_weights[chosen]).float().to(self.device)
        return losses * films.repeat(logits.shape[0])

    def _schedule(self) -> None:
        step = self.progress.epoch * self.steps + self.progress.step
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = learning_rate(self.protocol, peak, step, self.steps, self.progress.cuts)

    def _end_epoch(self) -> None:
        progress, epochs = self.progress, self.protocol.epochs
        last = progress.epoch + 1 == epochs
        if last or (progress.epoch + 1) % self.protocol.evaluate_every == 0:
            self._validate()
            self._cut_on_plateau()
            progress.train_loss = []
            progress.done = last or progress.epoch - max(progress.best_epoch) >= self.protocol.patience
        progress.epoch, progress.step = progress.epoch + 1, 0

    def _validate(self) -> None:
        """Note the validation loss of each head, and keep the best of all so far."""
        progress = self.progress
        with torch.no_grad():
            logits = self.heads(self._features(self.val.rows)).double()
        probabilities = torch.softmax(logits, dim=-1).cpu().numpy()
        for index, candidate in enumerate(self.heads.grid):
            loss = weighted_log_loss(probabilities[index], self.val.labels, self.weights, self.val_weights)
            blocks, patch_mean = candidate.readout
            progress.history.append(
                {
                    "epoch": progress.epoch,
                    "head": candidate.number,
                    "blocks": blocks,
                    "patch_mean": patch_mean,
                    "head_learning_rate": candidate.rate,
                    "train_loss": float(np.mean(progress.train_loss)),
                    "val_loss": loss,
                }
            )
            if loss < progress.best_loss[index]:
                progress.best_loss[index], progress.best_epoch[index] = loss, progress.epoch
            if loss < progress.best.get("loss", math.inf):
                self._keep(index, loss)
        if progress.best and "state" not in progress.best:
            progress.best["state"] = self.body.state()

    def _keep(self, index: int, loss: float) -> None:
        """Keep a head as it is now, to be the one that scores."""
        self.progress.best = {
            "loss": loss,
            "head": self.heads.grid[index].number,
            "epoch": self.progress.epoch,
            "weight": self.heads.weights[index].detach().clone(),
            "bias": self.heads.biases[index].detach().clone(),
        }

    def _cut_on_plateau(self) -> None:
        """Count a cut of the learning rates where no head has improved for longer than the plateau's patience."""
        progress, schedule = self.progress, self.protocol.schedule
        since = max(*progress.best_epoch, progress.last_cut, end_of_warmup(self.protocol))
        if schedule.kind == "plateau" and progress.epoch - since > schedule.patience:
            progress.cuts, progress.last_cut = progress.cuts + 1, progress.epoch

    def _features(self, rows: Rows) -> Tensor:
        """Return the widest features of any rows, (films, width) float32, in evaluation mode."""
        found: list[Tensor] = []
        with self.body.scorer(len(rows)) as read:
            for start in range(0, len(rows), _SCORING_BATCH):
                found.append(read(rows[start : start + _SCORING_BATCH]).float())
        self.progress.forward += len(rows)
        return torch.cat(found)

    def save(self, checkpoint: Checkpoint) -> None:
        checkpoint.draft.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "made_by": _made_by(),
            "body": self.body.state(),
            "start": self.start,
            "heads": self.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": self.progress.__dict__,
        }
        with checkpoint.draft.open("wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        checkpoint.draft.replace(checkpoint.path)

    def _restore(self, path: Path) -> None:
        fresh = self.body.state()
        try:
            content = torch.load(path, map_location=self.device, weights_only=True)
            if (maker := content.get("made_by")) != _made_by():
                raise ValueError(f"it was made by {_told(maker)}, this is {_told(_made_by())}")
            progress = _Progress(**content["progress"])
            self._begin(progress.run)
            self.body.load(content["body"])
            self.start = content["start"]
            self.heads.load_state_dict(content["heads"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.progress = progress
        except Exception as error:  # nobody knows what another version or a broken disk has left in it
            # Nothing is lost but time: the same result comes from the start.
            aside = path.with_name(path.name + ".aside")
            path.replace(aside)
            what = (
                f"the state of an unfinished job cannot be gone on with, it begins again; it was put aside as {aside}"
            )
            self.warnings.append(f"{what} ({type(error).__name__}: {error})")
            _LOG.warning(self.warnings[-1])
            self.body.load(fresh)
            self.start = fresh if len(self.runs) > 1 else {}
            self.progress = _Progress()
            self._begin(0)


class _Refit(_Trainer):
    """A job without validation: head, epochs and cuts are fixed, so its validation films are never looked at."""

    chosen: Chosen

    def _end_epoch(self) -> None:
        progress, chosen = self.progress, self.chosen
        loss = float(np.mean(progress.train_loss))
        progress.history.append({"epoch": progress.epoch, "head": chosen.candidate, "train_loss": loss})
        progress.train_loss, progress.cuts = [], sum(cut <= progress.epoch for cut in chosen.cuts)
        progress.done = progress.epoch + 1 == chosen.epochs
        if progress.done:
            numbers = [candidate.number for candidate in self.heads.grid]
            self._keep(numbers.index(chosen.candidate), loss)
            progress.best["state"] = self.body.state()
        progress.epoch, progress.step = progress.epoch + 1, 0


def _made_by() -> dict[str, str]:
    """Return whose state a checkpoint is: of other code or another torch it is not that of the job's beginning."""
    return {name: version(name) for name in ("prognobench", "torch")}


def _told(maker: object) -> str:
    return (
        ", ".join(f"{name} {number}" for name, number in maker.items()) if isinstance(maker, dict) else "another code"
    )


class _Saver:
    """Keeps the state of a trainer now and then."""

    def __init__(self, trainer: _Trainer, checkpoint: Checkpoint) -> None:
        self._trainer, self._checkpoint, self._saved = trainer, checkpoint, time.monotonic()

    def save_if_due(self) -> None:
        if time.monotonic() - self._saved >= self._checkpoint.every_seconds:
            self._trainer.save(self._checkpoint)
            self._saved = time.monotonic()


def end_of_warmup(protocol: Protocol) -> int:
    """Return the epoch, counted from 0, from which on a plateau counts."""
    return math.ceil(protocol.warmup_epochs) - 1


def learning_rate(protocol: Protocol, peak: float, step: int, steps_an_epoch: int, cuts: int) -> float:
    """Return the learning rate of a step: a linear rise, then the protocol's schedule.

    Parameters
    ----------
    protocol
        Gives warm-up, epochs and schedule.
    peak
        The rate at the end of the warm-up.
    step
        From 0, counted over all epochs.
    steps_an_epoch
        How many there are.
    cuts
        How often a plateau has cut the rates so far.
    """
    schedule = protocol.schedule
    warmup, total = protocol.warmup_epochs * steps_an_epoch, protocol.epochs * steps_an_epoch
    if step < warmup:
        return peak * min((step + 1) / warmup, 1.0)
    if schedule.kind == "constant":
        return peak
    floor = min(schedule.minimum, peak)
    if schedule.kind == "plateau":
        return max(peak * schedule.factor**cuts, floor)
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def evenly(labels: npt.NDArray[np.int64], classes: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw as many films as there are, the same number of each class to within one; a film twice only where it must.

    Examples
    --------
    >>> drawn = evenly(np.array([0, 0, 0, 0, 0, 1]), 2, np.random.default_rng(0))
    >>> np.bincount(drawn < 5).tolist()
    [3, 3]
    """
    shares = np.full(classes, len(labels) // classes)
    shares[random.permutation(classes)[: len(labels) % classes]] += 1
    drawn = []
    for label, share in enumerate(shares):
        films = np.flatnonzero(labels == label)
        rounds = [random.permutation(films) for _ in range(-(-share // len(films)))]
        drawn.append(np.concatenate(rounds)[:share])
    order: npt.NDArray[np.int64] = random.permutation(np.concatenate(drawn))
    return order


def _mixed_seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
