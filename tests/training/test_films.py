"""Reading rows of mapped files."""

from pathlib import Path

import numpy as np
import pytest

from prognobench.training import Rows, Stacked
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


@linux
def test_of_many_features_that_were_read_no_page_stays(tmp_path):
    array = np.random.default_rng(0).standard_normal((2**15, 384), dtype=np.float32)  # 48 MiB
    np.save(tmp_path / "features.npy", array)
    positions = np.random.default_rng(1).permutation(len(array))[: len(array) * 4 // 5]
    rows = Rows(np.load(tmp_path / "features.npy", mmap_mode="r"), positions)
    before = held()
    np.testing.assert_array_equal(rows[:], array[positions])
    assert held() - before < 4
