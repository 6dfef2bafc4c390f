"""Reading rows of mapped files."""

from pathlib import Path

import numpy as np
import pytest

from prognobench.training import Rows, Stacked, _films
from prognobench.training._films import read_rows

pytestmark = pytest.mark.torch
FILMS, SIDE = 1024, 128  # 32 MiB
STATUS = Path("/proc/self/status")
linux = pytest.mark.skipif(not STATUS.exists(), reason="only Linux says what a process holds of files")


def held():
    """Return the MiB of files that this process holds."""
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssFile:", "RssShmem:"))) / 2**10


@pytest.fixture
def mapped(tmp_path):
    array = np.random.default_rng(0).integers(0, 2**16, (FILMS, SIDE, SIDE), dtype=np.uint16)
    np.save(tmp_path / "rows.npy", array)
    return array, np.load(tmp_path / "rows.npy", mmap_mode="r")


@pytest.mark.parametrize("chosen", [np.array([5, 3, 1000]), slice(3, 9), 7])
def test_rows_are_copies_of_those_of_the_file(mapped, chosen):
    array, file = mapped
    read = read_rows(file, chosen)
    np.testing.assert_array_equal(read, array[chosen])
    assert not np.may_share_memory(read, file)


def test_rows_of_rows_and_of_stacked_files(mapped):
    array, file = mapped
    chosen = np.array([5, 3, 1000])
    np.testing.assert_array_equal(Rows(file, chosen)[np.array([1])], array[[3]])
    np.testing.assert_array_equal(Rows(Stacked([file, file]), chosen + FILMS)[:], array[chosen])


@linux
def test_no_page_of_films_that_were_read_stays(mapped):
    array, file = mapped
    before, rows, total = held(), Rows(file, np.arange(FILMS)), 0
    for start in range(0, FILMS, 64):
        total += int(rows[np.arange(start, start + 64)].sum(dtype=np.int64))
    assert total == int(array.sum(dtype=np.int64))
    assert held() - before < 4
    assert int(file.sum(dtype=np.int64)) == total  # read without giving back, the file is the process's
    assert held() - before > 24


@pytest.fixture
def many_features(tmp_path):
    array = np.random.default_rng(0).standard_normal((2**15, 384), dtype=np.float32)  # 48 MiB
    np.save(tmp_path / "features.npy", array)
    return array, np.load(tmp_path / "features.npy", mmap_mode="r")


@linux
@pytest.mark.parametrize("stacked", [False, True])
def test_of_many_features_a_part_of_the_pages_is_held_and_none_stays(many_features, monkeypatch, stacked):
    array, file = many_features
    positions, most = np.random.default_rng(1).permutation(len(array))[: len(array) * 4 // 5], []
    give_back = _films.give_back_pages

    def counted(array):
        most.append(held())
        give_back(array)

    monkeypatch.setattr(_films, "give_back_pages", counted)
    rows = Rows(Stacked([file, file]) if stacked else file, positions)
    before = held()
    np.testing.assert_array_equal(rows[:], array[positions])
    assert held() - before < 4
    assert max(most) - before < 28  # of 48


@pytest.mark.parametrize("chosen", [np.arange(2**15) % 5 > 0, -np.arange(1, 2**14 + 2**13), slice(None), np.array(5)])
def test_many_features_are_indexed_as_few_are(many_features, chosen):
    array, file = many_features
    np.testing.assert_array_equal(read_rows(file, chosen), array[chosen])
