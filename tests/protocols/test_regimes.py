"""Regimes: as many films as asked for, from the training part alone, the same everywhere."""

from itertools import pairwise

import pytest
from drawn_cohorts import CENTERS, cohorts, films_of, simple
from hypothesis import given, settings
from hypothesis import strategies as st

from prognobench.protocols import Split, TooFew, Validation, parse_regimes

SEEDS = st.integers(0, 2**32)


def splits(rows, seed=0, setting="holdout"):
    return Validation.model_validate(setting).splits(rows, seed)


def regime(setting):
    (found,) = parse_regimes([setting])
    return found


def counts(rows, images, *keys):
    return rows[rows["image"].isin(images)].groupby(list(keys)).size().to_dict()


@settings(max_examples=25, deadline=None)
@given(cohorts(), SEEDS, st.integers(1, 2), st.sampled_from(["matched", "full"]), st.booleans())
def test_few_shot_draws_exactly_k_of_each_class(rows, seed, k, val, nested):
    asked = regime({"few_shot": {"shots": k, "val": val, "nested": nested}})
    for split in splits(rows, seed, {"holdout": {"test": 0.3, "val": 0.3}}):
        reduced = asked.reduce(split, rows, seed)
        assert counts(rows, films_of(reduced, "train"), "label") == {0: k, 1: k}
        assert films_of(reduced, "train") <= films_of(split, "train")
        assert films_of(reduced, "test") == films_of(split, "test")
        if val == "full":
            assert films_of(reduced, "val") == films_of(split, "val")
        else:
            assert counts(rows, films_of(reduced, "val"), "label") == {0: k, 1: k}
            assert films_of(reduced, "val") <= films_of(split, "val")


@settings(max_examples=25, deadline=None)
@given(cohorts(), SEEDS)
def test_center_few_shot_draws_exactly_k_of_each_class_and_center(rows, seed):
    asked = regime({"center_few_shot": {"shots": 1, "val": "full"}})
    (split,) = splits(rows, seed, {"holdout": {"stratify": ["class", "center"]}})
    drawn = counts(rows, films_of(asked.reduce(split, rows, seed), "train"), "label", "center")
    assert drawn == {(label, center): 1 for label in (0, 1) for center in CENTERS}
    for left_out in splits(rows, seed, "loco"):
        try:
            reduced = asked.reduce(left_out, rows, seed)
        except TooFew:
            continue  # every patient of some cell has films in the tested center or validates
        here = set(CENTERS) - {left_out.test_center}
        found = counts(rows, films_of(reduced, "train"), "label", "center")
        assert found == {(label, center): 1 for label in (0, 1) for center in here}


@settings(max_examples=25, deadline=None)
@given(cohorts(), SEEDS)
def test_films_come_from_different_patients_while_they_last(rows, seed):
    (split,) = splits(rows, seed)
    train = rows[rows["image"].isin(films_of(split, "train"))]
    patients = train.groupby("label")["patient"].nunique().min()
    films = train.groupby("label").size().min()
    few = regime({"few_shot": {"shots": int(patients), "val": "full"}}).reduce(split, rows, seed)
    drawn = rows[rows["image"].isin(films_of(few, "train"))]
    assert (drawn.groupby("label")["patient"].nunique() == patients).all()
    all_of_one = regime({"few_shot": {"shots": int(films), "val": "full"}}).reduce(split, rows, seed)
    assert len(films_of(all_of_one, "train")) == 2 * films


@settings(max_examples=20, deadline=None)
@given(cohorts(), SEEDS, st.integers(0, 2))
def test_nested_draws_are_nested(rows, seed, draw):
    (split,) = splits(rows, seed)
    for family, key, values in (
        ("few_shot", "shots", [1, 2, 4]),
        ("fraction", "of", [0.1, 0.3, 0.35, 0.8]),
        ("number", "films", [2, 7, 8, 15]),
    ):
        setting = {family: {key: values, "draws": 3, "nested": True, "val": "full"}}
        drawn = [
            films_of(found.reduce(split, rows, seed), "train")
            for found in parse_regimes([setting])
            if found.draw == draw
        ]
        for smaller, larger in pairwise(drawn):
            assert smaller < larger


