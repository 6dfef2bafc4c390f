"""What our own layers hold that is not the backbone's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ._adapted import own_layers
from ._terms import Projection


def own_state(module: nn.Module) -> dict[str, Tensor]:
    """Copy all trained tensors of our own layers, and VeRA's random matrices once."""
    return {name: tensor.detach().clone() for name, tensor in _tensors(module).items()}


def load_own_state(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Put them back.

    Raises
    ------
    ValueError
        A key is missing or surplus, or a tensor has another shape.
    """
    here = _tensors(module)
    check_state(state, here)
    with torch.no_grad():
        for name, tensor in here.items():
            tensor.copy_(state[name])


def check_state(state: Mapping[str, Tensor], here: Mapping[str, Tensor]) -> None:
    """Compare the names and shapes of a state with those that are here.

    Raises
    ------
    ValueError
        A key is missing or surplus, or a tensor has another shape.
    """
    if here.keys() != state.keys():
        wrong = sorted(here.keys() ^ state.keys())
        raise ValueError(f"the state's keys do not fit: {len(wrong)} differ, the first is '{wrong[0]}'")
    for name, tensor in here.items():
        if tensor.shape != state[name].shape:
            raise ValueError(f"'{name}' has the shape {tuple(state[name].shape)}, not {tuple(tensor.shape)}")


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for place, layer in own_layers(module).items():
        for name, parameter in layer.named_parameters():
            if not name.startswith("base_layer."):
                found[f"{place}.{name}"] = parameter
        for part in layer.modules():
            if isinstance(part, Projection):
                # All terms share the one.
                found |= {"projection.A": part.A, "projection.B": part.B}
    return found
