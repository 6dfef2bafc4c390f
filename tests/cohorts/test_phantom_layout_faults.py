"""Raw files of the phantom with one of each fault: `build` names each, and takes nothing else with it."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from pathlib import Path

import pytest
from pydicom import dcmread

from prognobench.cohorts import Planted, audit, build_cohort, layout_names, load_cohort, make_layout
from prognobench.frame import InputError

PATIENTS = {"dicom": 32, "covid19ar": 26}
# Of the list of bad input, what the raw files of a layout can have; the reasons are those of the builders.
EVERY = {
    "truncated", "a row of a patient without film", "a film of a patient without row",
    "the same film of two patients, encoded again", "the same film of two patients, of the same pixels",
    "the same film of two patients, resized", "the same film of two patients, cropped",
}  # fmt: skip
DATED = EVERY | {"missing pixel data", "dates out of order"}
EXPECTED = {
    "aiforcovid": DATED,
    "cocross": EVERY | {"no image"},
    "covid19ar": DATED,
    "stonybrook": DATED,
    "dicom": DATED
    | {
        "unsupported transfer syntax", "decompression bomb", "absurd pixel spacing", "values that are not finite",
        "one gray value", "no DICOM", "no patient", "a name with blanks, accents and emoji",
        "the same file again under another name", "multi-frame", "no image", "secondary capture", "another modality",
    },
}  # fmt: skip


def options(name: str, raw: Path) -> dict:
    task = {"label": "went_icu", "positive": "yes", "negative": "no"}
    return {"table": str(raw / "outcomes.xlsx"), "tasks": {"icu": task}} if name == "dicom" else {}


@pytest.mark.parametrize("name", layout_names())
def test_each_fault_is_named_and_the_rest_is_intact(tmp_path, name):
    planted = make_layout(name, tmp_path / "raw", PATIENTS.get(name, 18), 5, size=96, faults=True)
    linked = {"a symbolic link out of the folder"} if os.name == "posix" else set()
    assert {one.fault for one in planted.faults} == EXPECTED[name] | linked
    report = build_cohort(name, tmp_path / "raw", tmp_path / "out", options(name, tmp_path / "raw"), workers=1)
    told = Counter((one.source, one.fault.what) for one in report.left_out)
    for one in planted.faults:
        for source, reason in one.left_out:
            ((found, count),) = ((what, count) for (there, what), count in told.items() if there == source)
            assert reason in found and count == 1, one.fault
            if not one.always:
                del told[source, found]
    assert (
        Counter({what: sum(n for (_, one), n in told.items() if one == what) for _, what in told}) == planted.left_out
    )
    assert {task.task: (task.films, task.patients, task.positive) for task in report.tasks} == planted.tasks
    cohort = load_cohort(report.path)
    assert len(cohort.films) == report.films
    # The copies of films under other patients are kept, and the audit alone finds these and no other.
    with (report.path.parent / "labels.csv").open(encoding="utf-8", newline="") as stream:
        patients = [row["patient"] for row in csv.DictReader(stream)]
    found = [
        (f"{pair['kind']} duplicate", frozenset(patients[row - 2] for row in pair["rows"]))
        for pair in audit(cohort).tables["duplicates"]
    ]
    copies = [one for one in planted.faults if one.check]
    assert Counter(found) == Counter(
        (one.check, frozenset(patient_of(tmp_path / "raw" / source) for source in one.sources)) for one in copies
    )


def patient_of(path: Path) -> str:
    return path.name.split("_")[0] if path.suffix == ".jpeg" else str(dcmread(path).PatientID)


@pytest.mark.parametrize("name", ["aiforcovid", "cocross"])
def test_the_other_films_are_those_of_a_build_without_faults(tmp_path, name):
    def built(faults: bool) -> tuple[Planted, dict[str, str]]:
        raw, out = tmp_path / f"raw-{faults}", tmp_path / f"out-{faults}"
        planted = make_layout(name, raw, 18, 5, size=96, faults=faults)
        films = load_cohort(build_cohort(name, raw, out, workers=1).path).films
        return planted, dict(zip(films["image"], films["sha256"], strict=True))

    (planted, spoiled), (_, clean) = built(True), built(False)
    copies = [one for one in planted.faults if one.check]
    lost = ("truncated", "missing pixel data", "dates out of order", "no image", "a row of a patient without film")
    assert len(spoiled.keys() - clean.keys()) == len(copies)
    assert len(clean.keys() - spoiled.keys()) == sum(one.fault in lost for one in planted.faults)
    assert {image: spoiled[image] for image in clean.keys() & spoiled.keys()} == {
        image: clean[image] for image in clean.keys() & spoiled.keys()
    }


def test_the_list_beside_the_data_says_what_was_planted(tmp_path):
    planted = make_layout("cocross", tmp_path / "raw", 12, 1, size=96, faults=True)
    listed = json.loads((tmp_path / "raw" / "faults.json").read_text("utf-8"))
    assert [(one["fault"], tuple(one["sources"]), one["check"]) for one in listed] == [
        (one.fault, one.sources, one.check) for one in planted.faults
    ]
    assert [tuple(what.values()) for one in listed for what in one["left_out"]] == [
        what for one in planted.faults for what in one.left_out
    ]


def test_without_faults_nothing_is_planted(tmp_path):
    assert make_layout("cocross", tmp_path / "raw", 4, 1, size=96).faults == ()
    assert not (tmp_path / "raw" / "faults.json").exists()


def test_too_few_films_for_a_fault_each_are_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(InputError, match="too few for a fault each"):
        make_layout("dicom", tmp_path / "raw", 8, 1, size=96, faults=True)
    assert not [*tmp_path.iterdir()]
