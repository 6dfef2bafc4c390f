"""What all strategies that put layers into a backbone share: peft's layers where it has them, otherwise our own."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ._strategy import InjectionPlan, Strategy, Target
from ._targets import Site

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prognobench.models import ModelCard


class AdapterStrategy(Strategy):
    """A strategy whose trained tensors are in layers around frozen ones."""

    title: str
    on_vit: tuple[str, ...]

    @abstractmethod
    def roles(self, card: ModelCard) -> tuple[str, ...]:
        """Return the roles that this strategy changes on a model; empty where it has none."""

    @abstractmethod
    def count(self, site: Site) -> int:
        """Return how many numbers are trained at a place."""

    @abstractmethod
    def peft_config(self, plan: InjectionPlan, seed: int) -> Any:
        """Return peft's configuration for whole layers."""

    @abstractmethod
    def own_layers(self, backbone: nn.Module, plan: InjectionPlan, seed: int) -> dict[str, nn.Module]:
        """Return our own layers, by the name of the module that they stand in for."""

    def needs_own_layers(self, backbone: nn.Module, plan: InjectionPlan) -> bool:
        """Tell whether peft cannot do it: it knows no slices."""
        return any(target.rows is not None for target in plan.targets)

    def refuses(self, card: ModelCard) -> str | None:
        """Say that a model has no place for the adapter, one where it would train nothing, or no plan."""
        from ._targets import refuses_roles

        return refuses_roles(card, self.roles(card), self.on_vit) or self.cannot_plan(card)

    def plan(self, backbone: nn.Module, card: ModelCard) -> InjectionPlan:
        """Choose the modules by their roles."""
        from ._targets import sites

        roles = self.roles(card)
        if not roles:
            raise ValueError(f"{self.title} has no place in {card.id}: {self.refuses(card)}")
        found = sites(backbone, card, roles, self.title)
        plan = InjectionPlan(self.label, tuple(Target(s.name, s.role, self.count(s), s.rows) for s in found))
        held = sum(site.inputs * site.outputs for site in found)
        if plan.trainable >= held:
            raise ValueError(
                f"{self.label} would train {plan.trainable:,} numbers beside {held:,} that stay frozen in {card.id}: "
                "take a smaller rank, or fft"
            )
        return plan

    def apply(self, backbone: nn.Module, plan: InjectionPlan, seed: int) -> nn.Module:
        """Put the layers in; BatchNorm stays in eval mode (the trainer sees to it)."""
        import torch
        from peft import get_peft_model

        backbone.requires_grad_(False)
        module: nn.Module
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if self.needs_own_layers(backbone, plan):
                from ._layers import put_in

                put_in(backbone, self.own_layers(backbone, plan, seed))
                module = backbone
            else:
                module = get_peft_model(backbone, self.peft_config(plan, seed))
        trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
        if trained != plan.trainable:
            raise ValueError(f"{trained} numbers would be trained where the plan of {self.label} has {plan.trainable}")
        return module

    def state(self, module: nn.Module) -> dict[str, Tensor]:
        """Copy the adapter: under the names that peft stores, or those of our own layers."""
        from ._layers import own_state

        return _peft_state(module) if _is_peft(module) else own_state(module)

    def load(self, module: nn.Module, state: dict[str, Tensor]) -> None:
        """Put an adapter back."""
        from ._layers import check_state, load_own_state

        if not _is_peft(module):
            load_own_state(module, state)
            return
        from peft import set_peft_model_state_dict

        check_state(state, _peft_state(module))
        set_peft_model_state_dict(module, state)

    def merge(self, module: nn.Module) -> nn.Module | None:
        """Return a plain copy of the backbone with the adapter folded into its weights."""
        from ._layers import take_out

        copied: Any = copy.deepcopy(module)
        merged: nn.Module = copied.merge_and_unload() if _is_peft(module) else take_out(copied, folded=True)
        return merged

    def train_in_bfloat16(self, module: nn.Module) -> frozenset[str]:
        """Let peft's LoRA layers train as one product each."""
        from ._layers import merge_while_training

        return merge_while_training(module) if _is_peft(module) else frozenset()

    def remove(self, module: nn.Module) -> nn.Module:
        """Take the layers out again."""
        from ._layers import take_out

        adapted: Any = module
        backbone: nn.Module = adapted.unload() if _is_peft(module) else take_out(module, folded=False)
        return backbone


def left_to_protocol(settings: Any, values: Mapping[str, float]) -> Any:
    """Return settings with the protocol's values where the study names none; the variant `paper` brings its own."""
    if settings.variant == "paper":
        return settings
    left = {key: value for key, value in values.items() if key not in settings.model_fields_set}
    # Made in such a way that they do not count as named by the study.
    return type(settings).model_construct(settings.model_fields_set, **(settings.model_dump() | left))


def by_module(targets: tuple[Target, ...]) -> Mapping[str, dict[str, Target]]:
    """Group targets by their module; the parts of each are named `q`, `k`, …, or `all`."""
    found: dict[str, dict[str, Target]] = {}
    for target in targets:
        part = target.role.partition("[")[2].rstrip("]") or "all"
        found.setdefault(target.module, {})[part] = target
    return found


def _is_peft(module: nn.Module) -> bool:
    from peft import PeftModel

    return isinstance(module, PeftModel)


def _peft_state(module: nn.Module) -> dict[str, Tensor]:
    from peft import get_peft_model_state_dict

    return {name: tensor.detach().clone() for name, tensor in get_peft_model_state_dict(module).items()}
