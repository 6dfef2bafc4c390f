"""The metrics as people call them, and how they are shown."""

from __future__ import annotations

from prognobench.evaluation import METRICS

from .plots._plot import Better

_ENDINGS = {"": "", "_at_val": ", threshold of validation", "_platt": ", after Platt", "_prior": ", prior put back"}
METRIC_NAMES = {
    "mcc": "MCC", "pr_auc": "PR-AUC", "roc_auc": "ROC-AUC", "balanced_accuracy": "balanced accuracy", "f1": "F1",
    "ppv": "PPV", "npv": "NPV", "brier": "Brier score", "ece": "ECE", "log_loss": "log loss",
    "calibration_slope": "calibration slope", "calibration_intercept": "calibration intercept",
}  # fmt: skip


def metrics() -> list[str]:
    """List the metrics, as `metric_column` takes them, the plain ones first."""
    plain = [metric.name for metric in METRICS]
    at_val = [f"{metric.name}_at_val" for metric in METRICS if metric.thresholded]
    ways = [f"{metric.name}{way}" for way in ("_platt", "_prior") for metric in METRICS if metric.calibrated]
    return [*plain, *at_val, *ways]


def metric_name(name: str) -> str:
    """Return what people call a metric, with the factor by which it is shown."""
    ending = next((one for one in _ENDINGS if one and name.endswith(one)), "")
    plain = name.removesuffix(ending)
    times = " × 100" if times_of(name) > 1 else ""
    return f"{METRIC_NAMES.get(plain, plain)}{times}{_ENDINGS[ending]}"


def times_of(name: str) -> float:
    """Return by how much a metric is multiplied to be shown."""
    probability = any(name.startswith(one) for one in ("brier", "ece", "log_loss", "calibration"))
    return 1.0 if probability else 100.0


def better_of(name: str) -> Better:
    """Return which end of a metric is the good one, recalibrated or at whatever threshold."""
    plain = name.removesuffix(next((one for one in _ENDINGS if one and name.endswith(one)), ""))
    return next(metric.better for metric in METRICS if metric.name == plain)
