"""From `cohort.yaml` to films, groups and tasks."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prognobench.cohorts import CohortSpec, TaskSpec, describe, load_cohort
from prognobench.frame import InputError, sha256_file


def test_films_stand_in_the_order_of_the_table_with_their_facts(small) -> None:
    cohort = load_cohort(small.path)
    films = cohort.films
    assert films["image"].tolist() == ["a.png", "b.png", "c.png", "d.png"]
    assert films["row"].tolist() == [2, 3, 4, 5]
    assert films["center"].tolist() == ["North", "North", "South", "South"]
    assert films["sha256"].tolist() == [sha256_file(small.images / name) for name in films["image"]]
    assert films[["height", "width"]].to_numpy().tolist() == [[20, 30], [21, 30], [22, 30], [23, 30]]
    values = np.asarray(Image.open(small.images / "b.png")).astype(float)
    assert films["brightness"][1] == pytest.approx(((values - values.min()) / np.ptp(values)).mean(), rel=1e-5)
    assert cohort.table["ill"].tolist() == ["yes", "no", "yes", "no"]
    assert cohort.table.index.equals(films.index)
    assert cohort.excluded.empty


def test_a_task_has_its_rows_and_labels(small) -> None:
    task = load_cohort(small.path).task("ill")
    assert task.classes == ("negative", "positive")
    assert task.rows.columns.tolist() == ["image", "patient", "group", "center", "sha256", "label", "film"]
    assert task.rows["label"].tolist() == [1, 0, 1, 0]
    assert task.rows["label"].dtype == task.rows["film"].dtype == np.int64


def test_an_unknown_task_is_named_with_the_nearest(small) -> None:
    with pytest.raises(InputError, match=r"no task 'il'.*Did you mean 'ill'"):
        load_cohort(small.path).task("il")


def test_only_an_empty_cell_is_blank_and_values_mean_what_they_spell(small) -> None:
    small.edit("[yes], negative: [no]", "[NA, 1], negative: [None, 0]")
    for old, new in [
        ("North,yes", "North,NA"),
        ("North,no", "North,0"),
        ("South,yes", "South,1.0"),
        ("South,no", "South,"),
    ]:
        small.edit_table(old, new)
    task = load_cohort(small.path).task("ill")
    assert task.rows[["image", "label"]].to_numpy().tolist() == [["a.png", 1], ["b.png", 0]]
    assert task.left_out == {"blank label": 1, "label not listed: '1.0' (1)": 1}


def test_where_keeps_the_rows_it_lists_and_one_value_needs_no_list(small) -> None:
    small.edit(
        "ill: {label: ill, positive: [yes], negative: [no]}",
        "ill: {label: ill, positive: yes, negative: no, where: {where: South}}",
    )
    task = load_cohort(small.path).task("ill")
    assert task.rows["image"].tolist() == ["c.png", "d.png"]
    assert task.rows["film"].tolist() == [2, 3]
    assert task.left_out == {"where is not 'South'": 2}


def test_a_listed_value_that_never_occurs_is_no_error(small) -> None:
    small.edit("[yes]", "[yes, perhaps]")
    assert len(load_cohort(small.path).task("ill").rows) == 4


def test_tasks_limit_which_ones_must_be_usable(small) -> None:
    small.add("  never: {label: ill, positive: [ja], negative: [no]}\n")
    assert set(load_cohort(small.path, tasks=["ill"]).tasks) == {"ill", "never"}
    with pytest.raises(InputError, match="task 'never' has 0 positive and 2 negative"):
        load_cohort(small.path)
    with pytest.raises(InputError, match="no task 'nevr'"):
        load_cohort(small.path, tasks=["nevr"])


def test_view_sex_and_age_have_their_roles_without_being_declared(small) -> None:
    small.edit("center: where}", "center: where, view: ill, sex: where}\nroles: {clinical: [who2]}")
    small.edit("label: ill", "label: out")
    small.table.write_text("file,who,where,ill,who2,out\na.png,P1,N,x,y,yes\nb.png,P2,N,x,y,no\n", encoding="utf-8")
    cohort = load_cohort(small.path)
    roles = ("acquisition", "demographic", "clinical", "outcome")
    assert [cohort.columns_of(role) for role in roles] == [("ill",), ("where",), ("who2",), ()]


def test_every_key_of_the_file_has_its_text_for_the_reference() -> None:
    for part in (CohortSpec, TaskSpec, *(CohortSpec.model_fields[key].annotation for key in ("columns", "roles"))):
        assert all(field.description for field in part.model_fields.values())


def test_a_role_may_be_left_empty(small) -> None:
    small.add("roles:\n  acquisition:\n  outcome: ill\n")
    cohort = load_cohort(small.path)
    assert cohort.columns_of("acquisition") == ()
    assert cohort.columns_of("outcome") == ("ill",)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("t.csv", "\ufefffile,who,where,ill\na.png,P1,N,yes\nb.png,P2,N,no\n"),
        ("t.csv", "file;who;where;ill\r\na.png;P1;N;yes\r\nb.png;P2;N;no\r\n"),
        ("t.tsv", "file\twho\twhere\till\na.png\tP1\tN\tyes\nb.png\tP2\tN\tno"),
        ("t.CSV", "file,who,where,ill\n\na.png,P1,N,yes\n\nb.png,P2,N,no\n\n"),
        ("t.csv", "file,who,where,ill\ra.png,P1,N,yes\rb.png,P2,N,no\r"),
    ],
    ids=["byte order mark", "semicolons", "tabs", "blank lines", "old Mac line ends"],
)
def test_tables_as_spreadsheets_write_them(small, name: str, table: str) -> None:
    small.edit("table.csv", name)
    (small.path.parent / name).write_bytes(table.encode("utf-8"))
    films = load_cohort(small.path).films
    assert films[["image", "patient"]].to_numpy().tolist() == [["a.png", "P1"], ["b.png", "P2"]]


def test_a_row_is_the_line_where_it_begins_even_after_quoted_line_breaks(small) -> None:
    small.edit_table("file,who,where,ill\na.png,P1,North", 'file,who,where,ill\n\na.png,P1,"North\nby\nsea"')
    assert load_cohort(small.path).films["row"].tolist() == [3, 6, 7, 8]


def test_images_may_stand_in_folders_and_be_linked_inside_the_root(small) -> None:
    (small.images / "sub").mkdir()
    shutil.move(small.images / "a.png", small.images / "sub" / "ä ö.png")
    (small.images / "a.png").symlink_to(Path("sub") / "ä ö.png")
    small.edit_table("b.png", "sub/ä ö.png")
    films = load_cohort(small.path).films
    assert films["sha256"][0] == films["sha256"][1]


def test_the_content_tells_the_format_not_the_name(small) -> None:
    Image.open(small.images / "a.png").save(small.images / "x", "JPEG")
    (small.images / "x").replace(small.images / "a.png")
    assert len(load_cohort(small.path).films) == 4


@pytest.mark.parametrize(
    ("choice", "images", "groups"),
    [
        ("group", "abcd", ["P1", "P1", "P1", "P3"]),
        ("keep_first", "abd", ["P1", "P1", "P3"]),
        ("allow", "abcd", ["P1", "P1", "P2", "P3"]),
    ],
)
def test_films_of_the_same_bytes(small, choice: str, images: str, groups: list[str]) -> None:
    shutil.copy(small.images / "a.png", small.images / "c.png")
    small.add(f"on_duplicate: {choice}\n")
    cohort = load_cohort(small.path)
    assert cohort.films["image"].tolist() == [f"{name}.png" for name in images]
    assert cohort.films["group"].tolist() == groups
    expected = [[4, "c.png", "the same bytes as row 2", "duplicate"]] if choice == "keep_first" else []
    assert cohort.excluded.to_numpy().tolist() == expected


def test_bad_images_are_left_out_and_counted_where_the_cohort_says_so(small) -> None:
    (small.images / "a.png").unlink()
    (small.images / "b.png").write_bytes((small.images / "b.png").read_bytes()[:200])
    small.add("on_bad_image: exclude\n")
    for _ in range(2):  # a film that is known to be bad stays so
        cohort = load_cohort(small.path)
        assert cohort.films["image"].tolist() == ["c.png", "d.png"]
        assert cohort.table.index.tolist() == cohort.task("ill").rows["film"].tolist() == [0, 1]
        assert cohort.excluded["row"].tolist() == [2, 3]
        assert cohort.excluded["reason"][0] == "the file is not there"
        assert "truncated" in cohort.excluded["reason"][1]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may read every file")
def test_a_film_that_may_not_be_read_is_named(small) -> None:
    (small.images / "a.png").chmod(0)
    with pytest.raises(InputError, match=r"row 2: the image 'a\.png': the file cannot be read"):
        load_cohort(small.path)


def test_progress_counts_films_up_to_all_of_them(small) -> None:
    for _ in range(2):
        steps: list[tuple[int, int]] = []
        load_cohort(small.path, progress=lambda done, total, steps=steps: steps.append((done, total)))
        assert [done for done, _ in steps] == sorted({done for done, _ in steps})
        assert steps[-1] == (4, 4)


def test_describe_counts_what_is_there_and_json_can_say_it(small) -> None:
    (small.images / "d.png").unlink()
    small.edit_table("P3,South,no", "P3,South,no\ne.png,P4,South,no\nf.png,P5,South,")
    shutil.copy(small.images / "a.png", small.images / "e.png")
    Image.open(small.images / "b.png").rotate(90).save(small.images / "f.png")
    small.add("on_bad_image: exclude\n")
    counts = json.loads(json.dumps(describe(load_cohort(small.path))))
    assert counts == {
        "name": "small",
        "synthetic": False,
        "films": 5,
        "distinct_films": 4,
        "patients": 4,
        "groups": 3,
        "centers": {"North": 2, "South": 3},
        "excluded": {
            "films": 1,
            "reasons": {"the file is not there": 1},
            "rows": [{"row": 5, "image": "d.png", "reason": "the file is not there"}],
        },
        "tasks": {
            "ill": {
                "films": 4,
                "patients": 3,
                "groups": 2,
                "classes": {
                    "negative": {"films": 2, "patients": 2, "groups": 1},
                    "positive": {"films": 2, "patients": 2, "groups": 2},
                },
                "centers": {"North": {"negative": 1, "positive": 1}, "South": {"negative": 1, "positive": 1}},
                "left_out": {"blank label": 1},
            }
        },
    }
