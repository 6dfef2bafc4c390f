"""Changed copies of training films on frozen features: computed once, trained on, never scored."""

import numpy as np
import pytest
import torch

from prognobench.cohorts import Preprocessing, load_cohort, open_pixels
from prognobench.frame import InputError
from prognobench.models import find_weights, load_backbone, model_card
from prognobench.protocols import Head, resolve_protocol
from prognobench.protocols._protocol import AUGMENTATIONS
from prognobench.studies import estimate, plan_study, read_study, run_plan
from prognobench.studies._kit import kit_of
from prognobench.studies._store import Store
from prognobench.studies._worker import Bench, WorkerSettings
from prognobench.training import fit_probe, frozen_features
from prognobench.training._augment import Augmenter
from prognobench.training._batches import Normalizer

pytestmark = pytest.mark.torch
VIT = "timm:test_vit"
CHANGED = "protocol={base: quick, augmentation: chest, probe: {variants: 2}}"


@pytest.fixture
def features(phantom, monkeypatch, tmp_path):
    monkeypatch.setenv("PROGNOBENCH_HOME", str(tmp_path / "home"))
    card = model_card(VIT)
    weights = find_weights(card, "random")
    pixels = open_pixels(load_cohort(phantom), Preprocessing(size=card.input_size))

    def of(variants):
        load = lambda: load_backbone(card, weights)  # noqa: E731
        return frozen_features(load, card, weights, pixels, Head(), AUGMENTATIONS["chest"], variants)

    return card, load_backbone(card, weights), pixels, of


def test_copies_are_what_the_backbone_gives_of_changed_films(features):
    card, backbone, pixels, of = features
    films = len(pixels.array)
    found = of(2)
    assert found.films == found.computed_here == 3 * films
    assert len(found.array) == 3 * films
    everything = found.array[np.arange(3 * films)]
    np.testing.assert_array_equal(everything[:films], np.asarray(of(0).array))
    for variant in (1, 2):
        change = Augmenter(AUGMENTATIONS["chest"], films, variant)
        with torch.inference_mode():
            plain = backbone(Normalizer(card, "cpu")(np.asarray(pixels.array), change)).numpy()
        np.testing.assert_allclose(everything[variant * films : (variant + 1) * films], plain, atol=1e-5)
    assert of(1).computed_here == 0
    assert of(3).computed_here == films


def test_heads_train_on_the_copies_and_score_the_films_alone(study_file, monkeypatch, tmp_path):
    monkeypatch.setenv("PROGNOBENCH_HOME", str(tmp_path / "home"))
    plan = plan_study(read_study(study_file, ["strategies=[lp]", CHANGED]))
    job = next(job for job in plan.jobs if job.kind == "probe")
    bench = Bench(kit_of(plan), Store(tmp_path / "r"), WorkerSettings(tmp_path / "r", 1, 600.0))
    parts = bench.parts_of(job)[job.cohort]
    train, val = parts.films("train"), parts.films("val")
    chosen = parts.places("train")
    assert len(train.labels) == 3 * len(chosen)
    np.testing.assert_array_equal(train.labels, np.tile(parts.task.labels[chosen], 3))
    rows, films = train.rows[:], len(parts.array) // 3
    for copy in range(3):
        expected = parts.array[parts.positions[chosen] + copy * films]
        np.testing.assert_array_equal(rows[copy * len(chosen) : (copy + 1) * len(chosen)], expected)
    assert (val.rows.positions < films).all()
    outcome = fit_probe(train, val, 2, plan.protocols[job.protocol], plan.card(job), job.seed)
    record = bench.run(job)
    tested = record.predictions[record.predictions["split"] == "test"]
    np.testing.assert_array_equal(tested["y_score"], outcome.score(parts.rows("test"))[:, 1])
    assert record.cost["shared"]["films"] == len(parts.array)


def test_the_plan_counts_them_and_other_jobs_are_as_they_were(study_file, monkeypatch, tmp_path):
    monkeypatch.setenv("PROGNOBENCH_HOME", str(tmp_path / "home"))
    plain, changed = (plan_study(read_study(study_file, ["strategies=[lp]", *more])) for more in ([], [CHANGED]))
    by_kind = [{job.kind: job for job in plan.jobs} for plan in (plain, changed)]
    assert by_kind[0]["probe"].key != by_kind[1]["probe"].key
    assert by_kind[0]["control"].key == by_kind[1]["control"].key
    assert estimate(changed).forwards == 3 * estimate(plain).forwards
    assert run_plan(changed, tmp_path / "results").failed == []


def test_a_recipe_without_copies_says_what_it_said():
    told = resolve_protocol({"base": "quick", "augmentation": "chest"}).what_matters("probe")
    assert "variants" not in str(told)
    copies = {"base": "quick", "augmentation": "chest", "probe": {"variants": 2}}
    assert resolve_protocol(copies).what_matters("probe") == told | {
        "variants": 2,
        "augmentation": AUGMENTATIONS["chest"].model_dump(mode="json"),
    }
    assert resolve_protocol(copies).for_controls().probe.variants == 0


def test_copies_that_nothing_changes_are_refused(study_file):
    with pytest.raises(InputError, match=r"`probe.variants` is 2, but `augmentation: none` changes no film"):
        read_study(study_file, ["protocol={base: quick, probe: {variants: 2}}"])
