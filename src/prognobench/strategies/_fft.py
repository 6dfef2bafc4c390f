"""Full fine-tuning: every parameter of the backbone is trained."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from prognobench.frame import Document

from ._strategy import InjectionPlan, Strategy, StrategyCard, Target

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prognobench.models import ModelCard


class FullFineTuning(Strategy):
    """A copy of the backbone trains as a whole, batch-normalization statistics included."""

    class Settings(Document):
        """`fft` has no settings; the protocol gives its learning rate."""

    card = StrategyCard(
        name="fft",
        title="Full fine-tuning",
        kind="backbone",
        summary="every parameter of the backbone, and the batch-normalization statistics",
        source="Yosinski et al. 2014, arXiv 1411.1792",
        aliases={"full_finetuning": {}, "full_finetuning_FSL": {}},
    )

    def plan(self, backbone: nn.Module, card: ModelCard) -> InjectionPlan:
        """Choose every module that holds parameters of its own."""
        targets = []
        for name, module in backbone.named_modules():
            own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
            if own:
                targets.append(Target(name, card.role_of(name) or type(module).__name__, own))
        return InjectionPlan(self.label, tuple(targets))

    def apply(self, backbone: nn.Module, plan: InjectionPlan, seed: int) -> nn.Module:
        """Return a copy to train; the backbone itself is never touched, so `remove` can give it back."""
        module = copy.deepcopy(backbone).requires_grad_(True)
        # A list hides the original from the copy's own parameters and state.
        module.__dict__["_prognobench_original"] = [backbone]
        return module

    def state(self, module: nn.Module) -> dict[str, Tensor]:
        """Copy all parameters and buffers."""
        return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    def load(self, module: nn.Module, state: dict[str, Tensor]) -> None:
        """Put all parameters and buffers back."""
        try:
            module.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise ValueError(str(error)) from None

    def merge(self, module: nn.Module) -> nn.Module | None:
        """Return a plain copy: there is nothing beside the weights."""
        plain = copy.copy(module)
        plain.__dict__ = {key: value for key, value in module.__dict__.items() if key != "_prognobench_original"}
        return copy.deepcopy(plain)

    def remove(self, module: nn.Module) -> nn.Module:
        """Return the original."""
        original: nn.Module = module.__dict__["_prognobench_original"][0]
        return original


STRATEGY = FullFineTuning
