"""Parts of planned splits that hold too few patients of a class are named with counts, whatever the validation."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from prognobench.cohorts import Finding, audit, load_cohort, make_phantom
from prognobench.protocols import Source, Validation
from prognobench.studies._cuts import Cut, manifest_of
from prognobench.studies._few import few_in_parts


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Forty patients, sixteen of them positive, in four centers."""
    path = make_phantom(tmp_path_factory.mktemp("few") / "cohort", 40, 0, films_per_patient=(1, 2), centers=4, size=96)
    lines = path.with_name("labels.csv").read_text().splitlines()
    part_of = {f"p{number:04d}": "test" if number < 6 else "val" if number < 20 else "train" for number in range(40)}
    told = [f"{line},{part_of.get(line.split(',')[1], 'part')}" for line in lines]
    path.with_name("labels.csv").write_text("\n".join(told) + "\n")
    return load_cohort(path)


def grid(cohort, validation, tested: tuple[str, ...] = ()):
    kind, task = Validation.model_validate(validation), cohort.task("icu")
    source = Source(manifest_of(cohort), cohort.films, cohort.table, cohort.path.parent)
    splits = tuple(kind.splits(task.rows, 7, source))
    return SimpleNamespace(validation=kind), [Cut(cohort, task, tested or (cohort.name,), splits, {}, ())]


def fewest(cohort, cut: Cut, part: str) -> dict[str, int]:
    """Count by hand: the fewest groups of each class in any split's part."""
    rows = cohort.task("icu").rows
    counts = {"negative": [], "positive": []}
    for split in cut.whole:
        films = rows[rows["image"].isin(split.table.loc[split.table["part"] == part, "image"])]
        for label, name in enumerate(counts):
            counts[name].append(films.loc[films["label"] == label, "group"].nunique())
    return {name: min(found) for name, found in counts.items()}


def _each(cohort, cut: Cut, part: str) -> list[int]:
    """Count by hand: the groups of each class in every split's part."""
    rows = cohort.task("icu").rows
    found = []
    for split in cut.whole:
        films = rows[rows["image"].isin(split.table.loc[split.table["part"] == part, "image"])]
        found += [films.loc[films["label"] == label, "group"].nunique() for label in (0, 1)]
    return found


VALIDATIONS = {
    "kfold": ({"kfold": {"folds": 5}}, "Use 3 folds, or repeat the folds"),
    "repeated": ({"kfold": {"folds": 4, "repeats": 2}}, "Use 3 folds, and read"),
    "loco": ({"loco": {}}, "Read the intervals of these centers"),
    "holdout": ({"holdout": {}}, "Use kfold"),
    "predefined": ({"predefined": {"column": "part"}}, "Read the intervals, not the means"),
}


@pytest.mark.parametrize("name", VALIDATIONS)
def test_the_smallest_parts_are_named_with_their_counts(cohort, name):
    validation, remedy = VALIDATIONS[name]
    one = grid(cohort, validation)
    (cut,) = one[1]
    ((found,),) = few_in_parts([one], {cohort.name: cohort}).values()
    assert (found.check, found.severity, found.task) == ("few positives", "warning", "icu")
    assert found.remedy.startswith(remedy)
    for part in ("test", "val"):
        least = min(fewest(cohort, cut, part).values())
        assert found.numbers.get(f"least_{part}") == (least if least < 5 else None)
    tested = fewest(cohort, cut, "test")
    first, label = re.search(r"tests few groups of patients \((\d+) (\w+)", found.what).groups()
    assert int(first) == tested[label] == min(tested.values()) < 5
    assert f"by up to {100 // int(first)} points" in found.what
    assert "one patient moves a patient-level sensitivity" in found.what
    every = [groups for part in ("test", "val") for groups in _each(cohort, cut, part)]
    told = sorted(groups for key, groups in found.numbers.items() if not key.startswith("least_"))
    assert told == sorted(groups for groups in every if groups < 5)
    assert ("center '" in found.what) == (name == "loco")
    assert (" in fold" in found.what) == (len(cut.whole) > 1)


def test_parts_that_hold_enough_are_not_told(cohort):
    assert few_in_parts([grid(cohort, {"kfold": {"folds": 3}})], {cohort.name: cohort}) == {}


def test_of_an_external_test_the_tested_cohort_counts(cohort, tmp_path):
    other = load_cohort(make_phantom(tmp_path / "other", 8, 1, size=96, name="other"))
    one = grid(cohort, {"external": {"test": ["other/cohort.yaml"]}}, ("other",))
    found = few_in_parts([one], {cohort.name: cohort, "other": other})
    (validated,), (tested,) = found[cohort.name], found["other"]
    assert "validates on" in validated.what and "tests" not in validated.what
    groups = other.task("icu").rows.groupby("label")["group"].nunique()
    assert tested.what.startswith(f"external tests few groups of patients ({groups[1]} positive")
    assert f"{groups[0]} negative" in tested.what or groups[0] >= 5
    assert "validates" not in tested.what


def test_a_split_that_several_grids_use_is_told_once(cohort):
    one = grid(cohort, {"kfold": {"folds": 5}})
    assert few_in_parts([one, one], {cohort.name: cohort}) == few_in_parts([one], {cohort.name: cohort})


def test_two_predefined_splits_are_told_apart(cohort):
    table = cohort.table
    table["other"] = table["part"]
    try:
        grids = [grid(cohort, {"predefined": {"column": column}}) for column in ("part", "other")]
        found = few_in_parts(grids, {cohort.name: cohort})[cohort.name]
    finally:
        table.pop("other")
    assert [one.what.split(" tests")[0] for one in found] == [
        "predefined by the column 'part'",
        "predefined by the column 'other'",
    ]


def test_what_was_counted_replaces_what_was_estimated(cohort):
    counted = Finding("few positives", "warning", "counted", "do")
    error = Finding("test", "error", "forbidden", "do")
    estimated = audit(cohort, folds=5)
    assert "few positives" in {one.check for one in estimated.findings}
    merged = replace(estimated, findings=(error, *estimated.findings)).with_planned([counted])
    others = tuple(one for one in estimated.findings if one.check != "few positives")
    assert merged.findings == (error, counted, *others)
