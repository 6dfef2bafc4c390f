from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

_JOB: dict[str, Any] = {
    "cohort": "hannover",
    "task": "icu",
    "test_cohort": "hannover",
    "model": "dinov2_s",
    "strategy": "lp",
    "regime": "full",
    "shots": None,
    "draw": None,
    "validation": "kfold",
    "repeat": 0,
    "fold": 0,
    "test_center": None,
    "seed": 42,
    "protocol": "quick",
    "n_train": 100,
    "trainable_params": 5,
    "total_params": 200,
    "train_seconds": 1.5,
    "balanced": 1.0,
    "state": "done",
}


@pytest.fixture
def planned() -> Callable[..., pd.DataFrame]:
    """Make a table of jobs from what is special about each."""

    def make(*jobs: dict[str, Any]) -> pd.DataFrame:
        return pd.DataFrame([{"job": f"job{place}", **_JOB, **job} for place, job in enumerate(jobs)])

    return make


@pytest.fixture
def films() -> Callable[..., pd.DataFrame]:
    """Make predictions from (true class, score) or (true class, score, patient) of each film."""

    def make(rows: list[tuple[Any, ...]], job: str = "job0", split: str = "test", **same: Any) -> pd.DataFrame:
        table = pd.DataFrame(
            {
                "job": job,
                "cohort": "hannover",
                "image": [f"{split}{place}.png" for place in range(len(rows))],
                "patient": [row[2] if len(row) > 2 else f"{split}-p{place}" for place, row in enumerate(rows)],
                "center": "A",
                "split": split,
                "y_true": [row[0] for row in rows],
                "y_score": [float(row[1]) for row in rows],
            }
        )
        return table.assign(**same)

    return make
