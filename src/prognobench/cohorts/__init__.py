"""Stage 1: raw images and tables become a checked cohort with an image cache."""

from ._audit import (
    FEW_POSITIVES,
    FEWEST_GROUPS,
    Audit,
    AuditReport,
    Finding,
    SuspectedPair,
    ToldFinding,
    audit,
    audit_report,
)
from ._build import BuildReport, build_cohort, builders
from ._cards import CohortCard, PublishedTask
from ._cohort import Cohort, load_cohort, open_pixels
from ._describe import describe
from ._layouts import Planted, PlantedFault, layout_names, make_layout
from ._metadata import film_metadata
from ._packs import Pixels
from ._phantom import make_phantom
from ._preprocessing import Preprocessing
from ._published import cohort_cards, cohort_places, places_file, published_cohort, published_notes, task_names
from ._recipes import FilmRecipe, film_recipe
from ._spec import CohortSpec, TaskSpec
from ._tasks import Task
from ._thumbnails import film_thumbnails

__all__ = [
    "FEWEST_GROUPS",
    "FEW_POSITIVES",
    "Audit",
    "AuditReport",
    "BuildReport",
    "Cohort",
    "CohortCard",
    "CohortSpec",
    "FilmRecipe",
    "Finding",
    "Pixels",
    "Planted",
    "PlantedFault",
    "Preprocessing",
    "PublishedTask",
    "SuspectedPair",
    "Task",
    "TaskSpec",
    "ToldFinding",
    "audit",
    "audit_report",
    "build_cohort",
    "builders",
    "cohort_cards",
    "cohort_places",
    "describe",
    "film_metadata",
    "film_recipe",
    "film_thumbnails",
    "layout_names",
    "load_cohort",
    "make_layout",
    "make_phantom",
    "open_pixels",
    "places_file",
    "published_cohort",
    "published_notes",
    "task_names",
]
