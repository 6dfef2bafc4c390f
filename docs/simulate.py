"""Try the intervals and tests on studies whose truth is known, and record it; a quarter of an hour on an idle core.

`python docs/simulate.py` makes 10,000 studies of each kind, `python docs/simulate.py 300` fewer, which are printed and
not recorded.
"""

from __future__ import annotations

import sys

from prognobench.evaluation._simulation import simulate, write_simulated

STUDIES = 10_000


def main(studies: int) -> None:
    """Simulate, and record where it is the full form."""
    found = simulate(studies)
    if studies == STUDIES:
        write_simulated(found)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else STUDIES)
