"""The report as one HTML page that needs nothing else."""

from ._page import AUDIT_PAGE, IndexEntry, audit_page, index_page, study_page

__all__ = ["AUDIT_PAGE", "IndexEntry", "audit_page", "index_page", "study_page"]
