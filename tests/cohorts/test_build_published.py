"""The raw files of the four published cohorts, as the phantom writes them, become cohorts with exactly those films."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import openpyxl
import pydicom
import pytest
from PIL import Image

from prognobench.cohorts import build_cohort, builders, cohort_cards, load_cohort, make_layout, task_names
from prognobench.cohorts._builders._sources import chest_films
from prognobench.cohorts._builders._stonybrook import _raw_films
from prognobench.cohorts._dicom import Header
from prognobench.cohorts._phantom_layouts._objects import film_object, save_object
from prognobench.frame import InputError

PUBLISHED = ["aiforcovid", "cocross", "covid19ar", "stonybrook"]


@pytest.fixture(scope="module")
def raws(tmp_path_factory):
    """A raw folder of each, with what was planted."""
    folder = tmp_path_factory.mktemp("published")
    return {
        name: (folder / name, make_layout(name, folder / name, 12 if name == "aiforcovid" else 7, 5, size=96))
        for name in PUBLISHED
    }


def copied(raws, name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(raws[name][0], tmp_path / "raw"))


def build(name: str, raw: Path, out: Path, **options):
    return build_cohort(name, raw, out, options, workers=1)


def found(report) -> dict[str, tuple[int, int, int]]:
    return {task.task: (task.films, task.patients, task.positive) for task in report.tasks}


def reasons(report) -> dict[str, int]:
    return {what: count for (_, what), count in report.reasons.items()}


def rows(report) -> list[dict[str, str]]:
    with (report.path.parent / "labels.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_counts_are_exactly_those_planted(raws, tmp_path, name):
    raw, planted = raws[name]
    report = build(name, raw, tmp_path / "out")
    assert found(report) == planted.tasks
    assert reasons(report) == planted.left_out
    cohort = load_cohort(report.path)
    for task, (films, patients, positive) in planted.tasks.items():
        table = cohort.task(task).rows
        assert (len(table), table["patient"].nunique(), int(table["label"].sum())) == (films, patients, positive), task
        assert 0 < positive < films


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tasks_have_their_names_and_stand_beside_the_published_counts(raws, tmp_path, name):
    report = build(name, raws[name][0], tmp_path / "out")
    card = cohort_cards()[name]
    built = [task.task for task in report.tasks]
    assert [task.name for task in card.tasks] == [task for task in built if not task.endswith("icu")]
    assert task_names(name, [task.name for task in card.tasks]) == [task.name for task in card.tasks]
    for task in report.tasks:
        published = card.task(task.task)
        if published is not None:
            assert task.published[0] == sum(count.films for count in (*published.negative, *published.positive))
    assert any("has not yet run on the published files" in note for note in report.notes)
    assert set(card.decisions) <= set(report.notes)


def test_every_published_cohort_has_a_builder_and_no_other_is_there():
    assert set(builders()) == {"dicom", *cohort_cards()}


def test_aiforcovid_has_six_centers_and_a_film_a_patient(raws, tmp_path):
    report = build("aiforcovid", raws["aiforcovid"][0], tmp_path / "out")
    table = rows(report)
    assert sorted({row["Hospital"] for row in table}) == list("ABCDEF")
    assert len({row["patient"] for row in table}) == len(table)
    assert {row["Prognosis"] for row in table} == {"MILD", "LIEVE", "SEVERE"}
    assert {row["patient"].rsplit("_", 1)[0] for row in table} == {"P", "P_1", "P_3"}
    assert all(row["PositivityAtAdmission"] for row in table)


def test_aiforcovid_leaves_out_the_ten_films_when_asked(raws, tmp_path):
    raw = copied(raws, "aiforcovid", tmp_path)
    book = openpyxl.load_workbook(raw / "AIforCOVID_r2.xlsx")
    book.active.cell(2, 2, "P_1_16")
    book.save(raw / "AIforCOVID_r2.xlsx")
    (raw / "imgs_r2" / "P_1_1.dcm").rename(raw / "imgs_r2" / "P_1_16.dcm")
    total = raws["aiforcovid"][1].tasks["AFC"][0]
    assert build("aiforcovid", raw, tmp_path / "all").films == total
    report = build("aiforcovid", raw, tmp_path / "fewer", rejected="leave_out")
    assert report.films == total - 1
    assert reasons(report)["one of ten films that the paper's authors left out"] == 1


def test_aiforcovid_is_cropped_to_the_boxes_of_a_table(raws, tmp_path):
    raw, planted = raws["aiforcovid"]
    names = [path.stem for path in sorted(raw.rglob("*.dcm"))]
    lines = ["ImageFile,x,y,x2,y2", *(f"{name},5,10,45,90" for name in names[1:] if name != "P_8888")]
    (tmp_path / "boxes.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "lungs.yaml").write_text(
        "name: lungs\nsteps: [{step: crop, left: x, top: y, right: x2, bottom: y2}, {step: minmax}]\n"
    )
    said = {"boxes": str(tmp_path / "boxes.csv")}
    report = build_cohort(
        "aiforcovid", raw, tmp_path / "out", said, preprocessing=str(tmp_path / "lungs.yaml"), workers=1
    )
    assert report.films == planted.tasks["AFC"][0] - 1
    assert reasons(report)["the box has no number in 'x'"] == 1
    assert {Image.open(path).size for path in (tmp_path / "out" / "images").iterdir()} == {(40, 80)}
    assert "x2" not in rows(report)[0]


def test_the_challenge_s_form_of_aiforcovid_is_read_too(raws, tmp_path):
    raw = tmp_path / "raw"
    images = build("aiforcovid", raws["aiforcovid"][0], tmp_path / "png").path.parent / "images"
    shutil.copytree(images, raw / "TrainSet")
    header = ["ImageFile", "Hospital", "Positivity at admission", "Prognosis", "Death", "Sex", "Age"]
    names = sorted(path.name for path in images.iterdir())
    for file, part in (
        ("trainClinData", names[:8]),
        ("testClinData", names[8:]),
        ("completeTestClinData", names[8:]),
    ):
        book = openpyxl.Workbook()
        book.active.append(header)
        for place, name in enumerate(part):
            book.active.append([name, "F", 1, ["LIEVE", "SEVERE"][place % 2], place % 2, 0, 60])
        book.save(raw / f"{file}.xlsx")
    report = build("aiforcovid", raw, tmp_path / "out")
    assert found(report)["AFC"] == (12, 12, 6)


def test_covid19ar_takes_the_earliest_frontal_film_by_its_date(raws, tmp_path):
    """Not by the order of the files: the earliest one gets the latest name, and a later one turns out bad."""
    raw = copied(raws, "covid19ar", tmp_path)
    paths = sorted(raw.rglob("*CHEST [AP][AP]-*/1-1.dcm"))
    by_patient: dict[str, list[tuple[str, Path]]] = {}
    for path in paths:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        by_patient.setdefault(header.PatientID, []).append((header.StudyDate, path))
    several = next(films for films in by_patient.values() if len(films) > 1)
    dates = sorted(several)
    uid = str(pydicom.dcmread(dates[0][1]).SOPInstanceUID)
    second = str(pydicom.dcmread(dates[1][1]).SOPInstanceUID)
    folder = dates[0][1].parents[1]
    folder.rename(folder.with_name("zz"))
    kept = {row["image"] for row in rows(build("covid19ar", raw, tmp_path / "out"))}
    assert f"{uid}.png" in kept
    moved = next((folder.with_name("zz")).rglob("*CHEST [AP][AP]-*/1-1.dcm"))
    moved.write_bytes(moved.read_bytes()[:-500])
    kept = {row["image"] for row in rows(build("covid19ar", raw, tmp_path / "again"))}
    assert f"{uid}.png" not in kept
    assert f"{second}.png" in kept


def test_the_selection_rules_of_covid19ar_are_options(raws, tmp_path):
    raw, planted = raws["covid19ar"]
    later = planted.left_out["a later film of a patient of whom the first is used"]
    every = build("covid19ar", raw, tmp_path / "all", films="all")
    assert every.films == planted.tasks["CAR"][0] + later
    laterals = build("covid19ar", raw, tmp_path / "laterals", films="all", laterals="keep")
    assert laterals.films == every.films + planted.left_out["a lateral film"]
    everywhere = build("covid19ar", raw, tmp_path / "everywhere", films="all", body="any")
    assert everywhere.films == every.films + 1
    listed = build("covid19ar", raw, tmp_path / "listed", films="all", descriptions="listed")
    assert listed.films == every.films
    bright = build("covid19ar", raw, tmp_path / "bright", films="all", darkest=1000)
    dark = reasons(bright)["its largest stored value is below 1000"]
    assert bright.films == every.films - dark
    assert 0 < dark < every.films  # films of 8 bits
    assert "ZIP" not in rows(every)[0]


def test_stonybrook_marks_the_first_film_and_tells_copies_apart(raws, tmp_path):
    raw, planted = raws["stonybrook"]
    report = build("stonybrook", raw, tmp_path / "out")
    table = rows(report)
    first = [row for row in table if row["first_film"] == "yes"]
    assert len({row["patient"] for row in first}) == len(first) == planted.tasks["NY_small"][0]
    assert all(row["day"] == "0" for row in first)
    assert all(int(row["day"]) > 0 for row in table if row["first_film"] == "no")
    copies = build("stonybrook", raw, tmp_path / "copies", derived="keep")
    derived = sum(count for reason, count in planted.left_out.items() if "derived" in reason or "copy" in reason)
    assert copies.films == report.films + derived
    assert build("stonybrook", raw, tmp_path / "body", body="any").films == report.films + 1
    laterals = build("stonybrook", raw, tmp_path / "laterals", laterals="keep")
    assert laterals.films == report.films + planted.left_out["a lateral film"]


def retag(raw: Path, **tags) -> None:
    for path in raw.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        for keyword, value in tags.items():
            setattr(dataset, keyword, f"{dataset.get(keyword) or ''}{value}")
        dataset.save_as(path)


# Not what joins films and tables, nor what an allow-list lets through.
FREE_TEXT = (
    "StudyDescription", "SeriesDescription", "PatientName", "OtherPatientIDs", "PatientComments", "ImageComments",
    "AccessionNumber", "InstitutionName", "ReferringPhysicianName", "OperatorsName", "StationName", "ProtocolName",
    "StudyID", "DeviceSerialNumber", "PerformedProcedureStepDescription", "AdmittingDiagnosesDescription",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("aiforcovid", {}),
        ("covid19ar", {}),
        ("covid19ar", {"descriptions": "listed"}),
        ("stonybrook", {}),
        ("dicom", {}),
    ],
)
def test_no_free_text_of_a_header_leaves_it(tmp_path, name, options):
    make_layout(name, tmp_path / "raw", 8, 5, size=96)
    retag(tmp_path / "raw", **dict.fromkeys(FREE_TEXT, " Secret^Jane"))
    if name == "dicom":
        task = {"label": "went_icu", "positive": "yes", "negative": "no"}
        options = {"table": str(tmp_path / "raw" / "outcomes.xlsx"), "tasks": {"icu": task}}
    try:
        build(name, tmp_path / "raw", tmp_path / "out", **options)
    except InputError as error:  # with every film left out, what is said of them
        assert options and "Secret" not in str(error)
        return
    texts = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert b"Secret" not in texts


def test_dicom_films_of_the_workbook_cohorts_are_chosen_by_their_headers_too(raws, tmp_path):
    """Where films are named by a table and not by their headers, these still say what is no film."""
    raw = copied(raws, "aiforcovid", tmp_path)
    paths = sorted((raw / "imgs").glob("P_[1-4].dcm"))
    tags = [
        {"SOPClassUID": pydicom.uid.SecondaryCaptureImageStorage},
        {"Modality": "CT"},
        {"NumberOfFrames": 2},
    ]
    for path, changed in zip(paths, tags, strict=False):
        dataset = pydicom.dcmread(path)
        for keyword, value in changed.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
    report = build("aiforcovid", raw, tmp_path / "out")
    told = reasons(report)
    assert told["modality CT"] == 1
    assert [sum(count for what, count in told.items() if word in what) for word in ("secondary", "multi-frame")] == [
        1,
        1,
    ]
    kept = build("aiforcovid", raw, tmp_path / "kept", keep="secondary_capture", modalities=["CR", "CT"])
    assert kept.films == report.films + 2


@pytest.mark.parametrize("name", [*PUBLISHED, "dicom"])
def test_a_remedy_names_only_options_that_are_there(raws, tmp_path, name):
    raw = tmp_path / "raw"
    make_layout(name, raw, 8, 5, size=96)
    storages = (
        (pydicom.uid.SecondaryCaptureImageStorage, "OT"),
        (pydicom.uid.DigitalXRayImageStorageForProcessing, "DX"),
        (pydicom.uid.CTImageStorage, "CT"),
    )
    for place, (storage, modality) in enumerate(storages):
        levels = np.arange(64 * 70, dtype=np.uint16).reshape(64, 70)
        dataset = film_object(levels, ("P", "s", "r", str(place)), SOPClassUID=storage, Modality=modality)
        save_object(dataset, raw / f"other {place}.dcm")
    options = {}
    if name == "dicom":
        task = {"label": "went_icu", "positive": "yes", "negative": "no"}
        options = {"table": str(raw / "outcomes.xlsx"), "tasks": {"icu": task}}
    report = build(name, raw, tmp_path / "out", **options)
    assert {one.source for one in report.left_out} >= {f"other {place}.dcm" for place in range(3)}
    named = {option for one in report.left_out for option in re.findall(r"(\w+)=", one.fault.remedy)}
    assert {"keep", "modalities"} <= named <= set(builders()[name].options.model_fields)


BODY = {
    # SeriesDescription, StudyDescription, BodyPartExamined, the part that is left out
    "nothing": ("", "", "", None),
    "no part": ("AP", "", "", None),
    "portable": ("AP PORTABLE", "PORTABLE RADIOGRAPH", "", None),
    "chest": ("CHEST AP", "XR ABDOMEN", "ABDOMEN", None),
    "thorax": ("Thorax a.p.", "", "", None),
    "abdominal series of a chest study": ("ABDOMEN AP", "XR CHEST", "CHEST", "abdomen"),
    "knee": ("AP", "XR KNEE", "", "leg"),
    "body part": ("AP", "", "PELVIS", "pelvis"),
    "unknown body part": ("AP", "", "XYZ", "not the chest, by BodyPartExamined"),
    "chest by its body part": ("AP", "XR SHOULDER", "CHEST", None),
}


@pytest.mark.parametrize("case", BODY)
def test_a_film_is_left_out_only_where_another_part_is_named(case):
    series, study, examined, part = BODY[case]
    tags = {"SeriesDescription": series, "StudyDescription": study, "BodyPartExamined": examined}
    left_out = []
    kept = chest_films([Header("film.dcm", {key: text for key, text in tags.items() if text})], left_out)
    assert [one.fault.what for one in left_out] == ([] if part is None else [f"another part of the body: {part}"])
    assert len(kept) == (part is None)


@pytest.mark.parametrize(
    ("series", "derived"),
    [("CHEST AP ENHANCED", True), ("PROCESSED CHEST", True), ("CHEST UNPROCESSED", False), ("CHEST AP", False)],
)
def test_a_copy_is_told_by_whole_words(series, derived):
    left_out = []
    kept = list(_raw_films([Header("film.dcm", {"SeriesDescription": series})], left_out))
    assert (len(kept), len(left_out)) == ((0, 1) if derived else (1, 0))


@pytest.mark.parametrize("name", ["covid19ar", "aiforcovid"])
def test_two_spellings_of_one_column_are_not_mixed(raws, tmp_path, name):
    raw = copied(raws, name, tmp_path)
    path = next(raw.glob("*.xlsx"))
    book = openpyxl.load_workbook(path)
    sheet = book["Clinical"] if name == "covid19ar" else book.active
    header = 2 if name == "covid19ar" else 1
    sheet.cell(header, sheet.max_column + 1, "ICU  admit" if name == "covid19ar" else "prognosis")
    book.save(path)
    what = "'ICU Admit (Y/N)' and 'ICU  admit' are" if name == "covid19ar" else "'Prognosis' and 'prognosis' are"
    with pytest.raises(InputError) as caught:
        build(name, raw, tmp_path / "out")
    assert what in str(caught.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_capitals_and_blanks_of_a_label_do_not_count(raws, tmp_path, name):
    raw = copied(raws, name, tmp_path)
    words = ("Death", "Discharged", "MILD", "SEVERE", "LIEVE", "Y", "N")
    for path in raw.glob("*.xlsx"):
        book = openpyxl.load_workbook(path)
        for sheet in book.worksheets:
            for place, row in enumerate(sheet.iter_rows(min_row=2)):
                for cell in row:
                    if cell.value in words:
                        cell.value = f"{cell.value.lower() if place % 2 else cell.value.upper()} "
        book.save(path)
    for path in raw.glob("deidentified*0806.csv"):
        path.write_text(path.read_text().replace(",deceased,", ",Deceased ,").replace(",True,", ",true,"))
    report = build(name, raw, tmp_path / "out")
    assert found(report) == raws[name][1].tasks
    assert {task.blank + task.unlisted for task in report.tasks} == {0}


def test_cocross_without_death_is_refused(raws, tmp_path):
    raw = copied(raws, "cocross", tmp_path)
    book = openpyxl.load_workbook(raw / "CoCross.xlsx")
    for (cell,) in book["Data"].iter_rows(min_row=2, min_col=7, max_col=7):
        cell.value = "Exitus" if cell.value == "Death" else cell.value
    book.save(raw / "CoCross.xlsx")
    with pytest.raises(InputError, match=r"expected 'Death' among the outcomes.*'Discharged', 'Exitus'"):
        build("cocross", raw, tmp_path / "out")


@pytest.mark.parametrize("name", PUBLISHED)
def test_pseudonyms_stand_for_the_published_ids(raws, tmp_path, name):
    raw, planted = raws[name]
    plain = build(name, raw, tmp_path / "plain")
    report = build_cohort(name, raw, tmp_path / "out", pseudonymize=True, workers=1)
    assert (found(report), reasons(report)) == (planted.tasks, planted.left_out)
    texts = [path.read_text("utf-8") for path in (tmp_path / "out").iterdir() if path.is_file()]
    cells = {cell for text in texts for line in text.splitlines() for cell in line.split(",")}
    cells |= {path.stem for path in (tmp_path / "out" / "images").iterdir()}
    assert not cells & {cell for row in rows(plain) for cell in (row["patient"], row["image"], row["image"][:-4])}
    assert "visit_start_datetime" not in rows(report)[0]


def test_when_the_first_film_is_bad_the_next_one_is_the_first(raws, tmp_path):
    raw = copied(raws, "stonybrook", tmp_path)
    several = next(p for p in (raw / "manifest-1628608914773/COVID-19-NY-SBU").iterdir() if len(list(p.iterdir())) > 1)
    films = sorted(several.glob("*/1.000000-*/1-1.dcm"), key=lambda path: pydicom.dcmread(path).StudyDate)
    films[0].write_bytes(films[0].read_bytes()[:-500])
    report = build("stonybrook", raw, tmp_path / "out")
    planted = raws["stonybrook"][1]
    assert found(report)["NY_small"] == planted.tasks["NY_small"]
    assert found(report)["NY_all"][0] == planted.tasks["NY_all"][0] - 1


def test_cocross_reads_the_first_cell_that_is_not_empty(raws, tmp_path):
    report = build("cocross", raws["cocross"][0], tmp_path / "out")
    assert {row["ICU Outcome"] for row in rows(report)} == {"Death", "Discharged"}
    assert all(row["Age"] for row in rows(report))
    assert any("counts as alive: Discharged" in note for note in report.notes)


def test_a_cocross_patient_with_two_outcomes_is_left_out(raws, tmp_path):
    raw = copied(raws, "cocross", tmp_path)
    book = openpyxl.load_workbook(raw / "CoCross.xlsx")
    book["Data"].append(["001", 9, None, None, None, None, "Death"])
    book["Data"].append(["001", 9, None, None, None, None, "Discharged"])
    book.save(raw / "CoCross.xlsx")
    report = build("cocross", raw, tmp_path / "out")
    assert reasons(report)["a patient whose rows have different outcomes"] == 1
    assert found(report)["CC"][1] == raws["cocross"][1].tasks["CC"][1] - 1


def without(pattern: str):
    def spoil(raw: Path) -> None:
        for path in sorted(raw.rglob(pattern), reverse=True):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def rename_column(pattern: str, old: str, new: str):
    def spoil(raw: Path) -> None:
        for path in raw.glob(pattern):
            book = openpyxl.load_workbook(path)
            for sheet in book.worksheets:
                for row in sheet.iter_rows(max_row=2):
                    for cell in row:
                        cell.value = new if cell.value == old else cell.value
            book.save(path)

    return spoil


def rename_sheet(pattern: str, old: str, new: str):
    def spoil(raw: Path) -> None:
        (path,) = raw.glob(pattern)
        book = openpyxl.load_workbook(path)
        book[old].title = new
        book.save(path)

    return spoil


def without_title(raw: Path) -> None:
    (path,) = raw.glob("*.xlsx")
    book = openpyxl.load_workbook(path)
    book["Clinical"].delete_rows(1)
    book.save(path)


def in_csv(old: str, new: str):
    def spoil(raw: Path) -> None:
        path = next(path for path in raw.glob("*.csv") if "template" not in path.name)
        path.write_text(path.read_text().replace(old, new, 1))

    return spoil


def as_xls(raw: Path) -> None:
    for path in raw.glob("*.xlsx"):
        path.rename(path.with_suffix(".xls"))


MISFITS = {
    "aiforcovid without workbook": ("aiforcovid", without("*.xlsx"), "expected the workbooks 'AIforCOVID.xlsx'"),
    "aiforcovid in the old format": ("aiforcovid", as_xls, "saved as .xlsx, which are there as .xls"),
    "aiforcovid without films": ("aiforcovid", without("imgs*"), "expected films named after ImageFile"),
    "aiforcovid, another column": (
        "aiforcovid",
        rename_column("*_r2.xlsx", "Prognosis", "Outcome"),
        "expected the column 'Prognosis'",
    ),
    "covid19ar without workbook": ("covid19ar", without("*.xlsx"), "expected one file such as 'COVID-19 AR Clinical"),
    "covid19ar without title row": (
        "covid19ar",
        without_title,
        "PATIENT_ID, ICU Admit in row 2; found 'sheet Clinical",
    ),
    "covid19ar, another column": (
        "covid19ar",
        rename_column("*.xlsx", "ICU Admit (Y/N)", "Intensive"),
        "expected one sheet with the columns PATIENT_ID, ICU Admit",
    ),
    "covid19ar without films": ("covid19ar", without("*.dcm"), "expected DICOM files"),
    "cocross, another sheet": (
        "cocross",
        rename_sheet("*.xlsx", "Data", "Daten"),
        "with a sheet 'Data'; found 'CoCross",
    ),
    "cocross, another column": (
        "cocross",
        rename_column("*.xlsx", "ICU Outcome", "Outcome"),
        "expected the column 'ICU Outcome'",
    ),
    "cocross without films": ("cocross", without("CXR"), "expected image files"),
    "stonybrook without table": ("stonybrook", without("*20210806.csv"), "expected one file such as 'deidentified"),
    "stonybrook, another column": ("stonybrook", in_csv("last.status", "status"), "expected the column 'last.status'"),
    "stonybrook without films": ("stonybrook", without("*.dcm"), "expected DICOM files"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_layout_that_does_not_fit_stops_with_what_was_expected_and_found(raws, tmp_path, misfit):
    name, spoil, what = MISFITS[misfit]
    raw = copied(raws, name, tmp_path)
    spoil(raw)
    with pytest.raises(InputError) as caught:
        build(name, raw, tmp_path / "out")
    assert any("the layout does not fit" in p.what and what in p.what and p.remedy for p in caught.value.problems), str(
        caught.value
    )
    assert not (tmp_path / "out").exists()
