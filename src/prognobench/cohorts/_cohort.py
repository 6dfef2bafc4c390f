"""One entry from `cohort.yaml` to films, patients, groups and tasks, with everything checked on the way."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from prognobench.frame import (
    InputError,
    Location,
    Problem,
    Problems,
    document_lines,
    nearest,
    parse_document,
    read_text,
    sha256_file,
)

from ._facts import FilmFacts
from ._films import Fault, locate
from ._groups import group_films
from ._near_duplicates import (
    SAME_FILM_OF_A_PATIENT,
    THUMBNAILS,
    NearDuplicate,
    near_duplicates,
)
from ._packs import Pixels, open_pack
from ._preprocessing import Preprocessing
from ._spec import CohortSpec, Role, contradictions, referenced_columns
from ._survey import in_order, survey
from ._tables import Table, read_table
from ._tasks import Task, build_task, lack_of_classes

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Cohort:
    """A checked cohort: every film is there, whole and known by its content.

    Parameters
    ----------
    path
        The `cohort.yaml`.
    spec
        What it says.
    name
        The cohort's name.
    films
        One row a kept row of the table, in its order: `row` (line of the table), `image`, `patient`, `center` (empty
        text without such a column), `sha256` of the file, `width` and `height` in pixels, `brightness` (mean of the
        film scaled to [0, 1]), `tags` (names of the file's tags that hold free text, parted by commas), `group`
        (films of one group stay together in a split).
    table
        The table's texts of those rows, with the same index; an empty text is a blank cell.
    excluded
        The rows that were left out: `row`, `image`, `reason`, and `kind`: `unreadable` or `duplicate`.
    tasks
        Every task by its name.
    stand_in
        Whether it holds no film but only published counts, to plan with.
    near_duplicates
        Films that are one although their bytes differ: `film` and `other` (positions in `films`), `likeness` (the
        correlation of their detail); the first film of each content stands for all of the same bytes.
    """

    path: Path
    spec: CohortSpec
    name: str
    films: pd.DataFrame
    table: pd.DataFrame
    excluded: pd.DataFrame
    tasks: Mapping[str, Task]
    stand_in: bool = False
    near_duplicates: pd.DataFrame = field(default_factory=lambda: _pairs_of([], []))

    def task(self, name: str) -> Task:
        """Return a task by its name.

        Raises
        ------
        InputError
            When the cohort has no such task; the nearest one is named.
        """
        if name not in self.tasks:
            raise InputError([Problem(str(self.path), f"there is no task '{name}'", nearest(name, list(self.tasks)))])
        return self.tasks[name]

    def columns_of(self, role: Role) -> tuple[str, ...]:
        """Return the columns of `table` that have a role; view, sex and age have theirs without being declared."""
        return self.spec.columns_of(role)


def load_cohort(
    path: Path,
    preprocessings: Sequence[Preprocessing] = (),
    *,
    tasks: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Cohort:
    """Read, check and group a cohort, and fill the image cache in the same pass over its films.

    Every file is read and hashed; a film whose content is new is decoded, once, for its facts and for the cache of
    each preprocessing. A film that is known is not decoded again.

    Parameters
    ----------
    path
        The `cohort.yaml`; the paths in it are relative to its folder.
    preprocessings
        What the cache is to hold; `open_pixels` then opens it without decoding.
    tasks
        The tasks that must have films of every class; all by default.
    progress
        Called with the number of films that are done and the number of all, as they are finished.

    Raises
    ------
    InputError
        With every problem of the YAML, or every problem of the table, its rows, the films and the tasks.
    """
    path = Path(path)
    text = read_text(path)
    spec = parse_document(text, str(path), CohortSpec)
    lines = document_lines(text, str(path))
    problems = Problems()
    root = (path.parent / spec.images).resolve()
    _check_document(path, spec, root, tasks or (), lines, problems)
    table = _read_manifest(path, spec, lines, problems)
    if table is None:
        raise InputError(problems)

    films = _rows(spec, table)
    _check_cells(table, films, problems)
    excluded: list[tuple[int, str, str, str]] = []
    films = _add_content(spec, table, films, root, problems, excluded, preprocessings, progress)
    twins = [] if len(problems) else _near_duplicates(films)
    films = _handle_duplicates(spec, table, films, twins, problems, excluded)
    if films.empty and excluded:
        what = f"no film is left of {len(table.rows)}; the first is left out because: {excluded[0][2]}"
        problems.add(table.path, what, "Check `images:`, or set `on_bad_image: error` to see every fault")
    texts = pd.DataFrame(list(table.cells), columns=list(table.columns), dtype=str)
    texts = texts.loc[films.index].reset_index(drop=True)
    films = films.reset_index(drop=True)
    # A row that could not be split may hold the film that a task seems to lack.
    needed = () if table.ragged else tuple(spec.tasks if tasks is None else tasks)
    built = _build_tasks(path, spec, films, texts, needed, lines, problems)
    if len(problems):
        raise InputError(sorted(problems, key=lambda problem: (problem.where != str(path), problem.row or 0)))
    left_out = pd.DataFrame(sorted(excluded), columns=["row", "image", "reason", "kind"])
    pairs = _pairs_of(films["sha256"].tolist(), twins)
    return Cohort(path, spec, spec.name, films, texts, left_out, built, near_duplicates=pairs)


def open_pixels(cohort: Cohort, preprocessing: Preprocessing) -> Pixels:
    """Open the films of a cohort under a preprocessing; what is absent or damaged is built first.

    Raises
    ------
    InputError
        When a film must be read again and has changed since the cohort was loaded.
    """
    contents = cohort.films["sha256"].tolist()
    pixels = open_pack(contents, preprocessing)
    if pixels is None:
        root = (cohort.path.parent / cohort.spec.images).resolve()
        survey(_files_again(cohort, root), [preprocessing], packs_despite_faults=False)
        pixels = open_pack(contents, preprocessing)
    if pixels is None:
        raise RuntimeError("the image cache was built and cannot be opened; check the disk of PROGNOBENCH_HOME")
    return pixels


def _line(location: Location, lines: Mapping[Location, int]) -> int | None:
    while location and location not in lines:
        location = location[:-1]
    return lines.get(location) if location else None


def _check_document(
    path: Path,
    spec: CohortSpec,
    root: Path,
    tasks: Sequence[str],
    lines: Mapping[Location, int],
    problems: Problems,
) -> None:
    for location, what, remedy in contradictions(spec):
        problems.add(path, what, remedy, _line(location, lines))
    for name in tasks:
        if name not in spec.tasks:
            problems.add(path, f"there is no task '{name}'", nearest(name, list(spec.tasks)), _line(("tasks",), lines))
    if not root.is_dir():
        what = f"the image root '{spec.images}' is not a folder"
        problems.add(path, what, "Give the folder of the image files in `images:`", _line(("images",), lines))


def _read_manifest(path: Path, spec: CohortSpec, lines: Mapping[Location, int], problems: Problems) -> Table | None:
    """Return the table, or None where there is none or its films cannot be told."""
    manifest = path.parent / spec.manifest
    if not manifest.is_file():
        what = f"the table '{spec.manifest}' is not there"
        problems.add(path, what, "Give the file of the table in `manifest:`", _line(("manifest",), lines))
        return None
    table = read_table(manifest, problems, sheet=spec.sheet)
    if table is None:
        return None
    for at, column in referenced_columns(spec):
        if column not in table.columns:
            what = f"'{'.'.join(map(str, at))}' names the column '{column}', which {manifest.name} does not have"
            problems.add(path, what, nearest(column, table.columns), _line(at, lines))
    return table if {spec.columns.image, spec.columns.patient} <= set(table.columns) else None


def _rows(spec: CohortSpec, table: Table) -> pd.DataFrame:
    columns = spec.columns
    center = table.column(columns.center) if columns.center in table.columns else [""] * len(table.rows)
    return pd.DataFrame(
        {
            "row": list(table.rows),
            "image": table.column(columns.image),
            "patient": table.column(columns.patient),
            "center": center,
        }
    ).astype({"row": "int64", "image": str, "patient": str, "center": str})


def _check_cells(table: Table, films: pd.DataFrame, problems: Problems) -> None:
    first_row: dict[str, int] = {}
    spelled: dict[str, tuple[str, int]] = {}
    for row, image, patient in zip(films["row"], films["image"], films["patient"], strict=True):
        if not patient.strip():
            problems.add(table.path, "the patient cell is empty", "Give the patient's id, or remove the row", row)
        elif patient != patient.strip():
            what = f"the patient id '{patient}' begins or ends with white space"
            problems.add(table.path, what, "Remove it, or one patient counts as two", row)
        other, other_row = spelled.setdefault(unicodedata.normalize("NFC", patient), (patient, row))
        if other != patient:
            what = f"the patient id '{patient}' differs from that of row {other_row} in its Unicode form alone"
            problems.add(table.path, what, "Spell it one way, or one patient counts as two", row)
        if any(unicodedata.category(sign) == "Cc" for sign in image + patient):
            what = "the image or patient cell holds a control character, such as a line break"
            problems.add(table.path, what, "Remove it", row)
        if not image.strip():
            problems.add(table.path, "the image cell is empty", "Give the image's file name, or remove the row", row)
            continue
        first = first_row.setdefault(str(PurePosixPath(image)), row)
        if first != row:
            what = f"the image '{image}' stands here and in row {first}"
            problems.add(table.path, what, "Keep one row for each image", row)


def _add_content(
    spec: CohortSpec,
    table: Table,
    films: pd.DataFrame,
    root: Path,
    problems: Problems,
    excluded: list[tuple[int, str, str, str]],
    preprocessings: Sequence[Preprocessing],
    progress: Progress | None,
) -> pd.DataFrame:
    """Return the films that are whole, with `sha256, width, height, brightness, tags`; note the others."""
    if not root.is_dir():
        return _with_facts(films, {}, {})  # refused already
    named = films[films["image"].str.strip() != ""]
    exclude = spec.on_bad_image == "exclude"
    step = _Steps(len(named), progress)
    faults: dict[int, Fault] = {}
    contents: dict[int, str] = {}
    paths: dict[str, Path] = {}
    jobs = [(root, image) for image in named["image"]]
    for done, (index, found) in enumerate(zip(named.index, in_order(_hash, jobs), strict=True), start=1):
        step.hashed(done)
        if isinstance(found, Fault):
            faults[index] = found
        else:
            contents[index] = found[0]
            paths.setdefault(*found)
    # Films are surveyed even when the input is refused already, so that one message has their faults too.
    usable = not len(problems) and (exclude or not faults) and not any(fault.forbidden for fault in faults.values())
    wanted = (*preprocessings, THUMBNAILS) if usable else ()
    facts = survey(paths, wanted, packs_despite_faults=exclude, progress=step.decoded)
    step.finished()
    for index, content in contents.items():
        fact = facts[content]
        if isinstance(fact, Fault):
            faults[index] = fact
    rows, images = films["row"].to_dict(), films["image"].to_dict()
    for index, fault in sorted(faults.items()):
        row, image = rows[index], images[index]
        if exclude and not fault.forbidden:
            excluded.append((row, image, fault.what, "unreadable"))
        else:
            leave_out = "" if fault.forbidden else ", remove the row, or set `on_bad_image: exclude`"
            problems.add(table.path, f"the image '{image}': {fault.what}", f"{fault.remedy}{leave_out}", row)
    if exclude:
        films = films.drop(index=list(faults))
    return _with_facts(films, contents, facts)


class _Steps:
    """Progress over two passes, counted in films: hashing a film is one half of it, decoding the other."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress, self._last = total, progress, -1

    def hashed(self, done: int) -> None:
        self._tell(done // 2)

    def decoded(self, done: int, total: int) -> None:
        self._tell((self._total + self._total * done // total) // 2)

    def finished(self) -> None:
        self._tell(self._total)

    def _tell(self, done: int) -> None:
        if self._progress is not None and done != self._last:
            self._last = done
            self._progress(done, self._total)


def _hash(job: tuple[Path, str]) -> tuple[str, Path] | Fault:
    found = locate(*job)
    if isinstance(found, Fault):
        return found
    try:
        return sha256_file(found), found
    except OSError as error:
        return Fault(f"the file cannot be read ({error.strerror})", "Check its permissions")


def _with_facts(
    films: pd.DataFrame, contents: Mapping[int, str], facts: Mapping[str, FilmFacts | Fault]
) -> pd.DataFrame:
    """Add the columns of content; rows that are refused anyway get texts and zeros that nobody will see."""
    films = films.copy()
    found = [facts.get(contents.get(index, "")) for index in films.index]
    known = [fact if isinstance(fact, FilmFacts) else FilmFacts(0, 0, 0.0) for fact in found]
    films["sha256"] = pd.Series([contents.get(index, "") for index in films.index], index=films.index, dtype=str)
    films["width"] = pd.Series([fact.width for fact in known], index=films.index, dtype="int64")
    films["height"] = pd.Series([fact.height for fact in known], index=films.index, dtype="int64")
    films["brightness"] = pd.Series([fact.brightness for fact in known], index=films.index, dtype="float64")
    films["tags"] = pd.Series([", ".join(fact.tags) for fact in known], index=films.index, dtype=str)
    return films


def _near_duplicates(films: pd.DataFrame) -> list[NearDuplicate]:
    """Return the pairs of different files that show one film.

    Films of one patient must be more alike for that. Of two patients who share a film, each film stands in one pair,
    with what is most like it: the other films of what is one patient may look alike as well.
    """
    owners: dict[str, frozenset[str]] = {}
    for content, patient in zip(films["sha256"], films["patient"], strict=True):
        owners[content] = owners.get(content, frozenset()) | {patient}
    shapes = list(zip(films["width"].tolist(), films["height"].tolist(), strict=True))
    pairs = near_duplicates(films["sha256"].tolist(), shapes)
    best: dict[tuple[str, frozenset[str]], float] = {}
    for pair in pairs:
        for content, other in ((pair.one, pair.other), (pair.other, pair.one)):
            best[content, owners[other]] = max(pair.likeness, best.get((content, owners[other]), 0.0))
    return [
        pair
        for pair in pairs
        if (
            pair.likeness >= SAME_FILM_OF_A_PATIENT
            if owners[pair.one] == owners[pair.other] and len(owners[pair.one]) == 1
            else pair.likeness == best[pair.one, owners[pair.other]] == best[pair.other, owners[pair.one]]
        )
    ]


def _pairs_of(contents: Sequence[str], twins: Sequence[NearDuplicate]) -> pd.DataFrame:
    first: dict[str, int] = {}
    for place, content in enumerate(contents):
        first.setdefault(content, place)
    rows = sorted((*sorted((first[pair.one], first[pair.other])), pair.likeness) for pair in twins)
    pairs = pd.DataFrame(rows, columns=["film", "other", "likeness"])
    return pairs.astype({"film": "int64", "other": "int64", "likeness": "float64"})


def _handle_duplicates(
    spec: CohortSpec,
    table: Table,
    films: pd.DataFrame,
    twins: Sequence[NearDuplicate],
    problems: Problems,
    excluded: list[tuple[int, str, str, str]],
) -> pd.DataFrame:
    """Add `group`, after what `on_duplicate` and `near_duplicates` say about films that are one."""
    first_row: dict[str, int] = {}
    repeated = []
    for index, row, image, content in zip(films.index, films["row"], films["image"], films["sha256"], strict=True):
        first = first_row.setdefault(content, row) if content else row
        if first == row:
            continue
        if spec.on_duplicate == "error":
            what = f"the image '{image}' has the same bytes as that of row {first}"
            problems.add(table.path, what, "Remove one of the rows, or set `on_duplicate: group`", row)
        elif spec.on_duplicate == "keep_first":
            excluded.append((row, image, f"the same bytes as row {first}", "duplicate"))
            repeated.append(index)
    if spec.near_duplicates == "error":
        for pair in twins:
            first, row = sorted((first_row[pair.one], first_row[pair.other]))
            what = f"the image shows the same film as that of row {first} (likeness {pair.likeness:.3f})"
            problems.add(table.path, what, "Remove one of the rows, or set `near_duplicates: group`", row)
    films = films.drop(index=repeated)
    shown: list[str | None] = [None] * len(films)
    if spec.on_duplicate == "group":
        shown = films["sha256"].tolist()
    if spec.near_duplicates == "group":
        # What holds for patients who share a film holds for contents that share a pair.
        pairs = [(content, place) for place, pair in enumerate(twins) for content in (pair.one, pair.other)]
        names = group_films([content for content, _ in pairs], [str(place) for _, place in pairs])
        one_film = dict(zip((content for content, _ in pairs), names, strict=True))
        shown = [one_film.get(content, own) for content, own in zip(films["sha256"], shown, strict=True)]
    films["group"] = pd.Series(group_films(films["patient"].tolist(), shown), index=films.index, dtype=str)
    return films


def _build_tasks(
    path: Path,
    spec: CohortSpec,
    films: pd.DataFrame,
    texts: pd.DataFrame,
    needed: Sequence[str],
    lines: Mapping[Location, int],
    problems: Problems,
) -> dict[str, Task]:
    """Return every task whose columns are there (the others are noted by now) and note what the needed ones lack."""
    built = {}
    for name, task in spec.tasks.items():
        if {task.label, *task.where} <= set(texts.columns):
            built[name] = build_task(name, task, films, texts)
            lack = lack_of_classes(built[name], task, texts) if name in needed else None
            if lack is not None:
                problems.add(path, *lack, _line(("tasks", name), lines))
    return built


def _files_again(cohort: Cohort, root: Path) -> dict[str, Path]:
    problems = Problems()
    paths: dict[str, Path] = {}
    for row, image, content in zip(*(cohort.films[column] for column in ("row", "image", "sha256")), strict=True):
        found = locate(root, image)
        if isinstance(found, Fault):
            where = cohort.path.parent / cohort.spec.manifest
            problems.add(where, f"the image '{image}': {found.what}", found.remedy, row)
        else:
            paths.setdefault(content, found)
    problems.raise_if_any()
    return paths
