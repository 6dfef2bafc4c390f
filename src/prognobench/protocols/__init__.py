"""Which films train, validate and test; and by which recipe."""

from ._protocol import Augmentation, Head, Protocol, Readout, Schedule, head_key, protocol_names, resolve_protocol
from ._regimes import REGIMES, Full, Regime, TooFew, parse_regimes
from ._split_files import check_split_file
from ._splits import PARTS, Split, csv_bytes, read_split
from ._validation import Validation
from ._validations import VALIDATIONS, Source, ValidationKind
from ._validations._kfold import KFold, kfold_splits
from ._validations._loco import loco_splits

__all__ = [
    "PARTS",
    "REGIMES",
    "VALIDATIONS",
    "Augmentation",
    "Full",
    "Head",
    "KFold",
    "Protocol",
    "Readout",
    "Regime",
    "Schedule",
    "Source",
    "Split",
    "TooFew",
    "Validation",
    "ValidationKind",
    "check_split_file",
    "csv_bytes",
    "head_key",
    "kfold_splits",
    "loco_splits",
    "parse_regimes",
    "protocol_names",
    "read_split",
    "resolve_protocol",
]
