"""Films that are one film: encoded again, resized, brightened or cropped a little."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prognobench.frame import sha256_json, write_in_one_step

from ._alignment import Crops, Images, align, correlation, detail, overlay, shrink
from ._packs import Pixels, images_folder, open_pack, pack_key
from ._preprocessing import Preprocessing, fitted
from ._proposals import Proposals, propose

_LOG = logging.getLogger(__name__)

THUMBNAILS = Preprocessing(size=96)
_VERSION = 1  # raise it with any change of what is found
# The evidence for these three is in docs/audit.md.
_LIKELY = 0.85  # correlation at a coarse scale below which a pair is not looked at any further
SAME_FILM = 0.92  # correlation of the detail up to 3 pixels of 96 from which on films of two patients are one film
SAME_GRAIN = 0.80  # and that of the finest detail
SAME_FILM_OF_A_PATIENT = 0.98  # the same for two films of one patient, which may look alike
_PAIRS = 64  # aligned at once


@dataclass(frozen=True)
class NearDuplicate:
    """Two different files that show one film.

    Attributes
    ----------
    one, other
        The SHA-256 of their bytes, the smaller first.
    likeness
        Correlation of their detail once they are laid onto each other.
    """

    one: str
    other: str
    likeness: float


def near_duplicates(contents: Sequence[str], shapes: Sequence[tuple[int, int]]) -> list[NearDuplicate]:
    """Return the pairs of films that are one; known at once where the same films were compared before.

    Parameters
    ----------
    contents
        The SHA-256 of each film's file; the thumbnails of all must be in the image cache.
    shapes
        Width and height of each film.
    """
    shape_of = dict(zip(contents, shapes, strict=True))
    films = sorted(shape_of)
    if len(films) < 2:
        return []
    place = images_folder() / "near-duplicates" / f"{pack_key(films, THUMBNAILS)}.json"
    known = _read(place)
    if known is None:
        pixels = open_pack(films, THUMBNAILS)
        if pixels is None:
            raise RuntimeError("the thumbnails were made and cannot be opened; check the disk of PROGNOBENCH_HOME")
        known = _compare(films, [shape_of[film] for film in films], pixels)
        found = [asdict(pair) for pair in known]
        content = {"version": _VERSION, "pairs": found, "sha256": sha256_json(found)}
        write_in_one_step(place, json.dumps(content))
    return known


def _read(place: Path) -> list[NearDuplicate] | None:
    try:
        document = json.loads(place.read_bytes())
        if document["version"] != _VERSION:
            return None
        if sha256_json(document["pairs"]) != document["sha256"]:
            raise ValueError("its content does not match its SHA-256")
        return [NearDuplicate(**pair) for pair in document["pairs"]]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        _LOG.warning("%s is damaged (%s); the films are compared again", place, error)
        return None


def _compare(films: Sequence[str], shapes: Sequence[tuple[int, int]], pixels: Pixels) -> list[NearDuplicate]:
    def read(places: NDArray[np.int64] | slice) -> Images:
        chosen = range(*places.indices(len(films))) if isinstance(places, slice) else places
        return np.stack([square(pixels.array[place], *shapes[place]) for place in chosen])

    proposals = propose(read, len(films))
    found = []
    for start in range(0, len(proposals.moving), _PAIRS):
        part = slice(start, start + _PAIRS)
        pairs = Proposals(proposals.moving[part], proposals.fixed[part], proposals.crops[part])
        likeness, grain = likenesses(read(pairs.moving), read(pairs.fixed), pairs.crops)
        for place in np.flatnonzero((likeness >= SAME_FILM) & (grain >= SAME_GRAIN)):
            one, other = sorted((films[pairs.moving[place]], films[pairs.fixed[place]]))
            found.append(NearDuplicate(one, other, round(float(likeness[place]), 4)))
    return sorted(found, key=lambda pair: (pair.one, pair.other))


def square(thumbnail: NDArray[np.uint16], width: int, height: int) -> Images:
    """Return a film without the padding of its thumbnail, stretched to the whole square: values from 0 to 1."""
    size = thumbnail.shape[0]
    image = Image.fromarray(thumbnail[fitted(height, width, size)].astype(np.float32) / np.float32(65535))
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR), dtype=np.float32)


def likenesses(moving: Images, fixed: Images, crops: Crops) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lay pairs of films onto each other and return how their detail and their finest detail correlate.

    Both are 0 for pairs that a step found too unlike for the next, finer one.

    Parameters
    ----------
    moving, fixed
        Squares of films, see `square`.
    crops
        Where to begin, see `align`.
    """
    likeness, grain = np.zeros(len(crops)), np.zeros(len(crops))
    places = np.arange(len(crops))
    for factor, iterations in ((3, 6), (2, 5), (1, 3)):
        if not len(places):
            return likeness, grain
        one, other = shrink(moving[places], factor), shrink(fixed[places], factor)
        crops = align(detail(one, 0.8, 3.0), detail(other, 0.8, 3.0), crops, iterations)
        moved, lit = overlay(one, other, crops)
        if factor > 1:
            likely = correlation(detail(moved, 0.8, 3.0), detail(other, 0.8, 3.0), lit) >= _LIKELY
            places, crops = places[likely], crops[likely]
    likeness[places] = correlation(detail(moved, 0, 3.0), detail(other, 0, 3.0), lit)
    grain[places] = correlation(detail(moved, 0, 1.5), detail(other, 0, 1.5), lit)
    return likeness, grain
