"""VeRA: trained vectors around a pair of frozen random matrices that all layers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from prognobench.frame import Document
from prognobench.protocols import Protocol

from ._adapter import AdapterStrategy, by_module, left_to_protocol
from ._strategy import InjectionPlan, Rank, StrategyCard
from ._targets import Site, default_roles, paper_roles

if TYPE_CHECKING:
    from torch import nn

    from prognobench.models import ModelCard


class Vera(AdapterStrategy):
    """W + b ∘ (B·(d ∘ A)) with the vectors d and b trained and the random A and B, one pair for all layers, frozen.

    Layers of different shapes read the first columns of A and the first rows of B. Linear maps are peft's; slices of
    a fused matrix and convolutions, which peft has not, are our own. A convolution is the linear map of its unfolded
    patches: A's first in × height × width columns are kernels of the layer's stride and padding, B follows as a
    1 × 1 convolution.
    """

    class Settings(Document):
        """Settings of `vera`."""

        # The middle of the benchmark's 4, 8, 16, and LoRA's default; peft takes 256, at hardly more numbers;
        # the publication up to 1024. Beyond the ceiling A and B alone would fill a desktop's memory.
        rank: Annotated[Rank, Field(le=4096)] = 8
        """Rows of A and columns of B, at most 4096."""
        variant: Literal["standard", "paper"] = "standard"
        """`standard`: qkv (ViT), ungrouped convolutions but the stem (CNN). `paper`: the modules and dropout 0.1 of
        Ruffini et al., separate q, k, v being slices of timm's qkv; their alpha 4 has no meaning in VeRA and is left
        out."""
        d_initial: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
        """What d starts at; b starts at 0."""
        dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
            default_factory=lambda data: 0.1 if data["variant"] == "paper" else 0.0
        )
        """Share of the term's inputs that training drops. By default the protocol's: 0; 0.1 under the protocol or
        variant `paper`."""

    card = StrategyCard(
        name="vera",
        title="VeRA",
        kind="adapter",
        summary="two vectors at each attention-in matrix (ViT) or convolution (CNN), around shared random matrices",
        source="Kopiczko et al. 2024, arXiv 2310.11454",
        aliases={
            f"linear_probing_VeRA_{kind}{rank}_test_all": {"rank": rank, "variant": "paper"}
            for kind in ("", "FSL_")
            for rank in (4, 8, 16)
        },
    )
    title = "VeRA"
    on_vit = ("attention.qkv",)

    @property
    def label(self) -> str:
        """`vera_r8` or `vera_r8_paper`, with what d starts at where not at 0.1, and dropout where the study sets it."""
        settings, usual = self.settings, self.Settings(rank=self.settings.rank)
        words = [f"vera_r{settings.rank}"]
        words += ["paper"] if settings.variant == "paper" else []
        words += [f"i{settings.d_initial:g}"] if settings.d_initial != usual.d_initial else []
        words += [f"d{settings.dropout:g}"] if "dropout" in settings.model_fields_set else []
        return "_".join(words)

    def under(self, protocol: Protocol) -> Vera:
        """Take dropout from the protocol where neither the study nor the variant sets it."""
        return Vera(left_to_protocol(self.settings, {"dropout": protocol.dropout}))

    def roles(self, card: ModelCard) -> tuple[str, ...]:
        """Return attention-in, or convolutions; the authors' list under `paper`."""
        if self.settings.variant == "paper":
            return () if card.family == "swin" else paper_roles(card, "vera", self.on_vit)
        return default_roles(card, self.on_vit)

    def refuses(self, card: ModelCard) -> str | None:
        """VeRA needs attention-in or convolutions by role; the authors' needs layers of one shape, too."""
        if self.settings.variant == "paper" and card.family == "swin":
            return f"the authors' VeRA needs layers of one shape, those of {card.id} differ from stage to stage"
        if self.settings.variant == "paper" and not self.roles(card):
            return f"the authors of the paper list no modules for VeRA on {card.id}"
        return super().refuses(card)

    def count(self, site: Site) -> int:
        """Count d and b."""
        return int(self.settings.rank + site.outputs)

    def needs_own_layers(self, backbone: nn.Module, plan: InjectionPlan) -> bool:
        """Tell whether peft cannot do it: it knows neither slices nor convolutions."""
        from torch import nn

        convolution = any(isinstance(backbone.get_submodule(target.module), nn.Conv2d) for target in plan.targets)
        return convolution or super().needs_own_layers(backbone, plan)

    def peft_config(self, plan: InjectionPlan, seed: int) -> Any:
        """Return peft's VeRA; the random matrices are saved, since one seed may draw others elsewhere."""
        from peft import VeraConfig

        return VeraConfig(
            r=self.settings.rank,
            projection_prng_key=seed,
            save_projection=True,
            d_initial=self.settings.d_initial,
            vera_dropout=self.settings.dropout,
            target_modules=[target.module for target in plan.targets],
            bias="none",
        )

    def own_layers(self, backbone: nn.Module, plan: InjectionPlan, seed: int) -> dict[str, nn.Module]:
        """Return layers with vectors at each slice or at the whole, around one pair of random matrices."""
        from ._layers import OutputAdapted, Projection, RandomLowRank

        layers: dict[str, nn.Module] = {}
        bases: dict[str, Any] = {target.module: backbone.get_submodule(target.module) for target in plan.targets}
        rows = {target: target.rows or (0, bases[target.module].weight.shape[0]) for target in plan.targets}
        projection = Projection(
            self.settings.rank,
            max(base.weight[0].numel() for base in bases.values()),
            max(stop - start for start, stop in rows.values()),
            seed,
        )
        for name, parts in by_module(plan.targets).items():
            layers[name] = OutputAdapted(
                bases[name],
                {
                    part: RandomLowRank(
                        bases[name], rows[target], projection, self.settings.d_initial, self.settings.dropout
                    )
                    for part, target in parts.items()
                },
            )
        return layers


STRATEGY = Vera
