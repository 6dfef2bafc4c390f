"""The steps between a raw film and the file in a cohort folder."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from prognobench.cohorts._films import BadFilm
from prognobench.cohorts._recipes import FilmRecipe, apply_recipe, film_recipe
from prognobench.frame import InputError, parse_document

RNG = np.random.default_rng(0)
SQUARE = (1.0, 1.0)


def recipe(*steps: dict, **keys) -> FilmRecipe:
    return FilmRecipe.model_validate({"name": "test", "steps": list(steps), **keys})


MINMAX = {"step": "minmax"}


def test_the_histogram_is_equalized_as_in_the_textbook() -> None:
    """The worked example of 'Histogram equalization' in Wikipedia, whose formula is also OpenCV's."""
    rows = """52 55 61 59 79 61 76 61  62 59 55 104 94 85 59 71  63 65 66 113 144 104 63 72  64 70 70 126 154 109 71 69
    67 73 68 106 122 88 68 68  68 79 60 70 77 66 58 75  69 85 64 58 55 61 65 83  70 87 69 68 65 73 78 90"""
    film = np.array(rows.split(), dtype=np.float32).reshape(8, 8)
    # Scaled so that each gray level stays what it is.
    film = np.vstack([film, np.zeros(8, np.float32), np.full(8, 255, np.float32)])
    even = apply_recipe(recipe(MINMAX, {"step": "equalize"}, bits="8"), film, SQUARE, {})
    counts = np.bincount(film.astype(int).ravel(), minlength=256).cumsum()
    expected = np.rint((counts - counts[0]) / (film.size - counts[0]) * 255)
    np.testing.assert_array_equal(even, expected[film.astype(int)])
    levels = film[:8].astype(int)
    within = np.bincount(levels.ravel(), minlength=256).cumsum()
    # The article's own table, of the 8 × 8 film alone: 78 becomes 182, 154 becomes 255, 52 becomes 0.
    from prognobench.cohorts._recipes import _equalize

    alone = np.rint(_equalize(film[:8] / np.float32(255)) * 255)
    assert alone[levels == 78] == 182
    assert (alone[levels == 154], alone[levels == 52]) == (255, 0)
    assert alone[0].tolist() == [0, 12, 53, 32, 190, 53, 174, 53]
    assert within[78] == 46


def test_the_smallest_value_is_black_and_the_largest_white() -> None:
    film = RNG.normal(1000, 50, (70, 80)).astype(np.float32)
    kept = apply_recipe(recipe(MINMAX), film, SQUARE, {})
    assert (kept.dtype, kept.min(), kept.max()) == (np.uint16, 0, 65535)
    np.testing.assert_allclose(kept / 65535, (film - film.min()) / np.ptp(film), atol=1e-5)


def test_percentiles_are_numpys() -> None:
    film = RNG.normal(0, 1, (50, 60)).astype(np.float32)
    kept = apply_recipe(recipe({"step": "clip_percentiles", "low": 2, "high": 95}), film, SQUARE, {})
    low, high = np.percentile(film, [2, 95])
    np.testing.assert_allclose(kept / 65535, ((film - low) / (high - low)).clip(0, 1), atol=2e-5)


