"""The grid of heads on ready features, trained by gradient steps as one small computation without autograd."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch.nn import functional

from prognobench.protocols import Protocol

from ._films import Films, Outcome, Rows, class_weights, film_weights
from ._finetune import evenly, learning_rate
from ._heads import Candidate, Heads, candidates

if TYPE_CHECKING:
    from prognobench.models import ModelCard

Numbers = npt.NDArray[np.float32]

# Operations a second that one core of any processor of the last ten years reaches, and what it does in ten minutes.
_SPEED, _MOST_OPERATIONS = 15e9, 1e13
_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # of AdamW, as torch has them


def is_short(card: ModelCard, films: int, classes: int, protocol: Protocol) -> bool:
    """Return whether the heads take less than ten minutes even if nothing stops them early.

    Such heads keep no state on disk: what an interruption loses is trained again at once.
    """
    return _operations(card, films, classes, protocol) < _MOST_OPERATIONS


def head_seconds(card: ModelCard, films: int, classes: int, protocol: Protocol) -> float:
    """Return how long one slow core trains the grid of heads on ready features, if nothing stops them early."""
    return _operations(card, films, classes, protocol) / _SPEED


def _operations(card: ModelCard, films: int, classes: int, protocol: Protocol) -> float:
    grid = candidates(card, protocol)
    outputs, width = len(grid) * (1 if classes == 2 else classes), max(c.columns.stop for c in grid)
    return float(4 * protocol.epochs * films * outputs * width)


def train_heads_at_once(
    card: ModelCard, train: Films, val: Films, classes: int, protocol: Protocol, seed: int
) -> Outcome:
    """Train the grid of heads as `train_heads` does, with the same result but for rounding, many times faster.

    All heads take a step together, whether they stop together or each by itself, since they see the same films: one
    matrix product gives their scores, one their gradients, and the optimizer's arithmetic is written out. Of two
    classes only the difference of the scores is computed: their gradients are opposite, and so are all their steps.

    Everything is computed of this problem alone, so that no problem beside it changes its bits.

    Parameters
    ----------
    card, train, val, classes, protocol, seed
        As for `train_heads`.

    Raises
    ------
    ValueError
        As `train_heads`.
    """
    steps = _HeadSteps(candidates(card, protocol), train, val, classes, protocol, seed)
    steps.run()
    return steps.outcome()


@dataclass(frozen=True)
class _Batch:
    """Films of a step: features, classes, and what each counts for in the mean of the losses."""

    films: Numbers
    labels: npt.NDArray[np.int64]
    counts: Numbers


@dataclass
class _Best:
    """The epoch of a head with its lowest validation loss, and the head then."""

    loss: float = math.inf
    epoch: int = -1
    weight: Numbers | None = None
    bias: Numbers | None = None


class _HeadSteps:
    """The heads of one problem; a row of its arrays is an output: one a head for two classes, else one a class."""

    def __init__(
        self, grid: list[Candidate], train: Films, val: Films, classes: int, protocol: Protocol, seed: int
    ) -> None:
        self.grid, self.train, self.val, self.classes = grid, train, val, classes
        self.protocol, self.seed = protocol, seed
        weighted = protocol.film_weights != "none"
        by_film = film_weights(train, protocol.film_weights) if weighted else None
        weights = class_weights(train.labels, classes, protocol.class_weights, by_film)
        counts = weights.astype(np.float32)[train.labels]
        self.counts = counts if by_film is None else counts * by_film.astype(np.float32)
        val_counts = weights[val.labels]
        self.val_counts = val_counts * film_weights(val, protocol.film_weights) if weighted else val_counts
        self.val_features = np.asarray(val.rows[:], dtype=np.float32)
        self.steps = math.ceil(len(train.labels) / protocol.batch_size)
        self.active = list(range(len(grid)))
        self.best = [_Best() for _ in grid]
        self.cuts, self.last_cut = [0] * len(grid), [-1] * len(grid)
        self.history: list[dict[str, Any]] = []
        self.known_rates: tuple[tuple[object, ...], Numbers] | None = None
        self._begin()

    @np.errstate(over="ignore", invalid="ignore")  # rates that are too high are told once, as an error
    def run(self) -> None:
        """Train until every head is done."""
        # Where a step takes all films, their order changes no more than the rounding of a sum.
        all_films = self.steps == 1 and self.protocol.sampler == "shuffle"
        whole = self._batch(np.arange(len(self.train.labels))) if all_films else None
        for epoch in range(self.protocol.epochs):
            losses = np.zeros(len(self.active))
            if whole is not None:
                losses += self._step(whole, epoch, 0)
            else:
                for step, chosen in enumerate(np.array_split(self._order(epoch), self.steps)):
                    losses += self._step(self._batch(chosen), epoch, step)
            self.seen += losses / self.steps
            self.epochs_seen += 1
            last = epoch + 1 == self.protocol.epochs
            if last or (epoch + 1) % self.protocol.evaluate_every == 0:
                self._validate(epoch)
                self._cut_on_plateau(epoch)
                self._dismiss(epoch)
            if not self.active:
                break
        if not any(math.isfinite(best.loss) for best in self.best):
            raise ValueError("no epoch gave a finite validation loss: lower the learning rates")

    def outcome(self) -> Outcome:
        """Return what the best head of all says."""
        history = pd.DataFrame(self.history)
        if self.protocol.heads == "separate":
            # In the order in which they would have been trained one after the other.
            history = history.sort_values("head", kind="stable", ignore_index=True)
        # As if tried in that order, the first of equal ones is kept.
        first = ["head"] if self.protocol.heads == "separate" else ["epoch", "head"]
        chosen = history.sort_values(["val_loss", *first], kind="stable").iloc[0]
        number = int(chosen["head"])
        best, read = self.best[number], self.grid[number].columns
        history["chosen"] = (history["head"] == number) & (history["epoch"] == best.epoch)
        weight, bias = self._head(number, best)

        def score(rows: Rows) -> npt.NDArray[np.float64]:
            features = torch.from_numpy(np.asarray(rows[:], dtype=np.float32))
            logits = functional.linear(features[:, read], weight, bias)
            probabilities: npt.NDArray[np.float64] = torch.softmax(logits.double(), dim=-1).numpy()
            return probabilities

        return Outcome(score, history, weight.numel() + bias.numel(), {"head.weight": weight, "head.bias": bias})

    def _begin(self) -> None:
        """Draw the heads as `Heads` does, and lay them into one matrix; what a head does not read is 0 in it."""
        drawn = Heads(self.grid, self.classes, self.seed)
        self.start = [
            (weight.detach().numpy(), bias.detach().numpy())
            for weight, bias in zip(drawn.weights, drawn.biases, strict=True)
        ]
        self.outputs = 1 if self.classes == 2 else self.classes
        width = self.val_features.shape[1]
        self.weight = np.zeros((len(self.grid) * self.outputs, width), dtype=np.float32)
        self.reads = np.zeros_like(self.weight)
        for place, (candidate, (weight, _)) in enumerate(zip(self.grid, self.start, strict=True)):
            rows = slice(place * self.outputs, (place + 1) * self.outputs)
            self.weight[rows, candidate.columns] = weight[1:] - weight[:1] if self.classes == 2 else weight
            self.reads[rows, candidate.columns] = 1.0
        self.all_read = bool(self.reads.all())
        self.bias = np.zeros(len(self.weight), dtype=np.float32)
        moments = 2 if self.protocol.optimizer == "adamw" else 1
        self.moments = [(np.zeros_like(self.weight), np.zeros_like(self.bias)) for _ in range(moments)]
        # What the two scores of two classes move apart by is twice what each moves.
        self.reach = 2.0 if self.classes == 2 else 1.0
        self.seen, self.epochs_seen = np.zeros(len(self.grid)), 0

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        random = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        if self.protocol.sampler == "balanced":
            return evenly(self.train.labels, self.classes, random)
        return random.permutation(len(self.train.labels))

    def _batch(self, chosen: npt.NDArray[np.int64]) -> _Batch:
        counts = self.counts[chosen] / np.float32(len(chosen))
        return _Batch(np.asarray(self.train.rows[chosen], dtype=np.float32), self.train.labels[chosen], counts)

    def _step(self, batch: _Batch, epoch: int, step: int) -> npt.NDArray[np.float64]:
        """Take one step with all heads, and return the loss of each."""
        films, labels, counts = batch.films, batch.labels, batch.counts
        scores = films @ self.weight.T
        scores += self.bias
        look = self._two_classes if self.outputs == 1 else self._several
        losses, slopes = look(scores, labels, counts)
        if not np.isfinite(losses).all():
            raise ValueError(f"the training loss is no longer finite in epoch {epoch + 1}: lower the rates")
        gradient = slopes.T @ films
        if not self.all_read:
            gradient *= self.reads
        taken = epoch * self.steps + step
        self._move(gradient, slopes.sum(axis=0), self._rates(taken), taken + 1)
        return losses

    def _two_classes(
        self, scores: Numbers, labels: npt.NDArray[np.int64], counts: Numbers
    ) -> tuple[npt.NDArray[np.float64], Numbers]:
        signs = (2 * labels - 1).astype(np.float32)
        against = scores * -signs[:, None]
        raised = np.exp(-np.abs(against))
        losses = counts @ (np.log1p(raised) + np.maximum(against, 0))
        wrong = np.where(against > 0, np.float32(1), raised) / (1 + raised)
        return losses.astype(np.float64), wrong * (-signs * counts)[:, None]

    def _several(
        self, scores: Numbers, labels: npt.NDArray[np.int64], counts: Numbers
    ) -> tuple[npt.NDArray[np.float64], Numbers]:
        apart = scores.reshape(len(scores), -1, self.classes)
        apart = apart - apart.max(axis=2, keepdims=True)
        raised = np.exp(apart)
        total = raised.sum(axis=2, keepdims=True)
        films = np.arange(len(labels))
        losses = counts @ (np.log(total[:, :, 0]) - apart[films, :, labels])
        slopes = raised / total
        slopes[films, :, labels] -= 1
        slopes *= counts[:, None, None]
        return losses.astype(np.float64), slopes.reshape(len(scores), -1)

    def _rates(self, step: int) -> Numbers:
        """Return the learning rate of each output."""
        rises = step < self.protocol.warmup_epochs * self.steps
        known: tuple[object, ...] = (
            ("step", step)
            if rises or self.protocol.schedule.kind == "cosine"
            else tuple(self.cuts[h] for h in self.active)
        )
        if self.known_rates is None or self.known_rates[0] != known:
            rates = [
                self.reach * learning_rate(self.protocol, self.grid[head].rate, step, self.steps, self.cuts[head])
                for head in self.active
            ]
            self.known_rates = (known, np.repeat(np.array(rates, dtype=np.float32), self.outputs))
        return self.known_rates[1]

    def _move(self, weight: Numbers, bias: Numbers, rates: Numbers, count: int) -> None:
        """Take one step of the optimizer along the gradients of weights and biases."""
        move = self._adamw if self.protocol.optimizer == "adamw" else self._sgd
        move(self.weight, weight, rates[:, None], [moment for moment, _ in self.moments], count)
        move(self.bias, bias, rates, [moment for _, moment in self.moments], count)

    def _sgd(self, parameter: Numbers, gradient: Numbers, rates: Numbers, moments: list[Numbers], count: int) -> None:
        (momentum,) = moments
        momentum *= np.float32(self.protocol.momentum if count > 1 else 0.0)
        momentum += gradient
        parameter -= rates * momentum

    def _adamw(self, parameter: Numbers, gradient: Numbers, rates: Numbers, moments: list[Numbers], count: int) -> None:
        """Change the parameter, the moments and, for it is needed no more, the gradient in place."""
        mean, square = moments
        mean += np.float32(1 - _BETAS[0]) * (gradient - mean)
        gradient *= gradient
        gradient *= np.float32(1 - _BETAS[1])
        square *= np.float32(_BETAS[1])
        square += gradient
        np.sqrt(square, out=gradient)
        gradient *= np.float32(1 / math.sqrt(1 - _BETAS[1] ** count))
        gradient += np.float32(_EPSILON)
        np.divide(mean, gradient, out=gradient)
        gradient *= rates * np.float32(1 / (1 - _BETAS[0] ** count))
        parameter -= gradient

    def _validate(self, epoch: int) -> None:
        """Note the validation loss of each head, and keep the best of each."""
        scores = (self.val_features @ self.weight.T + self.bias).astype(np.float64)
        films, labels = np.arange(len(self.val.labels)), self.val.labels
        if self.outputs == 1:
            against = np.where(labels == 1, -1.0, 1.0)[:, None] * scores
            losses = np.logaddexp(0, against)
        else:
            apart = scores.reshape(len(scores), -1, self.classes)
            highest = apart.max(axis=2)
            losses = np.log(np.exp(apart - highest[:, :, None]).sum(axis=2)) + highest - apart[films, :, labels]
        # A probability is no smaller than the least number that float64 has.
        losses = np.minimum(losses, -math.log(np.finfo(np.float64).tiny))
        found = self.val_counts @ losses / self.val_counts.sum()
        train_losses = self.seen / self.epochs_seen
        if self.protocol.heads == "shared":
            train_losses[:] = train_losses.mean()
        self.seen, self.epochs_seen = np.zeros(len(self.active)), 0
        for place, head in enumerate(self.active):
            loss, (blocks, patch_mean) = float(found[place]), self.grid[head].readout
            self.history.append(
                {
                    "epoch": epoch,
                    "head": head,
                    "blocks": blocks,
                    "patch_mean": patch_mean,
                    "head_learning_rate": self.grid[head].rate,
                    "train_loss": float(train_losses[place]),
                    "val_loss": loss,
                }
            )
            if loss < self.best[head].loss:
                rows = slice(place * self.outputs, (place + 1) * self.outputs)
                self.best[head] = _Best(loss, epoch, self.weight[rows].copy(), self.bias[rows].copy())

    def _cut_on_plateau(self, epoch: int) -> None:
        """Count a cut of the learning rates, of all heads or of each by itself, as `_Trainer` does."""
        schedule, end_of_warmup = self.protocol.schedule, math.ceil(self.protocol.warmup_epochs) - 1
        if schedule.kind != "plateau":
            return
        for heads in self._runs():
            best = max(self.best[head].epoch for head in heads)
            if epoch - max(best, self.last_cut[heads[0]], end_of_warmup) > schedule.patience:
                for head in heads:
                    self.cuts[head], self.last_cut[head] = self.cuts[head] + 1, epoch

    def _dismiss(self, epoch: int) -> None:
        """Let the heads go that have not improved for the patience."""
        done: set[int] = set()
        for heads in self._runs():
            if epoch - max(self.best[head].epoch for head in heads) >= self.protocol.patience:
                done.update(heads)
        if not done:
            return
        stay = np.repeat([head not in done for head in self.active], self.outputs)
        self.weight, self.bias, self.reads = self.weight[stay], self.bias[stay], self.reads[stay]
        self.moments = [(weight[stay], bias[stay]) for weight, bias in self.moments]
        self.active = [head for head in self.active if head not in done]
        self.known_rates = None
        self.seen = np.zeros(len(self.active))

    def _runs(self) -> list[list[int]]:
        """Return which of the heads that still train stop together."""
        return [self.active] if self.protocol.heads == "shared" else [[head] for head in self.active]

    def _head(self, number: int, best: _Best) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the weights and biases of a head, one row a class."""
        assert best.weight is not None
        assert best.bias is not None
        weight, bias = best.weight[:, self.grid[number].columns], best.bias
        if self.classes == 2:
            start, shift = self.start[number]
            halves = np.array([[-0.5], [0.5]], dtype=np.float32)
            weight = start + halves * (weight - (start[1:] - start[:1]))
            bias = shift + halves[:, 0] * bias
        return torch.from_numpy(np.ascontiguousarray(weight)), torch.from_numpy(np.ascontiguousarray(bias))
