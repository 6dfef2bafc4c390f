"""Train a strategy and its heads by gradient steps; validation chooses epoch and head."""

from __future__ import annotations

import logging
import math
import os
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from prognobench.models import read_out, readout_width
from prognobench.protocols import Protocol

from ._batches import Normalizer
from ._device import Precision, device_name
from ._films import Array, Films, Outcome, Rows, class_weights, weighted_log_loss

if TYPE_CHECKING:
    from prognobench.models import ModelCard
    from prognobench.strategies import Strategy

_LOG = logging.getLogger(__name__)
# Of films scored at once; fixed, since the size of a batch can change the last bits.
_SCORING_BATCH = 32


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


class Heads(nn.Module):
    """Linear heads that read the same features, one for each learning rate.

    Weights are drawn from N(0, 0.01), biases are 0, as in DINOv2's linear evaluation. All heads begin alike, so that
    only the learning rate tells them apart.
    """

    def __init__(self, width: int, classes: int, rates: tuple[float, ...], seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(classes, width, generator=generator) * 0.01
        self.rates = rates
        self.weights = nn.ParameterList(nn.Parameter(weight.clone()) for _ in rates)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(classes)) for _ in rates)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (heads, films, classes) of features (films, width)."""
        pairs = zip(self.weights, self.biases, strict=True)
        return torch.stack([functional.linear(features, weight, bias) for weight, bias in pairs])

    def groups(self) -> list[dict[str, Any]]:
        """Return one optimizer group a head."""
        return [
            {"params": [weight, bias], "lr": rate, "weight_decay": 0.0}
            for weight, bias, rate in zip(self.weights, self.biases, self.rates, strict=True)
        ]


@dataclass
class _Progress:
    """All that changes while a job trains, and so all that a checkpoint holds."""

    epoch: int = 0
    step: int = 0
    train_loss: list[float] = field(default_factory=list)
    best_loss: list[float] = field(default_factory=list)
    best_epoch: list[int] = field(default_factory=list)
    best_heads: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    states: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    forward: int = 0
    backward: int = 0
    done: bool = False


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
    """Train what a strategy leaves trainable, together with one head for each head learning rate.

    The sum of the heads' class-weighted cross-entropies trains the shared backbone. Each head keeps its own best
    epoch by validation loss, with the backbone's state of that epoch; training stops when no head has improved for
    the patience. The head with the lowest validation loss is the one that scores.

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
        `bf16` computes the backbone under autocast; parameters, heads, losses and the optimizer stay float32.
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
    trainer = _Trainer(module, strategy, card, train, val, classes, protocol, precision, seed)
    trainer.run(checkpoint, heartbeat)
    return trainer.outcome()


