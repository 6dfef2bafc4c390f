"""IA³: trained numbers that rescale activations, by HF peft; at slices of a fused matrix by our own layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from prognobench.frame import Document
from prognobench.protocols import Protocol

from ._adapter import AdapterStrategy, by_module
from ._strategy import InjectionPlan, StrategyCard
from ._targets import VIT_ROLES, Site, default_roles, paper_roles

if TYPE_CHECKING:
    from torch import nn

    from prognobench.models import ModelCard


class Ia3(AdapterStrategy):
    """Each key, value and hidden activation of the MLP is multiplied by a trained number that starts at 1."""

    class Settings(Document):
        """Settings of `ia3`."""

        variant: Literal["published", "paper"] = "published"
        """`published`: keys, values and the MLP's hidden activations (ViT), output channels of ungrouped convolutions
        but the stem (CNN). `paper`: the modules of Ruffini et al., on plain ViTs the outputs of qkv and the inputs of
        fc1 and fc2."""

    card = StrategyCard(
        name="ia3",
        title="IA³",
        kind="adapter",
        summary="factors of keys, values and the MLP's hidden activations (ViT) or of the convolutions' channels (CNN)",
        source="Liu et al. 2022, arXiv 2205.05638",
        aliases={f"linear_probing_IA3_{kind}test_all": {"variant": "paper"} for kind in ("", "FSL_")},
    )
    title = "IA³"
    on_vit = ("attention.qkv[k]", "attention.qkv[v]", "mlp.fc2")

    @property
    def label(self) -> str:
        """`ia3` or `ia3_paper`."""
        return "ia3_paper" if self.settings.variant == "paper" else "ia3"

    def roles(self, card: ModelCard) -> tuple[str, ...]:
        """Return keys, values and the second MLP matrix, or convolutions; the authors' list under `paper`."""
        if self.settings.variant == "paper":
            return paper_roles(card, "ia3", VIT_ROLES)
        return default_roles(card, self.on_vit)

    def refuses(self, card: ModelCard) -> str | None:
        """IA³ needs attention-in and the MLP, or convolutions, by role; under `paper`, the authors' list."""
        if self.settings.variant == "paper" and not self.roles(card):
            return f"the authors of the paper list no modules for IA³ on {card.id}"
        return super().refuses(card)

    def count(self, site: Site) -> int:
        """Count the factors."""
        return site.inputs if _at_input(site.role) else site.outputs

    def parameter_groups(self, module: nn.Module, protocol: Protocol) -> list[dict[str, Any]]:
        """Return one group without decay: factors start at 1, and peft keeps them as matrices of one row."""
        trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
        return [{"params": trainable, "lr": protocol.adapter_rate(self.card.name), "weight_decay": 0.0}]

    def peft_config(self, plan: InjectionPlan, seed: int) -> Any:
        """Return peft's IA³; what is scaled at its input it calls feed-forward."""
        from peft import IA3Config

        return IA3Config(
            target_modules=[target.module for target in plan.targets],
            feedforward_modules=[target.module for target in plan.targets if _at_input(target.role)],
        )

    def own_layers(self, backbone: nn.Module, plan: InjectionPlan, seed: int) -> dict[str, nn.Module]:
        """Return linear maps with factors at slices of their outputs, or at their inputs."""
        from ._layers import InputScaled, OutputAdapted, Scale

        layers: dict[str, nn.Module] = {}
        for name, parts in by_module(plan.targets).items():
            base: Any = backbone.get_submodule(name)
            if any(_at_input(target.role) for target in parts.values()):
                layers[name] = InputScaled(base)
            else:
                terms = {part: Scale(target.rows or (0, base.out_features)) for part, target in parts.items()}
                layers[name] = OutputAdapted(base, terms)
        return layers


def _at_input(role: str) -> bool:
    """Tell whether activations are scaled where they enter; those of attention-in and of CNNs as they leave."""
    return not role.startswith(("attention.qkv", "conv", "linear"))


STRATEGY = Ia3
