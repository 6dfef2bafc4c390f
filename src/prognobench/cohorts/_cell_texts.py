"""How a typed cell of a workbook or a Parquet file becomes text."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

_ZEROS = re.compile(r"0+")


def cell_text(value: Any, number_format: str = "General") -> str:
    """Return the text that a cell stands for; None, which is an empty cell, is the empty text.

    - Text stays as it is.
    - A whole number is written without a decimal point, whether stored as `1` or `1.0`; in a workbook a format of
      zeros alone (`00000`) keeps its leading zeros.
    - Another number has the fewest digits that read back as the same number, and never an exponent.
    - A date is `2020-03-31`; with a time of day, `2020-03-31 08:15:00`; a time alone, `08:15:00`.
    - TRUE and FALSE are written so.

    Examples
    --------
    >>> cell_text(7, "00000"), cell_text(37.700000000000003), cell_text(1e-05), cell_text(3.0), cell_text(True)
    ('00007', '37.7', '0.00001', '3', 'TRUE')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float | Decimal):
        return _number(value, number_format)
    if isinstance(value, dt.datetime):
        return _moment(value)
    return str(value)  # dates and times: ISO 8601


def _number(value: int | float | Decimal, number_format: str) -> str:
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        return str(value)
    if number != number.to_integral_value():
        return f"{number.normalize():f}"
    digits = f"{abs(int(number))}"
    if _ZEROS.fullmatch(number_format):
        digits = digits.zfill(len(number_format))
    return f"-{digits}" if number < 0 else digits


def _moment(value: dt.datetime) -> str:
    if value.time() == dt.time() and value.tzinfo is None:
        return value.date().isoformat()
    return value.isoformat(sep=" ")
