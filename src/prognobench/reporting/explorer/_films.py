"""Pictures of films from the image cache, under names that tell nothing."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prognobench.cohorts import Cohort, Pixels, Preprocessing, film_thumbnails, load_cohort, open_pixels
from prognobench.frame import InputError, Pseudonyms, pseudonyms
from prognobench.studies import rows_sha256

from .._safe import printable

_LOG = logging.getLogger(__name__)
_MOST = 5000  # pictures that can be asked for
_QUICK = 1.0  # seconds that a page waits for films, which are there at once where the image cache has them


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A cohort as it is now, with place and SHA-256 of each film by its name."""

    cohort: Cohort
    places: dict[str, tuple[int, str]]
    _rows: dict[str, str] = field(default_factory=dict)

    def rows(self, task: str) -> str:
        """Return the hash of a task's rows, blank where the cohort has no such task."""
        if task not in self._rows:
            known = task in self.cohort.tasks
            self._rows[task] = rows_sha256(self.cohort.task(task).rows) if known else ""
        return self._rows[task]


class Films:
    """The films of a study's cohorts.

    Parameters
    ----------
    identifiers
        Whether films and patients are called by their own names.
    cohorts
        The `cohort.yaml` of the films; where none is given, those that the study's plan names.

    Attributes
    ----------
    identifiers
        As given.
    version
        Grows when cohorts were loaded, or films opened.
    loading
        How many of both are still being read.
    lacking
        Why films of a cohort cannot be shown, by the cohort's place.
    """

    def __init__(self, identifiers: bool, cohorts: Sequence[Path] = ()) -> None:
        self._cohorts = [str(path) for path in cohorts]
        self.identifiers = identifiers
        self._names: Pseudonyms = pseudonyms()
        self._asked: set[str] = set()
        self._loaded: dict[str, _Loaded] = {}
        self._pixels: dict[tuple[str, int], Pixels] = {}
        self._wanted: set[tuple[str, int]] = set()
        # What may be asked for; nothing that comes in a request is ever a path.
        self._tokens: OrderedDict[str, tuple[str, str, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.version = 0
        self.loading = 0
        self.lacking: dict[str, str] = {}

    def need(self, files: Sequence[str]) -> None:
        """Load cohorts that are not loaded yet, behind the page."""
        with self._lock:
            new = [file for file in self._cohorts or files if file not in self._asked]
            self._asked |= set(new)
            self.loading += len(new)
        for file in new:
            threading.Thread(target=self._load, args=(file,), daemon=True).start()

    def name(self, kind: str, name: str) -> str:
        """Return what a film or patient is called on the page."""
        return name if self.identifiers else self._names(kind, name)

    def source(self, cohort: str, task: str, rows: str) -> str:
        """Return which loaded cohort has the very films that a job read, blank where none has.

        Parameters
        ----------
        cohort, task
            Their names.
        rows
            What `rows_sha256` said of the task's rows when the job ran.
        """
        found = (place for place, one in self._loaded.items() if one.cohort.name == cohort and one.rows(task) == rows)
        return next(found, "")

    def token(self, source: str, image: str, size: int) -> str:
        """Return the name under which a picture can be asked for, blank where there is none.

        Parameters
        ----------
        source, image
            The film: a cohort, as `source` names it, and its name there.
        size
            Side in pixels of the preprocessing under which the model read it; 0 for a small picture.
        """
        if source not in self._loaded or image not in self._loaded[source].places:
            return ""
        if size and not self._opened(source, size):
            return ""
        token = f"{self._names('film', json.dumps([source, image]))}-{size}"
        with self._lock:
            self._tokens[token] = (source, image, size)
            self._tokens.move_to_end(token)
            while len(self._tokens) > _MOST:
                self._tokens.popitem(last=False)
        return token

    def picture(self, token: str) -> bytes | None:
        """Return a film as the model read it, as PNG of 8 bits, or None where nothing has this name."""
        asked = self._tokens.get(token)
        if asked is None:
            return None
        from PIL import Image

        stream = io.BytesIO()
        Image.fromarray(self._gray(*asked)).save(stream, "PNG")
        return stream.getvalue()

    def _gray(self, source: str, image: str, size: int) -> NDArray[np.uint8]:
        cohort = self._loaded[source].cohort
        place, sha256 = self._loaded[source].places[image]
        if not size:
            return film_thumbnails(cohort, [place])[0]
        pixels = self._pixels[source, size]
        square: NDArray[np.uint8] = (pixels.array[int(pixels.positions([sha256])[0])] >> 8).astype(np.uint8)
        return square

    def _opened(self, source: str, size: int) -> bool:
        """Return whether films of a size are open; where the image cache lacks them they are made behind the page."""
        with self._lock:
            new = (source, size) not in self._wanted
            if new:
                self._wanted.add((source, size))
                self.loading += 1
        if new:
            opener = threading.Thread(target=self._open, args=(source, size), daemon=True)
            opener.start()
            opener.join(_QUICK)
        return (source, size) in self._pixels

    def _open(self, source: str, size: int) -> None:
        try:
            self._pixels[source, size] = open_pixels(self._loaded[source].cohort, Preprocessing(size=size))
        except Exception:  # a film that changed, a full disk: the page says so, and the terminal what it was
            _LOG.exception("the explorer could not open films")
            self.lacking[source] = (
                "films of a cohort are not in the image cache and cannot be put there; `prognobench cohort check` "
                "tells what changed"
            )
        finally:
            with self._lock:
                self.loading -= 1
                self.version += 1

    def _load(self, file: str) -> None:
        try:
            if not Path(file).exists():
                self.lacking[file] = (
                    f"there is no cohort at `{printable(file)}`, where the study's plan has it; say where it lies with "
                    "`--cohort COHORT.yaml`"
                )
                return
            cohort = load_cohort(Path(file))
            films = zip(cohort.films["image"], range(len(cohort.films)), cohort.films["sha256"], strict=True)
            places = {str(image): (place, str(sha256)) for image, place, sha256 in films}
            with self._lock:
                self._loaded = {**self._loaded, file: _Loaded(cohort, places)}
        except (InputError, OSError):
            # What is wrong may name films; the command says it in the terminal.
            self.lacking[file] = (
                f"the cohort at `{printable(file)}` is there and cannot be read; `prognobench cohort check` tells what "
                "is wrong with it"
            )
        finally:
            with self._lock:
                self.loading -= 1
                self.version += 1
