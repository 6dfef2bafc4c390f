"""What is exported computes what the model computes, or is not written."""

import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from scipy.special import expit, logit
from typer.testing import CliRunner

from prognobench.cli import app
from prognobench.cohorts import Preprocessing, film_in_memory
from prognobench.deployment import export, formats
from prognobench.deployment._agreement import disagreement
from prognobench.deployment._formats._onnx import _OF_GRAY
from prognobench.deployment._gray import GrayInput
from prognobench.frame import InputError
from prognobench.models import find_weights, load_backbone, model_card

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::prognobench.deployment.WrongOrder")]


def squares(model, phantom):
    """Films as the model sees them, and its own probabilities of them."""
    from prognobench.cohorts import film_sources, read_new_films

    films = list(read_new_films(film_sources(phantom), model.preprocessing))[:10]
    found = np.stack([film.square for film in films])
    return found, model.scorer.score(found).probability


def by_hand(use, head, backbone, pixels):
    """Follow the words of use.json without this package."""
    mean, std = (np.reshape(use[name], (1, 3, 1, 1)) for name in ("mean", "std"))
    images = torch.from_numpy(((pixels[:, None] / 65535 - mean) / std).astype(np.float32))
    with torch.inference_mode():
        features = backbone(images).double()
    logits = (features - head.get("head.mean", 0)) / head.get("head.scale", 1) @ head["head.weight"].double().T
    logits = logits + head["head.bias"]
    odds = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
    return 1 / (1 + np.exp(-(use["slope"] * odds.numpy() + use["intercept"])))


def test_the_formats():
    assert list(formats()) == ["onnx", "peft", "safetensors", "torch-export"]


@pytest.mark.parametrize("strategy", ["lp", "lora_r2"])
def test_plain_timm_computes_the_same_with_the_merged_backbone(fitted, phantom, tmp_path, strategy):
    model, folder = fitted[strategy]
    difference = export(folder, "safetensors", tmp_path / "plain")
    assert difference < 1e-5
    use = json.loads((tmp_path / "plain" / "use.json").read_text())
    backbone = timm.create_model(use["architecture"], **use["build"]).eval()
    backbone.load_state_dict(load_file(tmp_path / "plain" / "backbone.safetensors"))
    pixels, own = squares(model, phantom)
    found = by_hand(use, load_file(tmp_path / "plain" / "head.safetensors"), backbone, pixels)
    np.testing.assert_allclose(found, own, atol=1e-5)


def test_plain_peft_computes_the_same_with_the_adapter(fitted, phantom, tmp_path):
    import peft

    model, folder = fitted["lora_r2"]
    export(folder, "peft", tmp_path / "adapter")
    card = model_card("timm:test_vit")
    backbone = timm.create_model(card.architecture, **card.build).eval()
    backbone.load_state_dict(load_backbone(card, find_weights(card, "random:11")).state_dict())
    adapted = peft.PeftModel.from_pretrained(backbone, tmp_path / "adapter").eval()
    use = json.loads((tmp_path / "adapter" / "use.json").read_text())
    head = load_file(tmp_path / "adapter" / "head.safetensors")
    pixels, own = squares(model, phantom)
    np.testing.assert_allclose(by_hand(use, head, adapted, pixels), own, atol=1e-5)
    without = by_hand(use, head, adapted.unload(), pixels)
    assert np.abs(without - own).max() > 1e-4


def test_onnxruntime_computes_the_same(fitted, phantom, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model, folder = fitted["lora_r2"]
    assert export(folder, "onnx", tmp_path / "model.onnx") < 1e-5
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    use = json.loads(session.get_modelmeta().custom_metadata_map["prognobench"])
    pixels, own = squares(model, phantom)
    mean, std = (np.reshape(use[name], (1, 3, 1, 1)) for name in ("mean", "std"))
    images = ((pixels[:, None] / 65535 - mean) / std).astype(np.float32)
    np.testing.assert_allclose(session.run(["probability"], {"images": images})[0], own, atol=1e-5)
    assert use["threshold"] == model.description.film.threshold


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["lp", "lora_r2"])
def test_the_graph_may_begin_with_the_gray_image(fitted, phantom, tmp_path, strategy):
    onnxruntime = pytest.importorskip("onnxruntime")
    model, folder = fitted[strategy]
    export(folder, "onnx", tmp_path / "model.onnx", gray=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    for shape in ((300, 260), (40, 97), (160, 160), (1000, 333)):
        gray = random.uniform(-50, 4000, shape).astype(np.float32)
        found = session.run(["probability"], {"gray": gray})[0]
        np.testing.assert_allclose(found, model.predict_proba(gray)[:, 1], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["lp", "lora_r2"])
def test_torch_alone_computes_the_same(fitted, tmp_path, strategy):
    assert export(fitted[strategy][1], "torch-export", tmp_path / "model.pt2") < 1e-6


@pytest.mark.parametrize("shape", [(300, 260), (96, 96), (1, 50), (33, 161), (160, 160), (159, 321), (900, 640)])
def test_the_gray_input_is_the_preprocessing_to_the_last_step_of_16_bits(shape):
    card = model_card("timm:test_vit")
    gray = np.random.default_rng(0).uniform(0, 4000, shape).astype(np.float32)
    square = film_in_memory(gray, Preprocessing(size=card.input_size)).square
    found = GrayInput(card)(torch.from_numpy(gray))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (card.mean, card.std))
    np.testing.assert_allclose((found * std + mean)[0, 0] * 65535, square, atol=1.01)


