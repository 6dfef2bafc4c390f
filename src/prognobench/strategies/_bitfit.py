"""BitFit: all biases are trained, in place; own code, since peft has no such method."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from prognobench.frame import Document

from ._strategy import InjectionPlan, Strategy, StrategyCard, Target

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prognobench.models import ModelCard

_ORIGINALS = "_prognobench_biases"


class BitFit(Strategy):
    """Every bias of the backbone trains: of linear maps, convolutions and norms; on CNNs those of batch normalization.

    A table of relative positions is no bias in this sense, though its name may end so.
    """

    class Settings(Document):
        """`bitfit` has no settings."""

    card = StrategyCard(
        name="bitfit",
        title="BitFit",
        kind="adapter",
        summary="every bias of the backbone, on CNNs those of batch normalization",
        source="Ben Zaken et al. 2022, arXiv 2106.10199",
        aliases={"linear_probing_fitbit_test_all": {}, "linear_probing_fitbit_FSL_test_all": {}},
    )

    def refuses(self, card: ModelCard) -> str | None:
        """Say that a model has no bias at all."""
        return self.cannot_plan(card)

    def plan(self, backbone: nn.Module, card: ModelCard) -> InjectionPlan:
        """Choose every module that holds a bias."""
        targets = []
        for name, module in backbone.named_modules():
            count = sum(bias.numel() for _, bias in _own_biases(module))
            if count:
                targets.append(Target(name, card.role_of(name) or type(module).__name__, count))
        if not targets:
            raise ValueError(f"BitFit finds no bias in {card.id}")
        return InjectionPlan(self.label, tuple(targets))

    def apply(self, backbone: nn.Module, plan: InjectionPlan, seed: int) -> nn.Module:
        """Let copies of the biases stand in for them; nothing is drawn, and `remove` gives the originals back."""
        from torch import nn

        backbone.requires_grad_(False)
        originals: dict[str, nn.Parameter] = {}
        for target in plan.targets:
            module = backbone.get_submodule(target.module)
            for name, bias in _own_biases(module):
                originals[f"{target.module}.{name}".strip(".")] = bias
                setattr(module, name, nn.Parameter(bias.detach().clone(), requires_grad=True))
        # Hidden from parameters and state.
        backbone.__dict__[_ORIGINALS] = originals
        return backbone

    def state(self, module: nn.Module) -> dict[str, Tensor]:
        """Copy all biases."""
        return {name: module.get_parameter(name).detach().clone() for name in module.__dict__[_ORIGINALS]}

    def load(self, module: nn.Module, state: dict[str, Tensor]) -> None:
        """Put biases back."""
        import torch

        from ._layers import check_state

        check_state(state, module.__dict__[_ORIGINALS])
        with torch.no_grad():
            for name, tensor in state.items():
                module.get_parameter(name).copy_(tensor)

    def merge(self, module: nn.Module) -> nn.Module | None:
        """Return a plain copy: the biases are in their places."""
        plain = copy.copy(module)
        plain.__dict__ = {key: value for key, value in module.__dict__.items() if key != _ORIGINALS}
        return copy.deepcopy(plain).requires_grad_(False)

    def remove(self, module: nn.Module) -> nn.Module:
        """Put the originals back in their places."""
        for name, original in module.__dict__.pop(_ORIGINALS).items():
            place, _, bias = name.rpartition(".")
            owner = module.get_submodule(place)
            original.data = original.data.to(getattr(owner, bias).device)
            setattr(owner, bias, original)
        return module


def _own_biases(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    named = module.named_parameters(recurse=False)
    return [(name, parameter) for name, parameter in named if name == "bias" or name.endswith("_bias")]


STRATEGY = BitFit
