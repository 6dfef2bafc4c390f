"""Predict many films: in batches, with what is done kept, bad films named and the rest done."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from prognobench.cohorts import Fault, FilmSource, NewFilm, film_sources, listing_files, read_new_films
from prognobench.frame import InputError, Problem, Problems, sha256_json, write_in_one_step

from ._description import versions_here
from ._model import Model

Progress = Callable[[int, int], None]
COLUMNS = ("image", "patient", "probability", "decision", "score", "distance", "unlike", "problem")
_PATIENT_COLUMNS = ("patient", "films", "probability", "decision", "score")
# Read ahead of the network, so that it never waits for a film; a few hundred kilobytes each.
_BATCHES_AHEAD = 3


@dataclass(frozen=True, eq=False)
class Predicted:
    """What `predict` made.

    Attributes
    ----------
    table
        One row a film: `image, patient, probability, decision, score, distance, unlike, problem`; of a film that could
        not be read all but its name and the problem are missing.
    out
        The file.
    patients
        The file of patients; None where the input tells none.
    bad
        Each film that could not be read, with why and what to do.
    unlike
        How many films do not look like the training films.
    resumed
        How many films an earlier, unfinished call had done.
    """

    table: pd.DataFrame
    out: Path
    patients: Path | None
    bad: tuple[Problem, ...] = field(default=())
    unlike: int = 0
    resumed: int = 0


def predict(model: Model, given: Path, out: Path, progress: Progress = lambda done, total: None) -> Predicted:
    """Predict every film of an image, folder, table or cohort, and write a table.

    Parameters
    ----------
    model
        What `Model.load` returned.
    given
        As `prognobench.cohorts.film_sources` takes it.
    out
        A CSV or Parquet file, by its ending. While it is made, each batch that is done is added to
        `<out>.unfinished`; the same call after an interruption goes on from there. Where the input says whose the films
        are, `<out>-patients` has one row a patient: the mean score of the films, calibrated as patients; where it does
        not, that of an earlier call is removed.
    progress
        Called with films done and films in all.

    Raises
    ------
    InputError
        The input holds no film, the file cannot be written so or would take the place of the input, or its unfinished
        part is of another model, or of other versions or threads.
    """
    out = Path(out)
    if out.suffix.lower() not in (".csv", ".parquet"):
        what = f"a table of the kind '{out.suffix}' cannot be written"
        raise InputError([Problem(str(out), what, "Give --out a name that ends in .csv or .parquet")])
    patients_out, unfinished = (
        out.with_name(f"{out.stem}-patients{out.suffix}"),
        out.with_name(f"{out.name}.unfinished"),
    )
    _refuse_loss(given, (out, patients_out, unfinished))
    sources = film_sources(given)
    journal = _Journal(unfinished, _identity(model))
    done = journal.read()
    keys = [_key(source) for source in sources]
    left = [(key, source) for key, source in zip(keys, sources, strict=True) if key not in done]
    resumed = len(sources) - len(left)
    count = resumed
    progress(count, len(sources))
    with journal.writing() as write:
        for batch in _batches(model, [source for _, source in left]):
            rows = _rows(model, batch)
            began = count - resumed
            keys_here = [key for key, _ in left[began : began + len(batch)]]
            found = dict(zip(keys_here, rows, strict=True))
            # What could not be read may be readable by the next call.
            write({key: row for key, row in found.items() if not row["problem"]})
            done |= found
            count += len(batch)
            progress(count, len(sources))
    rows_of_all = [done[key] for key in keys]
    table = pd.DataFrame(rows_of_all, columns=list(COLUMNS))
    table["problem"] = [f"{row['problem']}. {row['remedy']}" if row["problem"] else "" for row in rows_of_all]
    table["patient"] = [source.patient for source in sources]
    patients = _patients(model, table)
    _write(table, out)
    where = None if patients.empty else patients_out
    if where is not None:
        _write(patients, where)
    elif _is_of_patients(patients_out):
        patients_out.unlink()  # of an earlier call, of other films than those that now stand beside it
    journal.path.unlink(missing_ok=True)
    bad = tuple(Problem(str(row["image"]), row["problem"], row["remedy"]) for row in rows_of_all if row["problem"])
    return Predicted(table, out, where, bad, int((table["unlike"] != "").sum()), resumed)


def _refuse_loss(given: Path, written: Sequence[Path]) -> None:
    """Refuse to write over what names the films."""
    problems = Problems()
    for read in listing_files(given):
        for path in written:
            if path.exists() and read.exists() and path.samefile(read):
                problems.add(path, "the prediction would take the place of its own input", "Give another --out")
    problems.raise_if_any()


def _identity(model: Model) -> str:
    """Hash all that the numbers of a film depend on but the film."""
    from prognobench.training import describe_device

    return sha256_json([json.loads(model.description.model_dump_json()), versions_here(), describe_device()])


def _key(source: FilmSource) -> str:
    """Tell a film by its name and file; one that was changed since is another."""
    if source.path is None:
        return json.dumps([source.name, None])
    with contextlib.suppress(OSError):
        state = source.path.stat()
        return json.dumps([source.name, str(source.path.resolve()), state.st_size, state.st_mtime_ns])
    return json.dumps([source.name, "unreadable"])


def _batches(model: Model, sources: Sequence[FilmSource]) -> Iterator[list[tuple[FilmSource, NewFilm | Fault]]]:
    size = model.scorer.batch
    films = read_new_films(sources, model.preprocessing, _BATCHES_AHEAD * size, model.description.built)
    pairs = zip(sources, films, strict=True)
    while batch := list(islice(pairs, size)):
        yield batch


def _rows(model: Model, batch: Sequence[tuple[FilmSource, NewFilm | Fault]]) -> list[dict[str, Any]]:
    good = [(source.name, film) for source, film in batch if isinstance(film, NewFilm)]
    scored = iter(model.table([name for name, _ in good], [film for _, film in good]).to_dict("records"))
    rows: list[dict[str, Any]] = []
    for source, film in batch:
        if isinstance(film, Fault):
            rows.append({"image": source.name, "unlike": "", "problem": film.what, "remedy": film.remedy})
        else:
            rows.append({str(key): value for key, value in next(scored).items()} | {"problem": ""})
    return rows


class _Journal:
    """What is done of an unfinished prediction, one line of JSON a film, behind a line that says of which model."""

    def __init__(self, path: Path, model: str) -> None:
        self.path, self._model = path, model
        self._is_begun = False

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the rows that are done, by film; a line that was cut off is passed over.

        Rows count only behind the line that names this model. Where it never got to the disk the work begins anew.
        """
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            return {}
        head, *rows = map(_parsed, lines)
        self._is_begun = "model" in head
        if not self._is_begun:
            return {}
        if head["model"] != self._model:
            what = (
                "it holds what another model has predicted and not finished, or this one under other versions or with "
                "other threads"
            )
            raise InputError([Problem(str(self.path), what, "Remove it, or give another --out")])
        return {row["key"]: row["row"] for row in rows if "key" in row}

    @contextlib.contextmanager
    def writing(self) -> Iterator[Callable[[Mapping[str, dict[str, Any]]], None]]:
        """Give a function that adds rows and sees to it that they are on disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a" if self._is_begun else "w", encoding="utf-8") as stream:

            def keep(lines: Iterable[Mapping[str, Any]]) -> None:
                stream.writelines(json.dumps(line) + "\n" for line in lines)
                stream.flush()
                os.fsync(stream.fileno())

            if self._is_begun:
                stream.write("\n")  # a line that was cut off ends here
            else:
                keep([{"model": self._model}])
            yield lambda rows: keep({"key": key, "row": row} for key, row in rows.items())


def _parsed(line: str) -> dict[str, Any]:
    """Read a line of the journal; one that is blank or was cut off says nothing."""
    try:
        content = json.loads(line)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _patients(model: Model, table: pd.DataFrame) -> pd.DataFrame:
    """Take the films of each patient together: their mean score, calibrated as patients were."""
    told = table[(table["patient"] != "") & table["score"].notna()]
    groups = told.groupby("patient", sort=False)["score"]
    found = pd.DataFrame({"films": groups.size(), "score": groups.mean()}).reset_index()
    at = model.description.calibration["patient"]
    found["probability"] = at.calibrate(found["score"].to_numpy("float64"))
    called = (found["probability"] >= at.threshold).astype(int)
    found["decision"] = model.classes_[called.to_numpy()]
    return found[list(_PATIENT_COLUMNS)]


def _is_of_patients(path: Path) -> bool:
    """Tell whether a file is a table of patients as `predict` writes it."""
    try:
        columns = (pd.read_csv(path, nrows=0) if path.suffix.lower() == ".csv" else pd.read_parquet(path)).columns
    except (OSError, ValueError):
        return False
    return list(columns) == list(_PATIENT_COLUMNS)


def _write(table: pd.DataFrame, out: Path) -> None:
    shown = table.drop(columns="patient") if "patient" in table and (table["patient"] == "").all() else table
    if out.suffix.lower() == ".csv":
        # As many digits as it takes to read the same number back.
        write_in_one_step(out, shown.to_csv(index=False, lineterminator="\n"))
        return
    import io

    stream = io.BytesIO()
    shown.to_parquet(stream, index=False)
    write_in_one_step(out, stream.getvalue())
