"""Linear heads that are trained side by side on the same features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from prognobench.models import columns, readable, widest
from prognobench.protocols import Protocol, Readout

if TYPE_CHECKING:
    from prognobench.models import ModelCard


@dataclass(frozen=True)
class Candidate:
    """One head of the grid.

    Attributes
    ----------
    number
        Its place in the grid, from 0.
    readout
        The last blocks whose class tokens it reads, and whether it reads the mean patch token.
    columns
        Where these stand in the features of the widest readout.
    rate
        Its peak learning rate.
    """

    number: int
    readout: Readout
    columns: slice
    rate: float


def candidates(card: ModelCard, protocol: Protocol) -> list[Candidate]:
    """Return the grid of heads: what a model can be read by, times the learning rates.

    Raises
    ------
    ValueError
        The model has none of the readouts.
    """
    readouts = readable(card, protocol.head.readouts)
    if not readouts:
        raise ValueError(f"{card.id} can be read by none of the heads of the protocol")
    wide = widest(readouts)
    pairs = [(readout, rate) for readout in readouts for rate in protocol.head_learning_rates]
    return [Candidate(n, readout, columns(card, readout, wide), rate) for n, (readout, rate) in enumerate(pairs)]


class Heads(nn.Module):
    """Linear heads, one a candidate.

    Weights are drawn from N(0, 0.01), biases are 0, as in DINOv2's linear evaluation. Heads that read the same begin
    alike, so that only the learning rate tells them apart.
    """

    def __init__(self, grid: Sequence[Candidate], classes: int, seed: int) -> None:
        super().__init__()
        self.grid = tuple(grid)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for candidate in grid:
            generator = torch.Generator().manual_seed(seed)
            width = candidate.columns.stop - candidate.columns.start
            self.weights.append(nn.Parameter(torch.randn(classes, width, generator=generator) * 0.01))
            self.biases.append(nn.Parameter(torch.zeros(classes)))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (heads, films, classes) of the widest features (films, width)."""
        triples = zip(self.grid, self.weights, self.biases, strict=True)
        return torch.stack([functional.linear(features[:, c.columns], weight, bias) for c, weight, bias in triples])

    def groups(self) -> list[dict[str, Any]]:
        """Return one optimizer group a head."""
        triples = zip(self.grid, self.weights, self.biases, strict=True)
        return [{"params": [weight, bias], "lr": c.rate, "weight_decay": 0.0} for c, weight, bias in triples]