@settings(max_examples=15, deadline=None)
@given(
    cohorts(patients=(8, 10)),
    SEEDS,
    st.integers(0, 1),
    st.sampled_from(["matched", "full"]),
    st.sampled_from([{"holdout": {"stratify": ["class", "center"]}}, "loco"]),
)
def test_nested_draws_by_center_are_nested_in_each_class_and_center(rows, seed, draw, val, setting):
    cut = splits(rows, seed, setting)
    family = {"center_few_shot": {"shots": [1, 2, 4], "draws": 2, "nested": True, "val": val}}
    asked = [found for found in parse_regimes([family]) if found.draw == draw]
    parts = ("train", "val") if val == "matched" else ("train",)
    for split in cut:
        tested = {split.test_center} - {None}
        drawn = {}
        for found in asked:
            try:
                drawn[found.shots] = found.reduce(split, rows, seed)
            except TooFew as short:
                # The reason is true, and it is the only one.
                assert short.largest == fewest(rows, split, tested, parts)
                assert short.largest < found.shots
                continue
            assert found.shots <= fewest(rows, split, tested, parts)
        for k, reduced in drawn.items():
            for part in parts:
                found = counts(rows, films_of(reduced, part), "label", "center")
                assert found == {(label, center): k for label in (0, 1) for center in set(CENTERS) - tested}
                assert films_of(reduced, part) <= films_of(split, part)
            assert films_of(reduced, "test") == films_of(split, "test")
        for smaller, larger in pairwise(drawn.values()):
            assert all(films_of(smaller, part) < films_of(larger, part) for part in parts)


def fewest(rows, split, tested, parts):
    """The films of the rarest class and center in the parts."""
    cells = [(label, center) for label in (0, 1) for center in set(CENTERS) - tested]
    found = [counts(rows, films_of(split, part), "label", "center") for part in parts]
    return min(there.get(cell, 0) for there in found for cell in cells)


def test_draws_that_are_not_nested_are_drawn_anew():
    rows = simple(per_class=40)
    (split,) = splits(rows)
    two, four = (films_of(r.reduce(split, rows, 0), "train") for r in parse_regimes([{"few_shot": {"shots": [2, 4]}}]))
    assert not two <= four
    draws = parse_regimes([{"few_shot": {"shots": 4, "draws": 5}}])
    assert len({found.reduce(split, rows, 0).sha256 for found in draws}) == 5


@settings(max_examples=25, deadline=None)
@given(cohorts(), SEEDS, st.sampled_from([0.1, 0.37, 0.5, 0.9]))
def test_a_fraction_holds_its_share_of_films_and_classes(rows, seed, share):
    (split,) = splits(rows, seed)
    reduced = regime({"fraction": {"of": share}}).reduce(split, rows, seed)
    for part in ("train", "val"):
        before, after = (counts(rows, films_of(s, part), "label") for s in (split, reduced))
        assert sum(after.values()) == max(2, int(share * sum(before.values()) + 0.5))
        for label in (0, 1):
            assert after[label] >= 1
            assert abs(after[label] - share * before[label]) <= 1 or after[label] == 1 or after[1 - label] == 1


@settings(max_examples=25, deadline=None)
@given(cohorts(), SEEDS)
def test_fewer_films_are_fewer_patients(rows, seed):
    """All groups that a fraction uses come whole, but for the last one of each class."""
    (split,) = splits(rows, seed)
    reduced = regime({"fraction": {"of": 0.5}}).reduce(split, rows, seed)
    used = rows[rows["image"].isin(films_of(reduced, "train"))]
    train = rows[rows["image"].isin(films_of(split, "train"))]
    whole = train.groupby(["group", "label"]).size()
    cut = [(g, c) for (g, c), n in used.groupby(["group", "label"]).size().items() if n < whole[g, c]]
    assert len(cut) == len({label for _, label in cut})


def test_a_number_is_exact_and_validation_shrinks_by_the_same_share():
    rows = simple(per_class=50, films=2)
    (split,) = splits(rows)
    assert [len(films_of(split, part)) for part in ("train", "val")] == [256, 64]
    reduced = regime({"number": {"films": 64}}).reduce(split, rows, 0)
    assert [len(films_of(reduced, part)) for part in ("train", "val", "test")] == [64, 16, 80]
    assert counts(rows, films_of(reduced, "train"), "label") == {0: 32, 1: 32}


def test_the_order_of_the_rows_changes_nothing_and_the_same_seed_draws_the_same_everywhere():
    rows = simple(per_class=30, films=2)
    (split,) = splits(rows)
    found = {}
    for setting in (
        {"few_shot": {"shots": 8}},
        {"center_few_shot": {"shots": 2}},
        {"fraction": {"of": 0.25}},
        {"number": {"films": 32, "nested": "true"}},
    ):
        asked = regime(setting)
        reduced = asked.reduce(split, rows, 7)
        assert asked.reduce(split, rows.iloc[::-1], 7).sha256 == reduced.sha256
        assert asked.reduce(split, rows, 8).sha256 != reduced.sha256
        found[asked.name] = reduced.sha256[:12]
    # The hashes were computed once; a change of them is a change of everyone's draws.
    assert found == {
        "few_shot": "b821476a03d8",
        "center_few_shot": "ad79ce4ab586",
        "fraction_0.25": "9b0fd114acf9",
        "number_32_nested": "02d737785a85",
    }


