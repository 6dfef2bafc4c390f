"""Films are decoded once, and the cache is right or built again."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prognobench.cohorts import Preprocessing, _packs, _survey, load_cohort, open_pixels
from prognobench.cohorts._films import decode
from prognobench.cohorts._near_duplicates import THUMBNAILS
from prognobench.cohorts._preprocessing import render, scale_to_unit
from prognobench.frame import InputError, home

SMALL, LARGE = Preprocessing(size=8), Preprocessing(size=12)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes in bytes of the films that are decoded, in no order."""
    sizes: list[int] = []
    monkeypatch.setattr(_survey, "decode", lambda content: (sizes.append(len(content)), decode(content))[1])
    return sizes


def expected(small, names: str, recipe: Preprocessing) -> np.ndarray:
    films = [(small.images / f"{name}.png").read_bytes() for name in names]
    return np.stack([render(scale_to_unit(decode(film)), recipe) for film in films])


def data_file() -> Path:
    """The pack that the test asked for, beside that of the thumbnails."""
    packs = (home() / "images" / "packs").glob("*/pixels.npy")
    (path,) = (path for path in packs if np.load(path, mmap_mode="r").shape[1] != THUMBNAILS.size)
    return path


def new_process() -> None:
    """Forget what this process has checked, as a new one would."""
    _packs._checked.clear()


def test_one_pass_fills_every_cache_and_no_film_is_decoded_again(small, decoded: list[int]) -> None:
    cohort = load_cohort(small.path, [SMALL, LARGE, SMALL])
    assert len(decoded) == 4
    for recipe in (SMALL, LARGE):
        pixels = open_pixels(cohort, recipe)
        assert isinstance(pixels.array, np.memmap)
        assert pixels.array.dtype == np.uint16
        assert not pixels.array.flags.writeable
        found = pixels.array[pixels.positions(cohort.films["sha256"].tolist())]
        np.testing.assert_array_equal(found, expected(small, "abcd", recipe))
    new_process()
    open_pixels(load_cohort(small.path, [SMALL, LARGE]), SMALL)
    assert len(decoded) == 4


def test_films_of_the_same_bytes_are_decoded_and_stored_once(small, decoded: list[int]) -> None:
    (small.images / "b.png").write_bytes((small.images / "a.png").read_bytes())
    cohort = load_cohort(small.path, [SMALL])
    pixels = open_pixels(cohort, SMALL)
    assert len(decoded) == len(pixels.array) == 3
    places = pixels.positions(cohort.films["sha256"].tolist())
    assert places.dtype == np.int64
    assert places[0] == places[1]


def test_a_film_of_another_cohort_has_no_position(small) -> None:
    pixels = open_pixels(load_cohort(small.path), SMALL)
    with pytest.raises(KeyError):
        pixels.positions(["0" * 64])


def test_pixels_are_built_where_nobody_asked_for_them_before(small, decoded: list[int]) -> None:
    cohort = load_cohort(small.path)
    assert len(decoded) == 4
    first, again = open_pixels(cohort, LARGE), open_pixels(cohort, LARGE)
    assert len(decoded) == 8
    assert first.key == again.key != open_pixels(cohort, SMALL).key


def test_bad_films_that_are_left_out_are_not_in_the_cache(small, decoded: list[int]) -> None:
    (small.images / "a.png").write_bytes(b"nothing")
    small.add("on_bad_image: exclude\n")
    for _ in range(2):
        cohort = load_cohort(small.path, [SMALL])
        pixels = open_pixels(cohort, SMALL)
        assert len(decoded) == 4
        found = pixels.array[pixels.positions(cohort.films["sha256"].tolist())]
        np.testing.assert_array_equal(found, expected(small, "bcd", SMALL))


def test_a_refused_cohort_leaves_no_cache(small) -> None:
    (small.images / "a.png").write_bytes(b"nothing")
    with pytest.raises(InputError):
        load_cohort(small.path, [SMALL])
    assert not list((home() / "images").rglob("*.npy"))


