"""Every strategy, through plan, run and report with pretrained weights, on films with a signal that is plain to see."""

import pandas as pd
import pytest
from safetensors.torch import load as load_tensors

from prognobench.cohorts import make_phantom
from prognobench.models import find_weights, load_backbone, model_card
from prognobench.reporting import report
from prognobench.strategies import parse_strategies
from prognobench.studies import Store, plan_study, read_study, run_plan

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.timeout(1800)]
MODELS = ("dinov2_s", "efficientnet_lite0")
STRATEGIES = ("lp", "fft", "lora", "vera", "ia3", "bitfit")
# Steps of three films, since 12 of them train: batches of 16 would make one step an epoch.
STUDY = """\
name: all-learn
cohorts: [%s]
models: [dinov2_s, efficientnet_lite0]
strategies: [lp, fft, lora, vera, ia3, bitfit]
validation: {kfold: {folds: 3}}
protocol: {base: quick, batch_size: 3}
controls: []
save: weights
"""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """The 18 clearest and the 18 sickest lungs of many, one film a patient."""
    path = make_phantom(
        tmp_path_factory.mktemp("plain") / "cohort",
        192,
        0,
        films_per_patient=(1, 1),
        signal=10,
        prevalence=0.5,
        size=224,
    )
    table = pd.read_csv(path.parent / "labels.csv", dtype=str)
    ordered = table.loc[table["severity"].astype(float).sort_values().index]
    kept = pd.concat([ordered[ordered["icu"] == "no"].head(18), ordered[ordered["icu"] == "yes"].tail(18)])
    kept.to_csv(path.parent / "labels.csv", index=False)
    return path


@pytest.fixture(scope="module")
def results(cohort, pretrained, tmp_path_factory, monkeypatch_module):
    monkeypatch_module.setenv("PROGNOBENCH_HOME", str(pretrained))
    folder = tmp_path_factory.mktemp("learn")
    (folder / "study.yaml").write_text(STUDY % cohort, encoding="utf-8")
    plan = plan_study(read_study(folder / "study.yaml"))
    summary = run_plan(plan, folder / "results", workers=2, threads=1)
    assert (summary.done, summary.failed, plan.left_out) == (2 * 6 * 3, [], ())
    report(folder / "results", folder / "report")
    return folder


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_mean_mcc_over_folds_is_positive(results, model, strategy):
    (label,) = (chosen.label for chosen in parse_strategies([strategy]))
    summary = pd.read_csv(results / "report" / "summary.csv").set_index(["model", "strategy"])
    assert summary.loc[(model, label), "n_folds"] == 3
    # Far from the 0 of a head that learned nothing, with room for the luck of 12 test films a fold.
    assert summary.loc[(model, label), "mcc_mean"] > 0.2


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("strategy", STRATEGIES[1:])
def test_only_the_tensors_of_the_plan_are_changed(results, model, strategy):
    """The saved tensors are the plan's, as many numbers as it counts, and some of them moved."""
    card = model_card(model)
    (chosen,) = parse_strategies([strategy])
    store = Store(results / "results")
    records = [store.read(key) for key in store.record_keys()]
    records = [r for r in records if (r.job.model, r.job.strategy) == (model, chosen.label)]
    assert len(records) == 3
    backbone = load_backbone(card, find_weights(card))
    plan = chosen.plan(backbone, card)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    for record in records:
        module = chosen.apply(backbone, plan, record.job.seed)
        fresh = chosen.state(module)
        trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
        # Full fine-tuning also learns the statistics of batch normalization.
        frozen = {n: t.clone() for n, t in module.state_dict().items() if n not in trained and strategy != "fft"}
        saved = load_tensors(record.tensors)
        head = saved.pop("head.weight").numel() + saved.pop("head.bias").numel()
        assert record.cost["trainable_parameters"] == plan.trainable + head
        assert saved.keys() == fresh.keys()
        assert any(not saved[name].equal(fresh[name]) for name in saved)
        chosen.load(module, saved)
        assert all(module.state_dict()[name].equal(tensor) for name, tensor in frozen.items())
        backbone = chosen.remove(module)
        assert all(tensor.equal(before[name]) for name, tensor in backbone.state_dict().items())
