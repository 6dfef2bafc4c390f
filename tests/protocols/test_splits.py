"""Splits: by group, stratified, the same everywhere, and refused where a part lacks a class."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prognobench.frame import InputError
from prognobench.protocols import Split, Validation, kfold_splits, read_split


def films(groups):
    """Make the films of groups given as lists of labels."""
    rows = [
        {"image": f"{number}_{film}.png", "patient": f"p{number}", "group": f"g{number}", "label": label}
        for number, labels in enumerate(groups)
        for film, label in enumerate(labels)
    ]
    return pd.DataFrame(rows)


@st.composite
def cohorts(draw, most_films=4):
    """Cohorts with mixed labels and several films a patient, large enough to be cut."""
    folds = draw(st.integers(3, 5))
    pure = [[label] * draw(st.integers(1, most_films)) for label in (0, 1) for _ in range(folds)]
    mixed = draw(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=most_films), max_size=20))
    return films(draw(st.permutations(pure + mixed))), folds, draw(st.integers(0, 2**32))


@given(cohorts())
def test_parts_are_disjoint_by_group_and_every_film_is_tested_once(case):
    rows, folds, seed = case
    splits = kfold_splits(rows, folds, seed)
    tested = pd.concat([split.table[split.table["part"] == "test"] for split in splits])
    assert sorted(tested["image"]) == sorted(rows["image"])
    for split in splits:
        assert split.table.groupby("group")["part"].nunique().max() == 1
        assert set(split.table["part"]) == {"train", "val", "test"}


@given(cohorts())
def test_every_part_holds_both_classes(case):
    rows, folds, seed = case
    label = rows.set_index("image")["label"]
    for split in kfold_splits(rows, folds, seed):
        classes = split.table.groupby("part")["image"].agg(lambda images: label[images].nunique())
        assert (classes == 2).all()


@given(cohorts(most_films=1))
def test_strata_are_within_one_group_of_the_ideal_when_groups_are_singletons(case):
    rows, folds, seed = case
    label = rows.set_index("image")["label"]
    for c, total in label.value_counts().items():
        for split in kfold_splits(rows, folds, seed):
            tested = split.table.loc[split.table["part"] == "test", "image"]
            assert abs((label[tested] == c).sum() - total / folds) < 1


@given(cohorts(), st.randoms())
def test_the_order_of_the_rows_changes_nothing(case, random):
    rows, folds, seed = case
    order = list(rows.index)
    random.shuffle(order)
    shuffled = kfold_splits(rows.loc[order], folds, seed)
    assert [split.sha256 for split in kfold_splits(rows, folds, seed)] == [split.sha256 for split in shuffled]


def test_the_next_fold_validates():
    splits = kfold_splits(films([[0]] * 10 + [[1]] * 10), 5, 0)
    for split, after in zip(splits, [*splits[1:], splits[0]], strict=True):
        validated = set(split.table.loc[split.table["part"] == "val", "image"])
        assert validated == set(after.table.loc[after.table["part"] == "test", "image"])


def test_the_same_seed_gives_the_same_files_on_every_platform():
    # The hashes were computed once; a change of them is a change of everyone's splits.
    splits = kfold_splits(films([[0]] * 6 + [[1, 0]] * 6), 3, 42)
    assert [split.sha256[:12] for split in splits] == ["5d32198b6813", "c74fc5e9db87", "0cc883f2a121"]


def test_seeds_and_repeats_deal_anew():
    rows = films([[0]] * 20 + [[1]] * 20)
    hashes = {kfold_splits(rows, 5, seed, repeat)[0].sha256 for seed in (1, 2) for repeat in (0, 1)}
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([[0], [1], [0]], "5 folds need at least 5 groups of patients, there are 3"),
        ([[0]] * 10 + [[1]] * 2, "has no film of class 1 (groups: 10 of class 0, 2 of class 1)"),
    ],
)
def test_what_cannot_be_cut_is_refused_with_counts_and_remedy(groups, expected):
    with pytest.raises(ValueError) as caught:
        kfold_splits(films(groups), 5, 0)
    assert expected in str(caught.value)
    assert "Use" in str(caught.value)


def test_a_split_file_reads_back_and_an_altered_one_is_refused(tmp_path):
    split = kfold_splits(films([[0]] * 5 + [[1]] * 5), 5, 0)[0]
    path = split.save(tmp_path)
    assert path.name == f"{split.sha256}.csv"
    pd.testing.assert_frame_equal(read_split(path), split.table.astype(str))
    path.write_text(path.read_text().replace("test", "train"))
    with pytest.raises(InputError, match="the file was altered"):
        read_split(path)


def test_a_group_in_two_parts_or_a_fourth_part_is_refused(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("image,patient,group,part\na,p,g,train\nb,p,g,test\nc,q,h,dev\n")
    with pytest.raises(InputError) as caught:
        read_split(path)
    assert "group 'g' stands in train and test" in str(caught.value)
    assert "row 4: the part is 'dev'" in str(caught.value)


def test_repeats_are_told_apart():
    validation = Validation.model_validate({"kfold": {"folds": 3, "repeats": 2}})
    splits = validation.splits(films([[0]] * 6 + [[1]] * 6), 0)
    assert [(split.repeat, split.fold) for split in splits] == [(r, f) for r in (0, 1) for f in (0, 1, 2)]
    assert validation.label == "kfold3"


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [("group", "p1", "group 'p1' stands in train and test"), ("image", "a", "the image 'a' stands in a split twice")],
)
def test_a_split_that_leaks_is_refused_whoever_cut_it(column, value, expected):
    sound = pd.DataFrame(
        {"image": ["a", "b"], "patient": ["p1", "p2"], "group": ["p1", "p2"], "part": ["train", "test"]}
    )
    Split(sound, 0, 0).refuse_leaks()
    with pytest.raises(ValueError, match=expected):
        Split(sound.assign(**{column: [sound[column][0], value]}), 0, 0).refuse_leaks()
