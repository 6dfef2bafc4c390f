"""Freed memory is there for the next batch without the system's help."""

import platform
import subprocess
import sys

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="nothing is changed without glibc")
def test_pages_are_cleared_once_and_not_at_every_batch():
    def cleared(way):
        run = subprocess.run([sys.executable, "-c", BATCHES, way], capture_output=True, text=True, check=True)
        return int(run.stdout)

    pages = 140 * 2**20 // 4096  # of one batch
    assert cleared("given back") > pages
    assert cleared("kept") < pages / 4
