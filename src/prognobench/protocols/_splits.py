"""Splits by group, checked before anything trains."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from prognobench.frame import Problems, sha256_bytes, write_in_one_step

from ._dealing import groups_of

PARTS = ("train", "val", "test")
_COLUMNS = ("image", "patient", "group", "part")


@dataclass(frozen=True)
class Split:
    """One train/val/test partition of the films of a task.

    Parameters
    ----------
    table
        Columns `image`, `patient`, `group`, `part`; sorted by image. Films that no part uses are not in it.
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

    def refuse_leaks(self) -> None:
        """Raise ValueError where a group stands in two parts or an image stands twice, whoever cut the films."""
        part_of: dict[str, str] = {}
        for group, part in zip(self.table["group"].tolist(), self.table["part"].tolist(), strict=True):
            if part_of.setdefault(group, part) != part:
                raise ValueError(f"group '{group}' stands in {part_of[group]} and {part}. Keep a group in one part")
        images = self.table["image"].tolist()
        if len(set(images)) < len(images):
            twice = next(image for image in images if images.count(image) > 1)
            raise ValueError(f"the image '{twice}' stands in a split twice. Keep it once")

    def to_csv(self) -> bytes:
        r"""Write the table as the bytes that its hash is taken of (UTF-8, `\n`)."""
        return csv_bytes([_COLUMNS, *self.table[list(_COLUMNS)].itertuples(index=False, name=None)])

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


def split_of(
    rows: pd.DataFrame, part_of: Mapping[str, str], repeat: int, fold: int, test_center: str | None = None
) -> Split:
    """Make the split that gives each image of `rows` its part; images without one are not in it."""
    used = rows.loc[rows["image"].isin(part_of.keys()), ["image", "patient", "group"]]
    table = used.assign(part=[part_of[image] for image in used["image"].tolist()])
    return Split(table.sort_values("image", ignore_index=True), repeat, fold, test_center)


def csv_bytes(lines: Sequence[Sequence[object]]) -> bytes:
    r"""Write lines as CSV in UTF-8 with `\n`, the same bytes on every system."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode("utf-8")


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
    refuse_altered(path, content, problems)
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


def refuse_altered(path: Path, content: bytes, problems: Problems) -> None:
    """Note where a file that is named by its hash holds something else."""
    if len(path.stem) == 64 and sha256_bytes(content) != path.stem:
        problems.add(path, "the file was altered: its content is not what its name says", "Delete it and run again")


def lack_of_class(rows: pd.DataFrame, split: Split, parts: Sequence[str] = PARTS) -> tuple[str, str] | None:
    """Say which part of a split lacks a class of the task, and how its groups are shared out; None where none does."""
    label_of = dict(zip(rows["image"], rows["label"], strict=True))
    present = set(zip(split.table["part"], split.table["image"].map(label_of), strict=True))
    for part in parts:
        for label in sorted(rows["label"].unique()):
            if (part, label) not in present:
                counts = Counter(group.label for group in groups_of(rows))
                told = ", ".join(f"{n} of class {c}" for c, n in sorted(counts.items()))
                return f"the {part} part has no film of class {label}", f"groups: {told}"
    return None


def refuse_missing_classes(
    rows: pd.DataFrame, splits: Sequence[Split], remedy: str, parts: Sequence[str] = PARTS
) -> None:
    """Raise ValueError where a part of a split has no film of some class."""
    for split in splits:
        lack = lack_of_class(rows, split, parts)
        if lack is not None:
            center = "" if split.test_center is None else f", which tests the center '{split.test_center}',"
            raise ValueError(f"in fold {split.fold}{center} {lack[0]} ({lack[1]}). {remedy}")
