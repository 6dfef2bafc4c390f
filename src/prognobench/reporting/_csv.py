"""CSV that reads back equal and that no spreadsheet executes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

# What a spreadsheet may take for the begin of a formula; see https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_SPECIAL = frozenset('",\r\n')


def csv_text(table: pd.DataFrame) -> str:
    r"""Write a table as CSV with a header, commas and line feeds.

    Numbers are written with as many digits as they need to read back equal, missing values as nothing. Text that a
    spreadsheet would execute gets an apostrophe before it.

    Examples
    --------
    >>> csv_text(pd.DataFrame({"model": ["=cmd()"], "mcc": [0.1 + 0.2]}))
    "model,mcc\n'=cmd(),0.30000000000000004\n"
    """
    columns = [_cells(table[name]) for name in table.columns]
    lines = [[_cell(str(name)) for name in table.columns], *zip(*columns, strict=True)]
    return "".join(",".join(line) + "\n" for line in lines)


def _cells(column: pd.Series[Any]) -> list[str]:
    if isinstance(column.dtype, np.dtype) and column.dtype.kind == "f":
        # Most of what is written, and by far quicker so.
        return ["" if value != value else repr(value) for value in column.astype(np.float64).tolist()]
    values = column.astype(object)
    known = {value: _cell(value) for value in values.unique()} if column.dtype != object else {}
    return [known[value] for value in values] if known else [_cell(value) for value in values]


def _cell(value: Any) -> str:
    if pd.isna(value):
        return ""
    if not isinstance(value, str):
        return repr(float(value)) if isinstance(value, float) else str(value)
    text = "'" + value if value.startswith(_FORMULA) else value
    # Python's csv module leaves a lone carriage return unquoted, and a reader then starts a new row at it.
    return '"' + text.replace('"', '""') + '"' if _SPECIAL.intersection(text) else text
