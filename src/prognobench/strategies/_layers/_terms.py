"""Terms that change some output rows of a frozen linear map or convolution."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

Base = nn.Linear | nn.Conv2d


class Term(nn.Module):
    """What is trained at the output rows start to stop of a layer.

    Parameters
    ----------
    rows
        First row, and the row behind the last.
    """

    def __init__(self, rows: tuple[int, int]) -> None:
        super().__init__()
        self.rows = rows

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the adapted rows from the layer's input and its own rows y."""

    @abstractmethod
    def fold(self, weight: Tensor, bias: Tensor | None) -> None:
        """Change the rows of weight and bias in place so that the layer alone gives the adapted rows."""


class LowRank(Term):
    """LoRA at rows of a linear map: scale · B·A, with B zero at the start."""

    def __init__(self, base: nn.Linear, rows: tuple[int, int], rank: int, scale: float, dropout: float) -> None:
        super().__init__(rows)
        self.scale = scale
        self.dropout = nn.Dropout(dropout)
        self.lora_A = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(rows[1] - rows[0], rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Add the low-rank term."""
        term = functional.linear(functional.linear(self.dropout(x), self.lora_A), self.lora_B) * self.scale
        return y + term.to(y.dtype)

    def fold(self, weight: Tensor, bias: Tensor | None) -> None:
        """Add the product to the weight."""
        weight += self.scale * self.lora_B @ self.lora_A


class Projection(nn.Module):
    """VeRA's frozen random matrices A (rank × columns) and B (rows × rank), one pair for all layers.

    Each layer reads the first columns of A and the first rows of B that it needs. A convolution reads A as kernels:
    its columns are those of the unfolded patches, in × height × width.
    """

    A: Tensor
    B: Tensor

    def __init__(self, rank: int, columns: int, rows: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("A", _kaiming(rank, columns, generator))
        self.register_buffer("B", _kaiming(rows, rank, generator))


class RandomLowRank(Term):
    """VeRA at rows of a layer: b ∘ (B·(d ∘ (A·x))), with d and b trained and b zero at the start."""

    def __init__(
        self, base: Base, rows: tuple[int, int], projection: Projection, d_initial: float, dropout: float
    ) -> None:
        super().__init__(rows)
        rank = projection.A.shape[0]
        self.projection = projection
        self.dropout = nn.Dropout(dropout)
        self.vera_lambda_d = nn.Parameter(torch.full((rank,), d_initial))
        self.vera_lambda_b = nn.Parameter(torch.zeros(rows[1] - rows[0]))
        # A list hides the helper, which has no numbers of its own, from state and from moves between devices.
        self._kernel = [_bare_convolution(base, rank)] if isinstance(base, nn.Conv2d) else []
        self._columns = base.weight[0].numel()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Add the term."""
        first = self.projection.A[:, : self._columns]
        second = self.projection.B[: self.rows[1] - self.rows[0]]
        x = self.dropout(x)
        if self._kernel:
            kernel = first.reshape(self._kernel[0].weight.shape)
            inner = functional_call(self._kernel[0], {"weight": kernel}, (x,)) * self.vera_lambda_d[:, None, None]
            term = functional.conv2d(inner, second[:, :, None, None]) * self.vera_lambda_b[:, None, None]
        else:
            inner = functional.linear(x, first) * self.vera_lambda_d
            term = functional.linear(inner, second) * self.vera_lambda_b
        return y + term.to(y.dtype)

    def fold(self, weight: Tensor, bias: Tensor | None) -> None:
        """Add the product to the weight."""
        first = self.vera_lambda_d[:, None] * self.projection.A[:, : self._columns]
        second = self.vera_lambda_b[:, None] * self.projection.B[: self.rows[1] - self.rows[0]]
        weight += (second @ first).reshape(weight.shape)


class Scale(Term):
    """IA³ at rows of a linear map: each is multiplied by a trained number, 1 at the start."""

    def __init__(self, rows: tuple[int, int]) -> None:
        super().__init__(rows)
        self.ia3_l = nn.Parameter(torch.ones(rows[1] - rows[0]))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Multiply."""
        return (y * self.ia3_l).to(y.dtype)

    def fold(self, weight: Tensor, bias: Tensor | None) -> None:
        """Multiply the weight and the bias."""
        weight *= self.ia3_l[:, None]
        if bias is not None:
            bias *= self.ia3_l


def _bare_convolution(base: nn.Conv2d, channels: int) -> nn.Conv2d:
    """Return a convolution like the base but for its outputs; of its own class, since timm pads some at run time."""
    with torch.device("meta"):
        return type(base)(
            base.in_channels,
            channels,
            base.kernel_size,  # type: ignore[arg-type]
            stride=base.stride,  # type: ignore[arg-type]
            padding=base.padding,  # type: ignore[arg-type]
            dilation=base.dilation,  # type: ignore[arg-type]
            bias=False,
        ).requires_grad_(False)


def _kaiming(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Draw as the publication and peft do: uniform, with variance 2 / columns."""
    bound = math.sqrt(6 / columns)
    return torch.empty(rows, columns).uniform_(-bound, bound, generator=generator)
