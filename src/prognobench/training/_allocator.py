"""What becomes of memory that is freed between two batches."""

from __future__ import annotations

import ctypes
import platform

# Of glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keep memory that is freed for the next batch instead of giving it back; return whether this system can.

    A network frees its activations layer by layer and asks for as many at the next batch. glibc gives large pieces back
    to the system at once, which then has to clear each of their pages anew: on a small CNN a third of the time, and on
    one of many cheap layers half of it. For processes that do nothing but send films through networks: what they
    held at most they hold until they end. On systems without glibc nothing is changed.

    Notes
    -----
    The two parameters are those of `mallopt(3)`: no piece is mapped by itself, and the end of the heap is kept.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _MOST))
