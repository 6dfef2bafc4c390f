"""Random changes of training films, a whole batch at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from prognobench.protocols import Augmentation

_DRAWS = 0x617567  # tells this generator from those that deal films and drop out


class Augmenter:
    """Shift, zoom, rotate and mirror films at random, each film differently.

    The films are resampled once, bilinearly; what comes in from outside is black, as the padding is. Each film's
    change equals torchvision's `v2.functional.affine` (after `horizontal_flip`, where it is mirrored); here all films
    of a batch are changed in one call.

    Parameters
    ----------
    how
        The ranges.
    count
        How many films there are.
    numbers
        Seed, epoch and step: the same numbers draw the same changes, so that a resumed job goes on alike.

    Attributes
    ----------
    matrices
        For each film the matrix, (count, 2, 3), that leads from a place in the changed film to its origin. Places run
        from −1 to 1 in both directions, as in `torch.nn.functional.affine_grid`.
    """

    def __init__(self, how: Augmentation, count: int, *numbers: int) -> None:
        self.matrices = _draw(how, count, np.random.Generator(np.random.PCG64([_DRAWS, *numbers])))

    def __call__(self, films: Tensor) -> Tensor:
        """Return changed films, (films, channels, height, width)."""
        return _resampled(films, self.matrices)

    def of(self, part: slice) -> Callable[[Tensor], Tensor]:
        """Return what changes a part of the films as `__call__` does."""
        return partial(_resampled, matrices=self.matrices[part])


def _resampled(films: Tensor, matrices: npt.NDArray[np.float64]) -> Tensor:
    grid = functional.affine_grid(
        torch.from_numpy(matrices).to(films.device, films.dtype), list(films.shape), align_corners=False
    )
    return functional.grid_sample(films, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _draw(how: Augmentation, count: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    angle, zoom, right, down = random.uniform(-1, 1, (4, count))
    mirrored = random.uniform(0, 1, count) < how.flip
    angle, zoom = angle * math.radians(how.rotation), 1 + zoom * how.zoom
    cosine, sine = np.cos(angle) / zoom, np.sin(angle) / zoom
    turn = np.stack([np.stack([cosine, sine], -1), np.stack([-sine, cosine], -1)], 1)
    # A film is two units wide.
    shift = 2 * how.shift * np.stack([right, down], -1)[:, :, None]
    matrices: npt.NDArray[np.float64] = np.concatenate([turn, -turn @ shift], axis=2)
    matrices[mirrored, 0] *= -1
    return matrices
