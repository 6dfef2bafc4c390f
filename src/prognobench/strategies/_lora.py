"""LoRA: a trained low-rank term beside frozen matrices, by HF peft."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from prognobench.frame import Document

from ._strategy import InjectionPlan, Strategy, StrategyCard, Target

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prognobench.models import ModelCard

# Both papers and peft agree on attention-in and the MLP; the attention output stays frozen (docs/strategies.md).
_VIT_ROLES = ("attention.qkv", "mlp.fc1", "mlp.fc2")


class Lora(Strategy):
    """W + (alpha / rank) · B·A with B and A trained; on CNNs a convolution of rank channels beside each."""

    class Settings(Document):
        """Settings of `lora`."""

        rank: Annotated[int, Field(ge=1)] = 8
        """Inner width of the low-rank term."""
        alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
            default_factory=lambda data: float(data["rank"])
        )
        """Its scale is alpha / rank; alpha is the rank by default."""
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
        """Share of the term's inputs that training drops."""

    card = StrategyCard(
        name="lora",
        title="LoRA",
        kind="adapter",
        summary="a low-rank term beside the attention-in and MLP matrices (ViT) or the convolutions (CNN)",
        source="Hu et al. 2022, arXiv 2106.09685",
    )

    @property
    def label(self) -> str:
        """`lora_r8`, with alpha and dropout where they are not the default."""
        alpha = "" if self.settings.alpha == self.settings.rank else f"_a{self.settings.alpha:g}"
        dropout = "" if self.settings.dropout == 0 else f"_d{self.settings.dropout:g}"
        return f"lora_r{self.settings.rank}{alpha}{dropout}"

    def refuses(self, card: ModelCard) -> str | None:
        """LoRA needs the attention and MLP matrices, or convolutions, by role."""
        if all(role in card.roles for role in _VIT_ROLES) or "conv" in card.roles:
            return None
        return f"the card of {card.id} names neither {', '.join(_VIT_ROLES)} nor conv"

    def plan(self, backbone: nn.Module, card: ModelCard) -> InjectionPlan:
        """Choose attention-in and MLP matrices by role; on CNNs every ungrouped convolution but the stem."""
        from torch import nn

        roles = _VIT_ROLES if all(role in card.roles for role in _VIT_ROLES) else ("conv",)
        targets = []
        for name, module in backbone.named_modules():
            role = card.role_of(name)
            rank = self.settings.rank
            if role is None or role not in roles:
                continue
            if isinstance(module, nn.Linear):
                targets.append(Target(name, role, rank * (module.in_features + module.out_features)))
            elif isinstance(module, nn.Conv2d) and module.groups == 1:
                height, width = module.kernel_size
                targets.append(Target(name, role, rank * (module.in_channels * height * width + module.out_channels)))
        if not targets:
            raise ValueError(f"LoRA finds no module of the roles {', '.join(roles)} in {card.id}")
        return InjectionPlan(self.label, tuple(targets))

    def apply(self, backbone: nn.Module, plan: InjectionPlan, seed: int) -> nn.Module:
        """Put peft's LoRA layers in; BatchNorm stays in eval mode (the trainer sees to it)."""
        import torch
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            r=self.settings.rank,
            lora_alpha=self.settings.alpha,
            lora_dropout=self.settings.dropout,
            target_modules=[target.module for target in plan.targets],
            bias="none",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module: nn.Module = get_peft_model(backbone.requires_grad_(False), config)
        trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
        if trained != plan.trainable:
            raise ValueError(f"peft trains {trained} numbers where the plan of {self.label} counts {plan.trainable}")
        return module

    def state(self, module: nn.Module) -> dict[str, Tensor]:
        """Copy the adapter under the names that peft stores."""
        from peft import get_peft_model_state_dict

        return {name: tensor.detach().clone() for name, tensor in get_peft_model_state_dict(module).items()}

    def load(self, module: nn.Module, state: dict[str, Tensor]) -> None:
        """Put an adapter back."""
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        here = set(get_peft_model_state_dict(module))
        if here != set(state):
            wrong = sorted(here ^ set(state))
            raise ValueError(f"the adapter's keys do not fit: {len(wrong)} differ, the first is '{wrong[0]}'")
        set_peft_model_state_dict(module, state)

    def merge(self, module: nn.Module) -> nn.Module | None:
        """Return a plain copy of the backbone with the low-rank terms added in."""
        merged: nn.Module = copy.deepcopy(module).merge_and_unload()  # type: ignore[operator]
        return merged

    def remove(self, module: nn.Module) -> nn.Module:
        """Take the LoRA layers out again."""
        backbone: nn.Module = module.unload()  # type: ignore[operator]
        return backbone


STRATEGY = Lora