def test_a_film_of_one_gray_value_is_no_number_in_the_graph():
    assert GrayInput(model_card("timm:test_vit"))(torch.full((50, 40), 7.0)).isnan().any()
    assert "NaN" in _OF_GRAY["one_gray_value"]


@pytest.fixture
def quick_format(monkeypatch):
    """A format that takes no time, and is as wrong as it is told to be."""
    from prognobench.deployment import _export
    from prognobench.deployment._formats._format import Format

    class Quick(Format):
        name, suffix, needs = "quick", ".quick", ("json",)
        wrong, turned = 0.0, 0.0

        def write(self, model, folder, place, gray):
            place.write_text("written")
            own = model.scorer.score

            def read(squares):
                found = own(squares)
                both = np.stack([found.probability, found.score])
                return expit(logit(both) + self.turned) + self.wrong

            return read

    form = Quick()
    monkeypatch.setattr(_export, "formats", lambda: {"quick": form})
    return form


@pytest.mark.parametrize("wrong", [2e-4, np.nan])
def test_an_export_that_computes_otherwise_is_not_written(fitted, tmp_path, quick_format, wrong):
    quick_format.wrong = wrong
    with pytest.raises(InputError, match="computes other numbers than the model"):
        export(fitted["lp"][1], "quick", tmp_path / "model.quick")
    assert list(tmp_path.iterdir()) == []
    quick_format.wrong, quick_format.turned = 0.0, 5e-5
    assert 0 < export(fitted["lp"][1], "quick", tmp_path / "model.quick") < 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["model.quick"]


@pytest.mark.parametrize("sign", [1, -1])
def test_saturated_scores_hide_no_difference(sign):
    own = expit(sign * np.array([-13.8, -20.0, -9.3]))
    assert disagreement(own, own) == ""
    assert disagreement(own, expit(sign * np.array([-13.801, -20.01, -9.301]))) == ""
    assert disagreement(own, expit(sign * np.array([-13.8, -20.0, -9.4]))) == "log-odds differ by up to 0.1"
    assert disagreement(own, np.full(3, np.nan)).startswith("probabilities or scores differ")
    assert disagreement(own, own + np.array([0, 0, -2e-4 * sign])) == "probabilities or scores differ by up to 0.0002"
    assert disagreement(np.array([0.5]), expit(np.array([9e-4]))).startswith("probabilities")


def test_an_export_of_saturated_scores_is_held_against_their_log_odds(fitted, tmp_path, quick_format, monkeypatch):
    from prognobench.deployment import Model

    folder = fitted["lp"][1]
    model = Model.load(folder)
    model.scorer.network.head.weight.zero_()
    model.scorer.network.head.bias.fill_(-13.8)
    model.scorer.network.slope = 1.0
    model.scorer.network.intercept = 0.0
    monkeypatch.setattr(Model, "load", lambda _: model)
    quick_format.turned = 3.9
    with pytest.raises(InputError, match=r"computes other numbers than the model \(log-odds differ by up to 3\.9\)"):
        export(folder, "quick", tmp_path / "model.quick")
    quick_format.turned = 0.0
    assert export(folder, "quick", tmp_path / "model.quick") < 1e-9


def test_a_network_goes_back_to_its_device_when_it_cannot_be_traced():
    from types import SimpleNamespace

    from prognobench.deployment._formats._format import traceable

    places = []
    network = SimpleNamespace(cpu=lambda: places.append("cpu") or "traced", to=places.append)
    model = SimpleNamespace(scorer=SimpleNamespace(network=network, device="cuda"))
    with pytest.raises(ZeroDivisionError), traceable(model) as found:
        assert found == "traced"
        raise ZeroDivisionError
    assert places == ["cpu", "cuda"]


