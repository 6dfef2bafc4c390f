"""Pixels from the cache as a backbone wants them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ._films import Array

if TYPE_CHECKING:
    from prognobench.models import ModelCard

_FULL_SCALE = 65535.0


class Normalizer:
    """Turn cached gray films into normalized three-channel batches.

    Parameters
    ----------
    card
        Gives mean and standard deviation of each channel, and whether channels come last in memory.
    device
        Where the batch goes.
    """

    def __init__(self, card: ModelCard, device: str) -> None:
        mean, std = torch.tensor(card.mean), torch.tensor(card.std)
        # (x / 65535 − mean) / std as one multiplication and one addition a channel.
        self._scale = (1 / (_FULL_SCALE * std)).view(1, 3, 1, 1).to(device)
        self._shift = (-mean / std).view(1, 3, 1, 1).to(device)
        self._format: Any = torch.channels_last if card.family == "cnn" else torch.contiguous_format
        self._device = device

    def __call__(self, pixels: Array, change: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return (films, 3, size, size) float32 of (films, size, size) uint16.

        `change` is given the gray films, (films, 1, size, size), black being 0, before they are normalized.
        """
        gray = torch.from_numpy(pixels.astype(np.float32)).unsqueeze(1)
        if self._device != "cpu":
            # So the processor goes on to the next thing while the films are on their way.
            gray = gray.pin_memory().to(self._device, non_blocking=True)
        gray = gray if change is None else change(gray)
        return torch.addcmul(self._shift, gray, self._scale).contiguous(memory_format=self._format)
