"""DINOv2's resampling of position embeddings to another input size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_OFFSET = 0.1


def resample_as_dinov2(positions: Tensor, side: int) -> Tensor:
    """Bring the positions of a square grid to `side` × `side` patches.

    DINOv2 hands bicubic interpolation a scale factor with a small offset, (new + 0.1) / old, instead of the new
    size, and does not smooth while it shrinks. timm's default smooths; the features of DINOv2-S then differ by 1 to
    6 %, depending on the image.

    Parameters
    ----------
    positions
        Shape (1, 1 + n², width): the class position, then those of n × n patches, row by row.
    side
        Patches per side that are wanted.

    Returns
    -------
    Tensor
        Shape (1, 1 + side², width); the input itself where n is `side`.

    Notes
    -----
    `interpolate_pos_encoding` of facebookresearch/dinov2 with the settings of its released models
    (`interpolate_offset=0.1`, `interpolate_antialias=False`).
    """
    from torch import cat
    from torch.nn.functional import interpolate

    old, width = math.isqrt(positions.shape[1] - 1), positions.shape[2]
    if old == side:
        return positions
    grid = positions[:, 1:].float().reshape(1, old, old, width).permute(0, 3, 1, 2)
    factor = (side + _OFFSET) / old
    resampled = interpolate(grid, scale_factor=(factor, factor), mode="bicubic", antialias=False)
    patches = resampled.permute(0, 2, 3, 1).reshape(1, side * side, width).to(positions.dtype)
    return cat([positions[:, :1], patches], dim=1)


def is_square_grid(positions: Tensor) -> bool:
    """Tell whether `positions` are one class position and a square of patch positions."""
    if positions.dim() != 3 or positions.shape[0] != 1 or positions.shape[1] < 2:
        return False
    patches: int = positions.shape[1] - 1
    return math.isqrt(patches) ** 2 == patches
