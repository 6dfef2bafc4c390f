"""How many films' activations a training step may keep at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ._films import Array

# On processors a constant and not what is free: how a step is cut changes last bits, which may not depend on the hour.
_ON_CPU = 2 * 2**30
_SHARE_OF_GPU = 0.5


def films_that_fit(read: Callable[[Array], Tensor], rows: Array, device: str) -> int:
    """Return how many films a forward pass may take so that what is kept for the backward pass fits, at least one.

    Parameters
    ----------
    read
        Sends rows through the model, gradients wanted.
    rows
        One film. What three of them keep beyond two is what a film keeps; the first one keeps less, as nothing is
        spread over films.
    device
        On `cpu` 2 GiB may be kept; on a GPU half of its memory.
    """
    film = rows[:1]
    two, three = (_kept_bytes(read, film.repeat(films, axis=0)) for films in (2, 3))
    most = _ON_CPU if device == "cpu" else int(_SHARE_OF_GPU * torch.cuda.get_device_properties(0).total_memory)
    return max(1, 2 + (most - two) // max(1, three - two))


def _kept_bytes(read: Callable[[Array], Tensor], rows: Array) -> int:
    """Count what autograd keeps of a forward pass, each storage once."""
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # a storage that went would leave its address to the next

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        # Detached: an output that kept itself would never go.
        alive.append(tensor.detach())
        return tensor.detach()

    with saved_tensors_hooks(note, lambda tensor: tensor):
        read(rows)
    return sum(kept.values())
