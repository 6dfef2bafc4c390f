"""A film is known again after it was encoded, resized, brightened or cropped; another film is not taken for it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from prognobench.cohorts import _near_duplicates, load_cohort, make_phantom
from prognobench.cohorts._alignment import align, correlation, detail, overlay, shrink
from prognobench.cohorts._proposals import propose
from prognobench.frame import InputError, home


def textures(count: int, side: int = 96, seed: int = 0) -> np.ndarray:
    """Smooth random images from 0 to 1 that have nothing in common."""
    noise = np.random.default_rng(seed).normal(size=(count, side, side))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3), mode="wrap")
    low, high = smooth.min(axis=(1, 2), keepdims=True), smooth.max(axis=(1, 2), keepdims=True)
    return ((smooth - low) / (high - low)).astype(np.float32)


def cropped(image: np.ndarray, left: float, right: float, top: float, bottom: float) -> np.ndarray:
    side = image.shape[0]
    picture = Image.fromarray(image)
    box = (left * side, top * side, side * (1 - right), side * (1 - bottom))
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR, box=box))


def test_alignment_finds_the_crop_that_was_made() -> None:
    whole = textures(6)
    cuts = [(0.04, 0.02, 0.0, 0.03), (0.0, 0.05, 0.03, 0.0), (0.02, 0.02, 0.02, 0.02)] * 2
    cut = np.stack([cropped(image, *sides) for image, sides in zip(whole, cuts, strict=True)])
    crops = np.tile([1.0, 0.0, 1.0, 0.0], (6, 1))
    for factor, iterations in ((3, 8), (1, 5)):
        one, other = (detail(shrink(images, factor), 0.8, 3.0) for images in (whole, cut))
        crops = align(one, other, crops, iterations)
    expected = [(1 - left - right, left - right, 1 - top - bottom, top - bottom) for left, right, top, bottom in cuts]
    np.testing.assert_allclose(crops, expected, atol=0.012)
    moved, lit = overlay(whole, cut, crops)
    assert correlation(detail(moved, 0, 3.0), detail(cut, 0, 3.0), lit).min() > 0.97
    strange, lit = overlay(whole[::-1], cut, crops)
    assert correlation(detail(strange, 0, 3.0), detail(cut, 0, 3.0), lit).max() < 0.5


@pytest.mark.parametrize("count", [2, 5, 60, 400])
def test_a_cropped_copy_is_among_the_proposals_whatever_the_number_of_films(count: int) -> None:
    images = textures(count)
    copies = np.stack([cropped(image, 0.03, 0.02, 0.0, 0.04) for image in images[: min(20, count)]])
    every = np.concatenate([images, copies])
    found = propose(lambda part: every[part], len(every))
    pairs = {frozenset(pair) for pair in zip(found.moving.tolist(), found.fixed.tolist(), strict=True)}
    missing = [number for number in range(len(copies)) if frozenset((number, count + number)) not in pairs]
    assert not missing
    assert len(found.moving) <= 3 * len(every)


def jpeg(image: Image.Image, quality: int = 80) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def changed(image: Image.Image, function: Callable[[np.ndarray], np.ndarray]) -> bytes:
    levels = np.asarray(image, dtype=float)
    return jpeg(Image.fromarray(function(levels).clip(0, 255).astype(np.uint8)), 92)


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "encoded at a low quality": lambda image: jpeg(image, 30),
    "at half the size": lambda image: jpeg(image.resize((image.width // 2, image.height // 2))),
    "stretched to a square": lambda image: jpeg(image.resize((300, 300))),
    "brighter and burnt out": lambda image: changed(image, lambda levels: 1.3 * levels),
    "darker": lambda image: changed(image, lambda levels: 0.6 * levels),
    "another film curve": lambda image: changed(image, lambda levels: 255 * (levels / 255) ** 1.6),
    "cut on one side": lambda image: jpeg(image.crop((round(0.06 * image.width), 0, image.width, image.height))),
    "cut all around": lambda image: jpeg(
        image.crop(
            (
                round(0.03 * image.width),
                round(0.02 * image.height),
                round(0.97 * image.width),
                round(0.96 * image.height),
            )
        )
    ),
}


def test_real_films_are_known_again_and_nothing_else(hannover: Path, tmp_path: Path) -> None:
    films = sorted((hannover.parent / "images").glob("*.jpg"))[:60]
    (tmp_path / "images").mkdir()
    rows, expected = [], set()
    for number, film in enumerate(films):
        (tmp_path / "images" / film.name).write_bytes(film.read_bytes())
        rows.append((film.name, f"P{number}"))
    for number, (change, make) in enumerate(CHANGES.items()):
        for film in films[3 * number : 3 * number + 3]:
            name = f"{change.replace(' ', '_')}_{film.name}"
            (tmp_path / "images" / name).write_bytes(make(Image.open(film).convert("L")))
            rows.append((name, f"copy {name}"))
            expected.add((film.name, name))
    table = "".join(f"{image},{patient},{'yn'[place % 2]}\n" for place, (image, patient) in enumerate(rows))
    (tmp_path / "table.csv").write_text("image,patient,ill\n" + table, encoding="utf-8")
    (tmp_path / "cohort.yaml").write_text(
        "name: copies\nmanifest: table.csv\nimages: images\ncolumns: {image: image, patient: patient}\n"
        "tasks: {ill: {label: ill, positive: ['y'], negative: ['n']}}\n",
        encoding="utf-8",
    )
    cohort = load_cohort(tmp_path / "cohort.yaml")
    images = cohort.films["image"].tolist()
    found = {(images[film], images[other]) for film, other, _ in cohort.near_duplicates.itertuples(index=False)}
    # Each film has a patient of its own here; two films of one real patient may be alike.
    assert expected <= found
    assert len(found - expected) <= 1


@pytest.fixture
def twins(tmp_path: Path) -> Path:
    """A phantom in which one film of a patient was also given, encoded again, to another."""
    path = make_phantom(tmp_path / "phantom", 8, 2, size=96)
    rows = (path.parent / "labels.csv").read_text().splitlines()
    first = rows[1].split(",")
    (path.parent / "images" / "again.jpg").write_bytes(jpeg(Image.open(path.parent / "images" / first[0]).convert("L")))
    rows.append(",".join(["again.jpg", "zz", *first[2:]]))
    (path.parent / "labels.csv").write_text("\n".join(rows) + "\n")
    return path


def test_patients_who_share_a_film_are_one_group_unless_the_user_says_otherwise(twins: Path) -> None:
    cohort = load_cohort(twins)
    assert cohort.near_duplicates[["film", "other"]].to_numpy().tolist() == [[0, len(cohort.films) - 1]]
    assert cohort.films["group"].iloc[-1] == "p0000"
    assert cohort.tasks["icu"].rows["group"].iloc[-1] == "p0000"
    text = twins.read_text()
    twins.write_text(text + "near_duplicates: report\n")
    told = load_cohort(twins)
    assert told.films["group"].iloc[-1] == "zz"
    assert len(told.near_duplicates) == 1
    twins.write_text(text + "near_duplicates: error\n")
    with pytest.raises(InputError, match=rf"row {len(cohort.films) + 1}: .* same film as that of row 2"):
        load_cohort(twins)


def test_the_order_of_the_rows_changes_no_pair(twins: Path) -> None:
    def pairs() -> set[frozenset[str]]:
        cohort = load_cohort(twins)
        images = cohort.films["image"].tolist()
        return {frozenset((images[a], images[b])) for a, b, _ in cohort.near_duplicates.itertuples(index=False)}

    first = pairs()
    header, *rows = (twins.parent / "labels.csv").read_text().splitlines()
    (twins.parent / "labels.csv").write_text("\n".join([header, *reversed(rows)]) + "\n")
    assert pairs() == first


def test_films_are_compared_once_and_again_where_the_answer_is_damaged(twins: Path, monkeypatch, caplog) -> None:
    first = load_cohort(twins).near_duplicates
    with monkeypatch.context() as patch:
        patch.setattr(_near_duplicates, "propose", lambda *_: pytest.fail("they were compared again"))
        assert load_cohort(twins).near_duplicates.equals(first)
    (place,) = (home() / "images" / "near-duplicates").glob("*.json")
    document = json.loads(place.read_text())
    document["pairs"] = []
    place.write_text(json.dumps(document))
    with caplog.at_level(logging.WARNING):
        assert load_cohort(twins).near_duplicates.equals(first)
    assert "compared again" in caplog.text
