"""Maps of a score, and the check that a map has something to do with what was learned."""

import importlib.util

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import nn
from typer.testing import CliRunner

from prognobench.cli import app
from prognobench.deployment import _explain, explain
from prognobench.deployment._explain import _grad_cam, _integrated_gradients, rank_correlation, ssim
from prognobench.deployment._network import LinearHead, Network
from prognobench.frame import InputError
from prognobench.models import model_card

pytestmark = pytest.mark.torch
needs_captum = pytest.mark.skipif(importlib.util.find_spec("captum") is None, reason="needs the extra explain")


@needs_captum
def test_film_map_and_check_stand_side_by_side(fitted, phantom, tmp_path, monkeypatch):
    monkeypatch.setattr(_explain, "_STEPS", 4)
    model, folder = fitted["lora_r2"]
    film = sorted((phantom.parent / "images").iterdir())[0]
    arguments = ["explain", str(folder), str(film), "--out", str(tmp_path / "map.png")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "With random weights the map is" in done.output
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.width > 2 * picture.height
    found = explain(model, film)
    assert found.probability == model.predict_proba(film)[0, 1]
    assert found.map.shape == found.random_map.shape == found.film.shape
    assert found.map.min() == 0 and found.map.max() == 1
    assert found.rank_correlation == pytest.approx(spearmanr(found.map.ravel(), found.random_map.ravel())[0])


class OnlyTheCorner(nn.Module):
    """A backbone whose one feature is the brightness of a corner."""

    def forward(self, images):
        return images[:, :, :20, :20].mean(dim=(1, 2, 3))[:, None]


def network(backbone, card):
    head = LinearHead({"head.weight": torch.tensor([[3.0]]), "head.bias": torch.tensor([0.5])})
    calibration = type("Line", (), {"slope": 1.0, "intercept": 0.0})()
    return Network(backbone, card, (1, False), head, calibration)


@needs_captum
def test_integrated_gradients_find_what_a_score_reads():
    card = model_card("timm:test_vit")
    pixels = torch.rand(1, 3, 160, 160) + 0.5
    found = _integrated_gradients(network(OnlyTheCorner(), card), pixels, torch.zeros_like(pixels), 8)
    inside = found[:20, :20].sum() / found.sum()
    assert inside > 0.8
    assert found[40:, 40:].max() < 1e-3 * found.max()


class Bright(nn.Module):
    """A convolutional network that sees what is bright, pooled."""

    def __init__(self):
        super().__init__()
        self.down = nn.AvgPool2d(16)
        self.conv = nn.Conv2d(3, 1, 1, bias=False)
        self.conv.weight.data.fill_(1.0)
        self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images):
        return self.global_pool(self.conv(self.down(images)))


@needs_captum
def test_grad_cam_shows_the_map_that_the_pooling_reads():
    card = model_card("timm:test_vit")
    pixels = torch.zeros(1, 3, 160, 160)
    pixels[:, :, 48:80, 96:128] = 2.0
    found = _grad_cam(network(Bright(), card), pixels, 160)
    assert found.shape == (160, 160)
    line, column = np.unravel_index(found.argmax(), found.shape)
    assert 48 <= line < 80 and 96 <= column < 128
    assert found[120:, :60].max() == 0


def test_the_two_likenesses_are_as_published():
    random = np.random.default_rng(0)
    one, other = random.uniform(size=(2, 40, 40))
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one.ravel(), other.ravel())[0])
    assert rank_correlation(one, one**3) == pytest.approx(1)
    assert np.isnan(rank_correlation(one, np.ones_like(one)))
    assert ssim(one, one) == pytest.approx(1)
    assert abs(ssim(one, other)) < 0.2 < ssim(one, (one + 0.3 * other) / 1.3)


def test_a_map_that_needs_no_learned_weights_is_called_so(fitted):
    blank = np.eye(2)
    told = {0.9: "the map is much the same", 0.1: "the map is another one"}
    for correlation, words in told.items():
        one = _explain.Explanation("grad-cam", blank, blank, blank, correlation, 0.5, 0.5, "yes", 0.5, "")
        assert words in one.verdict


def test_an_empty_map_is_not_called_one_that_was_learned():
    empty, some = np.zeros((4, 4)), np.eye(4)
    for own, other, words in (
        (empty, some, "The map is empty"),
        (empty, empty, "The map is empty"),
        (some, empty, "With random weights the map is empty"),
    ):
        correlation = rank_correlation(own, other)
        one = _explain.Explanation("grad-cam", some, own, other, correlation, ssim(own, other), 0.5, "yes", 0.5, "")
        assert words in one.verdict and "learned" not in one.verdict


def test_what_cannot_be_explained_is_named(fitted, phantom, monkeypatch):
    model, _ = fitted["lp"]
    film = sorted((phantom.parent / "images").iterdir())[0]
    monkeypatch.setattr(_explain, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"captum, which is not installed. Run `pip install 'prognobench\[explain\]'`"):
        explain(model, film)
    monkeypatch.setattr(_explain, "find_spec", lambda name: True)
    for image, method, message in (
        (film, "grad-cam", "Grad-CAM reads the maps of a CNN"),
        (film, "lime", "there is no method 'lime'"),
        (phantom.parent, None, "films, and one at a time is explained"),
        (np.zeros((5, 5)), None, "one gray value"),
    ):
        with pytest.raises(InputError, match=message):
            explain(model, image, method=method)
