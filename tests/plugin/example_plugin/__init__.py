"""What a third party writes to add a backbone and a strategy: two entry points, and no edit of prognobench."""

import copy

from prognobench.frame import Document
from prognobench.models import model_card
from prognobench.strategies import InjectionPlan, Strategy, StrategyCard, Target

# A card of one's own: here timm's tiny test network under another name and input size.
CARDS = [
    model_card("timm:test_vit").model_copy(update={"id": "tiny_vit", "name": "Tiny ViT", "aliases": (), "weights": ()})
]


class NormTuning(Strategy):
    """Train the layer norms of a copy of the backbone."""

    class Settings(Document):
        """No settings."""

    card = StrategyCard(
        name="norms",
        title="Norm tuning",
        kind="adapter",
        summary="scale and shift of every layer norm",
        source="an example",
    )

    def refuses(self, card):  # why a model cannot take it, said when a study is planned; None where it can
        return None if "norm" in card.roles else f"the card of {card.id} names no norms"

    def plan(self, backbone, card):  # which modules, chosen by role, and how many numbers are trained there
        named = [(name, m) for name, m in backbone.named_modules() if card.role_of(name) == "norm"]
        targets = [Target(name, "norm", sum(p.numel() for p in m.parameters())) for name, m in named]
        return InjectionPlan(self.label, tuple(targets))

    def apply(self, backbone, plan, seed):  # a module that trains what the plan says and nothing else
        module = copy.deepcopy(backbone).requires_grad_(False)
        module.__dict__["original"] = [backbone]
        module.__dict__["norms"] = [target.module for target in plan.targets]
        for name in module.norms:
            module.get_submodule(name).requires_grad_(True)
        return module

    def state(self, module):  # all that training changed
        return {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}

    def load(self, module, state):  # a missing or surplus key, or another shape, is a ValueError
        here = {name: tensor.shape for name, tensor in self.state(module).items()}
        if here != {name: tensor.shape for name, tensor in state.items()}:
            raise ValueError("the state does not fit")
        module.load_state_dict(state, strict=False)

    def merge(self, module):  # a plain backbone that computes the same, or None
        return copy.deepcopy(module)

    def remove(self, module):  # the backbone that was given to apply, bit-equal
        return module.original[0]
