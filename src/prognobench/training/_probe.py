"""`lp`: linear heads on frozen features."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from prognobench.models import columns, readable, widest
from prognobench.protocols import Protocol, Readout

from ._films import Films, Outcome, Rows, class_weights, film_weights, weighted_log_loss
from ._finetune import Checkpoint, train_heads

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

    from prognobench.models import ModelCard


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
        `C` on features that are standardized by the training part's mean and standard deviation; there is a candidate
        for each readout and penalty. Under `heads`, see `train_heads`.

    Raises
    ------
    ValueError
        A class has no training film, a solution did not converge, or heads are to be trained without a card.
    """
    if protocol.probe.solver == "logistic":
        return _fit_logistic(train, val, classes, protocol, card)
    if card is None:
        raise ValueError("the heads of a protocol read a model, and no card says which")
    return train_heads(card, train, val, classes, protocol, seed, checkpoint)


def _fit_logistic(train: Films, val: Films, classes: int, protocol: Protocol, card: ModelCard | None) -> Outcome:
    features = train.rows[:].astype(np.float64)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    # A feature that is the same on every training film says nothing; dividing by its zero would.
    scale[scale == 0] = 1.0
    weighted = protocol.film_weights != "none"
    by_film = film_weights(train, protocol.film_weights) if weighted else None
    by_film_val = film_weights(val, protocol.film_weights) if weighted else None
    weights = class_weights(train.labels, classes, protocol.class_weights, by_film)

    def standardize(rows: Rows, part: slice) -> npt.NDArray[np.float64]:
        standardized: npt.NDArray[np.float64] = (rows[:][:, part].astype(np.float64) - mean[part]) / scale[part]
        return standardized

    solutions: list[LogisticRegression] = []
    history: list[dict[str, object]] = []
    parts: list[slice] = []
    for readout, part in _readouts(card, protocol, features.shape[1]):
        standardized, validation = (features[:, part] - mean[part]) / scale[part], standardize(val.rows, part)
        for penalty in protocol.probe.penalties:
            solutions.append(_solve(standardized, train.labels, weights, penalty, by_film))
            parts.append(part)
            probabilities = solutions[-1].predict_proba(validation)
            loss = weighted_log_loss(probabilities, val.labels, weights, by_film_val)
            told = {} if readout is None else {"blocks": readout[0], "patch_mean": readout[1]}
            history.append({"candidate": f"C={penalty:g}", **told, "val_loss": loss})
    table = pd.DataFrame(history)
    best = int(np.argmin(table["val_loss"]))
    chosen, part = solutions[best], parts[best]
    table["chosen"] = table.index == best

    def score(rows: Rows) -> npt.NDArray[np.float64]:
        probabilities: npt.NDArray[np.float64] = chosen.predict_proba(standardize(rows, part))
        return probabilities

    tensors = {
        "head.weight": torch.from_numpy(chosen.coef_.copy()),
        "head.bias": torch.from_numpy(chosen.intercept_.copy()),
        "head.mean": torch.from_numpy(mean[part].copy()),
        "head.scale": torch.from_numpy(scale[part].copy()),
    }
    # Counted as the field counts a linear head, one row a class, though two classes need only one.
    return Outcome(score, table, classes * (chosen.coef_.shape[1] + 1), tensors)


def _readouts(card: ModelCard | None, protocol: Protocol, width: int) -> list[tuple[Readout | None, slice]]:
    if card is None:
        return [(None, slice(0, width))]
    readouts = readable(card, protocol.head.readouts)
    wide = widest(readouts)
    return [(readout, columns(card, readout, wide)) for readout in readouts]


def _solve(
    features: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    penalty: float,
    by_film: npt.NDArray[np.float64] | None,
) -> LogisticRegression:
    # A plan asks this room for the precision in use, and would wait for scikit-learn as long as for torch.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=penalty, class_weight=dict(enumerate(weights)), tol=1e-7, max_iter=20_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            return model.fit(features, labels, sample_weight=by_film)
        except ConvergenceWarning:
            raise ValueError(f"the logistic regression with C={penalty:g} did not converge in 20,000 steps") from None
