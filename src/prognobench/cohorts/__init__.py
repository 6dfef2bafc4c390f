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
from ._films import BadFilm, Fault
from ._layouts import Planted, PlantedFault, layout_names, make_layout
from ._metadata import film_metadata
from ._new_films import FilmSource, NewFilm, film_in_memory, film_sources, listing_files, read_new_films
from ._packs import Pixels, kept_pixels
from ._phantom import make_phantom
from ._preprocessing import Preprocessing
from ._published import cohort_cards, cohort_places, places_file, published_cohort, published_notes, task_names
from ._recipes import FilmRecipe, built_with, film_recipe
from ._spec import CohortSpec, TaskSpec
from ._tasks import Task
from ._thumbnails import film_thumbnails

__all__ = [
    "FEWEST_GROUPS",
    "FEW_POSITIVES",
    "Audit",
    "AuditReport",
    "BadFilm",
    "BuildReport",
    "Cohort",
    "CohortCard",
    "CohortSpec",
    "Fault",
    "FilmRecipe",
    "FilmSource",
    "Finding",
    "NewFilm",
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
    "built_with",
    "cohort_cards",
    "cohort_places",
    "describe",
    "film_in_memory",
    "film_metadata",
    "film_recipe",
    "film_sources",
    "film_thumbnails",
    "kept_pixels",
    "layout_names",
    "listing_files",
    "load_cohort",
    "make_layout",
    "make_phantom",
    "open_pixels",
    "places_file",
    "published_cohort",
    "published_notes",
    "read_new_films",
    "task_names",
]
