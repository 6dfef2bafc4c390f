"""`lp`: linear heads on frozen features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from prognobench.models import columns, readable, widest
from prognobench.protocols import Protocol, Readout

from ._device import device_name
from ._films import Films, Outcome, class_weights, film_weights, weighted_log_loss
from ._finetune import Checkpoint, refit_heads, train_heads
from ._head_steps import is_short, train_heads_at_once
from ._logistic import Linear, Numbers, probabilities, solve_logistic

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
    features = train.rows[:].astype(np.float64)
    mean, scale = _standardize(features)
    weighted = protocol.film_weights != "none"
    by_film = film_weights(train, protocol.film_weights) if weighted else None
    by_film_val = film_weights(val, protocol.film_weights) if weighted else None
    weights = class_weights(train.labels, classes, protocol.class_weights, by_film)
    by_loss = weights[train.labels] if by_film is None else weights[train.labels] * by_film

    penalties = protocol.probe.penalties
    solutions: list[_Solution] = []
    history: list[dict[str, object]] = []
    validation = val.rows[:].astype(np.float64)
    for readout, part in _readouts(card, protocol, features.shape[1]):
        if only not in (None, readout):
            continue
        read = np.ascontiguousarray(features[:, part])
        heads = solve_logistic(read, train.labels, classes, by_loss, penalties)
        solutions += [_Solution(head, part, mean[part], scale[part]) for head in heads]
        for penalty, solution in zip(penalties, solutions[-len(penalties) :], strict=True):
            loss = weighted_log_loss(solution.probabilities(validation), val.labels, weights, by_film_val)
            told = {} if readout is None else {"blocks": readout[0], "patch_mean": readout[1]}
            history.append({"candidate": f"C={penalty:g}", **told, "val_loss": loss})
    table = pd.DataFrame(history)
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
    return Outcome(lambda rows: chosen.probabilities(rows[:].astype(np.float64)), table, numbers, tensors)


def _standardize(features: Numbers) -> tuple[Numbers, Numbers]:
    """Standardize features in place by their own mean and standard deviation, and return these."""
    # A feature that is the same on every training film says nothing; rounding can leave it a spread to be divided by.
    constant = features.min(axis=0) == features.max(axis=0)
    mean: Numbers = features.mean(axis=0)
    features -= mean
    scale: Numbers = np.sqrt(np.einsum("ij,ij->j", features, features) / len(features))
    features[:, constant] = 0.0
    scale[constant | (scale == 0)] = 1.0
    features /= scale
    return mean, scale


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


def _readouts(card: ModelCard | None, protocol: Protocol, width: int) -> list[tuple[Readout | None, slice]]:
    if card is None:
        return [(None, slice(0, width))]
    readouts = readable(card, protocol.head.readouts)
    wide = widest(readouts)
    return [(readout, columns(card, readout, wide)) for readout in readouts]
