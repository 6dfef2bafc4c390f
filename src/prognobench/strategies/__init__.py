"""Ways to adapt a backbone: one module a family, all behind one interface."""

from ._export import export_peft
from ._matrix import matrix_lines, matrix_rows
from ._proof import Proof, prove
from ._registry import parse_strategies, resolved_strategy, strategy_cards
from ._strategy import InjectionPlan, Strategy, StrategyCard, Target

__all__ = [
    "InjectionPlan",
    "Proof",
    "Strategy",
    "StrategyCard",
    "Target",
    "export_peft",
    "matrix_lines",
    "matrix_rows",
    "parse_strategies",
    "prove",
    "resolved_strategy",
    "strategy_cards",
]