class _Trainer:
    """One run of `fine_tune`."""

    def __init__(
        self,
        module: nn.Module,
        strategy: Strategy,
        card: ModelCard,
        train: Films,
        val: Films,
        classes: int,
        protocol: Protocol,
        precision: Precision,
        seed: int,
    ) -> None:
        self.device = device_name()
        self.module, self.strategy, self.card = module.to(self.device), strategy, card
        self.train, self.val, self.classes = train, val, classes
        self.protocol, self.precision, self.seed = protocol, precision, seed
        self.normalize = Normalizer(card, self.device)
        width = readout_width(card, protocol.head.blocks, protocol.head.patch_mean)
        self.heads = Heads(width, classes, protocol.head_learning_rates, seed).to(self.device)
        self.weights = class_weights(train.labels, classes, protocol.class_weights)
        self.optimizer = torch.optim.AdamW(
            [*strategy.parameter_groups(module, protocol), *self.heads.groups()], fused=True
        )
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.steps = math.ceil(len(train.labels) / protocol.batch_size)
        self.progress = _Progress(best_loss=[math.inf] * len(self.heads.rates), best_epoch=[-1] * len(self.heads.rates))
        self.progress.best_heads = [self._head(index) for index in range(len(self.heads.rates))]
        self.proved_alive = False

    def run(self, checkpoint: Checkpoint | None, heartbeat: Callable[[int, int], None] | None) -> None:
        if checkpoint is not None and checkpoint.path.exists():
            self._restore(checkpoint.path)
        saved = time.monotonic()
        progress = self.progress
        while not progress.done:
            batches = self._batches(progress.epoch)
            while progress.step < self.steps:
                progress.train_loss.append(self._step(batches[progress.step]))
                progress.step += 1
                if checkpoint is not None and time.monotonic() - saved >= checkpoint.every_seconds:
                    self._save(checkpoint)
                    saved = time.monotonic()
            self._end_epoch()
            if heartbeat is not None:
                heartbeat(progress.epoch, self.protocol.epochs)

    def outcome(self) -> Outcome:
        progress = self.progress
        best = int(np.argmin(progress.best_loss))
        chosen_epoch = progress.best_epoch[best]
        self.strategy.load(self.module, progress.states[chosen_epoch])
        weight, bias = progress.best_heads[best]
        history = pd.DataFrame(progress.history)
        history["chosen"] = (history["head"] == best) & (history["epoch"] == chosen_epoch)

        def score(rows: Rows) -> npt.NDArray[np.float64]:
            logits = functional.linear(self._features(rows), weight, bias)
            probabilities: npt.NDArray[np.float64] = torch.softmax(logits.double(), dim=-1).cpu().numpy()
            return probabilities

        trained = sum(parameter.numel() for parameter in self.module.parameters() if parameter.requires_grad)
        return Outcome(
            score,
            history,
            trained + weight.numel() + bias.numel(),
            {"head.weight": weight, "head.bias": bias, **progress.states[chosen_epoch]},
            {"forward": progress.forward, "backward": progress.backward},
        )

    def _batches(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        """Deal the films of one epoch; a function of seed and epoch, so that nothing of it must be kept."""
        order = np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(len(self.train.labels))
        # Nearly equal batches: a last batch of one film would upset batch normalization.
        return list(np.array_split(order, self.steps))

    def _step(self, chosen: npt.NDArray[np.int64]) -> float:
        progress = self.progress
        self._schedule()
        self._training_mode()
        # Dropout draws from the global generator; a function of the step alone lets a resumed job draw the same.
        torch.manual_seed(_mixed_seed(self.seed, progress.epoch, progress.step))
        labels = torch.from_numpy(self.train.labels[chosen]).to(self.device)
        with self._autocast():
            features = self._read(self.train.rows[chosen])
        losses = self._losses(self.heads(features.float()), labels)
        # Divided by the films, not by their weights: a batch that holds the rare class counts for more.
        loss = losses.sum() / len(chosen)
        if not torch.isfinite(loss):
            raise ValueError(f"the training loss is no longer finite in epoch {progress.epoch + 1}: lower the rates")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if not self.proved_alive:
            self._refuse_silent_tensors()
        self.optimizer.step()
        progress.forward += len(chosen)
        progress.backward += len(chosen)
        return float(loss.detach()) / len(self.heads.rates)

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        weights = torch.from_numpy(self.weights).float().to(self.device)
        repeated = labels.expand(logits.shape[0], -1)
        return functional.cross_entropy(logits.flatten(0, 1), repeated.flatten(), weight=weights, reduction="none")

    def _schedule(self) -> None:
        """Warm up linearly, then fall as a cosine to 0 at the last step that the epochs allow."""
        step = self.progress.epoch * self.steps + self.progress.step
        warmup = self.protocol.warmup_epochs * self.steps
        total = self.protocol.epochs * self.steps
        factor = (
            (step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
        )
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * min(factor, 1.0)

    def _training_mode(self) -> None:
        self.module.train()
        if self.strategy.card.kind != "backbone":
            # A frozen backbone keeps its statistics; peft would not store them, and they would leak into removal.
            for part in self.module.modules():
                if isinstance(part, nn.modules.batchnorm._BatchNorm):
                    part.eval()

    def _refuse_silent_tensors(self) -> None:
        silent = [
            name
            for name, parameter in self.module.named_parameters()
            if parameter.requires_grad and parameter.grad is None
        ]
        if silent:
            raise ValueError(
                f"{self.strategy.label} trains nothing in {len(silent)} of its tensors on {self.card.id}, "
                f"the first is {silent[0]}: the model does not call that module"
            )
        self.proved_alive = True

    def _end_epoch(self) -> None:
        progress = self.progress
        with torch.no_grad():
            logits = self.heads(self._features(self.val.rows)).double()
        probabilities = torch.softmax(logits, dim=-1).cpu().numpy()
        state: dict[str, Tensor] | None = None
        for head, rate in enumerate(self.heads.rates):
            loss = weighted_log_loss(probabilities[head], self.val.labels, self.weights)
            progress.history.append(
                {
                    "epoch": progress.epoch,
                    "head": head,
                    "head_learning_rate": rate,
                    "train_loss": float(np.mean(progress.train_loss)),
                    "val_loss": loss,
                }
            )
            if loss < progress.best_loss[head]:
                state = self.strategy.state(self.module) if state is None else state
                progress.best_loss[head], progress.best_epoch[head] = loss, progress.epoch
                progress.best_heads[head] = self._head(head)
                progress.states[progress.epoch] = state
        # Only the states that a head still needs are kept.
        progress.states = {epoch: kept for epoch, kept in progress.states.items() if epoch in progress.best_epoch}
        idle = progress.epoch - max(progress.best_epoch)
        progress.epoch, progress.step, progress.train_loss = progress.epoch + 1, 0, []
        progress.done = progress.epoch >= self.protocol.epochs or idle >= self.protocol.patience
        if progress.done and max(progress.best_epoch) < 0:
            raise ValueError("no epoch gave a finite validation loss: lower the learning rates")

    def _features(self, rows: Rows) -> Tensor:
        """Return the features of any rows, (films, width) float32, in evaluation mode."""
        self.module.eval()
        found: list[Tensor] = []
        with torch.inference_mode(), self._autocast():
            for start in range(0, len(rows), _SCORING_BATCH):
                batch = rows[start : start + _SCORING_BATCH]
                found.append(self._read(batch).float())
        self.progress.forward += len(rows)
        return torch.cat(found)

    def _read(self, pixels: Array) -> Tensor:
        head = self.protocol.head
        return read_out(self.module, self.normalize(pixels), head.blocks, head.patch_mean)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def _head(self, index: int) -> tuple[Tensor, Tensor]:
        return self.heads.weights[index].detach().clone(), self.heads.biases[index].detach().clone()

    def _save(self, checkpoint: Checkpoint) -> None:
        checkpoint.draft.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "module": self.strategy.state(self.module),
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
        try:
            content = torch.load(path, map_location=self.device, weights_only=True)
        except (EOFError, OSError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
            # Nothing is lost but time: the same result comes from the start.
            _LOG.warning("the state of an unfinished job cannot be read, it begins again (%s: %s)", path, error)
            path.unlink(missing_ok=True)
            return
        self.strategy.load(self.module, content["module"])
        self.heads.load_state_dict(content["heads"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.progress = _Progress(**content["progress"])


def _mixed_seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
