"""Prove the pairs of backbone and strategy anew, at full size, and record them for the matrix; it takes minutes.

`python docs/prove.py` proves all, `python docs/prove.py resnet18 dinov2_s` those of some models.
"""

from __future__ import annotations

import sys

from prognobench.models import model_cards
from prognobench.strategies import matrix_rows
from prognobench.strategies._matrix import write_proved_pairs


def main(models: list[str]) -> int:
    """Prove, record, and name what failed."""
    failed = 0
    for model in models or list(model_cards()):
        rows = matrix_rows(prove=True, models=[model])
        write_proved_pairs(rows)
        for row in rows:
            if row["status"] == "failed":
                print(f"{model} {row['strategy']} {row['variant'] or ''} {row['rank'] or ''}: {row['reason']}")
                failed += 1
        print(f"{model}: {sum(row['proved'] for row in rows)} pairs proved", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
