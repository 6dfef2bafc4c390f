"""What a study leaves of the audits of its cohorts: enough for a page, and no name of a patient or film."""

from __future__ import annotations

import base64
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from prognobench.cohorts import AuditReport, audit, load_cohort
from prognobench.frame import InputError
from prognobench.studies import Store, read_audits
from prognobench.studies._audit_files import keep_audits
from prognobench.studies._kept_files import forget
from prognobench.studies._store import write_plan


@pytest.fixture(scope="module")
def cohort(phantom, tmp_path_factory):
    """The phantom with a film that two patients share."""
    folder = Path(shutil.copytree(phantom.parent, tmp_path_factory.mktemp("twice") / "cohort"))
    lines = (folder / "labels.csv").read_text().splitlines()
    first, *cells = lines[1].split(",")
    shutil.copy(folder / "images" / first, folder / "images" / "again.png")
    lines.append(",".join(["again.png", "p-again", *cells[1:]]))
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return load_cohort(folder / "cohort.yaml")


@pytest.fixture
def store(tmp_path, cohort):
    store = Store(tmp_path)
    kept = keep_audits(store, {cohort.name: audit(cohort)}, {cohort.name: cohort})
    write_plan(store, "s", {"study": "s", "jobs": [], "left_out": [], "audits": kept})
    return store


def test_findings_ranking_and_pairs_are_those_of_the_audit(store, cohort):
    (kept,) = read_audits(store.root).values()
    found = audit(cohort)
    assert [(one.check, one.what, one.remedy, one.films) for one in kept.findings] == [
        (one.check, one.what, one.remedy, len(one.rows)) for one in found.findings
    ]
    assert list(kept.confounds) == found.tables["confounds"]
    assert (kept.n_pairs, kept.n_apart) == (1, 0)
    (pair,) = kept.pairs
    assert (pair.kind, pair.one_group) == ("identical", True)
    films = [Image.open(io.BytesIO(base64.b64decode(picture))) for picture in pair.pictures]
    assert films[0].tobytes() == films[1].tobytes()
    assert max(films[0].size) == 96
    assert len(set(pair.patients)) == 2


def test_no_line_of_the_table_and_no_name_is_kept(store, cohort):
    (path,) = (store.root / "audits").iterdir()
    content = json.loads(path.read_text())
    assert not any("rows" in one for one in [*content["findings"], *content["pairs"]])
    for pair in content["pairs"]:
        pair.pop("pictures")
    text = json.dumps(content)
    assert not any(name in text for name in [*cohort.films["image"], *cohort.films["patient"]])


def test_a_plan_from_before_reads_as_nothing_known(tmp_path):
    write_plan(Store(tmp_path), "s", {"study": "s", "jobs": [], "left_out": []})
    assert read_audits(tmp_path) == {}


def test_counts_are_kept_and_what_a_later_version_wrote_is_refused(store, cohort):
    (kept,) = read_audits(store.root).values()
    assert list(kept.counts) == audit(cohort).tables["counts"]
    content = kept.to_json()
    assert AuditReport.from_json(json.loads(json.dumps(content))) == kept
    with pytest.raises(InputError, match="Run the study again"):
        AuditReport.from_json({**content, "schema": 99, "more": 1})


def test_an_audit_of_the_first_schema_reads_without_counts(store):
    (kept,) = read_audits(store.root).values()
    content = kept.to_json() | {"schema": 1}
    content.pop("counts")
    content["findings"] = [{key: one[key] for key in one if key != "idle"} for one in content["findings"]]
    assert AuditReport.from_json(content) == replace(kept, counts=())


def test_what_no_plan_names_is_forgotten(store):
    (named,) = (store.root / "audits").iterdir()
    for name in ("other", "damaged"):
        (store.root / "audits" / f"{name}.json").write_text("{}")
    write_plan(store, "t", {"study": "t", "jobs": [], "left_out": [], "audits": {"c": "other"}})
    damaged = store.plans / "u.json"
    damaged.write_text("{}")
    forget(store, "audits")
    assert len([*(store.root / "audits").iterdir()]) == 3  # a plan that cannot be read may name any
    damaged.unlink()
    forget(store, "audits")
    assert {path.name for path in (store.root / "audits").iterdir()} == {named.name, "other.json"}


def test_altered_and_missing_files_are_named(store):
    (path,) = (store.root / "audits").iterdir()
    path.write_bytes(path.read_bytes().replace(b"identical", b"different"))
    with pytest.raises(InputError, match=f"{path.name}: it was altered"):
        read_audits(store.root)
    path.unlink()
    with pytest.raises(InputError, match=f"{path.name}: it is missing"):
        read_audits(store.root, "s")


@pytest.mark.torch
def test_a_run_keeps_the_audits_of_its_cohorts(finished, phantom):
    (kept,) = read_audits(finished).values()
    expected = audit(load_cohort(phantom), folds=3)
    assert list(kept.confounds) == expected.tables["confounds"]
