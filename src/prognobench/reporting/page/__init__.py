"""The report as one HTML page that needs nothing else."""

from ._page import IndexEntry, index_page, study_page

__all__ = ["IndexEntry", "index_page", "study_page"]
