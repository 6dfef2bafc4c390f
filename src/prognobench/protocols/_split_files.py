"""Read a split that someone else made: which film is in which part, every fault named with its row."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from prognobench.frame import InputError, Problems, nearest, read_text

from ._dealing import groups_of, share_of
from ._splits import PARTS, Split, lack_of_class, refuse_altered, split_of

Missing = Literal["error", "leave_out"]
_VAL_SHARE = 0.2
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Assigned:
    """A film of the task, the part that it was given, and the row that says so."""

    image: str
    part: str
    row: int


def check_split_file(
    path: Path, rows: pd.DataFrame, films: pd.DataFrame | None = None, *, missing: Missing = "error", seed: int = 0
) -> Split:
    """Read a split file and check it against the films of a task.

    Parameters
    ----------
    path
        A CSV with the columns `image` and `part` at least. In a split that was exported the film is known by the
        SHA-256 of its bytes, in the column `film`, and not by its name.
    rows
        The films of the task: `image, patient, group, label`, and `sha256` where the file knows films by it.
    films
        All films of the cohort (`image`, `sha256`); those outside the task may stand in the file and are passed over.
        By default the cohort has no others.
    missing
        What films of the task mean that the file does not name: an `error`, or `leave_out`.
    seed
        Chooses the validation groups where the file names none.

    Raises
    ------
    InputError
        With every fault of the file and its row: a missing column, an image twice or unknown, a part other than
        train, val and test, a group in two parts, films that are not named, a part without a class.
    """
    problems = Problems()
    assigned = read_assigned(path, rows, rows if films is None else films, problems)
    problems.raise_if_any()
    split = split_from(path, assigned, rows, problems, missing=missing, seed=seed)
    problems.raise_if_any()
    return split


def read_assigned(path: Path, rows: pd.DataFrame, films: pd.DataFrame, problems: Problems) -> list[Assigned]:
    """Read the lines of a split file that are about films of the task; faults go to `problems`."""
    lines = _lines(path, problems)
    if lines is None:
        return []
    header, body = lines
    films_told = [cells.get("film", "") for _, cells in body]
    by_content = "film" in header and all(_SHA256.fullmatch(cell) for cell in films_told)
    name = "film" if by_content else "image"
    for column in (name, "part"):
        if column not in header:
            remedy = f"A split file has the columns image and part. {nearest(column, header)}"
            problems.add(path, f"the column '{column}' is missing", remedy, 1)
    if name not in header or "part" not in header:
        return []
    images_of: dict[str, list[str]] = defaultdict(list)
    for key, image in zip(rows["sha256"] if by_content else rows["image"], rows["image"], strict=True):
        images_of[str(key)].append(str(image))
    known = set((films["sha256"] if by_content else films["image"]).astype(str))
    _refuse_twice(path, [(row, cells.get("image", "")) for row, cells in body if "image" in header], problems)
    assigned: list[Assigned] = []
    for row, cells in body:
        if cells[name] not in known:
            what = f"the cohort has no film '{_shown(cells[name])}'"
            problems.add(path, what, "Name films as the cohort's table does, or give the split of this cohort", row)
        elif cells["part"] not in PARTS:
            _note_part(path, cells["part"], row, problems)
        else:
            assigned += [Assigned(image, cells["part"], row) for image in images_of[cells[name]]]
    return assigned


def split_from(
    where: Path,
    assigned: Sequence[Assigned],
    rows: pd.DataFrame,
    problems: Problems,
    *,
    missing: Missing,
    seed: int,
    fold: int = 0,
) -> Split:
    """Make a split of what was assigned; faults go to `problems`, and the split is only good where there are none."""
    before = len(problems)
    part_of = {line.image: line.part for line in assigned}
    _refuse_torn_groups(where, assigned, rows, problems)
    unnamed = [image for image in rows["image"] if image not in part_of]
    if unnamed and missing == "error" and len(problems) == before:
        what = f"{len(unnamed)} of the {len(rows)} films of the task have no part, the first is '{unnamed[0]}'"
        problems.add(where, what, "Give them one, or set `missing: leave_out` to do without them")
    used = rows[rows["image"].isin(part_of.keys())]
    if "val" not in part_of.values():
        training = used[[part_of[image] == "train" for image in used["image"]]]
        # Without validation films nothing could be chosen; a share of the training groups gives them.
        validating = share_of(groups_of(training), _VAL_SHARE, ("class",), f"{seed}:{fold}:predefined-val")
        chosen = training.loc[training["group"].astype(str).isin(validating), "image"]
        part_of |= dict.fromkeys(chosen, "val")
    split = split_of(rows, part_of, 0, fold)
    lack = lack_of_class(rows, split)
    if lack is not None and len(problems) == before:
        problems.add(where, f"{lack[0]} ({lack[1]})", "Give it films of that class")
    return split


def refuse_parts(where: Path, cells: Iterable[tuple[int, str]], problems: Problems) -> None:
    """Note each cell that is none of the parts."""
    for row, part in cells:
        if part not in PARTS:
            _note_part(where, part, row, problems)


def _note_part(where: Path, part: str, row: int, problems: Problems) -> None:
    what = f"the part is '{_shown(part)}'" if part else "the part is blank"
    problems.add(where, what, f"Use {', '.join(PARTS)}", row)


def _lines(path: Path, problems: Problems) -> tuple[list[str], list[tuple[int, Mapping[str, str]]]] | None:
    """Return the header and each row with its line in the file, or None where the file is no table."""
    before = len(problems)
    try:
        text = read_text(path)
    except InputError as error:
        problems.extend(error)
        return None
    refuse_altered(path, path.read_bytes(), problems)
    first = text.split("\n", 1)[0]
    separator = next((sign for sign in (",", "\t", ";") if sign in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines: list[tuple[int, list[str]]] = []
    try:
        begin = 1
        for cells in reader:
            if cells:
                lines.append((begin, cells))
            begin = reader.line_num + 1
    except csv.Error as error:
        problems.add(path, f"the row cannot be split into cells ({error})", "Check its quotes", reader.line_num)
        return None
    if len(lines) < 2:
        problems.add(path, "the split file has no rows", "Give it a header with image and part, and a row a film")
        return None
    (_, header), *body = lines
    for row, cells in body:
        if len(cells) != len(header):
            what = f"the row has {len(cells)} cells, the header has {len(header)}"
            problems.add(path, what, "Give each column one cell", row)
    if len(problems) > before:
        return None
    return header, [(row, dict(zip(header, cells, strict=True))) for row, cells in body]


def _refuse_twice(path: Path, images: Iterable[tuple[int, str]], problems: Problems) -> None:
    first: dict[str, int] = {}
    for row, image in images:
        if first.setdefault(image, row) != row:
            what = f"the image '{_shown(image)}' stands here and in row {first[image]}"
            problems.add(path, what, "Name each image once: the parts must not overlap", row)


def _refuse_torn_groups(where: Path, assigned: Sequence[Assigned], rows: pd.DataFrame, problems: Problems) -> None:
    group_of = dict(zip(rows["image"], rows["group"].astype(str), strict=True))
    first: dict[str, dict[str, int]] = defaultdict(dict)
    for line in assigned:
        first[group_of[line.image]].setdefault(line.part, line.row)
    for group, parts in first.items():
        if len(parts) > 1:
            told = " and ".join(f"{part} (row {row})" for part, row in parts.items())
            what = f"the group of patient '{_shown(group)}' stands in {told}"
            remedy = "Keep all films of a patient, and of patients who share a film, in one part"
            problems.add(where, what, remedy, min(parts.values()))


def _shown(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "…"
