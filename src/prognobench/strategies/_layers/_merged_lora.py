"""LoRA beside a frozen matrix, trained as one product with the sum of both."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional


def merge_while_training(module: nn.Module) -> frozenset[str]:
    """Let peft's LoRA layers of a module compute in bfloat16 with W + scale · B·A; return which tensors they round.

    The sum is made anew at each call, in float32, and rounded once. So the term costs no product with the layer's
    outputs, no addition of them and no multiplication by the scale, in either direction; the gradients of A and B are
    those of the plain way. A layer does as before where it drops inputs, has other adapters or is not trained.

    Parameters
    ----------
    module
        What a strategy's `apply` returned. The layers go with the strategy's `remove`, and this with them.

    Returns
    -------
    frozenset of str
        Names of weights, A and B that are to stay in float32.
    """
    kept: set[str] = set()
    for name, layer in _lora_layers(module):
        # Another class and not another `forward` on the object, which would hold the layer in a circle.
        layer.__class__ = _merged_linear()
        kept |= {f"{name}.base_layer.weight", f"{name}.lora_A.default.weight", f"{name}.lora_B.default.weight"}
    return frozenset(kept)


def _lora_layers(module: nn.Module) -> Iterator[tuple[str, Any]]:
    from peft.tuners.lora import Linear

    for name, layer in module.named_modules():
        if type(layer) in (Linear, _merged_linear()) and type(layer.base_layer) is nn.Linear and _is_plain(layer):
            yield name, layer


def _is_plain(layer: Any) -> bool:
    dropout = layer.lora_dropout["default"] if list(layer.lora_A) == ["default"] else None
    return isinstance(dropout, nn.Identity) and not layer.lora_variant and not layer.merged


@cache
def _merged_linear() -> type[nn.Module]:
    from peft.tuners.lora import Linear

    class MergedLinear(Linear):  # type: ignore[misc]
        """peft's LoRA layer that computes bfloat16 inputs by one product."""

        def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            """Return the layer's outputs."""
            if x.dtype != torch.bfloat16 or self.disable_adapters or self.merged:
                plain: Tensor = super().forward(x, *args, **kwargs)
                return plain
            base, down, up = self.base_layer, self.lora_A["default"].weight, self.lora_B["default"].weight
            merged: Tensor = _Merged.apply(x, base.weight, base.bias, down, up, self.scaling["default"])
            return merged

    return MergedLinear


class _Merged(Function):
    """y = x (W + scale · B·A)ᵀ + b, in bfloat16; W, A and B are float32, W and b frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        """Return y."""
        merged = torch.addmm(weight, up, down, alpha=scale).bfloat16()
        ctx.save_for_backward(x, merged, down, up)
        ctx.scale = scale
        return functional.linear(x, merged, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, A and B."""
        x, merged, down, up = ctx.saved_tensors
        rows, slopes = x.flatten(0, -2), slope.flatten(0, -2)
        of_x = (slopes @ merged).view_as(x) if ctx.needs_input_grad[0] else None
        of_up = (slopes.T @ (rows @ down.bfloat16().T)).float() * ctx.scale
        of_down = ((slopes @ up.bfloat16()).T @ rows).float() * ctx.scale
        return of_x, None, None, of_down, of_up, None
