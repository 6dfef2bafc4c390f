"""Many heads in one job: on one forward pass, each with a backbone of its own, or on frozen features."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from prognobench.models import columns, find_weights, load_backbone, model_card, read_out, widest
from prognobench.protocols import resolve_protocol
from prognobench.strategies import parse_strategies
from prognobench.training import Checkpoint, Films, Rows, fine_tune, fit_probe
from prognobench.training._batches import Normalizer
from prognobench.training._finetune import _Trainer

pytestmark = pytest.mark.torch
VIT, CNN = "timm:test_vit", "timm:test_efficientnet"
GRID = {"blocks": [1, 4], "patch_mean": [False, True]}
READOUTS = [(1, False), (1, True), (4, False), (4, True)]


@pytest.fixture(scope="module")
def parts():
    """Films whose left half is brighter where the label is 1; two films a patient."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 30)
    pixels = rng.integers(0, 20_000, (30, 160, 160)).astype(np.uint16)
    pixels[:, :, :80] += (labels * 30_000)[:, None, None].astype(np.uint16)
    cut = {"train": slice(0, 16), "val": slice(16, 24), "test": slice(24, 30)}
    rows = np.arange(30)
    return {name: Films(Rows(pixels, rows[part]), labels[part], rows[part] // 2) for name, part in cut.items()}


@pytest.fixture(scope="module")
def features():
    """Features as the widest readout of the small transformer has them, of 60 films."""
    rng, width = np.random.default_rng(1), 5 * model_card(VIT).width
    labels = rng.integers(0, 2, 60)
    array = rng.normal(size=(60, width)).astype(np.float32)
    array[:, : model_card(VIT).width] += labels[:, None] * 0.2
    cut = {"train": slice(0, 36), "val": slice(36, 48), "test": slice(48, 60)}
    return {name: Films(Rows(array, np.arange(60)[part]), labels[part]) for name, part in cut.items()}


def adapted(model, strategy):
    card = model_card(model)
    backbone = load_backbone(card, find_weights(card, "random"))
    (chosen,) = parse_strategies([strategy])
    return chosen, card, chosen.apply(backbone, chosen.plan(backbone, card), 1)


def recipe(**settings):
    return resolve_protocol({"base": "quick", "epochs": 2, "batch_size": 8, "head_learning_rates": [0.01]} | settings)


def trained(model, strategy, parts, checkpoint=None, **settings):
    chosen, card, module = adapted(model, strategy)
    protocol = recipe(**settings)
    return fine_tune(module, chosen, card, parts["train"], parts["val"], 2, protocol, "fp32", 1, checkpoint)


@pytest.mark.parametrize(("model", "strategy"), [(VIT, "lora"), (CNN, "fft")])
def test_one_head_is_trained_alike_shared_and_separate(model, strategy, parts):
    shared, separate = (trained(model, strategy, parts, heads=heads) for heads in ("shared", "separate"))
    assert shared.history.equals(separate.history)
    np.testing.assert_array_equal(shared.score(parts["test"].rows), separate.score(parts["test"].rows))


@pytest.mark.parametrize(("model", "strategy"), [(VIT, "lora"), (CNN, "fft")])
def test_separate_heads_are_each_trained_as_if_alone(model, strategy, parts):
    rates = [0.01, 0.001, 0.1]
    together = trained(model, strategy, parts, heads="separate", head_learning_rates=rates)
    alone = [trained(model, strategy, parts, head_learning_rates=[rate]) for rate in rates]
    for head, single in enumerate(alone):
        of_head = together.history[together.history["head"] == head]
        assert of_head["val_loss"].tolist() == single.history["val_loss"].tolist()
    best = min(alone, key=lambda outcome: outcome.history["val_loss"].min())
    np.testing.assert_array_equal(together.score(parts["test"].rows), best.score(parts["test"].rows))


def test_the_grid_reads_one_forward_pass_and_notes_every_candidate(parts):
    grid = trained(VIT, "lora", parts, head=GRID, head_learning_rates=[0.01, 0.001, 0.0001])
    history, width = grid.history, model_card(VIT).width
    assert grid.film_passes == trained(VIT, "lora", parts).film_passes
    candidates = history[history["epoch"] == 0]
    expected = [(*readout, rate) for readout in READOUTS for rate in (0.01, 0.001, 0.0001)]
    found = candidates[["blocks", "patch_mean", "head_learning_rate"]]
    assert list(found.itertuples(index=False, name=None)) == expected
    assert candidates["head"].tolist() == list(range(12))
    assert len(history) == 12 * 2
    chosen = history[history["chosen"]]
    assert chosen["val_loss"].item() == history["val_loss"].min()
    reads = (chosen["blocks"].item() + chosen["patch_mean"].item()) * width
    assert grid.tensors["head.weight"].shape == (2, reads)
    lora = parse_strategies(["lora"])[0]
    card = model_card(VIT)
    injected = lora.plan(load_backbone(card, find_weights(card, "random")), card).trainable
    assert grid.trainable_parameters == injected + 2 * (reads + 1)


@pytest.mark.parametrize("heads", ["shared", "separate"])
def test_the_scores_are_those_of_the_chosen_head_at_its_epoch(parts, heads):
    outcome = trained(VIT, "lora", parts, head=GRID, heads=heads, epochs=3, film_weights="patient")
    scores, labels = outcome.score(parts["val"].rows), parts["val"].labels
    by_class = 16 / (2 * np.bincount(parts["train"].labels))
    loss = np.average(-np.log(scores[np.arange(8), labels]), weights=by_class[labels])
    assert loss == pytest.approx(outcome.history["val_loss"].min(), rel=1e-9)


def test_a_model_without_several_class_tokens_gets_the_heads_that_it_can_have(parts):
    history = trained(CNN, "lora", parts, head=GRID, head_learning_rates=[0.01, 0.001]).history
    assert set(history[["blocks", "patch_mean"]].itertuples(index=False, name=None)) == {(1, False)}
    assert history["head"].nunique() == 2
    with pytest.raises(ValueError, match="can be read by none of the heads"):
        trained(CNN, "lora", parts, head={"blocks": [4]})


def plain_loop(read, groups, train, val, protocol, readouts, wide, card):
    """Train as the protocol says, written anew and without any of the trainer's parts; return validation losses."""
    heads = []
    for readout in readouts:
        for rate in protocol.head_learning_rates:
            part = columns(card, readout, wide)
            weight = torch.randn(2, part.stop - part.start, generator=torch.Generator().manual_seed(1)) * 0.01
            heads.append((part, weight.requires_grad_(), torch.zeros(2, requires_grad=True), rate))
    groups = groups + [{"params": [w, b], "lr": rate, "weight_decay": 0.0} for _, w, b, rate in heads]
    kinds = {"adamw": torch.optim.AdamW, "sgd": lambda g: torch.optim.SGD(g, momentum=protocol.momentum)}
    optimizer = kinds[protocol.optimizer](groups)
    peaks = [group["lr"] for group in optimizer.param_groups]
    class_weight = torch.tensor(len(train.labels) / (2 * np.bincount(train.labels))).float()
    steps = -(-len(train.labels) // protocol.batch_size)
    losses = []
    for epoch in range(protocol.epochs):
        order = np.random.Generator(np.random.PCG64([1, epoch])).permutation(len(train.labels))
        for step, batch in enumerate(np.array_split(order, steps)):
            done = epoch + step / steps
            rise = (done + 1 / steps) / protocol.warmup_epochs if protocol.warmup_epochs else np.inf
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * min(rise, 1.0)
            found, labels = read(train.rows[batch], True), torch.from_numpy(train.labels[batch])
            terms = [
                functional.cross_entropy(
                    found[:, part] @ weight.T + bias, labels, class_weight, reduction="none"
                ).mean()
                for part, weight, bias, _ in heads
            ]
            optimizer.zero_grad()
            sum(terms).backward()
            optimizer.step()
        if (epoch + 1) % protocol.evaluate_every == 0 or epoch + 1 == protocol.epochs:
            labels = torch.from_numpy(val.labels)
            with torch.no_grad():
                found = read(val.rows[:], False)
                losses += [
                    functional.cross_entropy((found[:, part] @ w.T + b).double(), labels, class_weight.double()).item()
                    for part, w, b, _ in heads
                ]
    return losses


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_training_is_the_plain_loop(parts, optimizer):
    settings = {"schedule": "constant", "optimizer": optimizer, "epochs": 3, "evaluate_every": 2, "weight_decay": 0.1}
    settings |= {"head": GRID, "head_learning_rates": [0.01, 0.001]}
    outcome = trained(VIT, "lora", parts, **settings)
    _, card, module = adapted(VIT, "lora")
    normalize, protocol = Normalizer(card, "cpu"), recipe(**settings)

    def read(pixels, training):
        module.train(training)
        return read_out(module, normalize(pixels), *widest(READOUTS))

    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [{"params": parameters, "lr": protocol.adapter_rate("lora"), "weight_decay": 0.1}]
    expected = plain_loop(read, groups, parts["train"], parts["val"], protocol, READOUTS, widest(READOUTS), card)
    assert outcome.history["epoch"].unique().tolist() == [1, 2]
    np.testing.assert_allclose(outcome.history["val_loss"], expected, rtol=1e-4)


def test_heads_on_frozen_features_are_the_plain_loop(features):
    settings = {"schedule": "constant", "epochs": 4, "head": GRID, "probe": {"solver": "heads"}}
    settings |= {"head_learning_rates": [0.01, 0.001], "augmentation": "chest"}
    card, protocol = model_card(VIT), recipe(**settings)
    outcome = fit_probe(features["train"], features["val"], 2, protocol, card, 1)
    expected = plain_loop(
        lambda rows, training: torch.from_numpy(rows),
        [],
        features["train"],
        features["val"],
        protocol,
        READOUTS,
        widest(READOUTS),
        card,
    )
    np.testing.assert_allclose(outcome.history["val_loss"], expected, rtol=1e-5)
    assert outcome.film_passes == {}
    reads = outcome.tensors["head.weight"].numel() + outcome.tensors["head.bias"].numel()
    assert outcome.trainable_parameters == reads
    # Features are never augmented: without it, the same bits.
    plain = fit_probe(features["train"], features["val"], 2, recipe(**settings | {"augmentation": "none"}), card, 1)
    rows = features["test"].rows
    np.testing.assert_array_equal(outcome.score(rows), plain.score(rows))


def test_separate_heads_on_frozen_features_each_stop_by_themselves(features):
    settings = {"schedule": "constant", "epochs": 12, "patience": 2, "probe": {"solver": "heads"}}
    rates, card = [10.0, 0.001, 0.1], model_card(VIT)

    # Validated on what trains, so that a small rate goes on and on.
    def fit(**more):
        return fit_probe(features["train"], features["train"], 2, recipe(**settings, **more), card, 1)

    together = fit(heads="separate", head_learning_rates=rates)
    alone = [fit(head_learning_rates=[rate]) for rate in rates]
    losses = [group["val_loss"].tolist() for _, group in together.history.groupby("head")]
    # One matrix product of all heads rounds otherwise than one of each, and a rate of 10 makes much of it.
    for of_head, single in zip(losses, alone, strict=True):
        np.testing.assert_allclose(of_head, single.history["val_loss"], rtol=1e-3, atol=1e-6)
    assert len({len(of_head) for of_head in losses}) > 1
    shared = fit(head_learning_rates=rates).history.groupby("head").size()
    assert shared.nunique() == 1
    best = min(alone, key=lambda outcome: outcome.history["val_loss"].min())
    rows = features["test"].rows
    np.testing.assert_allclose(together.score(rows), best.score(rows), atol=1e-5)


def test_heads_cannot_be_trained_on_features_of_nobody_knows_what(features):
    with pytest.raises(ValueError, match="no card says which"):
        fit_probe(features["train"], features["val"], 2, recipe(probe={"solver": "heads"}))


def test_the_logistic_solver_chooses_among_penalties_and_readouts(features):
    card, protocol = model_card(VIT), recipe(head=GRID, probe={"penalties": [0.001, 0.1]})
    outcome = fit_probe(features["train"], features["val"], 2, protocol, card)
    history = outcome.history
    found = history[["blocks", "patch_mean", "candidate"]].itertuples(index=False, name=None)
    assert list(found) == [(*readout, f"C={c:g}") for readout in READOUTS for c in (0.001, 0.1)]
    losses, labels = [], features["train"].labels
    weights = (36 / (2 * np.bincount(labels)))[features["val"].labels]
    for readout in READOUTS:
        part = columns(card, readout, widest(READOUTS))
        for penalty in (0.001, 0.1):
            oracle = make_pipeline(
                StandardScaler(),
                LogisticRegression(C=penalty, class_weight="balanced", tol=1e-10, solver="newton-cholesky"),
            ).fit(features["train"].rows[:][:, part].astype(np.float64), labels)
            scores = oracle.predict_proba(features["val"].rows[:][:, part])[np.arange(12), features["val"].labels]
            losses.append(np.average(-np.log(scores), weights=weights))
            if losses[-1] == min(losses):
                best = oracle.predict_proba(features["test"].rows[:][:, part])
    np.testing.assert_allclose(history["val_loss"], losses, rtol=1e-6)
    assert history["chosen"].tolist() == [loss == min(losses) for loss in losses]
    np.testing.assert_allclose(outcome.score(features["test"].rows), best, atol=1e-6)


RICH = {
    "heads": "separate",
    "head_learning_rates": [0.01, 0.001],
    "augmentation": "chest",
    "sampler": "balanced",
    "class_weights": "none",
    "film_weights": "patient",
    "evaluate_every": 2,
    "epochs": 5,
    "warmup_epochs": 0,
    "schedule": {"kind": "plateau", "patience": 0},
}


@pytest.mark.parametrize(
    ("model", "strategy", "interrupted_after"),
    [*((VIT, {"lora": {"dropout": 0.2}}, steps) for steps in (3, 10, 13)), (CNN, "fft", 13)],
)
def test_an_interrupted_job_goes_on_to_the_same_bits(
    model, strategy, interrupted_after, parts, tmp_path, monkeypatch, undisturbed
):
    """Each head takes 10 steps: in the first head's run, at the second's very start, and in its midst."""
    checkpoint = Checkpoint(tmp_path / "job.checkpoint", tmp_path / "job.draft", every_seconds=0)
    honest, steps = _Trainer._step, []

    def step(self, chosen):
        if len(steps) == interrupted_after:
            raise KeyboardInterrupt
        steps.append(chosen)
        return honest(self, chosen)

    monkeypatch.setattr(_Trainer, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        trained(model, strategy, parts, checkpoint, **RICH)
    monkeypatch.setattr(_Trainer, "_step", honest)
    assert checkpoint.path.exists()
    resumed = trained(model, strategy, parts, checkpoint, **RICH)
    scores, history = undisturbed(model, strategy)
    np.testing.assert_array_equal(resumed.score(parts["test"].rows), scores)
    assert resumed.history.equals(history)


@pytest.fixture(scope="module")
def undisturbed(parts):
    found = {}

    def get(model, strategy):
        if model not in found:
            outcome = trained(model, strategy, parts, **RICH)
            found[model] = outcome.score(parts["test"].rows), outcome.history
        return found[model]

    return get


def test_training_films_alone_are_augmented(parts, monkeypatch):
    seen = []
    honest = Normalizer.__call__

    def spy(self, pixels, change=None):
        part = next(name for name, films in parts.items() if (films.rows[:] == pixels[0]).all((1, 2)).any())
        seen.append((part, change is not None))
        return honest(self, pixels, change)

    monkeypatch.setattr(Normalizer, "__call__", spy)
    outcome = trained(VIT, "lora", parts, augmentation="chest")
    outcome.score(parts["test"].rows)
    assert set(seen) == {("train", True), ("val", False), ("test", False)}


def test_augmentation_changes_what_is_learned(parts):
    plain, changed = (trained(VIT, "lora", parts, augmentation=how) for how in ("none", "chest"))
    assert plain.history["val_loss"].tolist() != changed.history["val_loss"].tolist()


def test_one_state_is_kept_whatever_the_number_of_heads(parts, tmp_path):
    checkpoint = Checkpoint(tmp_path / "job.checkpoint", tmp_path / "job.draft", every_seconds=0)
    trained(VIT, "lora", parts, checkpoint, head=GRID, head_learning_rates=[0.1, 0.01, 0.001])
    progress = torch.load(checkpoint.path, weights_only=True)["progress"]
    tensors = {key for key, value in progress.items() if key != "best" and "tensor(" in repr(value)}
    assert not tensors
    assert set(progress["best"]) == {"loss", "head", "epoch", "weight", "bias", "state"}


def test_a_film_is_the_same_under_every_precision(parts):
    """In bfloat16 each pixel of an augmented film would go to another place, and the film be blurred."""
    from prognobench.protocols import Augmentation
    from prognobench.training._augment import Augmenter
    from prognobench.training._bodies import Adapted

    seen = []

    class Eye(torch.nn.Module):
        def forward(self, images):
            seen.append(images)
            return images.mean((2, 3))

    card, (lp,) = model_card(CNN), parse_strategies(["lp"])
    rows = parts["train"].rows[np.arange(4)]
    for precision in ("fp32", "bf16"):
        body = Adapted(Eye(), lp, card, resolve_protocol("quick"), precision, "cpu")
        body.read(rows, Augmenter(Augmentation(shift=0.1, rotation=10.0), 4, 0, 0, 0))
    assert torch.equal(seen[0].bfloat16(), seen[1])
