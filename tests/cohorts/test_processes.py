"""Work in several processes: in order, and one item that ends its process takes no other with it."""

import os
import subprocess
import sys

import pytest

from prognobench.cohorts._processes import in_processes


def double(number: int) -> int:
    if number < 0:
        os._exit(1)
    return 2 * number


def lost(number: int) -> str:
    return f"lost {number}"


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers):
    assert list(in_processes(double, range(9), workers, lost)) == list(range(0, 18, 2))


@pytest.mark.parametrize("numbers", [[-1, *range(1, 9)], [1, 2, 3, 4, 5, 6, -1, 8], [1, -1]])
def test_an_item_that_ends_its_process_is_told_and_no_other_is_lost(numbers):
    expected = [lost(number) if number < 0 else 2 * number for number in numbers]
    assert list(in_processes(double, numbers, 2, lost)) == expected


def test_a_script_that_guards_nothing_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from prognobench.cohorts._processes import in_processes\nlist(in_processes(abs, [1], 2, abs))\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "put the call below `if __name__ == '__main__':`, or say workers=1" in done.stderr
