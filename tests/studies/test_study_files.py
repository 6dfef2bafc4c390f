"""Study files: read strictly, every fault named with its row."""

import pytest

from prognobench.frame import InputError
from prognobench.studies import read_study

GOOD = """\
name: s
cohorts: [cohort.yaml]
models: [dinov2_s]
strategies: [lp]
validation: {kfold: {folds: 5}}
"""
RATES = "{base: quick, adapter_learning_rate: {default: 0.001, %s: 0.01}}"


def study(tmp_path, text, *overrides):
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    (block,) = read_study(path, overrides).blocks
    return block


def test_what_is_not_said_has_the_documented_default(tmp_path):
    spec = study(tmp_path, GOOD)
    assert [regime.name for regime in spec.regimes] == ["full"]
    assert spec.protocol.name == "standard"
    assert spec.controls == ("majority", "metadata", "random")
    assert (spec.seeds, spec.split_seed, spec.save) == ((42,), 42, "predictions")
    assert spec.cohorts[0].tasks is None


def test_the_command_line_lies_over_the_file(tmp_path):
    spec = study(tmp_path, GOOD, "protocol=quick", "models=[resnet18, dinov2_s]", "strategies=[{lora: {rank: [4, 8]}}]")
    assert spec.protocol.name == "quick"
    assert [entry.name for entry in spec.models] == ["resnet18", "dinov2_s"]
    assert [strategy.label for strategy in spec.strategies] == ["lora_r4", "lora_r8"]


def test_weights_can_be_chosen(tmp_path):
    spec = study(tmp_path, GOOD.replace("[dinov2_s]", "[{resnet18: {weights: random}}, dinov2_s]"))
    assert [(entry.name, entry.weights) for entry in spec.models] == [("resnet18", "random"), ("dinov2_s", None)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("models:", "modles:", "row 3: unknown key 'modles'. Did you mean 'models'"),
        ("strategies: [lp]", "", "the key 'strategies' is missing"),
        ("[lp]", "[lpp]", "row 4: in 'strategies': unknown strategy 'lpp'. Did you mean 'lp'"),
        ("[lp]", "[{lora: {rnk: 4}}]", "Did you mean 'rank'"),
        ("[lp]", "[]", "row 4: 'strategies' does not fit"),
        ("folds: 5", "folds: 2", "row 5: 'validation.kfold.folds' does not fit"),
        ("folds: 5", "fold: 5", "row 5: unknown key 'validation.kfold.fold'. Did you mean 'folds'"),
        ("{kfold: {folds: 5}}", "{kfolds: {}}", "unknown key 'validation.kfolds'. Did you mean 'kfold'"),
        ("{kfold: {folds: 5}}", "{}", "names no way to split"),
        ("name: s", "name: ../s", "row 1: 'name' does not fit"),
        ("name: s", "name: s\nprotocol: standrad", "Did you mean 'standard'"),
        ("name: s", "name: s\nprotocol: {base: quick, epoch: 3}", "Did you mean 'epochs'"),
        (
            "name: s",
            "name: s\nprotocol: " + RATES % "vira",
            "names 'vira', which is no strategy with adapters. Did you me",
        ),
        ("name: s", "name: s\nprotocol: " + RATES % "fft", "names 'fft', which is no strategy with adapters"),
        ("name: s", "name: s\nregimes: [ful]", "Did you mean 'full'"),
        ("name: s", "name: s\ncontrols: [majorty]", "Did you mean 'majority'"),
        ("name: s", "name: s\nseeds: [a]", "'seeds.0' does not fit"),
        ("[dinov2_s]", "[dinov2_s, dinov2_s]", "asked for twice"),
        ("cohorts: [cohort.yaml]", "cohorts: [{path: c, task: [a]}]", "Did you mean 'tasks'"),
        ("name: s", "name: s\nseeds: [1, 1]", "the seed '1' is asked for twice"),
        ("name: s", "name: s\nseeds: [99999999999999999999]", "'seeds.0' does not fit"),
        ("name: s", "name: s\nregimes: [full, full]", "a regime is asked for twice"),
        ("name: s", "name: s\nregimes: [{full: , few_shot: {shots: 2}}]", "one name with its settings"),
        ("name: s", "name: s\ncontrols: [majority, majority]", "asked for twice"),
        ("[lp]", "[lp, {lora: {rank: []}}]", "the setting 'rank' of the strategy 'lora' has no value"),
        ("[dinov2_s]", "[{dinov2_s: {name: resnet18}}]", "a model is named by its key"),
        ("cohorts: [cohort.yaml]", "cohorts: [{path: c, tasks: []}]", "'cohorts.0.tasks' does not fit"),
        ("[cohort.yaml]", '["a\\0b"]', "holds a control character"),
        ("[lp]", "[" * 3000, "too deeply nested"),
        ("name: s", "name: !!python/object/apply:os.system [ls]", "would build an object"),
    ],
)
def test_every_fault_is_named_with_its_row_and_remedy(tmp_path, old, new, expected):
    with pytest.raises(InputError) as caught:
        study(tmp_path, GOOD.replace(old, new))
    assert expected in str(caught.value)
    assert "study.yaml" in str(caught.value)


