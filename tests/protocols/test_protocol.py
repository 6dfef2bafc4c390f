"""Protocols are data, and nothing in them is left to be guessed."""

import pytest

from prognobench.protocols import head_key, parse_regimes, protocol_names, resolve_protocol


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
        (
            {"base": "quick", "sampler": "balanced"},
            "balanced twice.*Set `class_weights: none`, or `balance_twice: true`",
        ),
        ({"base": "quick", "augmentation": "cest"}, "Did you mean 'chest'"),
        ({"base": "quick", "augmentation": {"rotate": 5}}, "unknown protocol setting 'augmentation.rotate'"),
        ({"base": "quick", "augmentation": {"shift": 1}}, "augmentation.shift.*less than 1"),
        ({"base": "quick", "schedule": {"kind": "plateau", "factor": 1}}, "schedule.factor"),
        ({"base": "quick", "schedule": "plato"}, "schedule.kind"),
        ({"base": "quick", "head": {"blocks": [1, 1]}}, "names a value twice"),
        ({"base": "quick", "head": {"blocks": []}}, "head.blocks"),
        ({"base": "quick", "alpha": 0}, "alpha"),
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


def test_balancing_twice_needs_a_yes():
    yes = {"base": "quick", "sampler": "balanced"}
    assert resolve_protocol(yes | {"balance_twice": "true"}).sampler == "balanced"
    assert resolve_protocol(yes | {"class_weights": "none"}).sampler == "balanced"


def test_settings_inside_a_part_lie_over_those_of_the_preset():
    protocol = resolve_protocol({"base": "paper", "schedule": {"patience": 5}, "augmentation": {"flip": 0.5}})
    assert (protocol.schedule.kind, protocol.schedule.patience, protocol.schedule.minimum) == ("plateau", 5, 1e-8)
    assert (protocol.augmentation.flip, protocol.augmentation.shift) == (0.5, 0.1)
    assert resolve_protocol({"base": "paper", "augmentation": "none"}).augmentation is None


def test_passes_are_those_of_epochs_looks_and_separate_heads():
    settings = {"base": "quick", "epochs": 10, "evaluate_every": 3}
    assert resolve_protocol(settings).passes(12) == (10, 4)
    assert resolve_protocol(settings | {"heads": "separate"}).passes(12) == (120, 48)


def test_nothing_is_mirrored_unless_it_is_asked_for():
    assert resolve_protocol({"base": "quick", "augmentation": "chest"}).augmentation.flip == 0
    assert resolve_protocol({"base": "quick", "augmentation": {"rotation": 5}}).augmentation.flip == 0


def test_a_grid_of_heads_has_every_combination():
    head = resolve_protocol({"base": "quick", "head": {"blocks": ["1", "4"], "patch_mean": ["false", "true"]}}).head
    assert head.readouts == ((1, False), (1, True), (4, False), (4, True))
    assert resolve_protocol("quick").head.readouts == ((1, False),)
    assert head_key(head.readouts[:1]) == {"blocks": 1, "patch_mean": False}
    assert head_key(head.readouts)[3] == {"blocks": 4, "patch_mean": True}


# What stood in the keys of the first records.
FIRST_KEYS = {
    "adapter": {
        "epochs": 5, "patience": 3, "warmup_epochs": 1.0, "batch_size": 16, "optimizer": "adamw", "weight_decay": 0.01,
        "adapter_learning_rate": 0.001, "head_learning_rates": [0.01, 0.001], "heads": "shared",
        "class_weights": "balanced",
    },
    "probe": {"probe": {"penalties": [1e-05, 0.0001, 0.001, 0.01, 0.1, 1.0]}, "class_weights": "balanced"},
    "control": {},
}  # fmt: skip


@pytest.mark.parametrize("kind", FIRST_KEYS)
def test_keys_of_the_first_records_stand(kind):
    assert resolve_protocol("quick").what_matters(kind, "lora") == FIRST_KEYS[kind]


@pytest.mark.parametrize(
    ("setting", "changed"),
    [
        ({"evaluate_every": 2}, {"adapter", "backbone", "heads"}),
        ({"schedule": "constant"}, {"adapter", "backbone", "heads"}),
        ({"schedule": {"patience": 3}}, set()),
        ({"optimizer": "sgd"}, {"adapter", "backbone", "heads"}),
        ({"momentum": 0.5}, set()),
        ({"class_weights": "sqrt"}, {"adapter", "backbone", "heads", "logistic"}),
        ({"film_weights": "patient"}, {"adapter", "backbone", "heads", "logistic"}),
        ({"sampler": "balanced", "balance_twice": True}, {"adapter", "backbone", "heads"}),
        ({"augmentation": "chest"}, {"adapter", "backbone"}),
        ({"heads": "separate"}, {"adapter", "backbone", "heads"}),
        ({"backbone_learning_rate": 1.0}, {"backbone"}),
        ({"probe": {"penalties": [1]}}, {"logistic"}),
        ({"alpha": 1, "dropout": 0.5}, set()),  # they are in the key with the strategy
        ({"precision": "fp32"}, set()),  # it is in the key as the plan resolved it
    ],
)
def test_a_setting_stands_in_the_keys_of_those_that_read_it(setting, changed):
    def keys(settings):
        by_steps = {"probe": {**settings.get("probe", {}), "solver": "heads"}}
        return {
            **{
                kind: resolve_protocol({"base": "quick"} | settings).what_matters(kind)
                for kind in ("adapter", "backbone")
            },
            "logistic": resolve_protocol({"base": "quick"} | settings).what_matters("probe"),
            "heads": resolve_protocol({"base": "quick"} | settings | by_steps).what_matters("probe"),
        }

    before, after = keys({}), keys(setting)
    assert {kind for kind in before if before[kind] != after[kind]} == changed


def test_an_unknown_regime_is_named():
    with pytest.raises(ValueError, match=r"unknown regime 'ful'\. Did you mean 'full'"):
        parse_regimes(["ful"])
