"""`lp`: an L2 logistic regression on frozen features, solved to convergence."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from prognobench.protocols import Protocol

from ._films import Films, Outcome, Rows, class_weights, weighted_log_loss


def fit_probe(train: Films, val: Films, classes: int, protocol: Protocol) -> Outcome:
    """Solve one logistic regression for each penalty and let the validation loss choose.

    Parameters
    ----------
    train, val
        Films whose rows are features, (films, width) float32.
    classes
        How many classes the task has.
    protocol
        Gives the penalties and the class weights.

    Returns
    -------
    Outcome
        Its scores are those of `sklearn.linear_model.LogisticRegression` with the chosen `C` on features that are
        standardized by the training part's mean and standard deviation.

    Raises
    ------
    ValueError
        A class has no training film, or a solution did not converge.
    """
    features = train.rows[:].astype(np.float64)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    # A feature that is the same on every training film says nothing; dividing by its zero would.
    scale[scale == 0] = 1.0
    weights = class_weights(train.labels, classes, protocol.class_weights)

    def standardize(rows: Rows) -> npt.NDArray[np.float64]:
        standardized: npt.NDArray[np.float64] = (rows[:].astype(np.float64) - mean) / scale
        return standardized

    standardized, validation = (features - mean) / scale, standardize(val.rows)
    solutions: list[LogisticRegression] = []
    losses: list[float] = []
    for penalty in protocol.probe.penalties:
        solutions.append(_solve(standardized, train.labels, weights, penalty))
        losses.append(weighted_log_loss(solutions[-1].predict_proba(validation), val.labels, weights))
    best = int(np.argmin(losses))
    chosen = solutions[best]

    def score(rows: Rows) -> npt.NDArray[np.float64]:
        probabilities: npt.NDArray[np.float64] = chosen.predict_proba(standardize(rows))
        return probabilities

    history = pd.DataFrame(
        {
            "candidate": [f"C={penalty:g}" for penalty in protocol.probe.penalties],
            "val_loss": losses,
            "chosen": [index == best for index in range(len(losses))],
        }
    )
    tensors = {
        "head.weight": torch.from_numpy(chosen.coef_.copy()),
        "head.bias": torch.from_numpy(chosen.intercept_.copy()),
        "head.mean": torch.from_numpy(mean.copy()),
        "head.scale": torch.from_numpy(scale.copy()),
    }
    # Counted as the field counts a linear head, one row a class, though two classes need only one.
    return Outcome(score, history, classes * (features.shape[1] + 1), tensors)


def _solve(
    features: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], weights: npt.NDArray[np.float64], penalty: float
) -> LogisticRegression:
    model = LogisticRegression(C=penalty, class_weight=dict(enumerate(weights)), tol=1e-7, max_iter=20_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            return model.fit(features, labels)
        except ConvergenceWarning:
            raise ValueError(f"the logistic regression with C={penalty:g} did not converge in 20,000 steps") from None
