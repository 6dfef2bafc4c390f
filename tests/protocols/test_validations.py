"""Ways to split: by group, stratified, the same everywhere, and every fault of what someone else has cut is named."""

import hashlib
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from drawn_cohorts import cohorts, films_of, part_of, simple, table
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prognobench.frame import InputError
from prognobench.protocols import Source, Validation, check_split_file

KINDS = [
    {"kfold": {"folds": 4}},
    {"kfold": {"folds": 5, "variant": "paper"}},
    {"loco": {}},
    {"loco": {"val": 0.3, "stratify": ["class", "center"]}},
    {"holdout": {"repeats": 2}},
    {"holdout": {"test": 0.3, "val": 0.1, "stratify": ["class", "center"]}},
    {"external": {"test": ["other.yaml"]}},
]
SEEDS = st.integers(0, 2**32)


def cut(rows, setting, seed=0, source=None):
    return Validation.model_validate(setting).splits(rows, seed, source)


def fewer(setting, **changes):
    return settings(max_examples=25, deadline=None, **changes)(setting)


@pytest.mark.parametrize("setting", KINDS, ids=str)
@fewer
@given(rows=cohorts(), seed=SEEDS)
def test_parts_are_disjoint_by_group_and_hold_every_class(setting, rows, seed):
    label = rows.set_index("image")["label"]
    for split in cut(rows, setting, seed):
        assert split.table["image"].is_unique
        assert split.table.groupby("group")["part"].nunique().max() == 1
        parts = {"train", "val"} if "external" in setting else {"train", "val", "test"}
        assert set(split.table["part"]) == parts
        assert (split.table.groupby("part")["image"].agg(lambda images: label[images].nunique()) == 2).all()


@pytest.mark.parametrize("setting", KINDS[:4], ids=str)
@fewer
@given(rows=cohorts(), seed=SEEDS)
def test_every_film_is_tested_exactly_once_over_the_folds(setting, rows, seed):
    tested = [image for split in cut(rows, setting, seed) for image in films_of(split, "test")]
    assert sorted(tested) == sorted(rows["image"])


@fewer
@given(rows=cohorts(), seed=SEEDS)
def test_loco_tests_all_films_of_a_center_and_none_of_its_patients_trains(rows, seed):
    for split in cut(rows, {"loco": {}}, seed):
        there = rows[rows["center"] == split.test_center]
        assert films_of(split, "test") == set(there["image"])
        learned = split.table[split.table["part"] != "test"]
        assert not set(learned["group"]) & set(there["group"])
        assert set(learned["image"]) == set(rows.loc[~rows["group"].isin(there["group"]), "image"])


def test_loco_leaves_the_other_films_of_a_tested_patient_out():
    rows = simple(per_class=5, centers=("a", "b", "c"))
    travelled = table([*rows[["patient", "group", "label", "center"]].itertuples(index=False), ("a00", "a00", 0, "b")])
    by_center = {split.test_center: part_of(split) for split in cut(travelled, {"loco": {}})}
    new = travelled["image"].iloc[-1]
    assert new not in by_center["a"]
    assert by_center["b"][new] == "test"
    assert by_center["c"][new] == by_center["c"][travelled["image"].iloc[0]] != "test"


@pytest.mark.parametrize("setting", [KINDS[1], {"kfold": {"folds": 5, "stratify": ["class", "center"]}}], ids=str)
@fewer
@given(rows=cohorts(most_films=1, wandering=False), seed=SEEDS)
def test_strata_of_a_fold_are_within_one_group_of_the_ideal(setting, rows, seed):
    for split in cut(rows, setting, seed):
        tested = rows[rows["image"].isin(films_of(split, "test"))]
        for keys in (["label", "center"],):
            for cell, total in rows.groupby(keys).size().items():
                found = (tested[keys].apply(tuple, axis=1) == cell).sum()
                assert abs(found - total / 5) < 1


@pytest.mark.parametrize(
    ("setting", "part", "share"), [({"holdout": {"test": 0.3}}, "test", 0.3), ({"external": {"test": "o"}}, "val", 0.2)]
)
@fewer
@given(rows=cohorts(most_films=1, wandering=False), seed=SEEDS)
def test_strata_of_a_share_are_within_one_group_of_the_ideal(setting, part, share, rows, seed):
    for split in cut(rows, setting, seed):
        chosen = rows[rows["image"].isin(films_of(split, part))]
        for label, total in rows["label"].value_counts().items():
            assert abs((chosen["label"] == label).sum() - share * total) < 1


