"""`cohort phantom --layout` and `cohort build`, as the pages of docs/ call them."""

import subprocess
import sys

import openpyxl
import pytest
from typer.testing import CliRunner

from prognobench.cli import app


def call(*arguments, status=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """The raw files of two layouts, written by the command line."""
    folder = tmp_path_factory.mktemp("raw")
    for layout in ("dicom", "covid19ar"):
        call("cohort", "phantom", folder / layout, "--layout", layout, "--patients", 6, "--size", 96)
    return folder


def test_a_published_cohort_is_built_and_told_beside_its_published_counts(raw, tmp_path):
    output = call("cohort", "build", "covid19ar", raw / "covid19ar", tmp_path / "out", "films=all", "--workers", 1)
    assert "published" in output
    assert "CAR" in output
    assert " 99 " in output
    assert "left out: modality CT" in output
    assert "has not yet run on the published files" in output
    assert "6 patients" in call("cohort", "check", tmp_path / "out" / "cohort.yaml")


def test_dicom_files_are_built_as_the_page_says(raw, tmp_path):
    output = call(
        "cohort", "build", "dicom", raw / "dicom", tmp_path / "out", "center=hospital", "--pseudonymize",
        "--table", raw / "dicom" / "outcomes.xlsx", "--match", "patient", "--column", "PatientID", "--workers", 1,
        "--task", "icu: {label: went_icu, positive: [yes], negative: [no]}", "--preprocessing", "paper",
    )  # fmt: skip
    assert "of 6 patients" in output
    assert "BurnedInAnnotation" in output
    assert "published" not in output
    assert "paper" in (tmp_path / "out" / "build.json").read_text(encoding="utf-8")


def test_files_and_columns_may_have_names_with_signs_of_every_kind(raw, tmp_path):
    table = tmp_path / 'Ergebnisse 🫁 "é".csv'
    book = openpyxl.load_workbook(raw / "dicom" / "outcomes.xlsx").active
    lines = [",".join(str(cell) for cell in row) for row in book.iter_rows(values_only=True)]
    table.write_text("\n".join([lines[0].replace("PatientID", "🧑 patient"), *lines[1:]]) + "\n", encoding="utf-8")
    output = call(
        "cohort", "build", "dicom", raw / "dicom", tmp_path / "out", "--table", table, "--column", "🧑 patient",
        "--task", "icu: {label: went_icu, positive: [yes], negative: [no]}", "--workers", 1,
    )  # fmt: skip
    assert "of 6 patients" in output


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["covid19", "RAW", "OUT"], "Did you mean 'covid19ar'"),
        (["covid19ar", "RAW", "OUT", "film=all"], "Did you mean 'films'"),
        (["covid19ar", "RAW", "OUT", "--table", "x.csv"], "unknown key 'table'"),
        (["covid19ar", "RAW", "OUT", "--preprocessing", "standart"], "Did you mean 'standard'"),
        (["dicom", "RAW", "OUT", "--table", "x.csv", "--task", "icu"], "key=value"),
        (["dicom", "RAW", "OUT", "--table", "x.csv", "--task", "icu: {label: a}"], "'tasks.icu.positive' is missing"),
        (["cocross", "RAW", "OUT"], "the layout does not fit: expected one workbook"),
    ],
)
def test_what_is_wrong_is_told_and_ends_with_status_2(raw, tmp_path, arguments, what):
    places = {"RAW": raw / "covid19ar", "OUT": tmp_path / "out"}
    output = call("cohort", "build", *(places.get(argument, argument) for argument in arguments), status=2)
    assert what in output


def test_an_unknown_layout_is_named(tmp_path):
    assert "Did you mean 'cocross'" in call("cohort", "phantom", tmp_path / "out", "--layout", "cocros", status=2)


def test_without_pydicom_the_extra_to_install_is_named(raw, tmp_path):
    """In a process of its own, where the import fails as it does where nothing is installed."""
    script = (
        "import sys; sys.modules['pydicom'] = None; from prognobench.cli import app; "
        f"app(['cohort', 'build', 'covid19ar', {str(raw / 'covid19ar')!r}, {str(tmp_path / 'out')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'prognobench[dicom]'" in done.stderr


def test_help_and_plain_cohorts_need_no_reader_of_dicom_or_workbooks():
    script = (
        "import sys; import prognobench.cli, prognobench.cohorts; "
        "print([name for name in ('pydicom', 'gdcm', 'openpyxl') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
