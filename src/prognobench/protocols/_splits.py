"""Splits by group, checked before anything trains."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from prognobench.frame import Problems, sha256_bytes, write_in_one_step

PARTS = ("train", "val", "test")
_COLUMNS = ("image", "patient", "group", "part")


@dataclass(frozen=True)
class Split:
    """One train/val/test partition of the films of a task.

    Parameters
    ----------
    table
        Columns `image`, `patient`, `group`, `part`; sorted by image.
    repeat, fold
        Which of the repeats and folds it is, from 0.
    test_center
        The center that is tested, where one is left out.
    """

    table: pd.DataFrame
    repeat: int
    fold: int
    test_center: str | None = None
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", sha256_bytes(self.to_csv()))

    def to_csv(self) -> bytes:
        r"""Write the table as the bytes that its hash is taken of (UTF-8, `\n`)."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(self.table[list(_COLUMNS)].itertuples(index=False, name=None))
        return text.getvalue().encode("utf-8")

    def save(self, folder: Path) -> Path:
        """Write `<sha256>.csv` into `folder`, unless it is there, and return its path.

        Raises
        ------
        InputError
            A file of that name is there with another content.
        """
        path = folder / f"{self.sha256}.csv"
        if path.exists():
            read_split(path)
        else:
            write_in_one_step(path, self.to_csv())
        return path


def read_split(path: Path) -> pd.DataFrame:
    """Read a split file, columns `image, patient, group, part`, all as text.

    Raises
    ------
    InputError
        The columns or parts are not those of a split, a group stands in two parts, or the file's content is not
        what its name (the hash) says.
    """
    problems = Problems()
    content = path.read_bytes()
    if len(path.stem) == 64 and sha256_bytes(content) != path.stem:
        problems.add(path, "the file was altered: its content is not what its name says", "Delete it and run again")
        problems.raise_if_any()
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
    except (UnicodeDecodeError, csv.Error):
        rows = []
    if not rows or tuple(rows[0]) != _COLUMNS or any(len(row) != len(_COLUMNS) for row in rows):
        problems.add(path, "this is not a split file", f"Give a UTF-8 CSV with the columns {', '.join(_COLUMNS)}")
        problems.raise_if_any()
    table = pd.DataFrame(rows[1:], columns=list(_COLUMNS), dtype=str)
    for row, part in enumerate(table["part"], start=2):
        if part not in PARTS:
            problems.add(path, f"the part is '{part}'", f"Use {', '.join(PARTS)}", row)
    for group, parts in table.groupby("group")["part"].unique().items():
        if len(parts) > 1:
            problems.add(path, f"group '{group}' stands in {' and '.join(parts)}", "Keep a group in one part")
    problems.raise_if_any()
    return table


def kfold_splits(rows: pd.DataFrame, folds: int, seed: int, repeat: int = 0) -> list[Split]:
    """Deal groups to folds, stratified; fold f tests, fold f + 1 validates, the others train.

    Parameters
    ----------
    rows
        Films with columns `image`, `patient`, `group`, `label` (int; a group's stratum is its highest label).
    folds
        At least 3.
    seed, repeat
        The same two numbers deal the same films alike on every platform and in any order of the rows: groups are
        shuffled by their SHA-256, not by a generator whose stream may change.

    Returns
    -------
    list of Split
        One a fold. Within each stratum the folds' group counts differ by at most one.

    Raises
    ------
    ValueError
        Fewer groups than folds, or a part that would lack a class; with the counts and what to do.
    """
    groups = rows.groupby("group").agg(stratum=("label", "max"), films=("image", "size")).reset_index()
    if len(groups) < folds:
        raise ValueError(
            f"{folds} folds need at least {folds} groups of patients, there are {len(groups)}. "
            f"Use at most {len(groups)} folds or add patients"
        )
    groups["shuffle"] = [hashlib.sha256(f"{seed}:{repeat}:{group}".encode()).hexdigest() for group in groups["group"]]
    fold_of = _deal(groups, folds)
    fold = rows["group"].map(fold_of)
    splits: list[Split] = []
    for test in range(folds):
        parts = {test: "test", (test + 1) % folds: "val"}
        table = rows[["image", "patient", "group"]].assign(part=[parts.get(f, "train") for f in fold])
        splits.append(Split(table.sort_values("image", ignore_index=True), repeat, test))
    _refuse_missing_classes(rows, splits, groups)
    return splits


def _deal(groups: pd.DataFrame, folds: int) -> dict[str, int]:
    """Give each group a fold: even group counts within a stratum first, then even totals, then even film counts."""
    fold_of: dict[str, int] = {}
    totals, films = Counter[int](), Counter[int]()
    for _, stratum in groups.groupby("stratum"):
        in_stratum, films_in_stratum = Counter[int](), Counter[int]()
        # Patients with many films are dealt first, while the others can still level them out.
        ordered = stratum.sort_values(["films", "shuffle"], ascending=[False, True])
        for group, size in zip(ordered["group"].astype(str), ordered["films"].to_numpy().tolist(), strict=True):
            fold = min(range(folds), key=lambda f: (in_stratum[f], films_in_stratum[f], totals[f], films[f], f))
            fold_of[group] = fold
            for counter, amount in ((in_stratum, 1), (totals, 1), (films, size), (films_in_stratum, size)):
                counter[fold] += amount
    return fold_of


def _refuse_missing_classes(rows: pd.DataFrame, splits: list[Split], groups: pd.DataFrame) -> None:
    classes = sorted(rows["label"].unique())
    per_class = groups.groupby("stratum").size().to_dict()
    label_of = dict(zip(rows["image"], rows["label"], strict=True))
    for split in splits:
        labels = split.table["image"].map(label_of)
        for part in PARTS:
            missing = [c for c in classes if not ((split.table["part"] == part) & (labels == c)).any()]
            if missing:
                counts = ", ".join(f"{n} of class {c}" for c, n in per_class.items())
                raise ValueError(
                    f"in fold {split.fold} the {part} part has no film of class {missing[0]} (groups: {counts}). "
                    f"Use fewer folds or add patients of that class"
                )
