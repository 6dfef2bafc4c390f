"""Protocols are data, and nothing in them is left to be guessed."""

import pytest

from prognobench.protocols import parse_regimes, protocol_names, resolve_protocol


def test_the_presets_are_there():
    assert {"quick", "standard"} <= set(protocol_names())
    assert resolve_protocol("quick").epochs < resolve_protocol("standard").epochs


def test_settings_lie_over_a_preset_and_show_in_its_name():
    protocol = resolve_protocol({"base": "standard", "batch_size": "16"})
    assert protocol.batch_size == 16
    assert protocol.name == "standard[batch_size=16]"
    assert resolve_protocol("standard").name == "standard"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("standart", "Did you mean 'standard'"),
        ({"batch_size": 16}, "needs `base`"),
        ({"base": "quick", "epoch": 3}, "Did you mean 'epochs'"),
        ({"base": "quick", "epochs": 0}, "greater than or equal to 1"),
        ({"base": "quick", "head_learning_rates": []}, "at least 1 item"),
        ({"base": "quick", "adapter_learning_rate": "nan"}, "adapter_learning_rate"),
        ({"base": "quick", "adapter_learning_rate": {"vera": 0.1}}, "lack a default. Write {default"),
        ({"base": "quick", "adapter_learning_rate": {"default": 0.1, "vera": 0}}, "greater than 0"),
    ],
)
def test_wrong_settings_are_named(setting, expected):
    with pytest.raises(ValueError, match=expected):
        resolve_protocol(setting)


def test_only_what_matters_to_a_strategy_stands_in_its_key():
    slow, fast = resolve_protocol("quick"), resolve_protocol({"base": "quick", "adapter_learning_rate": 0.1})
    assert slow.what_matters("adapter") != fast.what_matters("adapter")
    for kind in ("backbone", "probe", "control"):
        assert slow.what_matters(kind) == fast.what_matters(kind)


def test_each_strategy_may_have_a_rate_of_its_own():
    protocol = resolve_protocol({"base": "quick", "adapter_learning_rate": {"default": "0.001", "vera": "0.02"}})
    assert protocol.adapter_rate("vera") == 0.02
    assert protocol.adapter_rate("lora") == protocol.adapter_rate("bitfit") == 0.001


def test_the_key_holds_the_one_rate_that_a_strategy_uses():
    """A study that says one number and a study that says the same by name are one, so records keep their keys."""
    one = resolve_protocol({"base": "quick", "adapter_learning_rate": 0.02})
    named = {"default": 0.02, "ia3": 0.5}
    several = resolve_protocol({"base": "quick", "adapter_learning_rate": named})
    assert one.what_matters("adapter", "vera") == several.what_matters("adapter", "vera")
    assert one.what_matters("adapter", "vera")["adapter_learning_rate"] == 0.02
    assert several.what_matters("adapter", "ia3")["adapter_learning_rate"] == 0.5


def test_an_unknown_regime_is_named():
    with pytest.raises(ValueError, match=r"unknown regime 'ful'\. Did you mean 'full'"):
        parse_regimes(["ful"])
