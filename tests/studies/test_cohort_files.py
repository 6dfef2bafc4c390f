"""What a study leaves of its cohorts, for subgroups and for the report."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from prognobench.cohorts import describe, load_cohort
from prognobench.frame import InputError
from prognobench.studies import Store, read_cohorts, read_films
from prognobench.studies._cohort_files import keep_cohorts
from prognobench.studies._store import write_plan


@pytest.fixture
def cohort(phantom):
    return load_cohort(phantom)


def plan(store, **more):
    write_plan(store, "s", {"study": "s", "jobs": [], "left_out": [], **more})


@pytest.fixture
def store(tmp_path, cohort):
    store = Store(tmp_path)
    plan(store, cohorts=keep_cohorts(store, [cohort]))
    return store


def test_films_are_as_the_table_spells_them(store, cohort):
    films = read_films(store.root)
    assert list(films.columns) == ["cohort", "image", "view", "center", "sex", "age"]
    assert set(films["cohort"]) == {cohort.name}
    assert films["image"].tolist() == cohort.films["image"].tolist()
    for name in ("view", "center", "sex", "age"):
        column = getattr(cohort.spec.columns, name)
        expected = [""] * len(films) if column is None else cohort.table[column].tolist()
        assert films[name].tolist() == expected
    assert films["view"].nunique() > 1


def test_counts_are_those_of_describe(store, cohort):
    counts, told = read_cohorts(store.root), describe(cohort)
    total = counts[counts["task"].isna() & counts["left_out"].isna()].iloc[0]
    assert counts["synthetic"].all() and told["synthetic"]
    assert (total["films"], total["patients"], total["groups"]) == (told["films"], told["patients"], told["groups"])
    for task, expected in told["tasks"].items():
        rows = counts[counts["task"].eq(task).fillna(False) & counts["left_out"].isna()]
        for label, sizes in expected["classes"].items():
            whole = rows[rows["class"].eq(label).fillna(False) & rows["center"].isna()].iloc[0]
            assert {name: whole[name] for name in sizes} == sizes
        centers = rows[rows["center"].notna()]
        assert centers["films"].sum() == expected["films"]


def test_nothing_but_the_named_columns_is_kept(store, cohort):
    (path,) = (store.root / "cohorts").iterdir()
    content = json.loads(path.read_text())
    assert set(content["films"]) == {"image", "view", "center", "sex", "age"}
    assert "rows" not in content["description"]["excluded"]
    text = json.dumps(content["description"])
    assert not any(name in text for name in [*cohort.films["image"], *cohort.films["patient"]])


def test_to_keep_the_same_cohort_again_writes_the_same_file(store, cohort):
    (path,) = (store.root / "cohorts").iterdir()
    before = path.read_bytes()
    path.write_bytes(b"{}")
    assert keep_cohorts(store, [cohort]) == {cohort.name: path.stem}
    assert path.read_bytes() == before


def test_a_plan_from_before_reads_as_nothing_known(tmp_path):
    plan(Store(tmp_path))
    assert read_films(tmp_path).empty
    assert list(read_films(tmp_path).columns) == ["cohort", "image", "view", "center", "sex", "age"]
    assert read_cohorts(tmp_path).empty


@pytest.mark.parametrize("read", [read_films, read_cohorts])
def test_altered_and_missing_files_are_named(store, read):
    (path,) = (store.root / "cohorts").iterdir()
    path.write_bytes(path.read_bytes().replace(b"AP", b"PA", 1))
    with pytest.raises(InputError, match=f"{path.name}: it was altered"):
        read(store.root)
    path.unlink()
    with pytest.raises(InputError, match=f"{path.name}: it is missing"):
        read(store.root, "s")
    with pytest.raises(InputError, match="there is no study 'other'"):
        read(store.root, "other")


def test_which_cohort_file_belongs_to_a_study_is_sealed(store):
    path = store.plans / "s.json"
    content = json.loads(path.read_text())
    content["cohorts"] = {}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="the plan was altered"):
        read_films(store.root)


def test_films_of_two_cohorts_stand_in_one_table(tmp_path, cohort):
    other = pd.DataFrame(cohort.films).assign(center="Z")
    store = Store(tmp_path)
    second = type(cohort)(**{**vars(cohort), "name": "other", "films": other})
    plan(store, cohorts=keep_cohorts(store, [cohort, second]))
    films = read_films(tmp_path)
    assert films["cohort"].value_counts().to_dict() == {cohort.name: len(other), "other": len(other)}
    assert set(films.loc[films["cohort"] == "other", "center"]) == {"Z"}
