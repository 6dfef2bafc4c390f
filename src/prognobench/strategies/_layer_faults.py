"""Layers that no adapter fits: those a model never calls, and those that change their weight before they use it.

Both are found on the architecture, whatever card it has: there is no list of models, so that the models of timm and
the cards of plug-ins are asked as those of the catalog are.
"""

from __future__ import annotations

import copy
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from prognobench.frame import canonical_json

if TYPE_CHECKING:
    from torch import nn

    from prognobench.models import ModelCard


def on_meta(card: ModelCard) -> nn.Module:
    """Return a card's backbone without numbers: to look at, not to change.

    Raises
    ------
    ValueError
        timm cannot build what the card says.
    """
    return _build(card.architecture, canonical_json(card.build))


def layer_faults(card: ModelCard) -> dict[str, str]:
    """Say of each linear map or convolution that no adapter fits why that is, by its name.

    Raises
    ------
    ValueError
        timm cannot build what the card says, or the model takes no image of the card's size.
    """
    found = _find(card.architecture, canonical_json(card.build), card.input_size)
    return {name: f"{card.id} {fault}" for name, fault in found.items()}


@lru_cache(maxsize=32)
def _build(architecture: str, build: str) -> nn.Module:
    import timm
    import torch

    try:
        with torch.device("meta"):
            module: nn.Module = timm.create_model(architecture, pretrained=False, **json.loads(build))
    except Exception as error:  # timm's builders fail in as many ways as there are architectures
        raise ValueError(f"timm cannot build {architecture} with {build} ({error})") from error
    return module.eval()


@lru_cache(maxsize=32)
def _find(architecture: str, build: str, input_size: int) -> dict[str, str]:
    from torch import nn

    module = _build(architecture, build)
    layers = {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)}
    called = _called(module, layers, input_size)
    first_of_class = {type(layer): layer for layer in reversed(layers.values())}
    linear = {kind: _is_linear_in_weight(layer) for kind, layer in first_of_class.items()}
    found: dict[str, str] = {}
    for name, layer in layers.items():
        if name not in called:
            found[name] = (
                f"never calls its module {name}, it reads the weight past it: an adapter there would train nothing"
            )
        elif not linear[type(layer)]:
            found[name] = (
                f"has a {type(layer).__name__} at {name}, which changes its weight before it uses it: what an adapter "
                "adds there would be changed with it and could not be merged"
            )
    return found


def _called(module: nn.Module, layers: dict[str, Any], input_size: int) -> set[str]:
    import torch

    called: set[str] = set()
    hooks = [part.register_forward_hook(lambda *_, name=name: called.add(name)) for name, part in layers.items()]
    try:
        with torch.no_grad():
            module(torch.empty(1, 3, input_size, input_size, device="meta"))
    except Exception as error:  # a model's forward pass may fail in any way
        raise ValueError(f"it takes no image of {input_size} × {input_size} pixels ({error})") from error
    finally:
        for hook in hooks:
            hook.remove()
    return called


def _is_linear_in_weight(layer: nn.Linear | nn.Conv2d) -> bool:
    """Tell whether f(V + W) + f(0) = f(V) + f(W) for the layer's output f as a function of its weight.

    Padding at run time keeps that, standardizing the weight does not. peft's LoRA makes its own A and B of the layer's
    class, and merging adds to or multiplies the weight: both need it.
    """
    import torch
    from torch import nn
    from torch.func import functional_call

    own = type(layer)
    if own in (nn.Linear, nn.Conv2d):
        return True
    tried = copy.deepcopy(layer).to_empty(device="cpu").double()
    parameters = dict(tried.named_parameters(recurse=False))
    if "weight" not in parameters:
        return False  # computed from other parameters
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    fixed = {name: random(*tensor.shape) for name, tensor in parameters.items() if name != "weight"}
    if isinstance(layer, nn.Conv2d):
        sides = [2 * dilation * kernel for dilation, kernel in zip(layer.dilation, layer.kernel_size, strict=True)]
        images = random(1, layer.in_channels, *sides)
    else:
        images = random(2, layer.in_features)
    first, second = random(*layer.weight.shape), random(*layer.weight.shape)
    with torch.no_grad():
        one, other, both, none = (
            functional_call(tried, {**fixed, "weight": weight}, (images,))
            for weight in (first, second, first + second, torch.zeros_like(first))
        )
    return torch.allclose(both + none, one + other, rtol=1e-6, atol=1e-6 * float(one.abs().max()))
