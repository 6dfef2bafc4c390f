"""Parquet: typed columns read as the texts that they stand for."""

from __future__ import annotations

from pathlib import Path

from prognobench.frame import Problems

from .._cell_texts import cell_text
from ._format import Place, Records, TableFormat


def _read(path: Path, place: Place, problems: Problems) -> Records | None:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path).read()
    except OSError:
        raise
    except Exception as error:  # whatever damaged bytes make of the reader
        told = " ".join(str(error).split())
        problems.add(path, f"this is no whole Parquet file ({told})", "Write it again, or save the table as CSV")
        return None
    texts = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            what = f"the column '{name}' holds {kind}, which is no cell of a table"
            problems.add(path, what, "Write it as text or numbers, or leave it out")
            continue
        texts.append([cell_text(value) for value in column.to_pylist()])
    if len(texts) < len(table.column_names):
        return None
    # There are no lines to count; rows are numbered as a spreadsheet would, the header being the first.
    rows = [list(cells) for cells in zip(*texts, strict=True)]
    return [(1, list(table.column_names)), *enumerate(rows, start=2)]


FORMAT = TableFormat((".parquet",), _read)
