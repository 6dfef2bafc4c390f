"""Small pictures of films, as the audit looks at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ._cohort import Cohort, open_pixels
from ._near_duplicates import THUMBNAILS
from ._preprocessing import fitted


def thumbnails(cohort: Cohort, films: Sequence[int]) -> Iterator[NDArray[np.uint16]]:
    """Yield films, by their positions in `cohort.films`, 96 pixels long; 65535 is the brightest pixel."""
    if not len(films):
        return
    pixels = open_pixels(cohort, THUMBNAILS)
    rows = cohort.films.iloc[list(films)]
    places = pixels.positions(rows["sha256"].tolist())
    for place, width, height in zip(places, rows["width"], rows["height"], strict=True):
        yield pixels.array[place][fitted(int(height), int(width), THUMBNAILS.size)]


def film_thumbnails(cohort: Cohort, films: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Return small pictures of some films, gray of 8 bits, to be looked at.

    Parameters
    ----------
    cohort
        A checked cohort.
    films
        Positions in `cohort.films`.

    Returns
    -------
    list of ndarray
        Shape (height, width), with a long side of 96 pixels.
    """
    return [(picture >> 8).astype(np.uint8) for picture in thumbnails(cohort, films)]
