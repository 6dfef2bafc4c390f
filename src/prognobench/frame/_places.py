"""Where this package keeps what it can make or fetch again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """Return the folder of weights and caches, made if needed.

    It is `PROGNOBENCH_HOME` where that is set, else the user's cache folder of the operating system.
    """
    chosen = os.environ.get("PROGNOBENCH_HOME")
    folder = Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("prognobench", appauthor=False))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
