"""A grid of heads through plan and run: each model is read as far as it can be, and keys say by what."""

import pytest

from prognobench.frame import InputError
from prognobench.studies import Store, plan_study, read_study, run_plan

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("in_this_process")]
MODELS = 'models=[{"timm:test_vit": {weights: random}}, {"timm:test_efficientnet": {weights: random}}]'
DEBUG = "protocol={base: paper_debug, epochs: 2, head_learning_rates: [0.01, 0.001]}"


def plan(path, *overrides):
    return plan_study(read_study(path, overrides))


def jobs(plan, model):
    return [job for job in plan.jobs if model in job.model]


def test_a_model_that_can_be_read_one_way_has_the_key_of_that_one_head(study_file):
    grid = "protocol={base: quick, head: {blocks: [1, 4], patch_mean: [false, true]}}"
    one, several = plan(study_file, MODELS, "protocol=quick"), plan(study_file, MODELS, grid)
    assert [job.key for job in jobs(one, "efficientnet")] == [job.key for job in jobs(several, "efficientnet")]
    assert not {job.key for job in jobs(one, "vit")} & {job.key for job in jobs(several, "vit")}
    assert one.left_out == several.left_out == ()
    assert jobs(one, "vit")[0].details["head"] == {"blocks": 1, "patch_mean": False}
    assert len(jobs(several, "vit")[0].details["head"]) == 4


def test_a_model_of_which_no_head_can_read_is_left_out_with_the_reason(study_file):
    found = plan(study_file, MODELS, "protocol={base: quick, head: {blocks: [2, 4]}}")
    assert {pair.model.split("@")[0] for pair in found.left_out} == {"timm:test_efficientnet"}
    assert "one pooled feature vector" in found.left_out[0].reason
    nothing = ['models=[{"timm:test_resnet": {weights: random}}]', "protocol={base: quick, head: {blocks: 4}}"]
    with pytest.raises(InputError, match="no job is left"):
        plan(study_file, *nothing, "controls=[]")


def test_the_authors_recipe_runs_and_notes_every_candidate(study_file, tmp_path):
    found = plan(study_file, DEBUG, "controls=[]")
    assert run_plan(found, tmp_path / "results", threads=1).failed == []
    store = Store(tmp_path / "results")
    for job in found.jobs:
        record = store.read(job.key)
        history = record.history
        assert history.groupby("epoch")["head"].nunique().tolist() == [4 * 2] * 2
        assert history["chosen"].sum() == 1
        assert job.details["strategy"].get("alpha", 1.0) == 1.0
        if job.strategy == "lp":
            assert record.cost["film_passes"] == {}
            assert job.details["protocol"]["probe"] == {"solver": "heads"}
