"""One job: training and validation films in, a scorer of any films out."""

from ._controls import fit_majority, fit_metadata
from ._device import describe_device, device_name, gflops_a_second, processor_name, usable_precision, use_threads
from ._features import FrozenFeatures, frozen_features
from ._films import Films, Outcome, Rows, film_weights
from ._finetune import Checkpoint, fine_tune
from ._probe import fit_probe

__all__ = [
    "Checkpoint",
    "Films",
    "FrozenFeatures",
    "Outcome",
    "Rows",
    "describe_device",
    "device_name",
    "film_weights",
    "fine_tune",
    "fit_majority",
    "fit_metadata",
    "fit_probe",
    "frozen_features",
    "gflops_a_second",
    "processor_name",
    "usable_precision",
    "use_threads",
]
