"""Which of two equal ways timm's attention takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def use_plain_attention(module: nn.Module) -> None:
    """Let timm's attention be two batched products instead of torch's fused function.

    On processors the backward of the fused function takes longer: a training step of DINOv2-S was seen to be 1.5 times
    faster so, and the forward pass alone as fast. Only so does torch's counter see attention's operations, too.
    """
    for part in module.modules():
        if hasattr(part, "fused_attn"):
            setattr(part, "fused_attn", False)  # noqa: B010
