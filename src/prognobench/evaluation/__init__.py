"""From stored predictions to numbers: tables in, tables out, without torch."""

from ._folds import fold_metrics
from ._summary import METRIC_COLUMNS, summarize
from ._threshold import best_threshold
from .metrics import METRICS, Metric, Sample

__all__ = ["METRICS", "METRIC_COLUMNS", "Metric", "Sample", "best_threshold", "fold_metrics", "summarize"]
