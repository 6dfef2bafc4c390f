"""Strategies as a study file names them; no torch is needed to read them."""

import pytest

from prognobench.strategies import parse_strategies, strategy_cards


def test_a_list_of_values_makes_one_strategy_for_each():
    labels = [s.label for s in parse_strategies(["lp", {"lora": {"rank": ["4", "8"], "alpha": ["8", "16"]}}])]
    assert labels == ["lp", "lora_r4_a8", "lora_r4_a16", "lora_r8", "lora_r8_a16"]


def test_alpha_is_rank_by_default():
    (strategy,) = parse_strategies([{"lora": {"rank": "4"}}])
    assert strategy.resolved() == {"name": "lora", "rank": 4, "alpha": 4.0, "dropout": 0.0}


def test_cards_name_their_source():
    assert {"lp", "fft", "lora"} <= set(strategy_cards())
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
        (["lp", "lp"], "asked for twice"),
        ([{"lora": {}, "lp": {}}], "one name with its settings"),
    ],
)
def test_wrong_entries_are_named(items, expected):
    with pytest.raises(ValueError, match=expected):
        parse_strategies(items)
