"""Strategies as a study file names them; no torch is needed to read them."""

import pytest

from prognobench.protocols import resolve_protocol
from prognobench.strategies import parse_strategies, strategy_cards


def test_a_list_of_values_makes_one_strategy_for_each():
    labels = [s.label for s in parse_strategies(["lp", {"lora": {"rank": ["4", "8"], "alpha": ["8", "16"]}}])]
    assert labels == ["lp", "lora_r4_a8", "lora_r4_a16", "lora_r8_a8", "lora_r8_a16"]


def test_alpha_is_rank_by_default():
    (strategy,) = parse_strategies([{"lora": {"rank": "4"}}])
    assert strategy.resolved() == {"name": "lora", "rank": 4, "variant": "standard", "alpha": 4.0, "dropout": 0.0}


def test_the_paper_s_variant_brings_its_alpha_and_dropout():
    (lora,) = parse_strategies([{"lora": {"rank": "4", "variant": "paper"}}])
    assert lora.resolved() == {"name": "lora", "rank": 4, "variant": "paper", "alpha": 1.0, "dropout": 0.1}
    (vera,) = parse_strategies([{"vera": {"variant": "paper"}}])
    assert vera.resolved() == {"name": "vera", "rank": 8, "variant": "paper", "d_initial": 0.1, "dropout": 0.1}


@pytest.mark.parametrize(
    ("protocol", "item", "expected"),
    [
        ("standard", "lora", {"alpha": 8, "dropout": 0}),
        ("paper", "lora", {"alpha": 1, "dropout": 0.1}),
        ("paper", {"lora": {"alpha": 8}}, {"alpha": 8, "dropout": 0.1}),
        ("paper", {"lora": {"alpha": 8, "dropout": 0}}, {"alpha": 8, "dropout": 0}),
        ("standard", {"lora": {"variant": "paper"}}, {"alpha": 1, "dropout": 0.1}),
        ({"base": "standard", "alpha": 16, "dropout": 0.2}, "lora", {"alpha": 16, "dropout": 0.2}),
        ("standard", "vera", {"dropout": 0}),
        ("paper", "vera", {"dropout": 0.1}),
        ("paper", {"vera": {"dropout": 0}}, {"dropout": 0}),
    ],
)
def test_the_protocol_fills_what_neither_the_study_nor_the_variant_sets(protocol, item, expected):
    (strategy,) = parse_strategies([item])
    under = strategy.under(resolve_protocol(protocol))
    assert {key: under.resolved()[key] for key in expected} == expected
    assert under.label == strategy.label
    assert under.resolved().keys() == strategy.resolved().keys()


def test_what_a_study_leaves_to_the_protocol_does_not_change_the_others():
    for item in ("lp", "fft", "ia3", "bitfit"):
        (strategy,) = parse_strategies([item])
        assert strategy.under(resolve_protocol("paper")).resolved() == strategy.resolved()


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


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("linear_probing_none_test_all", "lp"),
        ("full_finetuning_FSL", "fft"),
        ("linear_probing_LoRa_4_test_all", "lora_r4_paper"),
        ("linear_probing_LoRa_FSL_16_test_all", "lora_r16_paper"),
        ("linear_probing_VeRA_8_test_all", "vera_r8_paper"),
        ("linear_probing_fitbit_test_all", "bitfit"),
        ("linear_probing_IA3_FSL_test_all", "ia3_paper"),
    ],
)
def test_the_names_of_the_authors_presets_answer(name, label):
    assert [strategy.label for strategy in parse_strategies([name])] == [label]
