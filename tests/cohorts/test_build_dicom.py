"""A team's own DICOM files and table become a cohort; what does not fit is named and takes nothing else with it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import openpyxl
import pydicom
import pytest
from PIL import Image

from prognobench.cohorts import build_cohort, load_cohort, make_layout
from prognobench.cohorts._dicom import ALLOWED_TAGS, decode_dicom
from prognobench.cohorts._phantom import draw_table, render_film
from prognobench.cohorts._phantom_layouts import _faults as faults
from prognobench.cohorts._phantom_layouts._objects import film_object, save_object
from prognobench.frame import InputError

ICU = {"icu": {"label": "went_icu", "positive": "yes", "negative": "no"}}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw") / "raw"
    return folder, make_layout("dicom", folder, 10, 3, size=96)


def build(raw: Path, out: Path, preprocessing="standard", pseudonymize=False, **options):
    said = {"table": str(raw / "outcomes.xlsx"), "center": "hospital", "tasks": ICU} | options
    said = {key: value for key, value in said.items() if value is not None}
    return build_cohort("dicom", raw, out, said, preprocessing=preprocessing, pseudonymize=pseudonymize, workers=1)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "labels.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def reasons(report) -> dict[str, int]:
    return {what: count for (_, what), count in report.reasons.items()}


def test_the_cohort_holds_exactly_what_was_planted(planted, tmp_path):
    raw, there = planted
    report = build(raw, tmp_path / "out")
    assert {task.task: (task.films, task.patients, task.positive) for task in report.tasks} == there.tasks
    assert reasons(report) == there.left_out
    assert len(report.burned_in) == 1
    cohort = load_cohort(report.path)
    task = cohort.task("icu")
    assert (len(task.rows), task.rows["patient"].nunique(), int(task.rows["label"].sum())) == there.tasks["icu"]
    assert sorted(cohort.films["center"].unique()) == ["east", "north", "south"]
    about = json.loads((tmp_path / "out" / "build.json").read_text(encoding="utf-8"))
    assert about["preprocessing"]["name"] == "standard"
    assert about["libraries"]["pydicom"] == pydicom.__version__


def test_the_films_are_those_of_the_phantom(planted, tmp_path):
    """Whatever the syntax, sign, photometric interpretation and rescale, the picture is the one that was drawn."""
    raw, _ = planted
    build(raw, tmp_path / "out")
    drawn = {(film.patient, str(film.day)): film for film in draw_table(10, 3, size=96)}
    first = {patient: min(film.day for key, film in drawn.items() if key[0] == patient) for patient, _ in drawn}
    compared = 0
    for row in rows(tmp_path / "out"):
        film = drawn[row["patient"], str(int(row["day"]) + first[row["patient"]])]
        assert (row["view"], row["sex"], row["age"]) == (film.view, film.sex, str(film.age))
        levels = render_film(film, 3, size=96).astype(float)
        kept = np.asarray(Image.open(tmp_path / "out" / "images" / row["image"])) / 65535
        expected = (levels - levels.min()) / np.ptp(levels)
        if np.abs(kept - expected).max() < 2e-5:
            compared += 1
        else:  # a window shows less of the range
            inner = (kept > 0) & (kept < 1)
            assert np.corrcoef(kept[inner], expected[inner])[0, 1] > 0.9999
    assert compared > len(drawn) / 2


def test_only_listed_tags_leave_the_files(planted, tmp_path):
    raw, _ = planted
    build(raw, tmp_path / "out")
    text = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert b"SYNTHETIC^PHANTOM" not in text
    assert b"XR CHEST" not in text
    with pytest.raises(InputError, match="'PatientName' may not leave the files"):
        build(raw, tmp_path / "other", tags=["PatientName"])
    assert not {tag for tag in ALLOWED_TAGS if "Name" in tag and tag != "ManufacturerModelName"}
    assert not {tag for tag in ALLOWED_TAGS if "Date" in tag or "UID" in tag or tag.endswith("ID")}


def test_pseudonyms_replace_every_identifier(planted, tmp_path):
    raw, there = planted
    report = build(raw, tmp_path / "out", pseudonymize=True)
    assert reasons(report) == there.left_out
    folder = tmp_path / "out"
    text = " ".join(path.read_text("utf-8") for path in folder.iterdir() if path.is_file())
    text += " ".join(path.name for path in folder.rglob("*"))
    for film in draw_table(10, 3, size=96):
        assert film.patient not in text
    for path in raw.glob("*/p0*/*.dcm"):
        assert path.name not in text
        assert str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) not in text
    assert "severity" not in rows(folder)[0]  # what no option names may say who it is
    again = build(raw, tmp_path / "again", pseudonymize=True)
    assert (again.path.parent / "labels.csv").read_bytes() == (folder / "labels.csv").read_bytes()


@pytest.mark.parametrize("spelling", ["path", "name", "stem"])
def test_a_table_joins_by_study_or_by_file(planted, tmp_path, spelling):
    raw = Path(shutil.copytree(planted[0], tmp_path / "raw"))
    book = openpyxl.Workbook()
    book.active.append(["file", "StudyInstanceUID", "went_icu", "hospital", "image"])
    for place, path in enumerate(sorted(raw.glob("*/p0*/*.dcm"))):
        path = path.rename(path.with_name(f"Äpfel {place}.dcm"))
        told = {"path": path.relative_to(raw).as_posix(), "name": path.name, "stem": path.stem}[spelling]
        study = str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID)
        # A Mac writes an accent as a sign of its own.
        book.active.append([unicodedata.normalize("NFD", told), study, "yes" if place % 2 else "no", "north", "x"])
    book.save(raw / "outcomes.xlsx")
    by_file = build(raw, tmp_path / "by_file", match="file", column="file")
    by_study = build(raw, tmp_path / "by_study", match="study")
    assert by_study.films == by_file.films == planted[1].tasks["icu"][0]
    labels = {row["image"]: row["went_icu"] for row in rows(tmp_path / "by_file")}
    assert labels == {row["image"]: row["went_icu"] for row in rows(tmp_path / "by_study")}
    assert {row["table_image"] for row in rows(tmp_path / "by_file")} == {"x"}


# Each spoils a copy of the raw folder and says what is left out, and with which words of the remedy.
def film(change):
    return lambda raw: change(first(raw))


def file_link_out(raw: Path) -> None:
    first(raw).unlink()
    faults.link_out(first(raw))


def folder_link_out(raw: Path) -> None:
    outside = raw.parent / "elsewhere"
    shutil.move(first(raw).parent, outside)
    first(raw).parent.symlink_to(outside)


def copy(raw: Path) -> None:
    shutil.copy(first(raw), raw / "again.dcm")


def first(raw: Path) -> Path:
    """A film of a patient who has others; it is written without compression."""
    return raw / "ward 3" / "p0000" / "film 1.dcm"


SPOILED = {
    "truncated": (film(faults.truncate), "truncated", "Copy the file again", -1),
    "missing pixel data": (film(faults.drop_pixels), "no pixel data", "Copy the file again", -1),
    "unsupported transfer syntax": (
        film(faults.encode_unknown),
        "transfer syntax is here: MPEG2",
        "prognobench[dicom]",
        -1,
    ),
    "decompression bomb": (film(faults.claim_huge), "65000 × 65000 pixels", "Export", -1),
    "absurd pixel spacing": (film(faults.stretch), "four times as long as wide", "PixelSpacing", -1),
    "values that are not finite": (film(faults.burst), "no finite values", "contrast: stored", -1),
    "constant": (film(faults.flatten), "one gray value", "Export", -1),
    "link out of the tree": (file_link_out, "symbolic link leads out of the folder", "Copy", -1),
    "linked folder out of the tree": (folder_link_out, "symbolic link leads out of the folder", "Copy", None),
    "no DICOM": (film(faults.no_dicom), "no whole DICOM file", "Copy", -1),
    "other file": (lambda raw: (raw / "notes").write_bytes(b"no film, in no way"), "no DICOM file", "again", 0),
    "same file twice": (copy, "same file again", "one is kept", 0),
    "no patient": (film(faults.forget_patient), "no PatientID", "another key", -1),
    "dates out of order": (film(faults.date_backwards), "dates out of order", "keep=[dates_out_of_order]", -1),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_bad_file_is_named_and_takes_no_other_with_it(planted, tmp_path, name):
    raw = Path(shutil.copytree(planted[0], tmp_path / "raw"))
    spoil, what, remedy, change = SPOILED[name]
    if change is None:
        change = -len(list(first(raw).parent.iterdir()))
    spoil(raw)
    report = build(raw, tmp_path / "out")
    (found,) = [one for one in report.left_out if what in one.fault.what and one.source != "other/readme.txt"]
    assert remedy in found.fault.remedy
    assert report.films == planted[1].tasks["icu"][0] + change
    kept = {path.name for path in (tmp_path / "out" / "images").iterdir()}
    assert {row["image"] for row in rows(tmp_path / "out")} == kept
    assert len(load_cohort(report.path).films) == report.films


@pytest.mark.parametrize("name", ["film 1.dcm", "IM000001", "1.2.840.99.7"])
@pytest.mark.parametrize("whole", [False, True], ids=["no header of its own", "header of its own"])
def test_a_film_without_the_mark_of_dicom_is_read_all_the_same(planted, tmp_path, name, whole):
    raw = Path(shutil.copytree(planted[0], tmp_path / "raw"))
    expected = build(raw, tmp_path / "expected")
    content = first(raw).read_bytes()[132:]
    if not whole:
        content = content[12 + int.from_bytes(content[8:12], "little") :]
    first(raw).unlink()
    first(raw).with_name(name).write_bytes(content)
    report = build(raw, tmp_path / "out")
    assert (report.films, reasons(report)) == (expected.films, reasons(expected))
    for path in (tmp_path / "expected" / "images").iterdir():
        assert (tmp_path / "out" / "images" / path.name).read_bytes() == path.read_bytes()


def test_the_table_is_not_left_out_and_other_files_are(planted, tmp_path):
    report = build(planted[0], tmp_path / "out")
    assert [one.source for one in report.left_out if one.kind == "file"] == ["other/readme.txt"]


def test_a_file_that_is_too_large_for_a_film_is_not_read(planted, tmp_path, monkeypatch):
    raw, there = planted
    largest = max(path.stat().st_size for path in raw.glob("*/p0*/*.dcm"))
    monkeypatch.setattr("prognobench.cohorts._films._MOST_BYTES", largest - 1)
    report = build(raw, tmp_path / "out")
    told = [one for one in report.left_out if one.fault.what == f"the file has {largest} bytes, which is no film"]
    assert told
    assert report.films == there.tasks["icu"][0] - len(told)


def test_labels_that_are_not_listed_are_counted_and_told(planted, tmp_path):
    raw = Path(shutil.copytree(planted[0], tmp_path / "raw"))

    def spoil(book):
        book.active.cell(2, 3, "Yes")
        book.active.cell(3, 3, "")

    edit(raw, spoil)
    report = build(raw, tmp_path / "out")
    patients = [len([*raw.glob(f"*/{name}/*.dcm")]) for name in ("p0000", "p0001")]
    assert [(task.unlisted, task.blank) for task in report.tasks] == [tuple(patients)]
    (note,) = [note for note in report.notes if "leaves out films" in note]
    assert f"{patients[1]} without label and {patients[0]} with a label that is neither" in note
    assert "'Yes'" in note
    assert sum(load_cohort(report.path).task("icu").left_out.values()) == sum(patients)


def test_a_film_that_nobody_foresaw_is_named_and_a_full_disk_is_not_a_film(planted, tmp_path, monkeypatch):
    raw, there = planted

    def fails(content, contrast):
        if fails.left:
            fails.left -= 1
            raise ZeroDivisionError("p0000")
        return decode_dicom(content, contrast)

    fails.left = 1
    monkeypatch.setattr("prognobench.cohorts._build.decode_dicom", fails)
    report = build(raw, tmp_path / "out")
    assert report.films == there.tasks["icu"][0] - 1
    assert reasons(report)["the film cannot be used (ZeroDivisionError)"] == 1

    def full(levels, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("prognobench.cohorts._build.write_png", full)
    with pytest.raises(OSError, match="No space"):
        build(raw, tmp_path / "other")


def edit(raw: Path, change) -> None:
    book = openpyxl.load_workbook(raw / "outcomes.xlsx")
    change(book)
    book.save(raw / "outcomes.xlsx")


REFUSED = {
    # options, a change of the workbook, what is said, what to do
    "missing sheet": ({"sheet": "Outcome"}, None, "no sheet 'Outcome'", "Known: Outcomes"),
    "renamed column": (
        {},
        lambda book: book.active.cell(1, 3, "ICU"),
        "no column 'went_icu'",
        "Known: PatientID, hospital, ICU",
    ),
    "renamed key": ({}, lambda book: book.active.cell(1, 1, "MRN"), "which column holds the patient", "column=NAME"),
    "a patient twice": (
        {},
        lambda book: book.active.append(["p0000", "south", "maybe", 0]),
        "same as in row 2, and other cells differ",
        "one row for each",
    ),
    "empty key": ({}, lambda book: book.active.cell(3, 1, "").font, "'PatientID' is empty", "remove the row"),
    "no row fits": ({"column": "severity"}, None, "no row in the table", "Add the row"),
    "unknown option": ({"tabel": "x"}, None, "unknown key 'tabel'", "Did you mean 'table'"),
    "no task": ({"tasks": None}, None, "'tasks' is missing", "Add"),
    "no table": ({"table": "outcomes.doc"}, None, "only tables that end in", "CSV"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_or_option_that_does_not_fit_stops_the_build(planted, tmp_path, name):
    raw = Path(shutil.copytree(planted[0], tmp_path / "raw"))
    options, change, what, remedy = REFUSED[name]
    if change is not None:
        edit(raw, change)
    with pytest.raises(InputError) as caught:
        build(raw, tmp_path / "out", **options)
    assert any(what in problem.what and remedy in problem.remedy for problem in caught.value.problems), caught.value
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_film_without_row_and_a_row_without_film_are_both_named(planted, tmp_path):
    raw = Path(shutil.copytree(planted[0], tmp_path / "raw"))
    edit(raw, lambda book: book.active.cell(2, 1, "unknown"))
    report = build(raw, tmp_path / "out")
    left_out = Counter((one.kind, one.source, one.fault.what) for one in report.left_out)
    assert left_out["row", "unknown", "a row without film"] == 1
    films = [path.relative_to(raw).as_posix() for path in first(raw).parent.glob("*.dcm")]
    assert all(left_out["film", film, "a film whose patient has no row in the table"] == 1 for film in films)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not text")
def test_a_name_that_is_no_text_does_not_stop_the_build(planted, tmp_path):
    raw = Path(shutil.copytree(planted[0], tmp_path / "raw"))
    first(raw).rename(os.fsdecode(os.fsencode(raw) + b"/\xff.dcm"))
    (raw / "other" / "slice.dcm").rename(os.fsdecode(os.fsencode(raw) + b"/\xfe.dcm"))
    report = build(raw, tmp_path / "out")
    disguised = build(raw, tmp_path / "disguised", pseudonymize=True)
    assert report.films == disguised.films == planted[1].tasks["icu"][0]
    assert "\\xfe.dcm" in (tmp_path / "out" / "left_out.csv").read_text(encoding="utf-8")


def test_a_dataset_of_secondary_captures_can_be_asked_for(tmp_path):
    storage = pydicom.uid.SecondaryCaptureImageStorage
    for number in range(4):
        levels = np.random.default_rng(number).integers(0, 255, (70, 80), dtype=np.uint8)
        film = film_object(levels, (f"p{number}", "s", "r", "i"), SOPClassUID=storage, Modality="OT")
        save_object(film, tmp_path / "raw" / f"{number}.dcm")
    (tmp_path / "outcomes.csv").write_text("patient,went_icu\np0,yes\np1,no\np2,yes\np3,no\n")
    said = {"table": str(tmp_path / "outcomes.csv"), "center": None}
    with pytest.raises(InputError, match="no film is left: 4 × secondary capture"):
        build(tmp_path / "raw", tmp_path / "out", **said)
    assert build(tmp_path / "raw", tmp_path / "out", **said, keep="secondary_capture").films == 4


def test_a_box_of_the_table_crops_the_films(planted, tmp_path):
    raw = Path(shutil.copytree(planted[0], tmp_path / "raw"))

    def add_box(book) -> None:
        for row, cells in enumerate(book.active.iter_rows(), start=1):
            for place, value in enumerate(["left", "top", "right", "bottom"] if row == 1 else [10, 20, 70, 90]):
                book.active.cell(row, 5 + place, value)
            del cells

    edit(raw, add_box)
    recipe = "name: lungs\nsteps: [{step: crop}, {step: minmax}]\n"
    (tmp_path / "lungs.yaml").write_text(recipe)
    report = build(raw, tmp_path / "out", preprocessing=str(tmp_path / "lungs.yaml"))
    sizes = {Image.open(path).size for path in (report.path.parent / "images").iterdir()}
    assert sizes == {(60, 70)}


def test_the_folder_is_whole_or_not_there(planted, tmp_path):
    raw, _ = planted
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="the folder is not empty"):
        build(raw, tmp_path / "full")
    with pytest.raises(InputError, match="lies in that of the raw files"):
        build(raw, raw / "out")
    with pytest.raises(InputError, match="not a folder"):
        build(tmp_path / "nowhere", tmp_path / "out", table=str(raw / "outcomes.xlsx"))
    with pytest.raises(InputError, match="Did you mean 'dicom'"):
        build_cohort("dicoms", raw, tmp_path / "out")


def test_several_processes_make_the_same_folder(planted, tmp_path):
    raw, _ = planted
    build(raw, tmp_path / "one")
    said = {"table": str(raw / "outcomes.xlsx"), "center": "hospital", "tasks": ICU}
    build_cohort("dicom", raw, tmp_path / "two", said, workers=2)
    one, two = tmp_path / "one", tmp_path / "two"
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(two) for path in two.rglob("*") if path.is_file())
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)
