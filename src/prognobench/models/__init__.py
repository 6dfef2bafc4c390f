"""Pretrained backbones, their cards and their weights.

Cards and the weights store need no torch; `load_backbone` and the conversions import it when they run.
"""

from ._build import load_backbone
from ._cards import ModelCard, WeightsSource
from ._class_token import class_token_alone
from ._fetch import add_weights, fetch_weights
from ._files import write_tensors
from ._readout import columns, read_out, readable, readout_width, refuses_readout, widest
from ._registry import in_catalog, model_card, model_cards
from ._weights import RANDOM, Weights, WeightsRow, find_weights, list_weights, verify_weights

__all__ = [
    "RANDOM",
    "ModelCard",
    "Weights",
    "WeightsRow",
    "WeightsSource",
    "add_weights",
    "class_token_alone",
    "columns",
    "fetch_weights",
    "find_weights",
    "in_catalog",
    "list_weights",
    "load_backbone",
    "model_card",
    "model_cards",
    "read_out",
    "readable",
    "readout_width",
    "refuses_readout",
    "verify_weights",
    "widest",
    "write_tensors",
]
