"""What heads read while they train: an adapted backbone that trains with them, or features that are ready."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from prognobench.frame import canonical_json
from prognobench.models import readable, widest
from prognobench.protocols import Protocol

from ._batches import Normalizer
from ._bfloat16 import Bfloat16, Reader
from ._device import Precision
from ._films import Array
from ._memory import films_that_fit

if TYPE_CHECKING:
    from prognobench.models import ModelCard
    from prognobench.strategies import Strategy

Change = Callable[[Tensor], Tensor]
_FIT: dict[str, int] = {}
# To merge copies the backbone, which takes as long as merged layers save on so many films.
_WORTH_MERGING = 256


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
    def scorer(self, films: int) -> AbstractContextManager[Callable[[Array], Tensor]]:
        """Give what reads rows for scoring, without gradients, so many of them."""

    @abstractmethod
    def films_at_once(self, rows: Array) -> int | None:
        """Return how many films a training step may keep in memory, given one or two; None where it must be all."""

    @abstractmethod
    def groups(self, protocol: Protocol) -> list[dict[str, Any]]:
        """Return optimizer groups."""

    @abstractmethod
    def mode(self, *, training: bool) -> None:
        """Make ready for training steps, or for scoring."""

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

    @contextmanager
    def scorer(self, films: int) -> Iterator[Callable[[Array], Tensor]]:
        """Give `read`."""
        with torch.inference_mode():
            yield self.read

    def films_at_once(self, rows: Array) -> int | None:
        """Return None: the rows are all that is kept."""
        return None

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
        self._autocasts = precision == "bf16" and device != "cpu"
        self._in_bfloat16 = precision == "bf16" and not self._autocasts
        self._kept = strategy.train_in_bfloat16(module) if self._in_bfloat16 else frozenset[str]()
        self._reads = self._reader(module, self._kept)

    def read(self, rows: Array, change: Change | None = None) -> Tensor:
        """Send pixels through the backbone."""
        return self._read(self._reads, rows, change)

    @contextmanager
    def scorer(self, films: int) -> Iterator[Callable[[Array], Tensor]]:
        """Give what reads rows for scoring: of many, the backbone with the adapter merged into it where that exists."""
        self.mode(training=False)
        # Layers that are merged at each call need no copy.
        is_worth_it = self.strategy.card.kind == "adapter" and not self._kept and films >= _WORTH_MERGING
        merged = self.strategy.merge(self.module) if is_worth_it else None
        reads = self._reads if merged is None else self._reader(merged.eval())
        with torch.inference_mode():
            yield lambda rows: self._read(reads, rows, None)

    def films_at_once(self, rows: Array) -> int | None:
        """Return how many films' activations fit; None where batch normalization wants to see all of a step."""
        if self._normalizes_batches():
            return None
        told = [self.strategy.resolved(), self.card.model_dump(mode="json"), self._precision, self._readout]
        asked = canonical_json(told)
        # The thousands of few-shot jobs of a study need not ask again.
        if asked not in _FIT:
            _FIT[asked] = films_that_fit(self.read, rows, self._device)
        return _FIT[asked]

    def _reader(self, module: nn.Module, kept: frozenset[str] = frozenset()) -> Callable[[Tensor], Tensor]:
        """Return what sends normalized films through a module in the body's precision.

        On processors all of it is bfloat16, but what trains; on GPUs autocast does as well, and their normalization
        layers want one type.
        """
        reader = Reader(module, self._readout)
        return Bfloat16(reader, kept) if self._in_bfloat16 else reader

    def _read(self, reads: Callable[[Tensor], Tensor], rows: Array, change: Change | None) -> Tensor:
        # Outside of autocast, which would compute where each pixel goes in bfloat16 and blur the film by half a pixel.
        pixels = self._normalize(rows, change)
        with torch.autocast(self._device, dtype=torch.bfloat16, enabled=self._autocasts):
            return reads(pixels)

    def groups(self, protocol: Protocol) -> list[dict[str, Any]]:
        """Return the strategy's groups."""
        return self.strategy.parameter_groups(self.module, protocol)

    def mode(self, *, training: bool) -> None:
        """Switch the module; a frozen backbone keeps its batch-normalization statistics."""
        self.module.train(training)
        if training and self.strategy.card.kind != "backbone":
            # peft would not store these statistics, and they would leak into removal.
            for part in self._batch_norms():
                part.eval()

    def _normalizes_batches(self) -> bool:
        """Tell whether one film of a training step changes what another one gives."""
        return any(part.training for part in self._batch_norms())

    def _batch_norms(self) -> Iterator[nn.Module]:
        return (part for part in self.module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm))

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