@pytest.mark.parametrize("setting", KINDS, ids=str)
def test_the_order_of_the_rows_changes_nothing_and_the_seed_does(setting):
    rows = simple(per_class=12, films=2)
    hashes = [split.sha256 for split in cut(rows, setting, 1)]
    assert hashes == [split.sha256 for split in cut(rows.iloc[::-1], setting, 1)]
    assert hashes != [split.sha256 for split in cut(rows, setting, 2)]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"kfold": {"folds": 10, "variant": "paper"}}, "be73acc2ac13"),
        ({"loco": {}}, "3bfaf072b95a"),
        ({"loco": {"variant": "paper"}}, "073e505b2714"),
        ({"holdout": {"repeats": 2}}, "66fbd0119b4c"),
        ({"external": {"test": "o"}}, "2bf8616b5808"),
    ],
    ids=str,
)
def test_the_same_seed_gives_the_same_files_on_every_platform(setting, expected):
    # The hashes were computed once; a change of them is a change of everyone's splits.
    splits = cut(simple(per_class=20), setting, 42)
    assert hashlib.sha256("".join(split.sha256 for split in splits).encode()).hexdigest()[:12] == expected


@pytest.mark.parametrize(
    ("setting", "sizes"),
    [
        ({"kfold": {"folds": 5, "variant": "paper"}}, (60, 20, 20)),
        ({"kfold": {"folds": 10, "variant": "paper"}}, (70, 20, 10)),
        ({"loco": {"variant": "paper"}}, (45, 5, 50)),
        ({"loco": {}}, (40, 10, 50)),
        ({"holdout": {}}, (64, 16, 20)),
    ],
    ids=str,
)
def test_the_parts_have_the_sizes_that_were_asked_for(setting, sizes):
    for split in cut(simple(per_class=25), setting, 3):
        assert tuple(len(films_of(split, part)) for part in ("train", "val", "test")) == sizes


def test_the_paper_s_folds_of_a_cohort_that_names_no_center_are_those_of_one_center():
    unnamed, named = (cut(simple(centers=(name,)).assign(group=range(20)), "5fold", 3) for name in ("", "x"))
    paper = cut(simple(centers=("",)).assign(group=range(20)), {"kfold": {"variant": "paper"}}, 3)
    assert [part_of(split) for split in paper] == [part_of(split) for split in unnamed]
    assert [part_of(split) for split in paper] == [part_of(split) for split in named]


@pytest.mark.parametrize(
    ("setting", "label"),
    [
        ("loCo", "loco"), ("L", "loco"), ("5fold", "kfold5"), ("5", "kfold5"), ("10fold", "kfold10"), ("10", "kfold10"),
        ("hold_out", "holdout"), ("H", "holdout"), ({"loCo": {"variant": "paper"}}, "loco_paper"),
        ({"10fold": {"variant": "paper"}}, "kfold10_paper"), ({"kfold": None}, "kfold5"),
        ({"kfold": {"folds": "10", "val_folds": "2"}}, "kfold10_val2"),
        ({"kfold": {"stratify": ["class", "center"]}}, "kfold5_class-center"),
        ({"loco": {"val": 0.1}}, "loco_val0.1"), ({"loco": {"stratify": []}}, "loco_none"),
        ({"holdout": {"test": "0.3"}}, "holdout_test0.3"), ({"external": {"test": "x"}}, "external"),
        ({"predefined": {"column": "part"}}, "predefined"),
    ],
)  # fmt: skip
def test_every_way_has_a_word_in_tables_and_the_authors_names_are_known(setting, label):
    assert Validation.model_validate(setting).label == label


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({}, "names no way to split"),
        ({"kfold": {}, "loco": {}}, "names several ways to split: kfold, loco"),
        ({"5fold": {"folds": 10}}, "'5fold' stands for folds: 5"),
        ({"kfold": {"folds": 7, "variant": "paper"}}, "has no cut of 7 folds"),
        ({"kfold": {"val_folds": 4}}, "none trains"),
        ({"loco": {"variant": "paper", "val": 0.2}}, "sets `val` itself"),
        ({"kfold": {"stratify": ["class", "class"]}}, "a stratum is named twice"),
        ({"predefined": {}}, "comes from a column or from files"),
        ({"predefined": {"column": "a", "files": ["b"]}}, "comes from a column or from files"),
        ({"holdout": {"test": 1}}, "less than 1"),
        ({"external": {}}, "external.test"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, expected):
    with pytest.raises(ValueError, match=expected):
        Validation.model_validate(setting)