def test_the_whole_training_part_is_the_split_itself():
    rows = simple()
    (split,) = splits(rows)
    assert regime("full").reduce(split, rows, 0) is split


def test_words_tell_every_two_regimes_apart():
    found = parse_regimes(
        [
            "full",
            {"few_shot": {"shots": ["2", "4"], "draws": "2"}},
            {"few_shot": {"shots": 2, "val": "full"}},
            {"few_shot": {"shots": 2, "nested": True}},
            {"center_few_shot": {"shots": 2}},
            {"fraction": {"of": ["0.1", 0.5]}},
            {"number": {"films": 256, "val": "full"}},
        ]
    )
    assert [(r.name, r.shots, r.draw) for r in found] == [
        ("full", None, None),
        ("few_shot", 2, 0), ("few_shot", 2, 1), ("few_shot", 4, 0), ("few_shot", 4, 1),
        ("few_shot_full_val", 2, 0), ("few_shot_nested", 2, 0), ("center_few_shot", 2, 0),
        ("fraction_0.1", None, 0), ("fraction_0.5", None, 0), ("number_256_full_val", None, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "reason", "largest"),
    [
        ({"few_shot": {"shots": 8}}, "its val part has 3 films of class 0, and 8 are asked for", 3),
        ({"few_shot": {"shots": 20, "val": "full"}}, "its train part has 13 films of class 0, and 20", 13),
        ({"center_few_shot": {"shots": 9, "val": "full"}}, "films of class 0 in the center '", 6),
        ({"number": {"films": 256}}, "its train part has 26 films of 2 classes, and 256 are asked for", 26),
    ],
)
def test_too_few_films_are_told_with_the_largest_number_that_works(setting, reason, largest):
    rows = simple(per_class=10)
    (split,) = splits(rows)
    with pytest.raises(TooFew) as caught:
        regime(setting).reduce(split, rows, 0)
    assert reason in caught.value.reason
    assert caught.value.largest == largest
    assert bool(caught.value.other_way) == reason.startswith("its val part")


def test_sparing_validation_is_no_way_out_where_the_training_part_has_too_few():
    rows = simple(per_class=10)
    with pytest.raises(TooFew) as caught:
        regime({"few_shot": {"shots": 20}}).reduce(splits(rows)[0], rows, 0)
    assert caught.value.other_way == ""


@pytest.mark.parametrize("centers", [("a",), ("",)])
def test_center_few_shot_needs_centers(centers):
    rows = simple(centers=centers)
    with pytest.raises(ValueError, match="center_few_shot needs"):
        regime({"center_few_shot": {"shots": 1}}).reduce(splits(rows)[0], rows, 0)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("few_shots", "Did you mean 'few_shot'"),
        ("few_shot", "setting 'shots' of the regime 'few_shot' is missing. Write {few_shot: {shots"),
        ({"few_shot": {"shots": 0}}, "greater than or equal to 1"),
        ({"few_shot": {"shots": []}}, "at least 1 item"),
        ({"few_shot": {"shot": 2}}, "Did you mean 'shots'"),
        ({"few_shot": [2, 4]}, "Write {few_shot: {shots"),
        ({"full": {"shots": 2}}, "the regime 'full' has no settings"),
        ({"fraction": {"of": 1}}, "less than 1"),
        ({"few_shot": {"shots": [2, 2]}}, "asked for twice"),
        ({"few_shot": {"shots": 2, "val": "half"}}, "'matched' or 'full'"),
    ],
)
def test_settings_that_cannot_work_are_named(setting, expected):
    with pytest.raises(ValueError, match=expected):
        parse_regimes([setting])


def test_a_center_that_someone_elses_split_leaves_out_trains_nothing():
    """A split that leaves a center out and is read back from a file has no word for it."""
    rows = simple(per_class=10, centers=("a", "b", "c"))
    asked = regime({"center_few_shot": {"shots": 2, "val": "full"}})
    for left_out in splits(rows, 0, "loco"):
        read_back = Split(left_out.table, left_out.repeat, left_out.fold)
        reduced = asked.reduce(read_back, rows, 0)
        assert films_of(reduced, "train") == films_of(asked.reduce(left_out, rows, 0), "train")
        assert len(films_of(reduced, "train")) == 2 * 2 * 2
