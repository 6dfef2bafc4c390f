"""Ways to adapt a backbone: one module a family, all behind one interface."""

from ._proof import Proof, prove
from ._registry import parse_strategies, strategy_cards
from ._strategy import InjectionPlan, Strategy, StrategyCard, Target

__all__ = [
    "InjectionPlan",
    "Proof",
    "Strategy",
    "StrategyCard",
    "Target",
    "parse_strategies",
    "prove",
    "strategy_cards",
]