@pytest.mark.parametrize(
    ("rows", "setting", "expected"),
    [
        (simple(centers=("a",)), "loco", "at least 2 centers, there is 'a' alone"),
        (simple(centers=("",)), "loco", "needs centers, and the cohort names none"),
        (simple(centers=("a", "")), "loco", "20 films have none"),
        (simple(centers=("",)), {"kfold": {"stratify": ["class", "center"]}}, "needs centers"),
        (simple(centers=("a", "")), {"kfold": {"variant": "paper"}}, "20 films have none"),
        (
            simple(centers="abc").query("center != 'c' or label == 0"),
            "loco",
            "'c', the test part has no film of class 1",
        ),
        (simple(per_class=1), {"holdout": {}}, "has no film of class"),
    ],
)
def test_films_that_cannot_be_cut_are_refused_with_the_reason(rows, setting, expected):
    with pytest.raises(ValueError, match=expected):
        cut(rows, setting)


# What someone else has cut.


class Cut:
    """A cohort of twelve patients with two films each, and a split of it in a column or a file."""

    def __init__(self, folder):
        self.rows = simple(per_class=3, films=2)
        patient = self.rows["patient"].str[-1]
        self.parts = list(patient.map({"0": "train", "1": "val", "2": "test"}))
        self.films = self.rows.assign(row=range(2, 26))
        self.path, self.folder = folder / "split.csv", folder
        self.lines = [f"{image},{part}" for image, part in zip(self.rows["image"], self.parts, strict=True)]
        self.header = "image,part"

    def of_file(self, **changes):
        self.path.write_text("\n".join([self.header, *self.lines]) + "\n")
        return check_split_file(self.path, self.rows, self.films, **changes)

    def of_column(self, **changes):
        source = Source(self.folder / "labels.csv", self.films, pd.DataFrame({"part": self.parts}), self.folder)
        (split,) = cut(self.rows, {"predefined": {"column": "part", **changes}}, 0, source)
        return split


@pytest.fixture
def their(tmp_path):
    return Cut(tmp_path)


def test_a_split_in_a_column_or_a_file_is_taken_as_it_is(their):
    expected = dict(zip(their.rows["image"], their.parts, strict=True))
    assert part_of(their.of_column()) == part_of(their.of_file()) == expected


def test_without_validation_films_a_fifth_of_the_training_groups_validates(their):
    their.rows = simple(per_class=10, films=2)
    their.parts = ["test" if patient.endswith(("0", "1")) else "train" for patient in their.rows["patient"]]
    their.films = their.rows.assign(row=range(2, 82))
    split = their.of_column()
    assert len(films_of(split, "val")) == 12  # of 32 groups: 3.2 of each class, so 3 each, two films a group
    assert split.table.groupby("group")["part"].nunique().max() == 1
    assert split.sha256 == their.of_column().sha256


def test_a_file_is_read_back_whoever_wrote_it(their, tmp_path):
    (split,) = cut(their.rows, {"holdout": {"test": 0.4, "val": 0.4}})
    assert check_split_file(split.save(tmp_path), their.rows).sha256 == split.sha256
    their.header = "image,patient,group,part,film"
    part, film = part_of(split), dict(zip(their.rows["image"], their.rows["sha256"], strict=True))
    their.lines = [f"x{number},y,z,{part[image]},{film[image]}" for number, image in enumerate(their.rows["image"])]
    assert their.of_file().sha256 == split.sha256
    their.header, their.lines = "part;note;image", [f"{part[image]};;{image}" for image in their.rows["image"]]
    assert their.of_file().sha256 == split.sha256


def test_films_outside_the_task_may_stand_in_the_file(their):
    whole = their.of_file()
    their.rows = their.rows.iloc[2:]
    assert part_of(their.of_file()) == {image: part for image, part in part_of(whole).items() if image > "001.png"}


@pytest.mark.parametrize("form", ["of_file", "of_column"])
def test_films_without_a_part_are_an_error_unless_they_are_to_be_left_out(their, form):
    their.parts[0] = their.parts[1] = ""
    their.lines = their.lines[2:]
    with pytest.raises(InputError, match="row 2: the part is blank" if form == "of_column" else "2 of the 24 films"):
        getattr(their, form)()
    with pytest.raises(InputError, match="the train part has no film of class 0"):
        their.rows = their.rows[(their.rows["label"] == 1) | (their.rows["patient"] != "b00")]
        getattr(their, form)(missing="leave_out")


