"""Freed memory is there for the next batch without the system's help."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.torch
# A network's way: one large piece after the other, each freed before the next. Counts pages the system had to clear.
BATCHES = """\
import resource
import sys
import torch
from prognobench.training import keep_freed_memory, use_threads

use_threads(1)
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def batch():
    for count in (40, 30, 50, 20):
        torch.ones(count, 2**18)
for _ in range(3):
    batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _pages_are_huge():
    try:
        return "[always]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text(encoding="ascii")
    except OSError:
        return False


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="nothing is changed without glibc")
@pytest.mark.skipif(_pages_are_huge(), reason="pages of the system are huge, and too few to count")
def test_pages_are_cleared_once_and_not_at_every_batch():
    def cleared(way):
        names = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        command = [sys.executable, "-c", BATCHES, way]
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return int(run.stdout)

    assert cleared("kept") < cleared("given back") / 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="nothing is changed without glibc")
def test_what_was_kept_is_given_back_when_asked():
    script = (
        BATCHES
        + """
import psutil
from prognobench.training import give_back_freed_memory
before = psutil.Process().memory_info().rss
give_back_freed_memory()
print((before - psutil.Process().memory_info().rss) / 2**20)
"""
    )
    run = subprocess.run([sys.executable, "-c", script, "kept"], capture_output=True, text=True, check=True)
    assert float(run.stdout.split()[-1]) > 40  # MiB: at least the largest piece
