"""How well films are known again: the evidence for the thresholds in docs/audit.md.

    python benchmarks/near_duplicates.py COHORT.yaml [--films 60]

compares the films of a cohort with each other, then copies of some of them, changed in every way of `CHANGES`.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from prognobench.cohorts import load_cohort, open_pixels
from prognobench.cohorts._films import decode
from prognobench.cohorts._near_duplicates import SAME_FILM, SAME_GRAIN, THUMBNAILS, likenesses, square
from prognobench.cohorts._preprocessing import render, scale_to_unit
from prognobench.cohorts._proposals import propose

Levels = np.ndarray
_CUTS = (0.02, 0.04, 0.06, 0.08, 0.10, 0.14)


def encoded(image: Image.Image, quality: int = 92) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def curve(function: Callable[[Levels], Levels]) -> Callable[[Image.Image], bytes]:
    def change(image: Image.Image) -> bytes:
        levels = function(np.asarray(image, dtype=float)).clip(0, 255)
        return encoded(Image.fromarray(levels.astype(np.uint8)))

    return change


def resized(share: float) -> Callable[[Image.Image], bytes]:
    return lambda image: encoded(image.resize((round(share * image.width), round(share * image.height))))


def cut(left: float, top: float, right: float, bottom: float) -> Callable[[Image.Image], Image.Image]:
    def change(image: Image.Image) -> Image.Image:
        width, height = image.size
        box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
        return image.crop(tuple(map(round, box)))

    return change


def several(image: Image.Image) -> bytes:
    smaller = cut(0.03, 0.02, 0.03, 0.03)(image)
    smaller = smaller.resize((round(0.6 * smaller.width), round(0.6 * smaller.height)))
    return encoded(Image.fromarray((1.2 * np.asarray(smaller, dtype=float) + 10).clip(0, 255).astype(np.uint8)), 50)


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG of quality 30": lambda image: encoded(image, 30),
    "JPEG of quality 60": lambda image: encoded(image, 60),
    "half the size": resized(0.5),
    "a quarter of the size": resized(0.25),
    "stretched to a square": lambda image: encoded(image.resize((300, 300))),
    "brightness × 1.3": curve(lambda levels: 1.3 * levels),
    "brightness + 40": curve(lambda levels: levels + 40),
    "brightness × 0.6": curve(lambda levels: 0.6 * levels),
    "gamma 0.6": curve(lambda levels: 255 * (levels / 255) ** 0.6),
    "gamma 1.6": curve(lambda levels: 255 * (levels / 255) ** 1.6),
    "contrast × 1.3": curve(lambda levels: 1.3 * (levels - 128) + 128),
    "several at once": several,
}
for share in _CUTS:
    CHANGES[f"{share:.0%} cut on one side"] = lambda image, s=share: encoded(cut(s, 0, 0, 0)(image))
    CHANGES[f"{share:.0%} cut of both axes"] = lambda image, s=share: encoded(
        cut(0.7 * s, 0.4 * s, 0.3 * s, 0.6 * s)(image)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--films", type=int, default=60, help="how many are copied; 0: none")
    arguments = parser.parse_args()
    cohort = load_cohort(arguments.cohort)
    films = cohort.films
    pixels = open_pixels(cohort, THUMBNAILS)
    places = pixels.positions(films["sha256"].tolist())
    shapes = list(zip(films["width"], films["height"], strict=True))
    squares = np.stack([square(pixels.array[place], *shape) for place, shape in zip(places, shapes, strict=True)])
    _tell_strangers(squares, films["patient"].to_numpy())
    chosen = np.random.default_rng(0).permutation(len(films))[: arguments.films]
    root = arguments.cohort.parent / cohort.spec.images
    originals = [_gray((root / films["image"].iloc[film]).read_bytes()) for film in chosen]
    for name, change in CHANGES.items() if len(chosen) else ():
        copies = np.stack([_square(change(image)) for image in originals])
        _tell_copies(name, squares, copies, chosen)


def _gray(content: bytes) -> Image.Image:
    return Image.fromarray(np.rint(255 * scale_to_unit(decode(content))).astype(np.uint8))


def _square(content: bytes) -> Levels:
    scaled = scale_to_unit(decode(content))
    return square(render(scaled, THUMBNAILS), scaled.shape[1], scaled.shape[0])


def _compared(squares: Levels) -> tuple[Levels, Levels, Levels, Levels]:
    found = propose(lambda part: squares[part], len(squares))
    scores = [
        likenesses(squares[found.moving[part]], squares[found.fixed[part]], found.crops[part])
        for part in (slice(start, start + 64) for start in range(0, len(found.moving), 64))
    ]
    likeness, grain = (np.concatenate(column) for column in zip(*scores, strict=True))
    return found.moving, found.fixed, likeness, grain


def _tell_strangers(squares: Levels, patients: Levels) -> None:
    one, other, likeness, grain = _compared(squares)
    for told, which in (
        ("one patient", patients[one] == patients[other]),
        ("two patients", patients[one] != patients[other]),
    ):
        same = (likeness >= SAME_FILM) & (grain >= SAME_GRAIN) & which
        most = likeness[which].max(initial=0)
        found = f"at most {most:.3f}, {same.sum()} taken for one"
        print(f"{len(squares)} films, {which.sum()} pairs of {told}: {found}", flush=True)


def _tell_copies(name: str, squares: Levels, copies: Levels, chosen: Levels) -> None:
    one, other, likeness, grain = _compared(np.concatenate([squares, copies]))
    proposed = {
        frozenset(pair): score
        for *pair, score in zip(one.tolist(), other.tolist(), zip(likeness, grain, strict=True), strict=True)
    }
    scores = [proposed.get(frozenset((int(film), len(squares) + number))) for number, film in enumerate(chosen)]
    known = [score for score in scores if score is not None]
    found = sum(score[0] >= SAME_FILM and score[1] >= SAME_GRAIN for score in known)
    least = min((score[0] for score in known), default=0.0)
    print(f"{name}: {found} of {len(chosen)} found, {len(known)} proposed, least likeness {least:.3f}", flush=True)


if __name__ == "__main__":
    main()
