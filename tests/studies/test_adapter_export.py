"""From a study's record to plain timm and peft: the same predictions without this package."""

from dataclasses import replace

import numpy as np
import peft
import pytest
import timm
import torch
from safetensors.torch import load_file

from prognobench.cohorts import Preprocessing, open_pixels
from prognobench.frame import InputError
from prognobench.models import find_weights, load_backbone, model_card
from prognobench.studies import Store, export_adapter, plan_study, read_study, run_plan

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("in_this_process")]
STUDY = """\
name: exported
cohorts: [{path: %s, tasks: [icu]}]
models: [{"timm:test_vit": {weights: "random:11"}}]
strategies: [lp, ia3, {lora: {rank: 2}}]
validation: {kfold: {folds: 3}}
protocol: {base: quick, epochs: 1, batch_size: 8, precision: fp32}
controls: []
save: weights
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, phantom):
    """Plan and records by strategy."""
    folder = tmp_path_factory.mktemp("adapters")
    (folder / "study.yaml").write_text(STUDY % phantom, encoding="utf-8")
    plan = plan_study(read_study(folder / "study.yaml"))
    assert run_plan(plan, folder / "results", threads=1).failed == []
    store = Store(folder / "results")
    return plan, {record.job.strategy: record for record in map(store.read, store.record_keys())}


def films(plan, record):
    """A user's own reading of the cached films: uint16 to [0, 1], normalized, three channels alike."""
    card = model_card("timm:test_vit")
    table = plan.cohorts[record.job.cohort].task(record.job.task).rows.set_index("image")
    pixels = open_pixels(plan.cohorts[record.job.cohort], Preprocessing(name="standard", size=card.input_size))
    gray = pixels.array[pixels.positions(table.loc[record.predictions["image"], "sha256"].tolist())] / 65535
    mean, std = (np.reshape(values, (1, 3, 1, 1)) for values in (card.mean, card.std))
    return torch.from_numpy(((gray[:, None] - mean) / std).astype(np.float32))


def test_plain_peft_predicts_what_the_record_holds(trained, tmp_path):
    plan, records = trained
    record = records["lora_r2"]
    export_adapter(record, tmp_path / "adapter")
    card = model_card("timm:test_vit")
    backbone = timm.create_model(card.architecture, **card.build).eval()
    backbone.load_state_dict(load_backbone(card, find_weights(card, "random:11")).state_dict())
    model = peft.PeftModel.from_pretrained(backbone, tmp_path / "adapter").eval()
    head = load_file(tmp_path / "adapter" / "head.safetensors")
    with torch.inference_mode():
        features = model(films(plan, record))
        plain = model.unload()(films(plan, record))
    assert not torch.equal(features, plain)
    scores = torch.softmax(features @ head["weight"].T + head["bias"], dim=1)[:, 1].numpy()
    np.testing.assert_allclose(scores, record.predictions["y_score"], atol=1e-5)


@pytest.mark.parametrize(
    ("strategy", "change", "message"),
    [
        ("lp", {}, "it trained no adapter. Choose a job of lora, vera or ia3"),
        ("lora_r2", {"tensors": None}, "its study kept no weights. Run it with save: weights"),
    ],
)
def test_a_record_without_an_adapter_is_named(trained, tmp_path, strategy, change, message):
    with pytest.raises(InputError, match=message):
        export_adapter(replace(trained[1][strategy], **change), tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_an_adapter_that_peft_cannot_express_is_refused(trained, tmp_path):
    with pytest.raises(ValueError, match="peft cannot express this adapter"):
        export_adapter(trained[1]["ia3"], tmp_path / "adapter")


@pytest.mark.parametrize(
    ("old", "new", "message"), [("roles", {}, "another `roles` now"), ("weights", "x", "not those")]
)
def test_a_model_that_is_no_longer_the_one_that_ran_is_refused(trained, tmp_path, old, new, message):
    from prognobench.studies._job import identity_fragments

    job = trained[1]["lora_r2"].job
    details = job.details
    details["model"][old] = new
    changed = replace(trained[1]["lora_r2"], job=replace(job, fragments=identity_fragments(details)))
    with pytest.raises(InputError, match=message):
        export_adapter(changed, tmp_path / "adapter")
