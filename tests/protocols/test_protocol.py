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


def test_an_unknown_regime_is_named():
    with pytest.raises(ValueError, match=r"unknown regime 'ful'\. Did you mean 'full'"):
        parse_regimes(["ful"])