def spoil_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def swap_films(path: Path) -> None:
    about = json.loads((path.parent / "pack.json").read_bytes())
    about["films"].reverse()
    (path.parent / "pack.json").write_text(json.dumps(about))


DAMAGE = {
    "a wrong byte": spoil_byte,
    "a short file": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "an empty file": lambda path: path.write_bytes(b""),
    "another array": lambda path: np.save(path, np.zeros((4, 8, 8), dtype=np.float32)),
    "no pixels": lambda path: path.unlink(),
    "no description": lambda path: (path.parent / "pack.json").unlink(),
    "half a description": lambda path: (path.parent / "pack.json").write_text('{"films": ['),
    "films in another order": swap_films,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_built_again_with_a_warning(small, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    cohort = load_cohort(small.path, [SMALL])
    DAMAGE[damage](data_file())
    new_process()
    with caplog.at_level(logging.WARNING):
        pixels = open_pixels(cohort, SMALL)
    assert any("is damaged" in record.message for record in caplog.records)
    found = pixels.array[pixels.positions(cohort.films["sha256"].tolist())]
    np.testing.assert_array_equal(found, expected(small, "abcd", SMALL))
    assert not list((home() / "images" / "drafts").iterdir())


def test_a_cache_that_is_exchanged_under_a_running_process_is_noticed(small) -> None:
    cohort = load_cohort(small.path, [SMALL])
    open_pixels(cohort, SMALL)
    path = data_file()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").replace(path)
    pixels = open_pixels(cohort, SMALL)
    found = pixels.array[pixels.positions(cohort.films["sha256"].tolist())]
    np.testing.assert_array_equal(found, expected(small, "abcd", SMALL))


@pytest.mark.parametrize("text", ["", "{", '{"films": {}}', '{"films": {}, "sha256": "0"}'])
def test_damaged_facts_are_learned_again(small, text: str, decoded: list[int]) -> None:
    before = load_cohort(small.path).films
    for path in (home() / "images" / "facts-3").glob("*.json"):
        path.write_text(text)
    after = load_cohort(small.path).films
    assert len(decoded) == 8
    assert before.equals(after)


def test_a_film_that_changes_while_it_is_used_is_noticed(small) -> None:
    cohort = load_cohort(small.path)
    Image.open(small.images / "a.png").rotate(90).save(small.images / "a.png")
    with pytest.raises(InputError, match=r"a\.png: the film has changed"):
        open_pixels(cohort, SMALL)


def test_what_a_killed_process_left_is_swept_away(small) -> None:
    cohort = load_cohort(small.path)
    room = home() / "images" / "drafts" / _survey.sha256_json(sorted(cohort.films["sha256"]))
    (room / SMALL.key).mkdir(parents=True)
    (room / SMALL.key / "pixels.npy").write_bytes(b"half")
    assert len(open_pixels(cohort, SMALL).array) == 4
    assert not room.exists()


LOADER = """
import sys, time
from pathlib import Path
from prognobench.cohorts import Preprocessing, _survey, load_cohort, open_pixels
real, count = _survey.decode, []
def slow(content):
    count.append(1)
    time.sleep(0.1)
    return real(content)
_survey.decode = slow
print("ready", flush=True)
sys.stdin.readline()
cohort = load_cohort(Path(sys.argv[1]), [Preprocessing(size=8)])
pixels = open_pixels(cohort, Preprocessing(size=8))
print(len(count), int(pixels.array.sum()))
"""


def test_processes_that_come_at_once_build_the_cache_once(small) -> None:
    command = [sys.executable, "-c", LOADER, str(small.path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, env=dict(os.environ), **pipes) for _ in range(2)]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].split() for process in running]
    total = str(int(expected(small, "abcd", SMALL).sum()))
    assert sorted(answers) == [["0", total], ["4", total]]
