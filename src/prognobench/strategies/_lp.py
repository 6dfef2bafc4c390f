"""Linear probing: the backbone stays as it is, a linear head reads its features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prognobench.frame import Document

from ._strategy import InjectionPlan, Strategy, StrategyCard

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prognobench.models import ModelCard


class LinearProbe(Strategy):
    """Nothing of the backbone is trained; the head is a logistic regression on its frozen features."""

    class Settings(Document):
        """`lp` has no settings; the protocol's `probe` says how the head is solved."""

    card = StrategyCard(
        name="lp",
        title="Linear probing",
        kind="probe",
        summary="a logistic regression on the frozen features; nothing of the backbone is trained",
        source="Alain & Bengio 2016, arXiv 1610.01644",
        aliases={"linear_probing_none_test_all": {}, "linear_probing_none_FSL_test_all": {}},
    )

    def plan(self, backbone: nn.Module, card: ModelCard) -> InjectionPlan:
        """Choose no module."""
        return InjectionPlan(self.label, ())

    def apply(self, backbone: nn.Module, plan: InjectionPlan, seed: int) -> nn.Module:
        """Return the backbone with all gradients off."""
        return backbone.requires_grad_(False).eval()

    def state(self, module: nn.Module) -> dict[str, Tensor]:
        """Return nothing: nothing changed."""
        return {}

    def load(self, module: nn.Module, state: dict[str, Tensor]) -> None:
        """Take nothing."""
        if state:
            raise ValueError(f"a linear probe has no tensors of the backbone, {len(state)} were given")

    def merge(self, module: nn.Module) -> nn.Module | None:
        """Return the backbone."""
        return module

    def remove(self, module: nn.Module) -> nn.Module:
        """Return the backbone."""
        return module


STRATEGY = LinearProbe
