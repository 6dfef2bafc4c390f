"""The standard recipe: scale, resize with the aspect kept, pad, store."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from prognobench.cohorts import Preprocessing
from prognobench.cohorts._preprocessing import render, scale_to_unit
from prognobench.frame import InputError, parse_document, sha256_json


def film(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4096, (height, width)).astype(np.float32)


@pytest.mark.parametrize(("shape", "inner"), [((60, 40), (24, 16)), ((40, 60), (16, 24)), ((5, 5), (24, 24))])
def test_a_film_is_scaled_resized_by_pillow_and_centered(shape: tuple[int, int], inner: tuple[int, int]) -> None:
    gray = film(*shape)
    scaled = (gray.astype(float) - gray.min()) / (gray.max() - gray.min())
    oracle = Image.fromarray(scaled.astype(np.float32)).resize(inner[::-1], Image.Resampling.BILINEAR)
    square = render(scale_to_unit(gray), Preprocessing(size=24))

    top, left = (24 - inner[0]) // 2, (24 - inner[1]) // 2
    assert square.dtype == np.uint16
    inside = square[top : top + inner[0], left : left + inner[1]] / 65535
    np.testing.assert_allclose(inside, np.asarray(oracle), atol=1.5 / 65535)
    outside = square.copy()
    outside[top : top + inner[0], left : left + inner[1]] = 0
    assert not outside.any()


def test_shrinking_is_antialiased() -> None:
    # A checkerboard of single pixels is even gray from afar; without antialiasing it stays black and white.
    board = np.indices((96, 96)).sum(axis=0).astype(np.float32) % 2
    square = render(scale_to_unit(board), Preprocessing(size=12))
    np.testing.assert_allclose(square[1:-1, 1:-1] / 65535, 0.5, atol=0.02)


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_the_long_side_fills_the_square_whatever_the_shape(height: int, width: int, size: int) -> None:
    square = render(np.ones((height, width), dtype=np.float32), Preprocessing(size=size))
    rows, columns = np.nonzero(square)
    assert square.shape == (size, size)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == size


def test_brightness_and_contrast_of_the_scanner_do_not_matter() -> None:
    gray, recipe = film(30, 20), Preprocessing(size=16)
    other = render(scale_to_unit(gray * 8 + 100), recipe).astype(int)
    assert np.abs(other - render(scale_to_unit(gray), recipe)).max() <= 1


def test_the_key_is_the_hash_of_the_whole_recipe() -> None:
    recipe = Preprocessing(size=224)
    assert recipe.key == sha256_json(recipe.spec())
    assert recipe.key != Preprocessing(size=225).key
    assert {"scale", "resize", "pad", "store"} <= {step["step"] for step in recipe.spec()["steps"]}


@pytest.mark.parametrize("text", ["size: 0", "size: 9999", "size: big", "{name: standart, size: 8}", "name: standard"])
def test_a_recipe_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_document(text, "study.yaml", Preprocessing)
