"""Cohort folders from raw files: the films in as many processes as there are, the folder whole or not at all."""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from prognobench import __version__
from prognobench.frame import (
    InputError,
    Problem,
    Problems,
    folder_in_one_step,
    nearest,
    parse_options,
    pseudonyms,
)

from . import _builders
from ._builders._builder import PICTURES, Builder, LeftOut, Made, Raw, RawFilm, Selection
from ._cards import PublishedTask
from ._dicom import BadContrast, decode_dicom
from ._films import BadFilm, Fault, decode, film_or_fault, read_film
from ._processes import in_processes, processors
from ._published import cohort_cards
from ._recipes import FilmRecipe, apply_recipe, film_recipe
from ._spec import CohortSpec, TaskSpec

Progress = Callable[[str, int, int], None]
_AT_ONCE = 4  # films that a process makes before it answers


@dataclass(frozen=True)
class TaskCount:
    """How many films and patients a task has, beside what is published.

    Parameters
    ----------
    task
        Its name.
    films, patients, positive
        What was built; `positive` counts films.
    published
        As many as the card says, in the same order; None where nothing is published.
    blank, unlisted
        Films that are not in it since they have no label, or one that is neither positive nor negative.
    """

    task: str
    films: int
    patients: int
    positive: int
    published: tuple[int, int, int] | None
    blank: int = 0
    unlisted: int = 0


@dataclass(frozen=True)
class BuildReport:
    """What was built.

    Parameters
    ----------
    path
        The `cohort.yaml`.
    films, patients
        Of the cohort.
    tasks
        Their counts.
    left_out
        What is not part of it, with the reasons.
    burned_in
        Films whose header says that identifying text is part of the picture.
    notes
        What else should be known, in sentences.
    """

    path: Path
    films: int
    patients: int
    tasks: tuple[TaskCount, ...]
    left_out: tuple[LeftOut, ...]
    burned_in: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def reasons(self) -> dict[tuple[str, str], int]:
        """How often each kind of thing was left out for each reason, the most frequent first."""
        return dict(Counter((one.kind, one.fault.what) for one in self.left_out).most_common())


@cache
def builders() -> dict[str, Builder]:
    """Return every builder by its name.

    Examples
    --------
    >>> "dicom" in builders()
    True
    """
    modules = pkgutil.iter_modules(_builders.__path__, f"{_builders.__name__}.")
    found = [importlib.import_module(module.name) for module in modules]
    return {module.BUILDER.name: module.BUILDER for module in found if hasattr(module, "BUILDER")}


