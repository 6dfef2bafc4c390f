"""The metrics: every module of this folder lists its own in `METRICS`; a new one is a new module and no edit here."""

from importlib import import_module
from pkgutil import iter_modules

from ._confusion import mcc_of_counts
from ._metric import Metric, Sample, Samples
from ._probability import BIN_BOUNDS, bins_of

METRICS: tuple[Metric, ...] = tuple(
    sorted(
        (
            metric
            for module in iter_modules(__path__)
            for metric in getattr(import_module(f"{__name__}.{module.name}"), "METRICS", ())
        ),
        key=lambda metric: (metric.place, metric.name),
    )
)

__all__ = ["BIN_BOUNDS", "METRICS", "Metric", "Sample", "Samples", "bins_of", "mcc_of_counts"]