@pytest.mark.parametrize("form", ["of_file", "of_column"])
def test_a_group_in_two_parts_a_fourth_part_and_a_lost_class_are_named_with_their_rows(their, form):
    for row, part in ((0, "test"), (7, "dev"), (8, "holdout")):
        their.parts[row] = part
        their.lines[row] = f"{their.rows['image'][row]},{part}"
    with pytest.raises(InputError) as caught:
        getattr(their, form)()
    message = str(caught.value)
    assert "row 9: the part is 'dev'" in message
    assert "row 10: the part is 'holdout'. Use train, val, test" in message
    for row in (7, 8):
        their.parts[row] = "train"
        their.lines[row] = f"{their.rows['image'][row]},train"
    with pytest.raises(InputError) as caught:
        getattr(their, form)()
    name = "split.csv" if form == "of_file" else "labels.csv"
    assert f"{name}, row 2: the group of patient 'a00' stands in test (row 2) and train (row 3)" in str(caught.value)
    assert "row 9: the group of patient 'a10'" not in str(caught.value)


def test_every_fault_of_a_split_file_comes_in_one_message(their):
    their.lines[1] = "elsewhere.png,train"
    their.lines[2] = f"{their.rows['image'][3]},val"
    their.lines[5] = f"{their.rows['image'][5]},exam"
    with pytest.raises(InputError) as caught:
        their.of_file()
    told = [str(problem).split("split.csv, ")[1] for problem in caught.value.problems]
    assert told[0].startswith("row 5: the image '003.png' stands here and in row 4")
    assert told[1].startswith("row 3: the cohort has no film 'elsewhere.png'")
    assert told[2].startswith("row 7: the part is 'exam'")


@pytest.mark.parametrize(
    ("header", "expected"),
    [("image,fold", "the column 'part' is missing"), ("film,part", "the column 'image' is missing")],
)
def test_a_missing_column_is_named(their, header, expected):
    their.header = header
    with pytest.raises(InputError, match=expected):
        their.of_file()


def test_an_altered_split_is_refused(their, tmp_path):
    (split,) = cut(their.rows, {"holdout": {"test": 0.4, "val": 0.4}})
    path = split.save(tmp_path)
    path.write_text(path.read_text().replace("val", "test"))
    with pytest.raises(InputError, match="the file was altered"):
        check_split_file(path, their.rows)


def test_files_are_the_folds_and_no_two_may_be_the_same(their):
    their.of_file()
    (their.folder / "b.csv").write_text(
        their.path.read_text().replace("val", "x").replace("test", "val").replace("x", "test")
    )
    source = Source(their.folder / "labels.csv", their.films, pd.DataFrame(index=range(24)), their.folder)
    splits = cut(their.rows, {"predefined": {"files": ["split.csv", "b.csv"]}}, 0, source)
    assert [split.fold for split in splits] == [0, 1]
    with pytest.raises(InputError, match=r"gives the same split as split\.csv"):
        cut(their.rows, {"predefined": {"files": ["split.csv", "b.csv", "split.csv"]}}, 0, source)
    with pytest.raises(InputError, match=r"none\.csv"):
        cut(their.rows, {"predefined": {"files": ["none.csv"]}}, 0, source)


def test_a_column_that_is_not_there_is_named(their):
    source = Source(their.folder / "labels.csv", their.films, pd.DataFrame({"parts": their.parts}), their.folder)
    with pytest.raises(InputError, match="Did you mean 'parts'"):
        cut(their.rows, {"predefined": {"column": "part"}}, 0, source)


# Laws of what someone else has cut, over drawn cohorts: several films a patient, shared films, mixed labels, centers.


PARTS = ("train", "val", "test")


def predefined(rows, parts, by_file=False, **changes):
    """Take `parts`, one a row, as a column of the table or as a file."""
    films = rows.assign(row=range(2, len(rows) + 2))
    with tempfile.TemporaryDirectory() as folder:
        if by_file:
            told = pd.DataFrame({"image": rows["image"], "part": parts})
            told[told["part"] != ""].to_csv(Path(folder) / "split.csv", index=False)
        source = Source(Path("labels.csv"), films, pd.DataFrame({"part": parts}), Path(folder))
        named = {"files": ["split.csv"]} if by_file else {"column": "part"}
        (split,) = cut(rows, {"predefined": {**named, **changes}}, 3, source)
    return split


def whole_groups(draw, rows, parts=PARTS):
    """Draw a part for each group."""
    groups = sorted(set(rows["group"]))
    drawn = draw(st.lists(st.sampled_from(parts), min_size=len(groups), max_size=len(groups)))
    return list(rows["group"].map(dict(zip(groups, drawn, strict=True))))


def lacking(rows, parts):
    """The (part, class) pairs without a film."""
    there = set(zip(parts, rows["label"], strict=True))
    return [(part, label) for part in PARTS for label in (0, 1) if (part, label) not in there]


