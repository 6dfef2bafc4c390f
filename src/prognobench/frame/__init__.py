"""What every room stands on: errors in plain words, strict documents, hashes, safe files, places."""

from ._documents import (
    Document,
    Location,
    apply_overrides,
    document_lines,
    parse_document,
    parse_options,
    read_document,
    read_text,
)
from ._errors import InputError, Problem, Problems, nearest
from ._files import file_lock, folder_in_one_step, write_in_one_step
from ._hashing import canonical_json, sha256_bytes, sha256_file, sha256_json
from ._places import home
from ._pseudonyms import Pseudonyms, pseudonyms

__all__ = [
    "Document",
    "InputError",
    "Location",
    "Problem",
    "Problems",
    "Pseudonyms",
    "apply_overrides",
    "canonical_json",
    "document_lines",
    "file_lock",
    "folder_in_one_step",
    "home",
    "nearest",
    "parse_document",
    "parse_options",
    "pseudonyms",
    "read_document",
    "read_text",
    "sha256_bytes",
    "sha256_file",
    "sha256_json",
    "write_in_one_step",
]
