"""Pictures of films from the image cache, under names that tell nothing."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prognobench.cohorts import Cohort, Pixels, Preprocessing, film_thumbnails, load_cohort, open_pixels
from prognobench.frame import InputError, Pseudonyms, pseudonyms

_MOST = 5000  # pictures that can be asked for


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
        Grows when cohorts were loaded.
    loading
        How many are still being read.
    lacking
        Why films of a cohort cannot be shown, by the cohort's place.
    """

    def __init__(self, identifiers: bool, cohorts: Sequence[Path] = ()) -> None:
        self._cohorts = [str(path) for path in cohorts]
        self.identifiers = identifiers
        self._names: Pseudonyms = pseudonyms()
        self._asked: set[str] = set()
        self._places: dict[tuple[str, str], tuple[Cohort, int, str]] = {}
        self._pixels: dict[tuple[str, int], Pixels] = {}
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

    def token(self, cohort: str, image: str, size: int) -> str:
        """Return the name under which a picture can be asked for, blank where there is none.

        Parameters
        ----------
        cohort, image
            The film.
        size
            Side in pixels of the preprocessing under which the model read it; 0 for a small picture.
        """
        if (cohort, image) not in self._places:
            return ""
        token = f"{self._names('film', f'{cohort} {image}')}-{size}"
        with self._lock:
            self._tokens[token] = (cohort, image, size)
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

    def _gray(self, cohort: str, image: str, size: int) -> NDArray[np.uint8]:
        where, place, sha256 = self._places[cohort, image]
        if not size:
            return film_thumbnails(where, [place])[0]
        with self._lock:
            if (cohort, size) not in self._pixels:
                self._pixels[cohort, size] = open_pixels(where, Preprocessing(size=size))
        pixels = self._pixels[cohort, size]
        square: NDArray[np.uint8] = (pixels.array[int(pixels.positions([sha256])[0])] >> 8).astype(np.uint8)
        return square

    def _load(self, file: str) -> None:
        try:
            cohort = load_cohort(Path(file))
            films = zip(cohort.films["image"], range(len(cohort.films)), cohort.films["sha256"], strict=True)
            found = {(cohort.name, str(image)): (cohort, place, str(sha256)) for image, place, sha256 in films}
            with self._lock:
                self._places |= found
        except (InputError, OSError):
            # Which file it is, is nothing for the page.
            self.lacking[file] = (
                "a cohort is not found where the study's plan says, or has changed; say where it lies with "
                "`--cohort COHORT.yaml`"
            )
        finally:
            with self._lock:
                self.loading -= 1
                self.version += 1
