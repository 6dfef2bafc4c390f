"""bfloat16 as processors compute it fast: weights and activations in it, all that is trained in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.func import functional_call

from prognobench.models import class_token_alone, read_out

if TYPE_CHECKING:
    from collections.abc import Iterator

# Their kernels take bfloat16 activations beside float32 numbers; running statistics would lose their small steps.
_STAY = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


class Reader(nn.Module):
    """What heads read of a module, as a module of its own.

    Parameters
    ----------
    module
        A backbone, adapted or not.
    readout
        Blocks, and whether the mean patch token follows; see `read_out`.
    """

    def __init__(self, module: nn.Module, readout: tuple[int, bool]) -> None:
        super().__init__()
        self.module, self.readout = module, readout

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features, (films, width)."""
        found = class_token_alone(self.module, pixels) if self.readout == (1, False) else None
        return read_out(self.module, pixels, *self.readout) if found is None else found


class Bfloat16:
    """Send films through a reader in bfloat16 whose own tensors stay as they are.

    Frozen weights are rounded once. Those that train are rounded at each call, and their gradients arrive in float32,
    as the optimizer's state does: a step smaller than bfloat16 can tell is not lost. Normalization layers keep float32
    numbers. Unlike under autocast, what goes from block to block is bfloat16, too, so that half as much is moved.

    Parameters
    ----------
    reader
        What is called.
    kept
        Names of tensors of the reader's module that reach it in float32.
    """

    def __init__(self, reader: Reader, kept: frozenset[str] = frozenset()) -> None:
        self._reader, self._kept = reader, {f"module.{name}" for name in kept}
        self._frozen = {name: tensor.bfloat16() for name, tensor in self._named() if not tensor.requires_grad}

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return features, (films, width) bfloat16."""
        trained = {name: tensor.bfloat16() for name, tensor in self._named() if tensor.requires_grad}
        tensors = {**self._frozen, **trained}
        # Each place is named once. Tied, a module that several hold would be put back by each, the last time wrongly.
        found: Tensor = functional_call(self._reader, tensors, (pixels.bfloat16(),), tie_weights=False)
        return found

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor that is computed with in bfloat16."""
        for prefix, part in self._reader.named_modules():
            if isinstance(part, _STAY):
                continue
            for own in (part.named_parameters(recurse=False), part.named_buffers(recurse=False)):
                for name, tensor in own:
                    if tensor.is_floating_point() and (full := f"{prefix}.{name}") not in self._kept:
                        yield full, tensor
