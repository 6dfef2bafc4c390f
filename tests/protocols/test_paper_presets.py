"""The authors' presets hold every value that was read in their public config tree (cosbidev/Deep-Sick at 99b9fb0)."""

import pytest

from prognobench.protocols import protocol_names, resolve_protocol

# Setting, value, and the file of the config tree that has it.
PUBLISHED = [
    ("epochs", 1000, "run/default_run_2.yaml: val_epochs"),
    ("patience", 100, "run/default_run_2.yaml: early_stop_epochs"),
    ("warmup_epochs", 50, "run/default_run_2.yaml"),
    ("evaluate_every", 3, "run/default_run_2.yaml"),
    ("schedule.patience", 25, "model_types_params/dl_params.yaml"),
    ("schedule.minimum", 1e-8, "model_types_params/dl_params.yaml"),
    ("head_learning_rates", (1e-2, 1e-3, 1e-4), "experiment/*.yaml"),
    ("adapter_learning_rate", 1e-4, "feature_tuning/{LoRa,VeRA,IA3,fitbit}.yaml"),
    ("backbone_learning_rate", 1e-5, "feature_tuning/full.yaml"),
    ("alpha", 1, "feature_tuning/LoRa.yaml"),
    ("dropout", 0.1, "feature_tuning/{LoRa,VeRA}.yaml"),
    ("head.blocks", (1, 4), "models/*.yaml: n_last_blocks"),
    ("head.patch_mean", (False, True), "models/*.yaml: avgpool"),
    ("batch_size", 128, "databases/{AFC,AFC_death,NY,NY_all}.yaml"),
    ("selection", "val_loss", "databases/*.yaml: best_model_by_signal"),
    ("probe.solver", "heads", "feature_tuning/no_tuning.yaml: the same head grid, no tuning"),
]
RUNS = {
    "paper_debug": {"epochs": 10, "patience": 3, "warmup_epochs": 3},
    "paper_short": {"epochs": 2, "patience": 50, "warmup_epochs": 1},
}


def value(protocol, path):
    for step in path.split("."):
        protocol = getattr(protocol, step)
    return protocol


@pytest.mark.parametrize(("path", "published", "file"), PUBLISHED, ids=[row[0] for row in PUBLISHED])
def test_the_paper_s_values_are_the_published_ones(path, published, file):
    assert value(resolve_protocol("paper"), path) == published, file


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize(("path", "published", "file"), PUBLISHED, ids=[row[0] for row in PUBLISHED])
def test_the_short_and_the_debug_run_differ_in_their_run_file_alone(name, path, published, file):
    found = value(resolve_protocol(name), path)
    if file.startswith("run/"):
        # The interval between two validations is not in these two files.
        assert found == RUNS[name].get(path, 1)
    else:
        assert found == published


def test_the_grid_is_that_of_twelve_heads():
    paper = resolve_protocol("paper")
    assert len(paper.head.readouts) * len(paper.head_learning_rates) == 12


def test_the_seed_is_the_authors_only_one():
    from prognobench.studies import StudySpec

    assert StudySpec.model_fields["seeds"].default == (42,)


def test_every_preset_says_every_setting():
    """Nothing is left to a default of the program, so a preset's file tells the whole recipe."""
    import re
    from importlib import resources

    for name in protocol_names():
        text = (resources.files("prognobench.protocols") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
        keys = set(re.findall(r"^(\w+):", text, re.MULTILINE))
        assert "base" in keys or keys == set(type(resolve_protocol(name)).model_fields), name
        if name.startswith("paper"):
            settings = [line for line in text.splitlines() if re.match(r" *\w+: *[^\s#]", line)]
            bare = [line for line in settings if "#" not in line]
            assert all(re.match(r"(name|base|balance_twice|  penalties):", line) for line in bare), bare


def test_the_controls_are_solved_as_carefully_as_under_standard():
    assert resolve_protocol("paper").probe.penalties == resolve_protocol("standard").probe.penalties
