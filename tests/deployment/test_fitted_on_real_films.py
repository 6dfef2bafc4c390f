"""A model of real films and pretrained weights, from the study to other programs."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from prognobench.cli import app
from prognobench.cohorts import Preprocessing, load_cohort, open_pixels
from prognobench.deployment import Model, _explain, explain, export, fit, predict
from prognobench.models import find_weights, load_backbone, model_card

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.timeout(2700)]
STUDY = """\
name: hannover
cohorts: [{path: %s, tasks: [icu]}]
validation: {kfold: {folds: 3}}
protocol: {base: quick, epochs: 1, batch_size: 16}
controls: [majority, metadata]
blocks:
  - {models: [dinov2_s], strategies: [lp]}
  - {models: [efficientnet_lite0], strategies: [{lora: {rank: 4}}]}
"""
MODEL_OF = {"lp": "dinov2_s", "lora_r4": "efficientnet_lite0"}


@pytest.fixture(scope="module")
def results(hannover, pretrained, tmp_path_factory, monkeypatch_module):
    monkeypatch_module.setenv("PROGNOBENCH_HOME", str(pretrained))
    folder = tmp_path_factory.mktemp("hannover")
    (folder / "study.yaml").write_text(STUDY % hannover)
    verb = ["run", str(folder / "study.yaml"), "--results", str(folder / "results"), "--workers", "2", "--threads", "1"]
    run = CliRunner().invoke(app, verb)
    assert run.exit_code == 0, run.output
    return folder / "results"


@pytest.fixture(scope="module", params=["lp", "lora_r4"])
def fitted(request, results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / request.param
    return request.param, fit(results, folder, named={"strategy": request.param}), folder


@pytest.fixture(scope="module")
def seen(fitted, hannover):
    """Some films of the task as the model sees them, and their probabilities."""
    cohort, card = load_cohort(hannover), model_card(MODEL_OF[fitted[0]])
    pixels = open_pixels(cohort, Preprocessing(size=card.input_size))
    squares = pixels.array[pixels.positions(cohort.task("icu").rows["sha256"].tolist()[:32])]
    return squares, fitted[1].scorer.score(squares).probability


def test_the_saved_model_predicts_the_same_films_bit_for_bit(fitted, hannover, tmp_path):
    _, model, folder = fitted
    cohort, films = load_cohort(hannover), tmp_path / "films"
    films.mkdir()
    for name in cohort.films["image"][::4]:
        shutil.copy(hannover.parent / cohort.spec.images / name, films)
    own = predict(model, films, tmp_path / "in_memory.csv")
    predict(Model.load(folder), films, tmp_path / "loaded.csv")
    assert (tmp_path / "loaded.csv").read_bytes() == (tmp_path / "in_memory.csv").read_bytes()
    read = pd.read_csv(tmp_path / "loaded.csv")
    np.testing.assert_array_equal(read["probability"], own.table["probability"])
    assert own.bad == ()
    assert len(read) == len(list(films.iterdir())) > 60
    # Three of four films are of the task, and so were trained on.
    assert read["unlike"].notna().mean() < 0.1


def test_onnxruntime_computes_the_same_within_1e_4(fitted, seen, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    _, _, folder = fitted
    squares, own = seen
    export(folder, "onnx", tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    use = json.loads(session.get_modelmeta().custom_metadata_map["prognobench"])
    found = session.run(["probability"], {"images": _normalized(squares, use)})[0]
    np.testing.assert_allclose(found, own, atol=1e-4)


def test_onnxruntime_computes_the_same_from_the_files_on(fitted, hannover, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    _, model, folder = fitted
    export(folder, "onnx", tmp_path / "model.onnx", gray=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    cohort = load_cohort(hannover)
    paths = [hannover.parent / cohort.spec.images / name for name in cohort.films["image"][:6]]
    own = model.predict_proba(paths)[:, 1]
    checked = 0
    for path, expected in zip(paths, own, strict=True):
        with Image.open(path) as film:
            if film.mode not in ("L", "I;16"):
                continue
            gray = np.asarray(film, dtype=np.float32)
        assert session.run(["probability"], {"gray": gray})[0][0] == pytest.approx(expected, abs=1e-4)
        checked += 1
    assert checked


def test_plain_peft_computes_the_same_within_1e_4(fitted, seen, tmp_path):
    import peft

    strategy, _, folder = fitted
    squares, own = seen
    if strategy == "lp":
        pytest.skip("a linear probe has no adapter")
    export(folder, "peft", tmp_path / "adapter")
    card = model_card(MODEL_OF[strategy])
    backbone = timm.create_model(card.architecture, **card.build).eval()
    backbone.load_state_dict(load_backbone(card, find_weights(card)).state_dict())
    adapted = peft.PeftModel.from_pretrained(backbone, tmp_path / "adapter").eval()
    use = json.loads((tmp_path / "adapter" / "use.json").read_text())
    head = load_file(tmp_path / "adapter" / "head.safetensors")
    with torch.inference_mode():
        features = adapted(torch.from_numpy(_normalized(squares, use))).double()
    logits = features @ head["head.weight"].double().T + head["head.bias"].double()
    odds = (logits[:, 1] - logits[:, 0]).numpy()
    found = 1 / (1 + np.exp(-(use["slope"] * odds + use["intercept"])))
    np.testing.assert_allclose(found, own, atol=1e-4)


def _normalized(squares, use):
    mean, std = (np.reshape(use[name], (1, 3, 1, 1)) for name in ("mean", "std"))
    return ((squares[:, None] / 65535 - mean) / std).astype(np.float32)


def test_the_card_says_plainly_that_the_score_is_not_above_its_controls(fitted):
    _, model, folder = fitted
    text = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert text.count("Its score is not above its controls (") == 2
    assert "nothing shows that it reads disease" in text
    assert "not a medical device" in text
    assert "| view | acquisition |" in text.partition("## Confounds")[2]
    assert model.description.evidence["compared"]["above_controls"] is False


def test_what_is_no_chest_film_is_flagged(fitted, tmp_path):
    _, model, _ = fitted
    random = np.random.default_rng(3)
    Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((400, 300)).save(tmp_path / "photo.png")
    noise = random.integers(0, 256, (300, 300), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    # A round body on black with a bright ring, as a slice through a chest shows.
    lines, columns = np.mgrid[-1:1:512j, -1:1:512j]
    radius = np.hypot(lines * 1.4, columns)
    slice_ = np.where(radius < 0.8, 120, 0) + np.where((radius > 0.62) & (radius < 0.7), 100, 0)
    slice_ = slice_ - 110 * (
        (np.hypot(lines * 1.6, columns - 0.32) < 0.25) | (np.hypot(lines * 1.6, columns + 0.32) < 0.25)
    )
    Image.fromarray(slice_.clip(0, 255).astype(np.uint8)).save(tmp_path / "slice.png")
    found = model.scores(tmp_path).set_index("image")
    assert (found["distance"] > 1).all(), found["distance"]
    assert "it is a color picture" in found.loc["photo.png", "unlike"]


def test_a_real_ct_slice_as_dicom_is_named(fitted, tmp_path):
    examples = pytest.importorskip("pydicom.examples")
    _, model, _ = fitted
    (tmp_path / "films").mkdir()
    examples.ct.save_as(tmp_path / "films" / "ct.dcm")
    predicted = predict(model, tmp_path / "films", tmp_path / "predicted.csv")
    assert [problem.what for problem in predicted.bad] == ["no radiograph: modality CT"]


def test_a_map_stands_beside_that_of_random_weights(fitted, hannover, tmp_path, monkeypatch):
    pytest.importorskip("captum")
    monkeypatch.setattr(_explain, "_STEPS", 8)  # what the integral tends to is no matter here
    _, model, _ = fitted
    film = sorted((hannover.parent / load_cohort(hannover).spec.images).iterdir())[0]
    found = explain(model, film, tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 10_000
    # Where one of the maps is empty there is nothing to hold together.
    if found.map.any() and found.random_map.any():
        assert -1 <= found.rank_correlation <= 1
    else:
        assert np.isnan(found.rank_correlation)
    assert not np.array_equal(found.map, found.random_map)
