"""`lp`: linear heads on frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from prognobench.models import columns, readable, widest
from prognobench.protocols import Protocol, Readout

from ._design import Numbers, blocks, moments
from ._device import device_name
from ._films import Films, Outcome, Rows, class_weights, film_weights, weighted_log_loss
from ._finetune import Checkpoint, refit_heads, train_heads
from ._head_steps import is_short, train_heads_at_once
from ._logistic import Linear, probabilities, solve_logistic

if TYPE_CHECKING:
    from prognobench.models import ModelCard

    from ._chosen import Chosen


def fit_probe(
    train: Films,
    val: Films,
    classes: int,
    protocol: Protocol,
    card: ModelCard | None = None,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
) -> Outcome:
    """Solve linear heads on frozen features and let the validation loss choose.

    Parameters
    ----------
    train, val
        Films whose rows are features, (films, width) float32, of the widest of the protocol's readouts.
    classes
        How many classes the task has.
    protocol
        Gives the solver, the readouts, the penalties, and the weights of classes and films.
    card
        The card of the backbone, by which each readout finds its columns; without it all columns are read as one.
    seed, checkpoint
        Of heads that are trained by gradient steps; a logistic regression needs neither.

    Returns
    -------
    Outcome
        Under the solver `logistic`, its scores are those of `sklearn.linear_model.LogisticRegression` with the chosen
        `C` on features that are standardized by the training part's mean and standard deviation, to 1e-6; there is a
        candidate for each readout and penalty. Under `heads`, see `train_heads`.

    Raises
    ------
    ValueError
        A class has no training film, a solution did not converge, or heads are to be trained without a card.
    """
    if protocol.probe.solver == "logistic":
        return _fit_logistic(train, val, classes, protocol, card)
    if card is None:
        raise ValueError("the heads of a protocol read a model, and no card says which")
    # Which of the two follows from the problem and the device alone; their results differ by rounding.
    if device_name() == "cpu" and is_short(card, len(train.labels), classes, protocol):
        return train_heads_at_once(card, train, val, classes, protocol, seed)
    return train_heads(card, train, val, classes, protocol, seed, checkpoint)


def refit_probe(films: Films, classes: int, protocol: Protocol, card: ModelCard, seed: int, chosen: Chosen) -> Outcome:
    """Solve, or train, on all films the head that validation chose over the folds.

    Parameters
    ----------
    films
        All films, whose rows are features as for `fit_probe`.
    classes, protocol, card, seed
        As for `fit_probe`.
    chosen
        What `choose_over_folds` returned.
    """
    if protocol.probe.solver == "heads":
        return refit_heads(card, films, classes, protocol, seed, chosen)
    penalties, readouts = protocol.probe.penalties, readable(card, protocol.head.readouts)
    readout, penalty = divmod(chosen.candidate, len(penalties))
    probe = protocol.probe.model_copy(update={"penalties": (penalties[penalty],)})
    # With one candidate nothing is left to choose, whatever stands for validation.
    return _fit_logistic(films, films, classes, protocol.model_copy(update={"probe": probe}), card, readouts[readout])


def chosen_readout(card: ModelCard, protocol: Protocol, kind: str, chosen: Chosen) -> Readout:
    """Return what the chosen head reads.

    Parameters
    ----------
    card, protocol, chosen
        As for `refit_probe`.
    kind
        Of the strategy: `probe`, `adapter` or `backbone`.
    """
    readouts = readable(card, protocol.head.readouts)
    solved = kind == "probe" and protocol.probe.solver == "logistic"
    each = len(protocol.probe.penalties if solved else protocol.head_learning_rates)
    return readouts[chosen.candidate // each]


def _fit_logistic(
    train: Films,
    val: Films,
    classes: int,
    protocol: Protocol,
    card: ModelCard | None,
    only: Readout | None = None,
) -> Outcome:
    features = train.rows[:]
    mean, scale = moments(features)
    weighted = protocol.film_weights != "none"
    by_film = film_weights(train, protocol.film_weights) if weighted else None
    by_film_val = film_weights(val, protocol.film_weights) if weighted else None
    weights = class_weights(train.labels, classes, protocol.class_weights, by_film)
    by_loss = weights[train.labels] if by_film is None else weights[train.labels] * by_film

    penalties = protocol.probe.penalties
    solutions: list[_Solution] = []
    told: list[dict[str, object]] = []
    for readout, part in _readouts(card, protocol, features.shape[1]):
        if only not in (None, readout):
            continue
        by = mean[part], scale[part]
        heads = solve_logistic(features[:, part], train.labels, classes, by_loss, penalties, *by)
        solutions += [_Solution(head, part, *by) for head in heads]
        read = {} if readout is None else {"blocks": readout[0], "patch_mean": readout[1]}
        told += [{"candidate": f"C={penalty:g}", **read} for penalty in penalties]
    losses = [weighted_log_loss(each, val.labels, weights, by_film_val) for each in _scored(solutions, val.rows)]
    table = pd.DataFrame(told).assign(val_loss=losses)
    best = int(np.argmin(table["val_loss"]))
    chosen = solutions[best]
    table["chosen"] = table.index == best
    tensors = {
        "head.weight": torch.from_numpy(chosen.head.weights.copy()),
        "head.bias": torch.from_numpy(chosen.head.intercepts.copy()),
        "head.mean": torch.from_numpy(chosen.mean.copy()),
        "head.scale": torch.from_numpy(chosen.scale.copy()),
    }
    # Counted as the field counts a linear head, one row a class, though two classes need only one.
    numbers = classes * (chosen.head.weights.shape[1] + 1)
    return Outcome(lambda rows: _scored([chosen], rows)[0], table, numbers, tensors)


@dataclass(frozen=True)
class _Solution:
    """A solved head with what its columns were standardized by."""

    head: Linear
    part: slice
    mean: Numbers
    scale: Numbers

    def probabilities(self, features: Numbers) -> Numbers:
        """Return the probability of each class, (films, classes), by the widest features of any films."""
        # Rather than the films, the few coefficients are divided.
        weights = self.head.weights / self.scale
        return probabilities(features[:, self.part] @ weights.T + (self.head.intercepts - weights @ self.mean))


def _scored(solutions: Sequence[_Solution], rows: Rows) -> list[Numbers]:
    """Return the probabilities that each of some heads gives any films."""
    features = rows[:]
    found: list[list[Numbers]] = [[] for _ in solutions]
    for part in blocks(features):
        numbers = features[part].astype(np.float64)
        for solution, scored in zip(solutions, found, strict=True):
            scored.append(solution.probabilities(numbers))
    return [np.concatenate(scored) for scored in found]


def _readouts(card: ModelCard | None, protocol: Protocol, width: int) -> list[tuple[Readout | None, slice]]:
    if card is None:
        return [(None, slice(0, width))]
    readouts = readable(card, protocol.head.readouts)
    wide = widest(readouts)
    return [(readout, columns(card, readout, wide)) for readout in readouts]
