"""From numbers to what people read: tables, and later figures and the report."""

from ._report import Report, report, write_tables
from ._results import print_table, result_table

__all__ = ["Report", "print_table", "report", "result_table", "write_tables"]
