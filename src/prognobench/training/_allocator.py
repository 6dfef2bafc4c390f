"""What becomes of memory that is freed between two batches."""

from __future__ import annotations

import ctypes
import platform
from typing import Any

# Of glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = -1


def keep_freed_memory() -> bool:
    """Keep memory that is freed for the next batch instead of giving it back; return whether this system can.

    A network frees its activations layer by layer and asks for as many at the next batch. glibc gives large pieces back
    to the system at once, which then has to clear each of their pages anew. For processes that do nothing but send
    films through networks: what they held at most they hold until they end, or until `give_back_freed_memory`. On
    systems without glibc nothing is changed.

    Notes
    -----
    The two parameters are those of `mallopt(3)`: no piece is mapped by itself, and the end of the heap is never
    trimmed.
    """
    glibc = _glibc()
    return glibc is not None and bool(glibc.mallopt(_MMAP_MAX, 0)) and bool(glibc.mallopt(_TRIM_THRESHOLD, _NEVER))


def give_back_freed_memory() -> None:
    """Give the system all that is free, so that what a process holds next is its own (`malloc_trim(3)`)."""
    glibc = _glibc()
    if glibc is not None:
        glibc.malloc_trim(0)


def _glibc() -> Any:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