@pytest.mark.parametrize(("shape", "expected"), [((200, 100), (100, 50)), ((60, 90), (60, 90)), ((101, 7), (100, 7))])
def test_only_a_larger_film_is_resized(shape, expected) -> None:
    film = RNG.random(shape, dtype=np.float32)
    kept = apply_recipe(recipe(MINMAX, {"step": "resize", "long_side": 100}), film, SQUARE, {})
    assert kept.shape == expected
    if shape == (200, 100):
        scaled = (film - film.min()) / np.ptp(film)
        by_pillow = np.asarray(Image.fromarray(scaled).resize((50, 100), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(kept / 65535, by_pillow, atol=1e-5)


def test_pixels_become_square() -> None:
    """A disc that was stored with pixels twice as high as wide is a disc again."""
    y, x = np.mgrid[-1:1:100j, -1:1:200j]
    disc = (x**2 + y**2 < 0.5).astype(np.float32)
    kept = apply_recipe(recipe(MINMAX), disc, (0.2, 0.1), {}) > 32767
    assert kept.shape == (200, 200)
    assert abs(kept.any(axis=0).sum() - kept.any(axis=1).sum()) <= 2
    assert apply_recipe(recipe(MINMAX), disc, (0.1000, 0.1004), {}).shape == (100, 200)


@pytest.mark.parametrize(
    ("spacing", "what"),
    [((1e6, 1e-6), "four times as long"), ((1e308, 1e-308), "four times as long"), ((3, 1), "which is too many")],
)
def test_pixels_that_no_detector_has_are_refused(spacing, what) -> None:
    gray = np.broadcast_to(np.arange(5500, dtype=np.float32), (5500, 5500))
    with pytest.raises(BadFilm, match=what):
        apply_recipe(film_recipe("standard"), gray, spacing, {})


@pytest.mark.parametrize("ends", [(0, np.inf), (-3e38, 3e38), (0, np.nan)])
def test_values_without_end_are_no_black_picture(ends) -> None:
    with pytest.raises(BadFilm, match="not finite"):
        apply_recipe(film_recipe("standard"), np.array([ends], dtype=np.float32), (1, 1), {})


def test_a_film_is_padded_with_its_darkest_gray() -> None:
    film = RNG.random((30, 11), dtype=np.float32)
    kept = apply_recipe(recipe(MINMAX, {"step": "pad_square"}), film, SQUARE, {})
    assert kept.shape == (30, 30)
    assert not kept[:, :9].any()
    assert not kept[:, 20:].any()
    np.testing.assert_array_equal(kept[:, 9:20], apply_recipe(recipe(MINMAX), film, SQUARE, {}))


def test_a_box_of_the_table_is_cut_out() -> None:
    film = np.arange(200, dtype=np.float32).reshape(10, 20)
    cells = {"left": "3", "top": "2.0", "right": "8", "bottom": "6"}
    kept = apply_recipe(recipe({"step": "crop"}, MINMAX), film, SQUARE, cells)
    np.testing.assert_array_equal(kept, apply_recipe(recipe(MINMAX), film[2:6, 3:8], SQUARE, {}))
    for box, what in (({"left": ""}, "no number in 'left'"), ({"right": "21"}, "does not lie in the film of 20 × 10")):
        with pytest.raises(BadFilm, match=what):
            apply_recipe(recipe({"step": "crop"}, MINMAX), film, SQUARE, cells | box)


def test_a_film_of_one_gray_is_named() -> None:
    with pytest.raises(BadFilm, match="one gray value"):
        apply_recipe(film_recipe("standard"), np.full((9, 9), 7, np.float32), SQUARE, {})
    spiked = np.zeros((90, 90), np.float32)
    spiked[0, 0] = 1
    with pytest.raises(BadFilm, match="one gray value"):
        apply_recipe(recipe({"step": "clip_percentiles"}), spiked, SQUARE, {})


def test_the_presets_are_what_they_say() -> None:
    assert [step.step for step in film_recipe("standard").steps] == ["minmax", "resize"]
    assert [step.step for step in film_recipe("paper").steps] == ["minmax", "equalize", "resize"]
    assert (film_recipe("standard").contrast, film_recipe("paper").contrast) == ("displayed", "stored")
    with pytest.raises(InputError, match="Did you mean 'paper'"):
        film_recipe("papers")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("name: a\nsteps: [{step: resize}]", "no step scales"),
        ("name: a\nsteps: [{step: equalize}, {step: minmax}]", "equalize needs a scaled film"),
        ("name: a\nsteps: [{step: minmax}, {step: crop}]", "crop counts pixels of the raw film"),
        ("name: a\nsteps: [{step: clip_percentiles, low: 9, high: 8}]", "not below"),
        ("name: a\nsteps: [{step: minmax}, {step: resize, long_side: 2000}]", "1024"),
        ("name: a\nsteps: [{step: sharpen}]", "sharpen"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(text: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        parse_document(text, "recipe.yaml", FilmRecipe)
