"""Strategies as a study file names them; no torch is needed to read them."""

import pytest

from prognobench.strategies import parse_strategies, strategy_cards


def test_a_list_of_values_makes_one_strategy_for_each():
    labels = [s.label for s in parse_strategies(["lp", {"lora": {"rank": ["4", "8"], "alpha": ["8", "16"]}}])]
    assert labels == ["lp", "lora_r4_a8", "lora_r4_a16", "lora_r8", "lora_r8_a16"]


def test_alpha_is_rank_by_default():
    (strategy,) = parse_strategies([{"lora": {"rank": "4"}}])
    assert strategy.resolved() == {"name": "lora", "rank": 4, "variant": "standard", "alpha": 4.0, "dropout": 0.0}


def test_the_paper_s_variant_brings_its_alpha_and_dropout():
    (lora,) = parse_strategies([{"lora": {"rank": "4", "variant": "paper"}}])
    assert lora.resolved() == {"name": "lora", "rank": 4, "variant": "paper", "alpha": 1.0, "dropout": 0.1}
    (vera,) = parse_strategies([{"vera": {"variant": "paper"}}])
    assert vera.resolved() == {"name": "vera", "rank": 8, "variant": "paper", "d_initial": 0.1, "dropout": 0.1}


@pytest.mark.parametrize(
    ("item", "label"),
    [
        ({"lora": {"rank": 4, "variant": "paper"}}, "lora_r4_paper"),
        ({"lora": {"rank": 4, "variant": "paper", "alpha": 4, "dropout": 0}}, "lora_r4_paper_a4_d0"),
        ({"lora": {"rank": 4, "alpha": 1, "dropout": 0.1}}, "lora_r4_a1_d0.1"),
        ("vera", "vera_r8"),
        ({"vera": {"rank": 256, "d_initial": 0.01, "dropout": 0.1}}, "vera_r256_i0.01_d0.1"),
        ({"vera": {"variant": "paper"}}, "vera_r8_paper"),
        ("ia3", "ia3"),
        ({"ia3": {"variant": "paper"}}, "ia3_paper"),
        ("bitfit", "bitfit"),
    ],
)
def test_labels_name_what_is_not_usual(item, label):
    (strategy,) = parse_strategies([item])
    assert strategy.label == label


def test_cards_name_their_source():
    assert {"lp", "fft", "lora", "vera", "ia3", "bitfit"} <= set(strategy_cards())
    for card in strategy_cards().values():
        assert card.source
        assert card.summary


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (["lorra"], "Did you mean 'lora'"),
        ([{"lora": {"rnak": 4}}], "unknown setting 'rnak' of the strategy 'lora'. Did you mean 'rank'"),
        ([{"lora": {"rank": 0}}], "setting 'rank' of 'lora' does not fit"),
        ([{"lora": {"rank": "eight"}}], "setting 'rank' of 'lora' does not fit"),
        ([{"lora": {"rank": True}}], "setting 'rank' of 'lora' does not fit: .*a whole number in digits"),
        ([{"lora": {"rank": "true"}}], "a whole number in digits"),
        ([{"lora": {"rank": "1_0"}}], "a whole number in digits"),
        ([{"lora": {"rank": "8.0"}}], "a whole number in digits"),
        ([{"vera": {"rank": 8.0}}], "a whole number in digits"),
        ([{"vera": {"rank": "٣"}}], "a whole number in digits"),
        ([{"vera": {"rank": 10**9}}], "setting 'rank' of 'vera' does not fit: .*4096"),
        ([{"ia3": {"variant": "papers"}}], "setting 'variant' of 'ia3' does not fit"),
        ([{"lora": {"variant": "papers"}}], "setting 'variant' of 'lora' does not fit"),
        ([{"bitfit": {"rank": 4}}], "unknown setting 'rank' of the strategy 'bitfit'"),
        (["lp", "lp"], "asked for twice"),
        ([{"lora": {}, "lp": {}}], "one name with its settings"),
    ],
)
def test_wrong_entries_are_named(items, expected):
    with pytest.raises(ValueError, match=expected):
        parse_strategies(items)
