"""`cohort check` tells what the audit found, to people and programs, and writes it down without a name."""

import base64
import json
import re

import pytest
from typer.testing import CliRunner

from prognobench.cli import app


def call(*arguments, status=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit") / "cohort"
    call("cohort", "phantom", folder, "--patients", 64, "--seed", 4, "--size", 160, "--faults")
    return folder


def test_findings_are_printed_with_remedies_and_end_in_status_0(faulty):
    output = " ".join(call("cohort", "check", faulty / "cohort.yaml").split())
    assert "warning near duplicate the same film" in output
    assert "→ Find out whose film it is" in output
    assert "warning outcome leak icu: 'ward'" in output
    assert "column alone" in output
    assert "films a patient" in output and "patients of each class" in output


def test_a_clean_cohort_is_told_to_be_one(tmp_path):
    call("cohort", "phantom", tmp_path / "cohort", "--patients", 60, "--seed", 3, "--size", 96)
    output = " ".join(call("cohort", "check", tmp_path / "cohort" / "cohort.yaml", "--folds", 2).split())
    assert "The audit found nothing." in output


def test_json_holds_the_counts_and_the_audit(faulty):
    told = json.loads(call("cohort", "check", faulty / "cohort.yaml", "--json"))
    assert told["patients"] > 60
    assert {"findings", "tables"} <= set(told["audit"])
    assert {"counts", "duplicates", "confounds"} == set(told["audit"]["tables"])
    everyone = told["audit"]["tables"]["counts"][0]
    assert (everyone["by"], everyone["films"]) == ("all", told["tasks"]["icu"]["films"])


def test_the_folder_holds_the_audit_and_a_page_of_pairs_that_name_nobody(faulty, tmp_path):
    output = call("cohort", "check", faulty / "cohort.yaml", "--out", tmp_path / "out")
    assert "audit.html" in output
    document = json.loads((tmp_path / "out" / "audit.json").read_text())
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    pairs = document["tables"]["duplicates"]
    pictures = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)
    assert len(pictures) == 2 * len(pairs) >= 12
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert "://" not in page
    rows = [row.split(",") for row in (faulty / "labels.csv").read_text().splitlines()[1:]]
    # Short names stand in pictures and pseudonyms by chance.
    shown = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+|patient-[0-9a-f]{20}", "", page)
    for text in (shown, json.dumps(document)):
        assert not [name for image, patient, *_ in rows for name in (image, patient) if name in text]
    assert re.search(r"patient-[0-9a-f]{20}", page)


def test_what_was_planted_into_raw_files_is_told_and_listed(tmp_path):
    arguments = ("--layout", "cocross", "--patients", 12, "--size", 96, "--faults")
    output = " ".join(call("cohort", "phantom", tmp_path / "raw", *arguments).split())
    listed = json.loads((tmp_path / "raw" / "faults.json").read_text("utf-8"))
    for one in listed:
        assert f"planted: {one['fault']} ({', '.join(one['sources'])})" in output
    assert f"All {len(listed)} are listed in" in output