@pytest.mark.parametrize("by_file", [False, True], ids=["column", "file"])
@fewer
@given(rows=cohorts(), data=st.data())
def test_parts_of_others_are_used_as_they_say_and_disjoint_by_group(by_file, rows, data):
    parts = whole_groups(data.draw, rows)
    assume(not lacking(rows, parts))
    split = predefined(rows, parts, by_file)
    assert part_of(split) == dict(zip(rows["image"], parts, strict=True))
    assert split.table.groupby("group")["part"].nunique().max() == 1
    shuffled = rows.assign(part=parts).sample(frac=1, random_state=data.draw(st.integers(0, 99)))
    again = predefined(shuffled.assign(film=range(len(rows))), shuffled["part"].tolist(), by_file)
    assert again.sha256 == split.sha256


@pytest.mark.parametrize("by_file", [False, True], ids=["column", "file"])
@fewer
@given(rows=cohorts(), data=st.data())
def test_a_part_of_others_without_a_class_is_refused_by_name(by_file, rows, data):
    part, label = data.draw(st.sampled_from(PARTS)), data.draw(st.integers(0, 1))
    of_class = set(rows.loc[rows["label"] == label, "group"])
    other = data.draw(st.sampled_from([name for name in PARTS if name != part]))
    parts = whole_groups(data.draw, rows)
    parts = [
        other if group in of_class and told == part else told for group, told in zip(rows["group"], parts, strict=True)
    ]
    assume("val" in parts)  # without any, some are taken from train
    with pytest.raises(InputError) as caught:
        predefined(rows, parts, by_file)
    first_part, first_label = lacking(rows, parts)[0]
    assert f"the {first_part} part has no film of class {first_label}" in str(caught.value)


@pytest.mark.parametrize("by_file", [False, True], ids=["column", "file"])
@fewer
@given(rows=cohorts(), data=st.data())
def test_a_torn_group_and_a_fourth_part_are_refused_with_their_rows(by_file, rows, data):
    parts = whole_groups(data.draw, rows)
    several = rows.index[rows.groupby("group")["image"].transform("size") > 1].tolist()
    row = data.draw(st.sampled_from(several or rows.index.tolist()))
    # The sole film of a group cannot be torn off it.
    torn = data.draw(st.booleans()) if several else False
    others = [name for name in PARTS if name != parts[row]]
    parts[row] = data.draw(st.sampled_from(others if torn else ["dev", "Train", "0"]))
    with pytest.raises(InputError) as caught:
        predefined(rows, parts, by_file)
    told = [str(problem) for problem in caught.value.problems]
    if torn:
        (torn_group,) = [line for line in told if "stands in" in line]
        assert f"{parts[row]} (row " in torn_group
        assert f"the group of patient '{rows['group'][row]}'" in torn_group
    else:
        assert [f"row {row + 2}: the part is '{parts[row]}'" in line for line in told] == [True]


@pytest.mark.parametrize("by_file", [False, True], ids=["column", "file"])
@fewer
@given(rows=cohorts(), data=st.data())
def test_without_val_whole_training_groups_of_both_classes_validate_and_nothing_else_moves(by_file, rows, data):
    parts = whole_groups(data.draw, rows, ("train", "train", "test"))
    strata = rows.assign(part=parts).groupby("group").agg(part=("part", "first"), label=("label", "max"))
    # A class of which few groups train has none to spare, and a group of both classes counts for the positive one.
    assume(strata.value_counts().get(("train", 0), 0) > 3 and strata.value_counts().get(("train", 1), 0) > 3)
    assume(not lacking(rows, ["val" if part == "train" else part for part in parts])[2:])
    split = predefined(rows, parts, by_file)
    told = dict(zip(rows["image"], parts, strict=True))
    assert {image for image, part in told.items() if part == "test"} == films_of(split, "test")
    assert {image for image, part in told.items() if part == "train"} == films_of(split, "train") | films_of(
        split, "val"
    )
    assert split.table.groupby("group")["part"].nunique().max() == 1
    assert not lacking(rows, rows["image"].map(part_of(split)))


@pytest.mark.parametrize("by_file", [False, True], ids=["column", "file"])
@fewer
@given(rows=cohorts(), data=st.data())
def test_films_without_a_part_are_refused_or_left_out_and_never_placed(by_file, rows, data):
    parts = whole_groups(data.draw, rows, (*PARTS, *PARTS, ""))
    assume("" in parts and not lacking(rows, parts))
    with pytest.raises(InputError, match=r"have no part" if by_file else "the part is blank"):
        predefined(rows, parts, by_file)
    told = dict(zip(rows["image"], parts, strict=True))
    split = predefined(rows, parts, by_file, missing="leave_out")
    assert part_of(split) == {image: part for image, part in told.items() if part}
