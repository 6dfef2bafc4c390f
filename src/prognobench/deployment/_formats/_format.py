"""What a format promises."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prognobench.frame import InputError, Problem

from .._model import Model

USE = "use.json"
MOST_FILMS = 65536  # at once, of a graph
Array = npt.NDArray[Any]
# Films, (n, size, size) uint16, to the calibrated probability and the score of the positive class, (2, n).
Reader = Callable[[npt.NDArray[np.uint16]], npt.NDArray[np.float64]]


class Format(ABC):
    """A way to hand a model to others.

    Attributes
    ----------
    name
        The word of `--to`.
    suffix
        That the file's name has; empty where it is a folder.
    needs
        The packages that writing and checking need beyond those of every installation.
    """

    name: str
    suffix: str = ""
    needs: tuple[str, ...] = ()

    def refuses(self, model: Model, gray: bool) -> str | None:
        """Say why a model cannot be had in this format, or None."""
        return f"{self.name} cannot begin with the gray image; onnx can" if gray else None

    @abstractmethod
    def write(self, model: Model, folder: Path, place: Path, gray: bool) -> Reader:
        """Write a model, and return what reads the written file without this package's network.

        Parameters
        ----------
        model
            The model.
        folder
            Where it lies.
        place
            The file or folder to write.
        gray
            Whether the graph begins with the gray image.
        """

    def require(self) -> None:
        """Raise InputError, with what to install, where a package is absent."""
        absent = [name for name in self.needs if find_spec(name) is None]
        if absent:
            what = f"the export to {self.name} needs {' and '.join(absent)}, not installed here"
            raise InputError([Problem(absent[0], what, "Run `pip install 'prognobench[export]'`")])


@contextmanager
def traceable(model: Model) -> Iterator[Any]:
    """Give the network as exporters trace it, on the processor; it goes back to its device, come what may."""
    import torch

    scorer = model.scorer
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter's own parts; the result is checked
            yield scorer.network.cpu()
    finally:
        scorer.network.to(scorer.device)


def use_of(model: Model) -> dict[str, Any]:
    """Return what a user of an exported model must know, as JSON can say it."""
    one = model.description
    card = one.backbone.card
    return {
        "classes": list(one.outcome.classes),
        "positive_means": {"column": one.outcome.label, "values": list(one.outcome.positive)},
        "preprocessing": one.preprocessing,
        "mean": list(card.mean),
        "std": list(card.std),
        "architecture": card.architecture,
        "build": card.build,
        "readout": {"blocks": one.head.blocks, "patch_mean": one.head.patch_mean},
        "head": "log_odds = row 1 − row 0 of ((features − mean) / scale) @ weight.T + bias; "
        "mean 0 and scale 1 where absent; of one row it is the log-odds itself",
        "calibration": "probability = 1 / (1 + exp(−(slope × log_odds + intercept)))",
        "slope": one.film.slope,
        "intercept": one.film.intercept,
        "threshold": one.film.threshold,
        "notice": "not a medical device",
    }
