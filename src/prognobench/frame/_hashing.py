"""Hashes of files and values: the one way in which this package names content."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

# Made once: a plan of many jobs writes hundreds of thousands of values.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_bytes(content: bytes) -> str:
    """Return the SHA-256 of `content` as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def canonical_json(value: Any) -> str:
    """Write `value` as JSON in the one spelling that its hash is taken of.

    Keys are sorted, no white space, ASCII only, and NaN or infinity are refused, so that equal values have
    equal text on every platform.

    Raises
    ------
    TypeError, ValueError
        When `value` holds something that JSON cannot say.
    """
    return _CANONICAL.encode(value)


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `value`.

    Examples
    --------
    >>> sha256_json({"b": 1, "a": 2}) == sha256_json({"a": 2, "b": 1})
    True
    """
    return sha256_bytes(canonical_json(value).encode("ascii"))
