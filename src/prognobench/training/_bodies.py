"""What heads read while they train: an adapted backbone that trains with them, or features that are ready."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from prognobench.models import read_out, readable, widest
from prognobench.protocols import Protocol

from ._batches import Normalizer
from ._device import Precision
from ._films import Array

if TYPE_CHECKING:
    from prognobench.models import ModelCard
    from prognobench.strategies import Strategy

Change = Callable[[Tensor], Tensor]


class Body(ABC):
    """Makes features of rows.

    Attributes
    ----------
    trainable
        How many of its numbers are trained.
    passes
        Whether rows pass through a backbone.
    """

    trainable: int
    passes: bool

    @abstractmethod
    def read(self, rows: Array, change: Change | None = None) -> Tensor:
        """Return the widest features of rows, (films, width)."""

    @abstractmethod
    def groups(self, protocol: Protocol) -> list[dict[str, Any]]:
        """Return optimizer groups."""

    @abstractmethod
    def mode(self, *, training: bool) -> None:
        """Make ready for a training step, or for scoring."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Copy all that training changed."""

    @abstractmethod
    def load(self, state: dict[str, Tensor]) -> None:
        """Put a state back."""

    @abstractmethod
    def refuse_silence(self) -> None:
        """Raise ValueError where a trainable tensor got no gradient."""


class Ready(Body):
    """Features that were computed before; nothing of them trains."""

    trainable, passes = 0, False

    def __init__(self, device: str) -> None:
        self._device = device

    def read(self, rows: Array, change: Change | None = None) -> Tensor:
        """Return the rows."""
        return torch.from_numpy(rows).to(self._device)

    def groups(self, protocol: Protocol) -> list[dict[str, Any]]:
        """Return nothing."""
        return []

    def mode(self, *, training: bool) -> None:
        """Do nothing."""

    def state(self) -> dict[str, Tensor]:
        """Return nothing."""
        return {}

    def load(self, state: dict[str, Tensor]) -> None:
        """Do nothing."""

    def refuse_silence(self) -> None:
        """Do nothing."""


class Adapted(Body):
    """A backbone that a strategy has made trainable."""

    passes = True

    def __init__(
        self,
        module: nn.Module,
        strategy: Strategy,
        card: ModelCard,
        protocol: Protocol,
        precision: Precision,
        device: str,
    ) -> None:
        self.module, self.strategy, self.card = module.to(device), strategy, card
        self.trainable = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
        self._readout = widest(readable(card, protocol.head.readouts))
        self._normalize = Normalizer(card, device)
        self._device, self._precision = device, precision

    def read(self, rows: Array, change: Change | None = None) -> Tensor:
        """Send pixels through the backbone, under autocast where the precision says so."""
        # Outside: autocast would compute where each pixel goes in bfloat16, and blur the film by half a pixel.
        pixels = self._normalize(rows, change)
        with torch.autocast(self._device, dtype=torch.bfloat16, enabled=self._precision == "bf16"):
            return read_out(self.module, pixels, *self._readout)

    def groups(self, protocol: Protocol) -> list[dict[str, Any]]:
        """Return the strategy's groups."""
        return self.strategy.parameter_groups(self.module, protocol)

    def mode(self, *, training: bool) -> None:
        """Switch the module; a frozen backbone keeps its batch-normalization statistics."""
        self.module.train(training)
        if training and self.strategy.card.kind != "backbone":
            # peft would not store these statistics, and they would leak into removal.
            for part in self.module.modules():
                if isinstance(part, nn.modules.batchnorm._BatchNorm):
                    part.eval()

    def state(self) -> dict[str, Tensor]:
        """Copy what the strategy trains."""
        return self.strategy.state(self.module)

    def load(self, state: dict[str, Tensor]) -> None:
        """Put it back."""
        self.strategy.load(self.module, state)

    def refuse_silence(self) -> None:
        """Raise ValueError where the model does not call a module that is to be trained."""
        silent = [
            name
            for name, parameter in self.module.named_parameters()
            if parameter.requires_grad and parameter.grad is None
        ]
        if silent:
            raise ValueError(
                f"{self.strategy.label} trains nothing in {len(silent)} of its tensors on {self.card.id}, "
                f"the first is {silent[0]}: the model does not call that module"
            )
