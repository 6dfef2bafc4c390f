"""Which films train, validate and test; and by which recipe."""

from ._protocol import Head, Protocol, protocol_names, resolve_protocol
from ._regimes import Full, Regime, parse_regimes
from ._splits import Split, kfold_splits, read_split
from ._validation import KFold, Validation

__all__ = [
    "Full",
    "Head",
    "KFold",
    "Protocol",
    "Regime",
    "Split",
    "Validation",
    "kfold_splits",
    "parse_regimes",
    "protocol_names",
    "read_split",
    "resolve_protocol",
]