def build_cohort(
    name: str,
    raw: Path,
    out: Path,
    options: Mapping[str, Any] | Sequence[str] = (),
    *,
    preprocessing: str = "standard",
    pseudonymize: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Turn raw files into a cohort folder: `cohort.yaml`, `labels.csv`, `images/*.png` and what was left out.

    A film that cannot be read is left out with its reason and stops no other. Nothing of a DICOM header leaves but
    the tags of an allow-list.

    Parameters
    ----------
    name
        `dicom`, or a published cohort: `aiforcovid`, `covid19ar`, `cocross`, `stonybrook`.
    raw
        The folder of the files as they were published or exported. Nothing outside of it is read but the table.
    out
        The folder to make; it may exist if it is empty. It appears whole or not at all.
    options
        Of the builder, as a mapping or as `key=value` texts; see the page of the cohort in `docs/`.
    preprocessing
        What is done to each film: `standard`, `paper`, or a YAML file with steps.
    pseudonymize
        Replace patients' ids, film and file names by keyed hashes, the same for the same user.
    workers
        Processes; as many as there are processors by default.
    progress
        Called with what is being done, how much of it is done, and of how much.

    Returns
    -------
    BuildReport
        The counts, beside the published ones, and everything that was left out.

    Raises
    ------
    InputError
        The layout or a table does not fit, an option is wrong, or no film is left.
    """
    if name not in builders():
        what = f"nothing is known of raw files called '{name}'"
        raise InputError([Problem("argument 'NAME'", what, nearest(name, sorted(builders())))])
    builder, recipe = builders()[name], film_recipe(preprocessing)
    chosen = parse_options(builder.options, options)
    _refuse_bad_places(raw, out)
    workers = workers or processors()

    def reading(done: int, total: int) -> None:
        if progress is not None:
            progress("reading headers", done, total)

    selection = builder.select(Raw(raw.resolve(), workers, reading), chosen)
    if not selection.films:
        raise InputError([_nothing(raw, selection.left_out)])
    disguise = pseudonyms() if pseudonymize else None
    if disguise is not None:
        selection = _disguised(selection, disguise)
    with folder_in_one_step(out) as draft:
        (draft / "images").mkdir()
        made, bad = _make_films(raw.resolve(), draft / "images", selection.films, recipe, workers, progress)
        films, dropped = selection.settle(made)
        if not films:
            raise InputError([_nothing(raw, [*bad, *dropped])])
        kept = {film.image for film in films}
        for one in made:
            if one.film.image not in kept:
                (draft / "images" / f"{one.film.image}.png").unlink()
        left_out = [*selection.left_out, *bad, *dropped]
        if disguise is not None:
            left_out = [replace(one, source=disguise(one.kind, one.source)) for one in left_out]
            selection = replace(selection, burned_in=[disguise("film", source) for source in selection.burned_in])
        report = _report(name, out, films, selection, left_out)
        _write_texts(draft, builder, chosen, recipe, selection, films, report)
    return report


def _refuse_bad_places(raw: Path, out: Path) -> None:
    problems = Problems()
    if not raw.is_dir():
        problems.add(raw, "this is not a folder", "Give the folder of the raw files")
    if out.is_dir() and any(out.iterdir()):
        problems.add(out, "the folder is not empty", "Name a new folder for the cohort, or empty this one")
    elif out.exists() and not out.is_dir():
        problems.add(out, "this is no folder", "Name a new folder for the cohort")
    elif raw.is_dir() and out.resolve().is_relative_to(raw.resolve()):
        problems.add(out, "the folder lies in that of the raw files", "Name a folder elsewhere")
    problems.raise_if_any()


def _nothing(raw: Path, left_out: Sequence[LeftOut]) -> Problem:
    reasons = Counter(one.fault for one in left_out).most_common(3)
    told = "; ".join(f"{count} × {fault.what}" for fault, count in reasons) or "no file is a film"
    remedy = reasons[0][0].remedy if reasons else "Give the folder of the raw files"
    return Problem(str(raw), f"no film is left: {told}", remedy)


def _disguised(selection: Selection, disguise: Any) -> Selection:
    films = [
        replace(film, image=disguise("image", film.image), patient=disguise("patient", film.patient))
        for film in selection.films
    ]
    columns = tuple(column for column in selection.columns if column not in selection.identifiers)
    return replace(selection, films=films, columns=columns)


_Job = tuple[Path, Path, FilmRecipe, tuple[RawFilm, ...]]
_Seen = tuple[int, int, int]  # largest stored value, width, height


def _make_films(
    root: Path,
    folder: Path,
    films: Sequence[RawFilm],
    recipe: FilmRecipe,
    workers: int,
    progress: Progress | None,
) -> tuple[list[Made], list[LeftOut]]:
    made: list[Made] = []
    bad: list[LeftOut] = []
    rest = iter(films)
    for done, result in enumerate(_results(root, folder, films, recipe, workers), start=1):
        film = next(rest)
        if isinstance(result, Fault):
            bad.append(LeftOut(film.source, result))
        else:
            made.append(Made(film, *result))
        if progress is not None:
            progress("making films", done, len(films))
    return made, bad


def _results(
    root: Path, folder: Path, films: Sequence[RawFilm], recipe: FilmRecipe, workers: int
) -> Iterator[_Seen | Fault]:
    """Yield what was seen of each film, in order; the films themselves do not come back from the processes."""
    jobs = ((root, folder, recipe, tuple(films[at : at + _AT_ONCE])) for at in range(0, len(films), _AT_ONCE))
    for results in in_processes(_make_few, jobs, workers, _crashed):
        yield from results


def _crashed(job: _Job) -> list[_Seen | Fault]:
    root, folder, recipe, films = job
    if len(films) == 1:
        return [Fault("its decoder ended the process", "Convert the file with another program, or leave it out")]
    one_by_one: list[_Job] = [(root, folder, recipe, (film,)) for film in films]
    return [result for results in in_processes(_make_few, one_by_one, 2, _crashed) for result in results]


def _make_few(job: _Job) -> list[_Seen | Fault]:
    """Make a few films: decode each, apply the recipe, write a PNG."""
    root, folder, recipe, films = job
    return [_make_film(root, folder, recipe, film) for film in films]


def _make_film(root: Path, folder: Path, recipe: FilmRecipe, film: RawFilm) -> _Seen | Fault:
    made = film_or_fault(lambda: _kept(root, recipe, film))
    if isinstance(made, Fault):
        return made
    kept, largest = made
    write_png(kept, folder / f"{film.image}.png")
    return largest, kept.shape[1], kept.shape[0]


def _kept(root: Path, recipe: FilmRecipe, film: RawFilm) -> tuple[Any, int]:
    """Return the levels of gray that are kept, and the largest of the raw file."""
    content = read_film(root / film.source)
    if content[128:132] == b"DICM" or Path(film.source).suffix.lower() not in PICTURES:
        try:
            pixels = decode_dicom(content, recipe.contrast)
        except BadContrast as bad:
            remedy = f"{bad.fault.remedy}, or choose a preprocessing with `contrast: stored`"
            raise BadFilm(bad.fault.what, remedy) from None
        gray, spacing, largest = pixels.gray, pixels.spacing, pixels.largest
    else:
        gray, spacing = decode(content), (1.0, 1.0)
        largest = int(gray.max())
    return apply_recipe(recipe, gray, spacing, film.cells), largest


def write_png(levels: Any, path: Path) -> None:
    """Write a gray film, lossless; a higher level of compression takes several times as long for a tenth."""
    Image.fromarray(levels).save(path, "PNG", compress_level=1)


def _report(
    name: str, out: Path, films: Sequence[RawFilm], selection: Selection, left_out: Sequence[LeftOut]
) -> BuildReport:
    card = cohort_cards().get(name)
    counts, notes = [], []
    for task, keys in selection.document["tasks"].items():
        spec = TaskSpec.model_validate(keys)
        rows = [film for film in films if all(film.cells.get(key, "") in spec.where[key] for key in spec.where)]
        positive = sum(film.cells.get(spec.label, "") in spec.positive for film in rows)
        others = Counter(film.cells.get(spec.label, "") for film in rows)
        for value in (*spec.positive, *spec.negative):
            others.pop(value, None)
        notes += _unlabeled(task, others)
        rows = [film for film in rows if film.cells.get(spec.label, "") not in others]
        told = card.task(task) if card is not None else None
        published = None if told is None else _published(told)
        patients, blank = len({film.patient for film in rows}), others.pop("", 0)
        counts.append(TaskCount(task, len(rows), patients, positive, published, blank, others.total()))
    notes += [*selection.notes, *([*card.decisions, card.proved] if card is not None else [])]
    patients = len({film.patient for film in films})
    burned = tuple(selection.burned_in)
    return BuildReport(out / "cohort.yaml", len(films), patients, tuple(counts), tuple(left_out), burned, tuple(notes))


def _unlabeled(task: str, others: Mapping[str, int]) -> list[str]:
    """Say of a task which films it leaves out for their label, with the spellings: 'Yes' beside 'yes' is a slip."""
    told = [f"{others['']} without label"] if others.get("") else []
    values = {value: count for value, count in others.items() if value}
    if values:
        listed = ", ".join(f"'{value[:40]}'" for value in [*values][:5]) + (", …" if len(values) > 5 else "")
        told.append(f"{sum(values.values())} with a label that is neither positive nor negative ({listed})")
    return [f"{task} leaves out films: {' and '.join(told)}."] if told else []


def _published(task: PublishedTask) -> tuple[int, int, int]:
    classes = (*task.negative, *task.positive)
    films, patients = sum(one.films for one in classes), sum(one.patients for one in classes)
    return films, patients, sum(one.films for one in task.positive)


def _write_texts(
    draft: Path,
    builder: Builder,
    options: Any,
    recipe: FilmRecipe,
    selection: Selection,
    films: Sequence[RawFilm],
    report: BuildReport,
) -> None:
    header = ["image", "patient", *selection.columns]
    rows = [
        [f"{film.image}.png", film.patient, *(film.cells.get(column, "") for column in selection.columns)]
        for film in films
    ]
    (draft / "labels.csv").write_bytes(_csv([header, *rows]))
    faults = [[one.kind, one.source, one.fault.what, one.fault.remedy] for one in report.left_out]
    (draft / "left_out.csv").write_bytes(_csv([["kind", "source", "reason", "remedy"], *faults]))
    keys = {"name": builder.name, "manifest": "labels.csv", "images": "images", **selection.document}
    CohortSpec.model_validate(keys)
    text = yaml.safe_dump(keys, sort_keys=False, allow_unicode=True, width=120)
    (draft / "cohort.yaml").write_bytes(f"# Made by `prognobench cohort build {builder.name}`\n{text}".encode())
    said = options.model_dump(mode="json")
    # A path tells of the machine, and is another on the next one.
    said |= {key: Path(said[key]).name for key in ("table", "boxes") if said.get(key)}
    about = {
        "prognobench": __version__,
        "builder": builder.name,
        "options": said,
        "preprocessing": recipe.model_dump(mode="json"),
        "libraries": _libraries(),
        "films": report.films,
        "patients": report.patients,
        "tasks": [vars(task) for task in report.tasks],
        "left_out": [
            {"kind": kind, "reason": reason, "count": count} for (kind, reason), count in report.reasons.items()
        ],
        "burned_in_annotation": len(report.burned_in),
        "notes": list(report.notes),
    }
    (draft / "build.json").write_bytes((json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode())


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[_printable(cell) for cell in row] for row in rows])
    return text.getvalue().encode()


def _printable(text: str) -> str:
    """Return a text that UTF-8 can say: names of files may hold bytes that are none."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _libraries() -> dict[str, str]:
    """Return what decoded and wrote the pixels, with the versions."""
    found = {}
    for name in ("pillow", "numpy", "pydicom", "pylibjpeg-openjpeg", "pylibjpeg-libjpeg", "pyjpegls", "python-gdcm"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
