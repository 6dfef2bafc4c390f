"""Tables that are kept between two starts: sealed, thrown away when anything about them is odd, and never names."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from prognobench import __version__
from prognobench.frame import folder_in_one_step, home, sha256_bytes, sha256_json

_SEAL = "seal.json"
_LIBRARIES = ("numpy", "pandas", "pyarrow", "scikit-learn", "scipy")
# Models, because a model's card tells its family, and conclusions go by families.
_ROOMS = ("cohorts", "evaluation", "frame", "models", "reporting", "studies")


def kept_folder(results: Path) -> Path:
    """Return where tables of a results folder are kept: with the caches of this user, not among the records."""
    return home() / "explorer" / sha256_json(str(results.resolve()))[:24]


def tables_folder(digest: str) -> str:
    """Return the name under which the report's tables of some records are kept."""
    return f"tables-{digest[:24]}"


def keep(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write tables into a folder, whole or not at all."""
    with folder_in_one_step(folder) as draft:
        seal = {}
        for name, table in tables.items():
            stream = io.BytesIO()
            table.to_parquet(stream, index=False, compression="lz4")
            seal[name] = sha256_bytes(stream.getvalue())
            (draft / f"{name}.parquet").write_bytes(stream.getvalue())
        (draft / _SEAL).write_text(json.dumps(seal), encoding="utf-8")


def kept(folder: Path) -> dict[str, pd.DataFrame] | None:
    """Read the tables of a folder, or None where one is missing, altered or of another form: they are made anew."""
    try:
        tables = {}
        for name, sha256 in json.loads((folder / _SEAL).read_text(encoding="utf-8")).items():
            content = (folder / f"{name}.parquet").read_bytes()
            if sha256_bytes(content) != sha256:
                return None
            tables[name] = pd.read_parquet(io.BytesIO(content))
        return tables
    except (OSError, ValueError, AttributeError):
        return None


@cache
def code_key() -> str:
    """Return what changes with every line of code that makes a number: tables of other code are not shown."""
    digest = hashlib.sha256(json.dumps([__version__, *(f"{name} {version(name)}" for name in _LIBRARIES)]).encode())
    package = Path(__file__).parents[2]
    for room in _ROOMS:
        for path in sorted(path for path in (package / room).rglob("*") if path.suffix in (".py", ".yaml", ".json")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
