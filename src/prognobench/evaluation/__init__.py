"""From stored predictions to numbers: tables in, tables out, without torch."""

from ._conclusions import conclusions
from ._confusion_counts import confusion_counts
from ._controls import compare_with_controls
from ._curves import curves
from ._decision import Budget, decision_map
from ._folds import fold_metrics
from ._intervals import intervals
from ._logistic import log_odds
from ._out_of_fold import OutOfFold, out_of_fold
from ._pairwise import pairwise_tests
from ._ranking import ranking
from ._reliability import reliability
from ._resampling import CONTROLS, Block, Cell, Fold, PatientBootstrap
from ._selection import selection
from ._sizes import task_sizes
from ._subgroups import subgroups
from ._summary import METRIC_COLUMNS, metric_column, summarize
from ._tables import BLOCK_KEYS, KEYS, planned_jobs
from ._task_tests import task_tests
from ._threshold import best_threshold
from .metrics import METRICS, Metric, Sample

__all__ = [
    "BLOCK_KEYS",
    "CONTROLS",
    "KEYS",
    "METRICS",
    "METRIC_COLUMNS",
    "Block",
    "Budget",
    "Cell",
    "Fold",
    "Metric",
    "OutOfFold",
    "PatientBootstrap",
    "Sample",
    "best_threshold",
    "compare_with_controls",
    "conclusions",
    "confusion_counts",
    "curves",
    "decision_map",
    "fold_metrics",
    "intervals",
    "log_odds",
    "metric_column",
    "out_of_fold",
    "pairwise_tests",
    "planned_jobs",
    "ranking",
    "reliability",
    "selection",
    "subgroups",
    "summarize",
    "task_sizes",
    "task_tests",
]