def test_the_command_line_tells_what_a_model_warns_of(fitted, phantom, tmp_path, quick_format, monkeypatch):
    import prognobench.deployment._model as loading

    versions = fitted["lp"][0].description.versions | {"torch": "9.9"}
    monkeypatch.setattr(loading, "versions_here", lambda: versions)
    arguments = ["export", str(fitted["lp"][1]), "--to", "quick", "--out", str(tmp_path / "model.quick")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert told.count("torch 9.9 instead of") == 1 and "note " in told and "_model.py" not in told


@pytest.fixture
def quick_folder(monkeypatch):
    """A format that is a folder, and takes no time."""
    from prognobench.deployment import _export
    from prognobench.deployment._formats._format import Format

    class Quick(Format):
        name = "quick"

        def write(self, model, folder, place, gray):
            place.mkdir()
            (place / "use.json").write_text("{}")

            def read(squares):
                found = model.scorer.score(squares)
                return np.stack([found.probability, found.score])

            return read

    monkeypatch.setattr(_export, "formats", lambda: {"quick": Quick()})


def test_an_export_takes_the_place_of_nothing_but_an_earlier_export(folder, tmp_path, quick_folder, monkeypatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path / "results")
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    for out, message in (
        (tmp_path / "results", "something else than an export is there already"),
        (folder, "the model itself lies there"),
        (folder.parent, "the model itself lies there"),
        (tmp_path / "file", "a file is there, and quick is a folder"),
        (Path(), "this names the folder that one is in"),
        (Path(".."), "this names the folder that one is in"),
    ):
        with pytest.raises(InputError, match=message):
            export(folder, "quick", out)
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    for _ in range(2):
        export(folder, "quick", tmp_path / "out")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["use.json"]
    (tmp_path / "empty").mkdir()
    export(folder, "quick", tmp_path / "empty")
    assert (tmp_path / "empty" / "use.json").is_file()
    assert not list(tmp_path.glob(".*"))


def test_a_folder_is_not_replaced_by_a_file(fitted, tmp_path, quick_format):
    (tmp_path / "model.quick").mkdir()
    with pytest.raises(InputError, match="a folder is there, and quick is one file"):
        export(fitted["lp"][1], "quick", tmp_path / "model.quick")
    assert (tmp_path / "model.quick").is_dir()


def test_an_export_is_held_against_the_words_that_were_written(fitted, tmp_path, monkeypatch):
    from prognobench.deployment._formats import _safetensors

    true = _safetensors.use_of
    monkeypatch.setattr(_safetensors, "use_of", lambda model: true(model) | {"slope": true(model)["slope"] * 1.5})
    with pytest.raises(InputError, match="computes other numbers than the model"):
        export(fitted["lp"][1], "safetensors", tmp_path / "plain")


def test_without_real_films_nothing_is_exported(fitted, tmp_path, phantom, quick_format, monkeypatch):
    monkeypatch.setenv("PROGNOBENCH_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(InputError, match="the training films are not in the image cache of this machine"):
        export(fitted["lp"][1], "quick", tmp_path / "model.quick")
    (tmp_path / "none.csv").write_text("image\n")
    with pytest.raises(InputError):
        export(fitted["lp"][1], "quick", tmp_path / "model.quick", films=tmp_path / "none.csv")
    export(fitted["lp"][1], "quick", tmp_path / "model.quick", films=phantom)
    assert (tmp_path / "model.quick").read_text() == "written"


def test_a_package_that_is_missing_is_named_with_the_extra(fitted, tmp_path, quick_format):
    quick_format.needs = ("no_such_package",)
    with pytest.raises(InputError, match=r"needs no_such_package.*pip install 'prognobench\[export\]'"):
        export(fitted["lp"][1], "quick", tmp_path / "model.quick")


@pytest.mark.parametrize(
    ("to", "out", "more", "message"),
    [
        ("onx", "m.onnx", [], "there is no format 'onx'. Did you mean 'onnx'?"),
        ("onnx", "m.pb", [], "'m.pb' does not end in .onnx"),
        ("peft", "m", [], "lp has no adapter; choose safetensors"),
        ("safetensors", "m", ["--gray"], "cannot begin with the gray image; onnx can"),
    ],
)
def test_what_cannot_be_exported_ends_with_status_2(fitted, tmp_path, to, out, more, message):
    if to == "onnx" and importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("needs the extra export")
    arguments = ["export", str(fitted["lp"][1]), "--to", to, "--out", str(tmp_path / out), *more]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []
