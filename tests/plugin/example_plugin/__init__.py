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

    def refuses(self, card):
        return None if "norm" in card.roles else f"the card of {card.id} names no norms"

    def plan(self, backbone, card):
        named = [(name, m) for name, m in backbone.named_modules() if card.role_of(name) == "norm"]
        targets = [Target(name, "norm", sum(p.numel() for p in m.parameters())) for name, m in named]
        return InjectionPlan(self.label, tuple(targets))

    def apply(self, backbone, plan, seed):
        module = copy.deepcopy(backbone).requires_grad_(False)
        module.__dict__["original"] = [backbone]
        module.__dict__["norms"] = [target.module for target in plan.targets]
        for name in module.norms:
            module.get_submodule(name).requires_grad_(True)
        return module

    def state(self, module):
        return {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}

    def load(self, module, state):
        if state.keys() != self.state(module).keys():
            raise ValueError("the keys do not fit")
        module.load_state_dict(state, strict=False)

    def merge(self, module):
        return copy.deepcopy(module)

    def remove(self, module):
        return module.original[0]
