"""Hand the frozen features of a study to anyone's own classifier."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from prognobench.frame import InputError, Problem

from ._kit import kit_of
from ._plan import Plan
from ._store import Store
from ._worker import Bench, WorkerSettings


def export_features(plan: Plan, out: Path, progress: Callable[[Path], None] | None = None) -> list[Path]:
    """Write the frozen features that `lp` reads, one Parquet file a cohort, task and model.

    Parameters
    ----------
    plan
        What `plan_study` returned.
    out
        A folder, made if needed; files are called `<cohort>-<task>-<model>.parquet`.
    progress
        Called with each file as it is written.

    Returns
    -------
    list of Path
        The files. Columns: `image, patient, center, label`; `part_<repeat>_<fold>` with train, val or test for each
        split of the study, blank where it has no use for the film, and with validation and regime in the name where
        the study has several; `feature_0` and on, float32.

    Raises
    ------
    InputError
        Two files would have one name.
    """
    out.mkdir(parents=True, exist_ok=True)
    bench = Bench(kit_of(plan, ()), Store(out), WorkerSettings(out, os.cpu_count() or 1, 600.0))
    written: list[Path] = []
    for cohort, task in dict.fromkeys((job.cohort, job.task) for job in plan.jobs):
        rows = plan.cohorts[cohort].task(task).rows.sort_values("image", ignore_index=True)
        table = rows[["image", "patient", "center", "label"]]
        for name, split in _parts_of(plan, cohort, task).items():
            part = plan.splits[split].table.set_index("image")["part"]
            table = table.assign(**{name: rows["image"].map(part)})
        readers = {
            job.model: job for job in plan.jobs if (job.cohort, job.task) == (cohort, task) and job.kind != "control"
        }
        for model, job in readers.items():
            path = out / f"{_file_name(cohort)}-{_file_name(task)}-{_file_name(model)}.parquet"
            if path in written:
                raise InputError([Problem(str(path), "two files would have this name", "Rename a cohort or task")])
            features = bench.features_of(job, rows["sha256"].tolist())
            columns = [f"feature_{index}" for index in range(features.shape[1])]
            pd.concat([table, pd.DataFrame(features, columns=columns)], axis=1).to_parquet(path, index=False)
            written.append(path)
            if progress is not None:
                progress(path)
    return written


def _parts_of(plan: Plan, cohort: str, task: str) -> dict[str, str]:
    """Return the split of each column `part_…`; the name tells validation and regime where there are several."""
    jobs = [job for job in plan.jobs if (job.cohort, job.task) == (cohort, task)]
    several = len({(job.validation, job.regime, job.shots, job.draw) for job in jobs}) > 1
    found: dict[str, str] = {}
    for job in jobs:
        words = (job.validation, job.regime, job.shots, job.draw) if several else ()
        name = "_".join(str(word) for word in ("part", *words, job.repeat, job.fold) if word is not None)
        found[name] = job.value("split")
    return found


def _file_name(name: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "._" else "_" for sign in name)
