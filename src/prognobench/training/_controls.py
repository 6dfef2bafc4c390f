"""Controls: predictions that need no learned image content."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from ._films import Films, Outcome, Rows, class_weights, weighted_log_loss


def fit_majority(train: Films, val: Films, classes: int) -> Outcome:
    """Score every film with the class shares of the training part.

    At the threshold of 0.5 each film is called the majority class. Being constant, it has an MCC of 0 and a PR-AUC
    of the positives' share.
    """
    shares = np.bincount(train.labels, minlength=classes) / len(train.labels)

    def score(rows: Rows) -> npt.NDArray[np.float64]:
        return np.tile(shares, (len(rows), 1))

    loss = weighted_log_loss(score(val.rows), val.labels, class_weights(train.labels, classes, "balanced"))
    return Outcome(score, pd.DataFrame({"candidate": ["majority"], "val_loss": [loss], "chosen": [True]}), 0)
