"""From stored predictions to numbers: tables in, tables out, without torch."""

from ._controls import compare_with_controls
from ._folds import fold_metrics
from ._reliability import reliability
from ._resampling import CONTROLS, Block, Cell, Fold, PatientBootstrap
from ._summary import METRIC_COLUMNS, summarize
from ._tables import BLOCK_KEYS
from ._threshold import best_threshold
from .metrics import METRICS, Metric, Sample

__all__ = [
    "BLOCK_KEYS",
    "CONTROLS",
    "METRICS",
    "METRIC_COLUMNS",
    "Block",
    "Cell",
    "Fold",
    "Metric",
    "PatientBootstrap",
    "Sample",
    "best_threshold",
    "compare_with_controls",
    "fold_metrics",
    "reliability",
    "summarize",
]
