"""What of a backbone's output the head reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ._cards import ModelCard


def readout_width(card: ModelCard, blocks: int = 1, patch_mean: bool = False) -> int:
    """Return how many numbers `read_out` gives for one image.

    Parameters
    ----------
    card
        The model.
    blocks, patch_mean
        As in `read_out`.

    Returns
    -------
    int
        The length of the feature vector.

    Examples
    --------
    >>> from prognobench.models import model_card
    >>> readout_width(model_card("dinov2_s"), blocks=4, patch_mean=True)
    1920
    """
    return card.width * (blocks + patch_mean)


def refuses_readout(card: ModelCard, blocks: int, patch_mean: bool) -> str | None:
    """Say why a model cannot be read so, or None.

    Parameters
    ----------
    card
        The model.
    blocks, patch_mean
        As in `read_out`.

    Returns
    -------
    str or None
        The reason, which names the model: its features are no class token, or it has fewer blocks.

    Examples
    --------
    >>> from prognobench.models import model_card
    >>> refuses_readout(model_card("dinov2_s"), blocks=13, patch_mean=False)
    'dinov2_s has 12 blocks, 13 are asked for'
    """
    if blocks == 1 and not patch_mean:
        return None
    if not card.class_token:
        return f"{card.id} has one pooled feature vector, neither class tokens of several blocks nor patch tokens"
    if card.blocks is not None and blocks > card.blocks:
        return f"{card.id} has {card.blocks} blocks, {blocks} are asked for"
    return None


def readable(card: ModelCard, readouts: Sequence[tuple[int, bool]]) -> tuple[tuple[int, bool], ...]:
    """Return those of several readouts, each (blocks, patch_mean), that a model has; a CNN has (1, False) alone."""
    return tuple(readout for readout in readouts if refuses_readout(card, *readout) is None)


def widest(readouts: Sequence[tuple[int, bool]]) -> tuple[int, bool]:
    """Return the readout that holds all others, each a `columns` of it.

    Examples
    --------
    >>> widest([(1, True), (4, False)])
    (4, True)
    """
    return max(blocks for blocks, _ in readouts), any(patch_mean for _, patch_mean in readouts)


def columns(card: ModelCard, readout: tuple[int, bool], wide: tuple[int, bool]) -> slice:
    """Return where one readout stands in the features of a wider one: the last class tokens, and what follows."""
    (blocks, patch_mean), (all_blocks, _) = readout, wide
    return slice((all_blocks - blocks) * card.width, (all_blocks + patch_mean) * card.width)


def read_out(module: nn.Module, images: Tensor, blocks: int = 1, patch_mean: bool = False) -> Tensor:
    """Return the features that a head reads.

    Parameters
    ----------
    module
        A backbone of `load_backbone`, adapted or not.
    images
        (n, 3, size, size), normalized.
    blocks
        The normalized class tokens of this many last blocks stand side by side, the earliest first, as in DINOv2's
        linear evaluation.
    patch_mean
        Whether the mean of the last block's normalized patch tokens follows.

    Returns
    -------
    Tensor
        (n, width × (blocks + patch_mean)); for one block without patches exactly `module(images)`.
    """
    import torch

    if blocks == 1 and not patch_mean:
        features: Tensor = module(images)
        return features
    layers = module.forward_intermediates(  # type: ignore[operator]
        images, indices=blocks, norm=True, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True
    )
    parts = [prefix[:, 0] for _, prefix in layers]
    if patch_mean:
        parts.append(layers[-1][0].mean(dim=1))
    return torch.cat(parts, dim=-1)
