"""Layers of our own, for what HF peft has not: terms at slices of a fused matrix, VeRA on convolutions."""

from ._adapted import AdaptedLayer, InputScaled, OutputAdapted, own_layers, put_in, take_out
from ._merged_lora import merge_while_training
from ._state import check_state, load_own_state, own_state
from ._terms import LowRank, Projection, RandomLowRank, Scale, Term

__all__ = [
    "AdaptedLayer",
    "InputScaled",
    "LowRank",
    "OutputAdapted",
    "Projection",
    "RandomLowRank",
    "Scale",
    "Term",
    "check_state",
    "load_own_state",
    "merge_while_training",
    "own_layers",
    "own_state",
    "put_in",
    "take_out",
]
