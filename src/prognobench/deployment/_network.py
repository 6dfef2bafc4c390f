"""Backbone, adapter, head and calibration as one network: the one that is saved, used and exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from prognobench.evaluation import log_odds
from prognobench.models import columns, read_out, widest
from prognobench.training import Normalizer, device_name

from ._description import Calibration
from ._likeness import Likeness

if TYPE_CHECKING:
    from prognobench.models import ModelCard

# Where probabilities of 64 bits end; evaluation cuts scores there, too.
_MOST_ODDS = float(log_odds(np.array(1.0)))
# Films at once; the last batch is filled up, so that a film's numbers depend on no other film. At another place of the
# batch, as after an interruption, they may differ in their last bits (by less than 1e-6, relatively).
_BATCH = {"cpu": 8, "cuda": 64}


class LinearHead(nn.Module):
    """A linear head on standardized features, computed in float64.

    Parameters
    ----------
    tensors
        `head.weight` (classes, width), or (1, width) for the log-odds of two classes; `head.bias`; and, where the
        features are standardized, `head.mean` and `head.scale`.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        weight, bias = tensors["head.weight"].double(), tensors["head.bias"].double()
        if len(weight) > 2:
            raise ValueError(f"a head of {len(weight)} classes, where two can be told apart")
        if len(weight) == 2:
            # Softmax over two classes is the logistic function of the difference.
            weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
        width = weight.shape[1]
        self.weight, self.bias = nn.Buffer(weight.detach().clone()), nn.Buffer(bias.detach().clone())
        self.mean = nn.Buffer(tensors.get("head.mean", torch.zeros(width)).double().clone())
        self.scale = nn.Buffer(tensors.get("head.scale", torch.ones(width)).double().clone())

    def forward(self, features: Tensor) -> Tensor:
        """Return the log-odds of the positive class, (films,) float64, cut to ±36."""
        standardized = (features.double() - self.mean) / self.scale
        odds = (standardized @ self.weight.T + self.bias)[:, 0]
        return torch.clamp(odds, -_MOST_ODDS, _MOST_ODDS)


class Network(nn.Module):
    """From normalized pixels to a score and a calibrated probability.

    Parameters
    ----------
    backbone
        With the adapter merged where that can be.
    card
        Of the backbone.
    readout
        What the head reads: blocks, and whether the mean patch token follows.
    head
        The head.
    calibration
        Of single films.
    """

    def __init__(
        self,
        backbone: nn.Module,
        card: ModelCard,
        readout: tuple[int, bool],
        head: LinearHead,
        calibration: Calibration,
    ) -> None:
        super().__init__()
        self.backbone, self.head = backbone.requires_grad_(False).eval(), head
        self.card, self.readout = card, readout
        self.columns = columns(card, readout, widest((readout,)))
        self.slope, self.intercept = calibration.slope, calibration.intercept
        self.eval()

    def features(self, images: Tensor) -> Tensor:
        """Return what the head reads, (films, width) float32, of (films, 3, size, size)."""
        return read_out(self.backbone, images, *self.readout)[:, self.columns].float()

    def odds(self, images: Tensor) -> Tensor:
        """Return the log-odds before calibration."""
        odds: Tensor = self.head(self.features(images))
        return odds

    def probabilities(self, odds: Tensor) -> tuple[Tensor, Tensor]:
        """Return score and calibrated probability of log-odds, float64."""
        return torch.sigmoid(odds), torch.sigmoid(self.slope * odds + self.intercept)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the calibrated probability and the score of the positive class, (films,) float64 each."""
        score, probability = self.probabilities(self.odds(images))
        return probability, score


@dataclass(frozen=True, eq=False)
class Scores:
    """Of films: score and calibrated probability of the positive class, and the distance; shape (films,) each."""

    score: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]
    distance: npt.NDArray[np.float64]


class Scorer:
    """Sends pixels through a network, always as many at once.

    Parameters
    ----------
    network
        The network.
    likeness
        What training films look like.
    """

    def __init__(self, network: Network, likeness: Likeness) -> None:
        self.device = device_name()
        self.network, self.likeness = network.to(self.device), likeness
        self.batch = _BATCH[self.device]
        self._normalize = Normalizer(network.card, self.device)

    def score(self, squares: npt.NDArray[np.uint16]) -> Scores:
        """Return the scores of films, (films, size, size) uint16, as the cache of a cohort holds them."""
        found = [np.zeros((3, 0))]
        for count, features, odds in self._batches(squares):
            score, probability = self.network.probabilities(odds)
            distance = self.likeness.distances(features.cpu().numpy())
            found.append(np.stack([score.cpu().numpy(), probability.cpu().numpy(), distance])[:, :count])
        return Scores(*np.concatenate(found, axis=1))

    def features(self, squares: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
        """Return what the head reads of films, (films, width)."""
        found = [features[:count].cpu().numpy() for count, features, _ in self._batches(squares)]
        features: npt.NDArray[np.float32] = np.concatenate(found)
        return features

    def _batches(self, squares: npt.NDArray[np.uint16]) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield how many films of a batch are meant, its features and its log-odds."""
        with torch.inference_mode():
            for start in range(0, len(squares), self.batch):
                part = np.asarray(squares[start : start + self.batch])
                whole = np.zeros((self.batch, *part.shape[1:]), np.uint16)
                whole[: len(part)] = part
                features = self.network.features(self._normalize(whole))
                yield len(part), features, self.network.head(features)


def merged(strategy: Any, module: nn.Module) -> nn.Module:
    """Return the backbone with its adapter folded in, or the adapted module where that cannot be."""
    # On one kind of device wherever it trained, so that a loaded model merges to the same bits.
    module = module.cpu()
    plain: nn.Module | None = strategy.merge(module)
    return module if plain is None else plain
