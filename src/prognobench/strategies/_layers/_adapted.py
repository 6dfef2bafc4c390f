"""Layers that stand in for a frozen one, and how they come into a backbone and out of it."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from ._terms import Base, Term


class AdaptedLayer(nn.Module):
    """A frozen layer with something trained around it.

    Parameters
    ----------
    base_layer
        The layer of the backbone; it comes back as it is when the adapter is taken out.
    """

    base_layer: Base

    def __init__(self, base_layer: Base) -> None:
        super().__init__()
        self.base_layer = base_layer

    @abstractmethod
    def folded(self) -> nn.Module:
        """Return a plain layer that computes the same."""


class OutputAdapted(AdaptedLayer):
    """A layer with terms at ranges of its output rows: q, k and v of a fused matrix, or all rows.

    Parameters
    ----------
    base_layer
        The frozen layer.
    terms
        What is trained, by the name of the part; ranges may not overlap.
    """

    def __init__(self, base_layer: Base, terms: Mapping[str, Term]) -> None:
        super().__init__(base_layer)
        self.terms = nn.ModuleDict(terms)
        self._pieces = _pieces({name: term.rows for name, term in terms.items()}, base_layer.weight.shape[0])

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output with the terms in it."""
        y = self.base_layer(x)
        if len(self._pieces) == 1:
            whole: Tensor = self.terms[self._pieces[0][0]](x, y)
            return whole
        # Slices exist for linear maps alone, whose rows are the last dimension.
        found = [
            self.terms[name](x, y[..., start:stop]) if name else y[..., start:stop]
            for name, start, stop in self._pieces
        ]
        return torch.cat(found, dim=-1)

    def folded(self) -> nn.Module:
        """Return a copy of the layer with the terms in its weight and bias."""
        plain = copy.deepcopy(self.base_layer)
        with torch.no_grad():
            for name, start, stop in self._pieces:
                if name:
                    bias = None if plain.bias is None else plain.bias[start:stop]
                    cast(Term, self.terms[name]).fold(plain.weight[start:stop], bias)
        return plain


class InputScaled(AdaptedLayer):
    """IA³ at the input of a linear map, where the feed-forward layer's hidden activations arrive."""

    def __init__(self, base_layer: nn.Linear) -> None:
        super().__init__(base_layer)
        self.ia3_l = nn.Parameter(torch.ones(base_layer.in_features))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply each input by its number."""
        return self.base_layer((x * self.ia3_l).to(x.dtype))  # type: ignore[no-any-return]

    def folded(self) -> nn.Module:
        """Return a copy of the layer with scaled columns."""
        plain = copy.deepcopy(self.base_layer)
        with torch.no_grad():
            plain.weight *= self.ia3_l
        return plain


def put_in(backbone: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    """Put layers in the place of others, by name."""
    for name, layer in layers.items():
        parent, _, child = name.rpartition(".")
        setattr(backbone.get_submodule(parent), child, layer)


def own_layers(module: nn.Module) -> dict[str, AdaptedLayer]:
    """Return the adapted layers of a module, by name."""
    return {name: part for name, part in module.named_modules() if isinstance(part, AdaptedLayer)}


def take_out(module: nn.Module, *, folded: bool) -> nn.Module:
    """Put plain layers back in place: the frozen ones, or those with the terms in them."""
    found = own_layers(module)
    put_in(module, {name: layer.folded() if folded else layer.base_layer for name, layer in found.items()})
    return module


def _pieces(rows: Mapping[str, tuple[int, int]], stop: int) -> list[tuple[str, int, int]]:
    """Cut the rows at the terms' ends; a piece without term has no name."""
    pieces: list[tuple[str, int, int]] = []
    reached = 0
    for name, (first, last) in sorted(rows.items(), key=lambda item: item[1]):
        if not reached <= first < last <= stop:
            raise ValueError(f"the rows {first} to {last} of '{name}' overlap others or leave the layer's {stop} rows")
        if first > reached:
            pieces.append(("", reached, first))
        pieces.append((name, first, last))
        reached = last
    return pieces if reached == stop else [*pieces, ("", reached, stop)]
