"""Position embeddings are resampled as DINOv2 does, which is not what timm does."""

from __future__ import annotations

import pytest
import torch
from timm.layers import resample_abs_pos_embed
from upstream import dinov2_positions

from prognobench.models._positions import is_square_grid, resample_as_dinov2

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("pixels", [56, 224, 336, 504, 518, 532, 700])
def test_they_equal_upstream(pixels: int) -> None:
    positions = torch.randn(1, 1 + 37 * 37, 24, generator=torch.Generator().manual_seed(1))
    ours = resample_as_dinov2(positions, pixels // 14)
    torch.testing.assert_close(ours, dinov2_positions(positions, pixels), rtol=0, atol=0)
    assert ours.shape == (1, 1 + (pixels // 14) ** 2, 24)


@pytest.mark.parametrize("old", range(2, 40))
@pytest.mark.parametrize("new", [1, 7, 16, 37])
def test_any_square_grid_reaches_any_size(old: int, new: int) -> None:
    assert resample_as_dinov2(torch.randn(1, 1 + old * old, 2), new).shape == (1, 1 + new * new, 2)


def test_the_same_size_changes_nothing() -> None:
    positions = torch.randn(1, 17, 8)
    assert resample_as_dinov2(positions, 4) is positions


def test_the_class_position_is_kept() -> None:
    positions = torch.randn(1, 26, 8)
    assert torch.equal(resample_as_dinov2(positions, 3)[:, 0], positions[:, 0])


def test_timm_smooths_where_dinov2_does_not() -> None:
    positions = torch.randn(1, 1 + 37 * 37, 24, generator=torch.Generator().manual_seed(1))
    theirs = resample_abs_pos_embed(positions, [16, 16])
    ours = resample_as_dinov2(positions, 16)
    assert (ours - theirs).norm() / ours.norm() > 0.1


@pytest.mark.parametrize(
    ("shape", "square"),
    [
        ((1, 17, 8), True),
        ((1, 2, 8), True),
        ((1, 16, 8), False),
        ((1, 1, 8), False),
        ((17, 8), False),
        ((2, 17, 8), False),
    ],
)
def test_a_square_grid_is_told_from_others(shape: tuple[int, ...], square: bool) -> None:
    assert is_square_grid(torch.zeros(shape)) is square
