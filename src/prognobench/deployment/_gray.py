"""The preprocessing `standard` as a network, so that an exported graph begins with the gray image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from prognobench.models import ModelCard

_FULL_SCALE = 65535.0


class GrayInput(nn.Module):
    """Scale by minimum and maximum, resize with the aspect kept, pad to a square, normalize.

    Pillow's bilinear resize weighs the pixels within one new pixel (or one old one, where the film is made larger) by
    a triangle; here both axes are a multiplication with the matrix of these weights, whose rows outside of the film
    are 0, so that padding comes with it.

    Parameters
    ----------
    card
        Gives input size, mean and standard deviation.
    """

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        self.size = card.input_size
        self.mean = nn.Buffer(torch.tensor(card.mean).view(1, 3, 1, 1))
        self.std = nn.Buffer(torch.tensor(card.std).view(1, 3, 1, 1))

    def forward(self, gray: Tensor) -> Tensor:
        """Return (1, 3, size, size) of gray values (height, width) float32, of any two values or more.

        Of a film of one gray value all is NaN.
        """
        scaled = (gray - gray.min()) / (gray.max() - gray.min())
        # As numbers and not as sizes, so that one graph serves films of every shape.
        height = torch.ones_like(gray[:, 0], dtype=torch.int64).sum()
        width = torch.ones_like(gray[0], dtype=torch.int64).sum()
        longest = torch.maximum(height, width)
        square = self._weights(gray[:, 0], height, longest) @ scaled @ self._weights(gray[0], width, longest).T
        stored = torch.round(torch.clamp(square, 0, 1) * _FULL_SCALE) / _FULL_SCALE
        return (stored[None, None] - self.mean) / self.std

    def _weights(self, line: Tensor, side: Tensor, longest: Tensor) -> Tensor:
        """Return the weight of each old pixel of one axis (columns) in each new one (rows)."""
        size = self.size
        fitted = torch.div(2 * side * size + longest, 2 * longest, rounding_mode="floor").clamp(min=1)
        first = torch.div(size - fitted, 2, rounding_mode="floor")
        place = torch.arange(size, dtype=torch.int64) - first
        step = side.double() / fitted.double()
        center = (place.double() + 0.5) * step
        old = torch.cumsum(torch.ones_like(line, dtype=torch.float64), 0) - 0.5
        weight = torch.clamp(1 - (old[None] - center[:, None]).abs() / torch.clamp(step, min=1), min=0)
        inside = ((place >= 0) & (place < fitted))[:, None]
        weight = torch.where(inside, weight, torch.zeros_like(weight))
        total = weight.sum(dim=1, keepdim=True)
        return (weight / torch.where(total > 0, total, torch.ones_like(total))).float()
