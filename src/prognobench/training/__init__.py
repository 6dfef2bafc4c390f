"""One job: training and validation films in, a scorer of any films out."""

from ._allocator import give_back_freed_memory, keep_freed_memory
from ._batches import Normalizer
from ._chosen import Chosen, choose_over_folds
from ._controls import fit_majority, fit_metadata
from ._device import describe_device, device_name, gflops_a_second, processor_name, usable_precision, use_threads
from ._features import FrozenFeatures, frozen_features
from ._films import Films, Outcome, Rows, Stacked, film_weights, with_variants
from ._finetune import Checkpoint, fine_tune, refit
from ._head_steps import head_seconds
from ._probe import chosen_readout, fit_probe, refit_probe

__all__ = [
    "Checkpoint",
    "Chosen",
    "Films",
    "FrozenFeatures",
    "Normalizer",
    "Outcome",
    "Rows",
    "Stacked",
    "choose_over_folds",
    "chosen_readout",
    "describe_device",
    "device_name",
    "film_weights",
    "fine_tune",
    "fit_majority",
    "fit_metadata",
    "fit_probe",
    "frozen_features",
    "gflops_a_second",
    "give_back_freed_memory",
    "head_seconds",
    "keep_freed_memory",
    "processor_name",
    "refit",
    "refit_probe",
    "usable_precision",
    "use_threads",
    "with_variants",
]
