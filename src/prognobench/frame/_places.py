"""Where this package keeps what it can make or fetch again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from ._errors import InputError, Problem


def home() -> Path:
    """Return the folder of weights and caches, made if needed.

    It is `PROGNOBENCH_HOME` where that is set, else the user's cache folder of the operating system.

    Raises
    ------
    InputError
        The folder cannot be made.
    """
    chosen = os.environ.get("PROGNOBENCH_HOME")
    folder = Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("prognobench", appauthor=False))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"the cache folder cannot be made ({error.strerror})"
        raise InputError([Problem(str(folder), what, "Set PROGNOBENCH_HOME to a folder that you can write")]) from None
    return folder
