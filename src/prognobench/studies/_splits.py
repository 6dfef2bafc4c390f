"""The splits of a study without its models: to be written down, looked at, checked and passed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prognobench.cohorts import Cohort, Task, load_cohort
from prognobench.frame import Problems, pseudonyms, sha256_bytes, write_in_one_step
from prognobench.protocols import PARTS, Full, Regime, Split, check_split_file, csv_bytes

from ._cohorts import load_cohorts
from ._cuts import Cutter
from ._spec import Study

Progress = Callable[[int, int], None]
_INDEX = ("file", "cohort", "task", "validation", "regime", "shots", "draw", "repeat", "fold", "test_center")


@dataclass(frozen=True)
class StudySplit:
    """A split with what it belongs to.

    Attributes
    ----------
    cohort, task
        Whose films it cuts.
    validation
        The validation's word in tables.
    regime
        The regime that reduced it.
    split
        The split.
    tested
        The cohorts that are tested; another one than the split's own where it has no test part.
    elsewhere
        The task in each of the other cohorts that are tested.
    """

    cohort: Cohort
    task: Task
    validation: str
    regime: Regime
    split: Split
    tested: tuple[str, ...]
    elsewhere: tuple[Task, ...] = ()

    def counts(self) -> dict[str, dict[str, int]]:
        """Return films, patients and positive films of each part; multi-class tasks count all classes but the first.

        Films of other cohorts that are tested count as test films.
        """
        rows = self.split.table.merge(self.task.rows[["image", "label"]], on="image")
        counts = {part: _counts(rows[rows["part"] == part]) for part in PARTS}
        for task in self.elsewhere:
            counts["test"] = {what: count + counts["test"][what] for what, count in _counts(task.rows).items()}
        return counts

    def words(self) -> dict[str, Any]:
        """Return what tells the split from others, in the words of tables."""
        return {
            "cohort": self.cohort.name,
            "task": self.task.name,
            "validation": self.validation,
            "regime": self.regime.name,
            "shots": self.regime.shots,
            "draw": self.regime.draw,
            "repeat": self.split.repeat,
            "fold": self.split.fold,
            "test_center": self.split.test_center,
        }


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    positive = int((rows["label"] > 0).sum())
    return {"films": len(rows), "patients": int(rows["patient"].nunique()), "positive": positive}


def study_splits(study: Study, progress: Progress | None = None) -> list[StudySplit]:
    """Cut every task of a study by its validation and regimes; models and weights are not asked for.

    Parameters
    ----------
    study
        What `read_study` returned.
    progress
        Called with films done and films in all.

    Returns
    -------
    list of StudySplit
        In the order of the study file. Folds with too few films for a regime are not in it.

    Raises
    ------
    InputError
        With every problem of the cohorts and splits in one message.
    """
    problems = Problems()
    cohorts = load_cohorts(study, lambda block: [], progress, problems)
    cutter = Cutter(study, cohorts, problems)
    by_name = {cohort.name: cohort for cohort in cohorts.values()}
    found: dict[tuple[Any, ...], StudySplit] = {}
    for block in study.blocks:
        for cut in cutter.cuts(block):
            others = tuple(by_name[name].task(cut.task.name) for name in cut.tested if name != cut.cohort.name)
            for regime, splits in cut.splits.items():
                for split in splits:
                    label = block.validation.label
                    one = StudySplit(cut.cohort, cut.task, label, regime, split, cut.tested, others)
                    found.setdefault((*one.words().values(), split.sha256), one)
    problems.raise_if_any()
    return list(found.values())


def make_splits(study: Study, out: Path, progress: Progress | None = None) -> list[Path]:
    """Write each split of a study as `<sha256>.csv`, and `splits.csv`, which says what each file is.

    The files are those that `run` lays down beside the records: they hold the table's own names and stay at home.

    Returns
    -------
    list of Path
        The files of the splits, each once: two regimes may come to the same films.

    Raises
    ------
    InputError
        As `study_splits`; or a file of that name has another content.
    """
    splits = study_splits(study, progress)
    paths = [one.split.save(out) for one in splits]
    _write_index(out, splits, paths)
    return list(dict.fromkeys(paths))


def export_splits(study: Study, out: Path, progress: Progress | None = None) -> list[Path]:
    """Write the splits of a study for others: keyed pseudonyms, and each film by the SHA-256 of its bytes.

    Who has the films can read them back (`validation: {predefined: {files: […]}}`); who has not learns nothing of
    whom they show. The key of the pseudonyms stays in the user's own folder.

    Returns
    -------
    list of Path
        CSV files with the columns `image, patient, group, part, film`, each named after its content.

    Raises
    ------
    InputError
        As `study_splits`; or the key of the pseudonyms cannot be used.
    """
    splits = study_splits(study, progress)
    contents = [_for_others(one) for one in splits]
    # Named after what others read. The hash of the split itself is one of the table's own names, and would tell whoever
    # guesses them that the guess is right.
    paths = [out / f"{sha256_bytes(content)}.csv" for content in contents]
    for path, content in dict(zip(paths, contents, strict=True)).items():
        write_in_one_step(path, content)
    _write_index(out, splits, paths)
    return list(dict.fromkeys(paths))


def check_split(path: Path, cohort: Path, task: str, progress: Progress | None = None) -> StudySplit:
    """Check a split file against a cohort's task; see `check_split_file`.

    Raises
    ------
    InputError
        With every fault of the cohort or of the file.
    """
    loaded = load_cohort(cohort, tasks=[task], progress=progress)
    found = loaded.task(task)
    split = check_split_file(path, found.rows, loaded.films)
    return StudySplit(loaded, found, "predefined", Full(), split, (loaded.name,))


def _for_others(one: StudySplit) -> bytes:
    names, film = pseudonyms(), dict(zip(one.task.rows["image"], one.task.rows["sha256"], strict=True))
    lines = [
        (names("image", image), names("patient", str(patient)), names("group", str(group)), part, film[image])
        for image, patient, group, part in zip(
            *(one.split.table[column] for column in ("image", "patient", "group", "part")), strict=True
        )
    ]
    # Sorted by pseudonym: the order of the table's names would tell something of them.
    return csv_bytes([("image", "patient", "group", "part", "film"), *sorted(lines)])


def _write_index(out: Path, splits: list[StudySplit], paths: list[Path]) -> None:
    lines = [(path.name, *one.words().values()) for path, one in zip(paths, splits, strict=True)]
    write_in_one_step(out / "splits.csv", csv_bytes([_INDEX, *lines]))
