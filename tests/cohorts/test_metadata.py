"""The cells that the control `metadata` predicts from."""

from pathlib import Path

import pytest

from prognobench.cohorts import film_metadata, load_cohort


@pytest.fixture
def changed(phantom: Path):
    """Return the phantom with other lines in its cohort.yaml, beside the phantom's own."""

    def change(old: str, new: str):
        text = phantom.read_text(encoding="utf-8")
        assert old in text
        path = phantom.with_name("changed.yaml")
        path.write_text(text.replace(old, new), encoding="utf-8")
        return load_cohort(path)

    return change


def test_view_sex_age_and_center_are_used_without_being_declared(phantom):
    cohort = load_cohort(phantom)
    cells = film_metadata(cohort)
    assert list(cells) == [
        *("view", "sex", "age", "center"), "film.width", "film.height", "film.brightness",
    ]  # fmt: skip
    assert len(cells) == len(cohort.films)
    assert cells["view"].tolist() == cohort.table["view"].tolist()
    assert [float(cell) for cell in cells["film.brightness"]] == cohort.films["brightness"].tolist()
    assert [int(cell) for cell in cells["film.height"]] == cohort.films["height"].tolist()


def test_outcomes_what_is_clinical_and_undeclared_columns_are_never_among_them(changed):
    cells = film_metadata(changed("acquisition: [view]\n  demographic: [sex, age]", "demographic: [sex]"))
    assert not {"icu", "severity", "day", "image", "patient"} & {column.removeprefix("table.") for column in cells}


def test_declared_columns_are_used_once_each(changed):
    cells = film_metadata(
        changed("acquisition: [view]\n  demographic: [sex, age]\n  clinical: [day]", "acquisition: [view, day, center]")
    )
    assert list(cells)[:5] == ["view", "table.day", "center", "sex", "age"]


def test_a_cohort_is_read_by_the_columns_of_another(changed, phantom):
    fewer = changed("sex: sex, age: age", "sex: sex")
    columns = list(film_metadata(load_cohort(phantom)))
    cells = film_metadata(fewer, columns)
    assert list(cells) == columns
    assert set(cells["age"]) == {""}
    assert cells["sex"].tolist() == fewer.table["sex"].tolist()


def test_a_cohort_without_any_column_still_has_size_and_brightness(phantom):
    path = phantom.with_name("bare.yaml")
    path.write_text(
        "name: bare\nmanifest: labels.csv\nimages: images\ncolumns: {image: image, patient: patient}\n"
        "tasks: {icu: {label: icu, positive: [yes], negative: [no]}}\n",
        encoding="utf-8",
    )
    assert list(film_metadata(load_cohort(path))) == ["film.width", "film.height", "film.brightness"]
