"""What validation chose over the folds, so that a last training on all films needs no validation of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from prognobench.frame import InputError, Problem
from prognobench.protocols import Protocol

from ._finetune import end_of_warmup


@dataclass(frozen=True)
class Chosen:
    """A head, and how long to train it.

    Attributes
    ----------
    candidate
        The place of the head, or of the penalty, in the grid of candidates.
    losses
        Its lowest validation loss in each job.
    epochs
        How many epochs to train; 0 where a head is solved and not trained.
    cuts
        After which epochs, counted from 0, a plateau cuts the learning rates.
    """

    candidate: int
    losses: tuple[float, ...]
    epochs: int = 0
    cuts: tuple[int, ...] = ()


def choose_over_folds(histories: Sequence[pd.DataFrame], protocol: Protocol) -> Chosen:
    """Fix head and number of epochs by what validation said in all jobs of one cell.

    The head is the candidate with the lowest mean over the jobs of its lowest validation loss. It is trained for the
    median over the jobs of the number of epochs after which its validation loss was lowest (of an even number of jobs
    the lower of the two in the middle). The learning rates go the way they went in the job of that median: the
    schedule of the protocol, of which the first epochs are walked, and the cuts of a plateau where that job had them.

    Parameters
    ----------
    histories
        The `history` of each job, all of one strategy and protocol.
    protocol
        That protocol.

    Raises
    ------
    InputError
        Every candidate diverged in one of the jobs.

    Examples
    --------
    >>> from prognobench.protocols import resolve_protocol
    >>> solved = [pd.DataFrame({"val_loss": [0.5, 0.4, 0.9]}), pd.DataFrame({"val_loss": [0.3, 0.5, 0.1]})]
    >>> choose_over_folds(solved, resolve_protocol("standard"))
    Chosen(candidate=0, losses=(0.5, 0.3), epochs=0, cuts=())
    """
    if "epoch" not in histories[0]:
        losses = np.array([history["val_loss"].to_numpy(np.float64) for history in histories])
        best = _lowest(losses.mean(axis=0))
        return Chosen(best, tuple(losses[:, best].tolist()))
    lowest = pd.DataFrame([history.groupby("head")["val_loss"].min() for history in histories])
    means = lowest.mean(skipna=False)
    head = int(str(means.index[_lowest(means.to_numpy(np.float64))]))
    epochs = [_best_epoch(history, head) + 1 for history in histories]
    place = int(np.argsort(epochs, kind="stable")[(len(epochs) - 1) // 2])
    run = histories[place] if protocol.heads == "shared" else histories[place].query("head == @head")
    return Chosen(head, tuple(lowest[head].tolist()), epochs[place], _cuts(run, protocol))


def _lowest(losses: npt.NDArray[np.float64]) -> int:
    """Return the place of the lowest; one that diverged anywhere is no candidate."""
    if np.isnan(losses).all():
        what = "no head has a validation loss that is a number in all trainings"
        raise InputError([Problem("the study's trainings", what, "Train with a lower learning rate")])
    return int(np.nanargmin(losses))


def _best_epoch(history: pd.DataFrame, head: int) -> int:
    own = history[history["head"] == head]
    return int(own["epoch"].iloc[int(np.nanargmin(own["val_loss"].to_numpy(np.float64)))])


def _cuts(run: pd.DataFrame, protocol: Protocol) -> tuple[int, ...]:
    """Find after which epochs a run cut its rates, as its trainer did from the same losses."""
    schedule = protocol.schedule
    if schedule.kind != "plateau":
        return ()
    cuts: list[int] = []
    best = dict.fromkeys(run["head"].unique(), (math.inf, -1))
    for epoch, rows in run.groupby("epoch", sort=True):
        at = int(str(epoch))
        for head, loss in zip(rows["head"], rows["val_loss"], strict=True):
            if loss < best[head][0]:
                best[head] = (loss, at)
        since = max(*(found for _, found in best.values()), cuts[-1] if cuts else -1, end_of_warmup(protocol))
        if at - since > schedule.patience:
            cuts.append(at)
    return tuple(cuts)
