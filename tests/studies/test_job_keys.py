"""A job key is a hash of what changes the result, and of nothing else."""

import json

import pytest

from prognobench.frame import InputError
from prognobench.studies import Job, job_key, plan_study, read_study

pytestmark = pytest.mark.torch


def keys(path, *overrides):
    return [job.key for job in plan_study(read_study(path, overrides)).jobs]


@pytest.fixture
def copied(study_file, phantom, tmp_path):
    """The same study and cohort in another place."""
    import shutil

    shutil.copytree(phantom.parent, tmp_path / "elsewhere")
    other = tmp_path / "elsewhere" / "my study.yaml"
    other.write_text(study_file.read_text().replace(str(phantom), "cohort.yaml"), encoding="utf-8")
    return other


def test_keys_do_not_depend_on_the_place_or_the_name_of_the_study(study_file, copied):
    assert keys(study_file) == keys(copied, "name=renamed")


def test_keys_do_not_depend_on_the_order_of_the_rows(study_file, copied):
    table = copied.parent / "labels.csv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *reversed(rows)]) + "\n")
    assert keys(study_file) == keys(copied)


def test_a_plan_and_a_record_make_the_same_key(study_file):
    for job in plan_study(read_study(study_file)).jobs:
        stored = json.loads(json.dumps(job.to_json()))
        assert Job.from_json(stored) == job
        assert job_key(stored["identity"]) == job.key == stored["key"]


def test_every_job_has_a_key_of_its_own(study_file):
    found = keys(study_file, "seeds=[1, 2]")
    assert len(set(found)) == len(found)


def planned(path, *overrides):
    jobs = plan_study(read_study(path, overrides)).jobs
    return {name: [job.seed for job in jobs if job.strategy == name and job.fold == 0] for name in ("lp", "lora_r2")}


def test_what_draws_nothing_is_done_once_whatever_the_seeds(study_file):
    both = "seeds=[1, 2]"
    assert planned(study_file, both) == {"lp": [1], "lora_r2": [1, 2]}
    by_steps = "protocol={base: quick, epochs: 1, batch_size: 32, probe: {solver: heads}}"
    assert planned(study_file, both, by_steps) == {"lp": [1, 2], "lora_r2": [1, 2]}
    # A study that grows by a seed finds what it has.
    assert set(keys(study_file, "seeds=[1]")) < set(keys(study_file, "seeds=[2, 1]"))
    assert len(keys(study_file, "seeds=[1, 2, 3]")) == 3 + 3 + 9


def test_blocks_of_other_seeds_share_what_draws_nothing(study_file):
    text = study_file.read_text()
    study_file.write_text(text + "blocks:\n  - {seeds: [1]}\n  - {seeds: [2], strategies: [lp, bitfit]}\n")
    jobs = plan_study(read_study(study_file)).jobs
    assert [(job.strategy, job.seed) for job in jobs if job.fold == 0] == [
        ("majority", 1), ("lp", 1), ("lora_r2", 1), ("bitfit", 2),
    ]  # fmt: skip


def test_what_is_left_out_is_counted_by_the_seeds_it_would_have_had(study_file):
    few = "regimes=[{few_shot: {shots: 7, val: full}}]"
    plan = plan_study(read_study(study_file, ["seeds=[1, 2]", few]))
    folds = {job.fold for job in plan.jobs}
    assert folds < {0, 1, 2}
    # One job of the control, one of what draws nothing, two of what is drawn.
    assert sum(pair.jobs for pair in plan.left_out) == (3 - len(folds)) * (1 + 1 + 2)
    assert len(plan.jobs) == len(folds) * (1 + 1 + 2)


CONTROL, PROBE, LORA = slice(0, 3), slice(3, 6), slice(6, 9)


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("split_seed=1", (CONTROL, PROBE, LORA)),
        ("seeds=[1]", (LORA,)),
        ("protocol={base: quick, epochs: 2, batch_size: 32}", (LORA,)),
        ("protocol={base: quick, epochs: 1, batch_size: 32, adapter_learning_rate: 0.1}", (LORA,)),
        ("protocol={base: quick, epochs: 1, batch_size: 32, backbone_learning_rate: 0.1}", ()),
        ("protocol={base: quick, epochs: 1, batch_size: 32, precision: fp32}", "precision"),
        ("protocol={base: quick, epochs: 1, batch_size: 32, probe: {penalties: [1]}}", (PROBE,)),
        ("strategies=[lp, {lora: {rank: 2, alpha: 1}}]", (LORA,)),
        ('models=[{"timm:test_vit": {weights: "random:7"}}]', (PROBE, LORA)),
        ("save=weights", ()),
        ("controls=majority", ()),
    ],
)
def test_a_key_changes_where_the_result_does(study_file, override, changed):
    from prognobench.training import usable_precision

    if changed == "precision":
        changed = () if usable_precision("auto") == "fp32" else (LORA,)
    before, after = keys(study_file), keys(study_file, override)
    for part in (CONTROL, PROBE, LORA):
        assert (before[part] != after[part]) == (part in changed)


def test_one_changed_label_changes_the_keys(study_file, copied):
    table = copied.parent / "labels.csv"
    text = table.read_text()
    table.write_text(text.replace(",no,", ",unknown,", 1))
    assert not set(keys(study_file)) & set(keys(copied))


def test_blocks_are_the_studies_that_they_would_be_alone(study_file, phantom):
    alone = keys(study_file) + keys(study_file, "strategies=[bitfit]", "controls=[]")
    text = study_file.read_text().replace("strategies:", "others:")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("others"))
    study_file.write_text(lines + "\nblocks:\n  - strategies: [lp, {lora: {rank: 2}}]\n  - strategies: [bitfit]\n")
    # The controls of both blocks are the same jobs and are planned once.
    assert keys(study_file) == alone


def test_a_model_under_two_spellings_is_refused_when_it_is_planned(study_file):
    both = 'models=[{"timm:test_vit": {weights: random}}, {"timm:test_vit.r160_in1k": {weights: random}}]'
    with pytest.raises(InputError, match=r"'timm:test_vit@random' is asked for twice, once by another name"):
        plan_study(read_study(study_file, [both]))


def test_a_corrected_list_of_targets_is_another_job(study_file, monkeypatch):
    from prognobench.strategies import parse_strategies

    before = keys(study_file)
    (lora,) = parse_strategies(["lora"])
    monkeypatch.setattr(type(lora), "roles", lambda self, card: ("mlp.fc1",))
    changed = {place for place, (old, new) in enumerate(zip(before, keys(study_file), strict=True)) if old != new}
    assert changed == set(range(6, 9))
