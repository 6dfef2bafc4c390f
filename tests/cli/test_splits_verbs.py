"""`splits make`, `show`, `check` and `export`: files to look at, to check and to pass on."""

import csv
import json
import shutil

import pytest
from typer.testing import CliRunner

from prognobench.cli import app

pytestmark = pytest.mark.torch

STUDY = """\
name: mine
cohorts: [cohort/cohort.yaml]
models: [dinov2_s]
strategies: [lp]
regimes: [full, {few_shot: {shots: 2}}]
validation: {kfold: {folds: 3}}
"""


def call(*arguments, status=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return (
        " ".join((result.stderr if status else result.output).split()) if "--json" not in arguments else result.output
    )


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def place(tmp_path, phantom):
    """A study beside its cohort; its model has no weights here, and splits do not ask for them."""
    shutil.copytree(phantom.parent, tmp_path / "cohort")
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def test_made_splits_are_those_of_the_study_and_check_out(place):
    assert "6 splits are in" in call("splits", "make", place / "study.yaml", "--out", place / "out")
    index = rows(place / "out" / "splits.csv")
    assert {(line["regime"], line["shots"], line["fold"]) for line in index} == {
        (regime, shots, fold) for regime, shots in (("full", ""), ("few_shot", "2")) for fold in "012"
    }
    shown = json.loads(call("splits", "show", place / "study.yaml", "--json"))
    assert [f"{line['sha256']}.csv" for line in shown] == [line["file"] for line in index]
    assert [line["parts"]["train"]["films"] for line in shown if line["regime"] == "few_shot"] == [4, 4, 4]
    assert [line["parts"]["train"]["positive"] for line in shown if line["regime"] == "few_shot"] == [2, 2, 2]
    checked = ["--cohort", place / "cohort" / "cohort.yaml", "--task", "icu"]
    (found,) = json.loads(call("splits", "check", place / "out" / index[0]["file"], *checked, "--json"))
    assert found["parts"] == shown[0]["parts"]


def test_people_see_counts_and_no_names(place):
    output = call("splits", "show", place / "study.yaml", "validation=loco", "regimes=[full]")
    assert "phantom · icu · loco · full" in output
    assert "north" in output
    assert "p0001" not in output
    shutil.copytree(place / "cohort", place / "other")
    for path in (place / "other" / "images").iterdir():
        path.write_bytes(path.read_bytes() + b"another file")
    text = (place / "other" / "cohort.yaml").read_text()
    (place / "other" / "cohort.yaml").write_text(text.replace("name: phantom", "name: other"))
    external = "validation={external: {test: other/cohort.yaml}}"
    assert "external · tested on other · full" in call("splits", "show", place / "study.yaml", external)


def test_exported_splits_name_nobody_and_are_read_back_by_who_has_the_films(place):
    assert "6 splits without names" in call("splits", "export", place / "study.yaml", "--out", place / "out")
    table = rows(place / "cohort" / "labels.csv")
    files = [line["file"] for line in rows(place / "out" / "splits.csv")][:3]
    for path in (place / "out").iterdir():
        text = path.read_text()
        assert not any(line["image"] in text or line["patient"] in text for line in table)
    first = rows(place / "out" / files[0])
    assert len({line["image"] for line in first}) == len(first) == len(table)
    assert len({line["patient"] for line in first}) == len({line["patient"] for line in table})
    theirs = f"validation={{predefined: {{files: [{', '.join('out/' + name for name in files)}]}}}}"
    back = json.loads(call("splits", "show", place / "study.yaml", theirs, "regimes=[full]", "--json"))
    ours = json.loads(call("splits", "show", place / "study.yaml", "regimes=[full]", "--json"))
    assert [line["sha256"] for line in back] == [line["sha256"] for line in ours]
    # Nor do the names of the files: a hash of the table's own names would confirm a guess at them.
    assert not {line["sha256"][:8] for line in ours} & {name[:8] for name in files}
    altered = (place / "out" / files[0]).read_text().replace(",val,", ",test,")
    (place / "out" / files[0]).write_text(altered)
    assert "altered" in call("splits", "show", place / "study.yaml", theirs, "regimes=[full]", status=2)


def test_a_wrong_split_file_ends_in_status_2_with_file_and_row(place):
    call("splits", "make", place / "study.yaml", "--out", place / "out")
    path = place / "mine.csv"
    lines = (place / "out" / rows(place / "out" / "splits.csv")[0]["file"]).read_text().splitlines()
    lines[3] = lines[3].replace("png", "jpg")
    path.write_text("\n".join([*lines, lines[1]]) + "\n")
    checked = ["--cohort", place / "cohort" / "cohort.yaml", "--task", "icu"]
    message = call("splits", "check", path, *checked, status=2)
    assert "2 problems in the input" in message
    assert "mine.csv, row 4: the cohort has no film" in message
    assert f"mine.csv, row {len(lines) + 1}: the image" in message
    assert "Did you mean 'icu'" in call("splits", "check", path, *checked[:3], "icuu", status=2)
