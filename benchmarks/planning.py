"""How long planning takes and how much memory it holds: `python benchmarks/planning.py`.

Plans the whole benchmark of Ruffini et al. without films or weights, then the same with more seeds until there are
about 100,000 jobs, each in a process of its own with nothing at hand. Prints seconds (imports included) and peak
memory, beside those of Python with torch alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from resource import RUSAGE_CHILDREN, getrusage

CASES = {
    "torch alone": ["-c", "import torch, sklearn.linear_model, pandas"],
    "paper/all": ["-m", "prognobench.cli", "plan", "paper/all"],
    "paper/all, 6 seeds": ["-m", "prognobench.cli", "plan", "paper/all", "seeds=[1, 2, 3, 4, 5, 6]"],
}


def measure(arguments: list[str], home: str) -> tuple[float, int]:
    """Return seconds and peak memory (kB) of a Python process; run in a fork, since the peak of children is kept."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        began = time.perf_counter()
        environment = os.environ | {"PROGNOBENCH_HOME": home, "PROGNOBENCH_COHORTS": f"{home}/cohorts.yaml"}
        subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
        told = f"{time.perf_counter() - began} {getrusage(RUSAGE_CHILDREN).ru_maxrss}"
        os.write(writing, told.encode("ascii"))
        os._exit(0)
    os.wait()
    seconds, memory = os.read(reading, 100).split()
    return float(seconds), int(memory)


def main() -> None:
    """Print one line a case."""
    with tempfile.TemporaryDirectory() as home:
        for name, arguments in CASES.items():
            seconds, memory = min(measure(arguments, home) for _ in range(3))
            print(f"{name:20} {seconds:6.1f} s {memory / 1024:8.0f} MiB")


if __name__ == "__main__":
    main()
