"""Stage 1: raw images and tables become a checked cohort with an image cache."""

from ._cohort import Cohort, load_cohort, open_pixels
from ._describe import describe
from ._packs import Pixels
from ._phantom import make_phantom
from ._preprocessing import Preprocessing
from ._spec import CohortSpec, TaskSpec
from ._tasks import Task

__all__ = [
    "Cohort",
    "CohortSpec",
    "Pixels",
    "Preprocessing",
    "Task",
    "TaskSpec",
    "describe",
    "load_cohort",
    "make_phantom",
    "open_pixels",
]
