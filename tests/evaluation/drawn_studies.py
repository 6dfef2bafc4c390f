"""Small studies of synthetic predictions, as tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

JOB = {
    "cohort": "c", "task": "icu", "test_cohort": "c", "regime": "full", "shots": None, "draw": None,
    "validation": "kfold3", "repeat": 0, "test_center": None, "seed": 42, "protocol": "quick", "n_train": 60,
    "trainable_params": 7, "total_params": 11, "train_seconds": 0.1, "state": "done",
}  # fmt: skip


def study(cells, patients=30, folds=3, most_films=1, seed=0, share=0.4):
    """Make predictions and jobs of cells (model, strategy, skill[, changes of the job]), patients dealt to folds."""
    rng = np.random.default_rng(seed)
    films = [
        (f"p{p:03d}", f"f{p:03d}-{k}.png", int(p < share * patients), p % folds)
        for p in range(patients)
        for k in range(rng.integers(1, most_films + 1))
    ]
    jobs, tables = [], []
    for model, strategy, skill, *changes in cells:
        for fold in range(folds):
            key = f"{model}/{strategy}/{fold}/{changes}"
            jobs.append(JOB | {"job": key, "model": model, "strategy": strategy, "fold": fold} | dict(*changes))
            rows = [film for film in films if film[3] == fold]
            y = np.array([film[2] for film in rows])
            score = np.clip(0.5 + 0.1 * skill * (2 * y - 1) + 0.2 * rng.normal(size=len(y)), 0, 1)
            tables.append(
                pd.DataFrame({"job": key, "cohort": "c", "image": [f[1] for f in rows], "patient": [f[0] for f in rows],
                              "center": "A", "split": "test", "y_true": y, "y_score": score})
            )  # fmt: skip
    return pd.concat(tables, ignore_index=True), pd.DataFrame(jobs)


CELLS = [("m", "lp", 1.5), ("none", "majority", 0.0), ("none", "metadata", 0.4), ("m", "random", 0.8)]


def only(table):
    assert len(table) == 1
    return table.iloc[0]
