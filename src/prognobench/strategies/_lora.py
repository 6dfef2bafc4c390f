"""LoRA: a trained low-rank term beside frozen matrices, by HF peft; at slices of a fused matrix by our own layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from prognobench.frame import Document
from prognobench.protocols import Protocol

from ._adapter import AdapterStrategy, by_module, left_to_protocol
from ._strategy import InjectionPlan, Rank, StrategyCard
from ._targets import VIT_ROLES, Site, default_roles, paper_roles

if TYPE_CHECKING:
    from torch import nn

    from prognobench.models import ModelCard


class Lora(AdapterStrategy):
    """W + (alpha / rank) · B·A with B and A trained; on CNNs a convolution of rank channels beside each."""

    class Settings(Document):
        """Settings of `lora`."""

        rank: Rank = 8
        """Inner width of the low-rank term."""
        variant: Literal["standard", "paper"] = "standard"
        """`standard`: qkv, fc1 and fc2 (ViT), ungrouped convolutions but the stem (CNN). `paper`: the modules, alpha 1
        and dropout 0.1 of Ruffini et al., separate q, k, v being slices of timm's qkv."""
        alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
            default_factory=lambda data: 1.0 if data["variant"] == "paper" else float(data["rank"])
        )
        """The term's scale is alpha / rank. By default the protocol's: the rank; 1 under the protocol or variant
        `paper`."""
        dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
            default_factory=lambda data: 0.1 if data["variant"] == "paper" else 0.0
        )
        """Share of the term's inputs that training drops. By default the protocol's: 0; 0.1 under the protocol or
        variant `paper`."""

    card = StrategyCard(
        name="lora",
        title="LoRA",
        kind="adapter",
        summary="a low-rank term beside the attention-in and MLP matrices (ViT) or the convolutions (CNN)",
        source="Hu et al. 2022, arXiv 2106.09685",
        aliases={
            f"linear_probing_LoRa_{kind}{rank}_test_all": {"rank": rank, "variant": "paper"}
            for kind in ("", "FSL_")
            for rank in (4, 8, 16)
        },
    )
    title = "LoRA"
    # Both papers and peft agree on attention-in and the MLP; the attention output stays frozen (docs/strategies.md).
    on_vit = VIT_ROLES

    @property
    def label(self) -> str:
        """`lora_r8` or `lora_r8_paper`, with alpha and dropout where the study sets them."""
        settings, told = self.settings, self.settings.model_fields_set
        words = [f"lora_r{settings.rank}"]
        words += ["paper"] if settings.variant == "paper" else []
        words += [f"a{settings.alpha:g}"] if "alpha" in told else []
        words += [f"d{settings.dropout:g}"] if "dropout" in told else []
        return "_".join(words)

    def under(self, protocol: Protocol) -> Lora:
        """Take alpha and dropout from the protocol where neither the study nor the variant sets them."""
        alpha = float(self.settings.rank) if protocol.alpha == "rank" else protocol.alpha
        return Lora(left_to_protocol(self.settings, {"alpha": alpha, "dropout": protocol.dropout}))

    def roles(self, card: ModelCard) -> tuple[str, ...]:
        """Return attention-in and MLP, or convolutions; the authors' list under `paper`."""
        if self.settings.variant == "paper":
            return paper_roles(card, "lora", self.on_vit)
        return default_roles(card, self.on_vit)

    def refuses(self, card: ModelCard) -> str | None:
        """LoRA needs the attention and MLP matrices, or convolutions, by role; under `paper`, the authors' list."""
        if self.settings.variant == "paper" and not self.roles(card):
            return f"the authors of the paper list no modules for LoRA on {card.id}"
        return super().refuses(card)

    def count(self, site: Site) -> int:
        """Count A and B."""
        return int(self.settings.rank * (site.inputs + site.outputs))

    def peft_config(self, plan: InjectionPlan, seed: int) -> Any:
        """Return peft's LoRA."""
        from peft import LoraConfig

        return LoraConfig(
            r=self.settings.rank,
            lora_alpha=self.settings.alpha,
            lora_dropout=self.settings.dropout,
            target_modules=[target.module for target in plan.targets],
            bias="none",
        )

    def own_layers(self, backbone: nn.Module, plan: InjectionPlan, seed: int) -> dict[str, nn.Module]:
        """Return linear maps with a low-rank term at each slice."""
        from ._layers import LowRank, OutputAdapted

        settings = self.settings
        layers: dict[str, nn.Module] = {}
        for name, parts in by_module(plan.targets).items():
            base: Any = backbone.get_submodule(name)
            layers[name] = OutputAdapted(
                base,
                {
                    part: LowRank(
                        base,
                        target.rows or (0, base.out_features),
                        settings.rank,
                        settings.alpha / settings.rank,
                        settings.dropout,
                    )
                    for part, target in parts.items()
                },
            )
        return layers


STRATEGY = Lora