def test_all_faults_of_a_file_come_in_one_message(tmp_path):
    text = GOOD.replace("[lp]", "[lpp]").replace("models", "modles").replace("folds: 5", "folds: two")
    with pytest.raises(InputError) as caught:
        study(tmp_path, text)
    assert len(caught.value.problems) == 4


def test_a_fault_of_the_command_line_is_not_laid_on_the_file(tmp_path):
    with pytest.raises(InputError, match=r"^argument 'seeds=\[\]': 'seeds' does not fit"):
        study(tmp_path, GOOD, "seeds=[]")


BLOCKS = """\
name: s
models: [dinov2_s]
strategies: [lp]
validation: {kfold: {folds: 5}}
blocks:
  - {cohorts: [a.yaml]}
  - cohorts: [b.yaml]
    strategies: [fft]
    protocol: quick
"""


def of_blocks(tmp_path, text, *overrides):
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return read_study(path, overrides).blocks


def test_blocks_share_what_the_file_says_once(tmp_path):
    first, second = of_blocks(tmp_path, BLOCKS)
    assert [entry.path for entry in first.cohorts + second.cohorts] == ["a.yaml", "b.yaml"]
    assert [block.strategies[0].label for block in (first, second)] == ["lp", "fft"]
    assert [block.protocol.name for block in (first, second)] == ["standard", "quick"]


def test_the_command_line_lies_over_every_block(tmp_path):
    blocks = of_blocks(tmp_path, BLOCKS, "strategies=[bitfit]", "blocks.0.seeds=[7]", "save=weights")
    assert [block.strategies[0].label for block in blocks] == ["bitfit", "bitfit"]
    assert [block.seeds for block in blocks] == [(7,), (42,)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("protocol: quick", "protocol: quik", "row 9: in 'blocks.1.protocol': unknown protocol 'quik'"),
        ("protocol: quick", "protocl: quick", "row 9: unknown key 'blocks.1.protocl'. Did you mean 'protocol'"),
        ("models: [dinov2_s]\n", "", "row 5: the key 'blocks.0.models' is missing"),
        ("validation:", "vali:", "unknown key 'vali'"),
        ("  - {cohorts: [a.yaml]}\n", "  - a.yaml\n", "row 6: 'blocks.0' does not fit"),
    ],
)
def test_faults_of_blocks_have_their_row(tmp_path, old, new, expected):
    with pytest.raises(InputError) as caught:
        of_blocks(tmp_path, BLOCKS.replace(old, new))
    assert expected in str(caught.value)


def test_an_override_of_an_item_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"blocks\.7"):
        of_blocks(tmp_path, BLOCKS, "blocks.7.seeds=[1]")
