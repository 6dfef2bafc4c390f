"""Every fault of a cohort is named: which file, which row, what to do; and all of them at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from prognobench.cohorts import load_cohort
from prognobench.frame import InputError


def in_yaml(old: str, new: str) -> Callable:
    return lambda small: small.edit(old, new)


def in_table(old: str, new: str) -> Callable:
    return lambda small: small.edit_table(old, new)


def whole_table(content: bytes) -> Callable:
    return lambda small: small.table.write_bytes(content)


def as_film(content: Callable[[bytes], bytes]) -> Callable:
    def spoil(small) -> None:
        path = small.images / "b.png"
        path.write_bytes(content(path.read_bytes()))

    return spoil


def latin_1(small) -> None:
    small.edit_table("P3,South", "P3,S\N{LATIN SMALL LETTER U WITH DIAERESIS}d")
    small.table.write_bytes(small.table.read_text(encoding="utf-8").encode("latin-1"))


def missing_film(small) -> None:
    (small.images / "b.png").unlink()


def folder_for_film(small) -> None:
    missing_film(small)
    (small.images / "b.png").mkdir()


def link_out(small) -> None:
    outside = small.path.parent / "outside.png"
    shutil.move(small.images / "b.png", outside)
    (small.images / "b.png").symlink_to(outside)


def folder_link_out(small) -> None:
    outside = small.path.parent / "elsewhere"
    outside.mkdir()
    shutil.move(small.images / "b.png", outside / "b.png")
    (small.images / "sub").symlink_to(outside)
    small.edit_table("b.png", "sub/b.png")


def link_circle(small) -> None:
    missing_film(small)
    (small.images / "b.png").symlink_to("b.png")


def constant_film(small) -> None:
    Image.new("L", (30, 30), 5).save(small.images / "b.png")


def same_bytes(small) -> None:
    shutil.copy(small.images / "a.png", small.images / "c.png")
    small.add("on_duplicate: error\n")


T, Y = "table.csv", "cohort.yaml"
FAULTS = {
    # id: (how the cohort is spoiled, file, row, what is said, what to do)
    "unknown key": (in_yaml("manifest:", "manifset:"), Y, 2, "unknown key 'manifset'", "Did you mean 'manifest'"),
    "unknown key in a task": (in_yaml("positive:", "positiv:"), Y, 6, "'tasks.ill.positiv'", "mean 'positive'"),
    "unknown choice": (in_yaml("images: images", "on_bad_image: skip"), Y, 3, "on_bad_image", "docs/"),
    "Python object": (in_yaml("small", "!!python/object/apply:os.getcwd []"), Y, 1, "build an object", "plain text"),
    "both classes": (in_yaml("[no]", "[no, yes]"), Y, 6, "'yes' is both positive and negative", "one of the two"),
    "blank class": (in_yaml("[no]", "[no, '']"), Y, 6, "blank label", "Remove it"),
    "two roles": (
        in_yaml("images: images", "roles: {clinical: [ill], outcome: [ill]}"),
        Y,
        3,
        "'ill' is both of role clinical and of role outcome",
        "one role",
    ),
    "label as predictor": (in_yaml("images: images", "roles: {clinical: [ill]}"), Y, 6, "predict itself", "outcome"),
    "patient as predictor": (in_yaml("images: images", "roles: {clinical: who}"), Y, 3, "be a predictor", "Remove it"),
    "missing table": (in_yaml("table.csv", "labels.csv"), Y, 2, "'labels.csv' is not there", "`manifest:`"),
    "missing image root": (in_yaml("images: images", "images: films"), Y, 3, "'films' is not a folder", "`images:`"),
    "missing column": (in_yaml("patient: who", "patient: whom"), Y, 4, "the column 'whom'", "Did you mean 'who'"),
    "missing label column": (in_yaml("label: ill", "label: sick"), Y, 6, "the column 'sick'", "Known: file, who"),
    "missing where column": (in_yaml("[no]}", "[no], where: {wher: N}}"), Y, 6, "column 'wher'", "mean 'where'"),
    "one class": (in_yaml("[yes]", "[Yes]"), Y, 6, "0 positive and 2 negative.*'yes' (2), 'no' (2)", "what the table"),
    "one class after where": (in_yaml("[no]}", "[no], where: {who: P3}}"), Y, 6, "1 of 4 rows", "widen"),
    "not a table": (
        in_yaml("table.csv", "cohort.yaml"),
        Y,
        None,
        ".tsv, .xlsm or .xlsx are read",
        "Save the table as CSV",
    ),
    "empty table": (whole_table(b""), T, None, "the table is empty", "header line"),
    "header alone": (whole_table(b"file,who,where,ill\n"), T, 1, "no rows", "Add one row"),
    "Latin-1 table": (latin_1, T, 5, "not UTF-8", "Save as UTF-8"),
    "UTF-16 table": (whole_table("file,who".encode("utf-16")), T, 1, "not UTF-8", "Save as UTF-8"),
    "NUL byte": (in_table("b.png", "b.png\0"), T, 3, "NUL", "Save as UTF-8"),
    "open quote": (in_table("b.png", '"b.png'), T, 3, "cannot be split", "quotes"),
    "ragged row": (in_table("b.png,P1", "b.png,P1,P1"), T, 3, "5 cells, the header has 4", "quotes"),
    "repeated column": (in_table("file,who", "file,file"), T, 1, "columns 1 and 2 are both named 'file'", "own name"),
    "nameless column": (in_table("where,ill", "where,"), T, 1, "column 4 has no name", "Name it"),
    "empty patient": (in_table("b.png,P1", "b.png,"), T, 3, "patient cell is empty", "remove the row"),
    "patient with a space": (in_table("b.png,P1", "b.png,P1 "), T, 3, "white space", "counts as two"),
    "empty image": (in_table("b.png", ""), T, 3, "image cell is empty", "remove the row"),
    "one image twice": (in_table("b.png", "./a.png"), T, 3, "stands here and in row 2", "Keep one"),
    "missing image": (missing_film, T, 3, "'b.png': the file is not there", "spelling"),
    "folder for an image": (folder_for_film, T, 3, "not a file", "image file"),
    "absolute path": (in_table("b.png", "/etc/hostname"), T, 3, "absolute", "inside the image root"),
    "Windows path": (in_table("b.png", "C:/b.png"), T, 3, "absolute", "inside the image root"),
    "backslash": (in_table("b.png", "sub\\b.png"), T, 3, "backslash", "/ between folders"),
    "path upwards": (in_table("b.png", "../images/b.png"), T, 3, "..", "inside the image root"),
    "link out of the root": (link_out, T, 3, "symbolic link", "Copy the file into the image root"),
    "linked folder out": (folder_link_out, T, 3, "symbolic link", "Copy the file into the image root"),
    "link in a circle": (link_circle, T, 3, "'b.png'", "name"),
    "truncated image": (as_film(lambda film: film[:-20]), T, 3, "truncated", "on_bad_image: exclude"),
    "unreadable image": (as_film(lambda _: b"not an image"), T, 3, "PNG, JPEG and TIFF are read", "Convert"),
    "constant film": (constant_film, T, 3, "one gray value only", "remove the row"),
    "same bytes": (same_bytes, T, 4, "same bytes as that of row 2", "on_duplicate: group"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_file_row_and_remedy(small, name: str) -> None:
    load_cohort(small.path)  # without fault before it is spoiled
    spoil, file, row, what, remedy = FAULTS[name]
    spoil(small)
    with pytest.raises(InputError) as caught:
        load_cohort(small.path)
    found = [
        problem
        for problem in caught.value.problems
        if Path(problem.where).name == file
        and problem.row == row
        and all(part in problem.what for part in what.split(".*"))
        and remedy in problem.remedy
    ]
    assert len(found) == 1, str(caught.value)


def test_all_faults_stand_in_one_message(small) -> None:
    small.edit("center: where", "center: clinic")
    small.edit("[yes]", "[Yes]")
    small.add("  other: {label: sick, positive: [a], negative: [b]}\n")
    small.edit_table(
        "d.png,P3,South,no\n", "d.png,,South,no\nd.png,P4,South\na.png,P5,South,no\n../x.png,P6,South,no\n"
    )
    (small.images / "b.png").unlink()
    (small.images / "c.png").write_bytes(b"GIF89a")
    with pytest.raises(InputError) as caught:
        load_cohort(small.path)
    found = [(Path(problem.where).name, problem.row) for problem in caught.value.problems]
    yaml = [("cohort.yaml", 4), ("cohort.yaml", 7)]
    assert found == [*yaml, *(("table.csv", row) for row in (3, 4, 5, 6, 7, 8))], str(caught.value)


def test_a_clean_row_beside_a_fault_is_not_blamed(small) -> None:
    small.edit_table("b.png,P1", "b.png,")
    with pytest.raises(InputError) as caught:
        load_cohort(small.path)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    "spoil", [link_out, folder_link_out, in_table("b.png", "../b.png"), in_table("b.png", "/b.png")]
)
def test_a_path_out_of_the_root_is_an_error_even_where_bad_images_are_left_out(small, spoil: Callable) -> None:
    small.add("on_bad_image: exclude\n")
    spoil(small)
    with pytest.raises(InputError, match="row 3"):
        load_cohort(small.path)


def test_nothing_outside_the_root_is_read(small, monkeypatch: pytest.MonkeyPatch) -> None:
    from prognobench.cohorts import _cohort

    read: list[Path] = []
    real = _cohort.sha256_file
    monkeypatch.setattr(_cohort, "sha256_file", lambda path: (read.append(path), real(path))[1])
    link_out(small)
    with pytest.raises(InputError):
        load_cohort(small.path)
    assert sorted(path.name for path in read) == ["a.png", "c.png", "d.png"]


def test_a_cohort_of_which_no_film_is_left_says_why(small) -> None:
    small.add("on_bad_image: exclude\n")
    for name in "abcd":
        (small.images / f"{name}.png").unlink()
    with pytest.raises(InputError, match="no film is left of 4; the first is left out because: the file is not there"):
        load_cohort(small.path)


def test_values_of_a_long_column_are_cut_short(small) -> None:
    rows = "".join(f"{number}.png,P{number},N,v{number}\n" for number in range(30))
    small.table.write_text("file,who,where,ill\n" + rows, encoding="utf-8")
    with pytest.raises(InputError, match=r"'v9' \(1\) and 20 other values"):
        load_cohort(small.path)
