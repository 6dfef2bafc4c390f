"""Reading rows of mapped files."""

from pathlib import Path

import numpy as np
import pytest

from prognobench.training import Rows, Stacked

pytestmark = pytest.mark.torch
ROWS, WIDTH = 4096, 4096  # 64 MiB


@pytest.fixture
def mapped(tmp_path):
    array = np.arange(ROWS * WIDTH, dtype=np.uint32).reshape(ROWS, WIDTH)
    np.save(tmp_path / "rows.npy", array)
    return array, np.load(tmp_path / "rows.npy", mmap_mode="r")


def test_rows_are_copies_of_those_of_the_file(mapped):
    array, file = mapped
    chosen = np.array([5, 3, 4000])
    read = Rows(file, chosen)[:]
    np.testing.assert_array_equal(read, array[chosen])
    np.testing.assert_array_equal(Rows(file, chosen)[np.array([1])], array[[3]])
    np.testing.assert_array_equal(Rows(Stacked([file, file]), chosen + ROWS)[:], array[chosen])
    assert not np.may_share_memory(read, file)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what a process holds of files")
def test_no_page_of_a_file_that_was_read_stays(mapped):
    def held():
        status = Path("/proc/self/status").read_text(encoding="ascii")
        (line,) = (line for line in status.splitlines() if line.startswith("RssFile:"))
        return int(line.split()[1])  # KiB

    array, file = mapped
    before, total = held(), 0
    rows = Rows(file, np.arange(ROWS))
    for start in range(0, ROWS, 64):
        total += int(rows[np.arange(start, start + 64)].sum())
    assert total == int(array.sum())
    assert held() - before < 4 * 1024
