"""safetensors: the backbone with the adapter folded in, under timm's names, and the head beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prognobench.models import write_tensors

from .._description import HEAD
from .._model import Model
from ._format import USE, Format, Reader, use_of

if TYPE_CHECKING:
    from torch import nn

_BACKBONE = "backbone.safetensors"


class Safetensors(Format):
    """`timm.create_model` loads `backbone.safetensors` strictly; `use.json` says what else is to be done."""

    name = "safetensors"

    def refuses(self, model: Model, gray: bool) -> str | None:
        """Refuse what cannot be merged: its backbone has layers that timm does not know."""
        refused = super().refuses(model, gray)
        if refused is None and not _is_plain(model):
            return "its adapter cannot be merged into the backbone; onnx, torch-export or peft may have it"
        return refused

    def write(self, model: Model, folder: Path, place: Path, gray: bool) -> Reader:
        """Write the tensors, and return what plain timm computes with them."""
        from safetensors.torch import load_file

        place.mkdir()
        write_tensors(place / _BACKBONE, model.scorer.network.backbone.state_dict())
        write_use(model, folder, place)
        backbone = empty_backbone(model)
        backbone.load_state_dict(load_file(place / _BACKBONE), strict=True)
        return plain_reader(model, backbone, place)


def write_use(model: Model, folder: Path, place: Path) -> None:
    """Write the head, and what else is to be known."""
    (place / HEAD).write_bytes((folder / HEAD).read_bytes())
    (place / USE).write_text(json.dumps(use_of(model), indent=1) + "\n", encoding="utf-8")


def empty_backbone(model: Model) -> nn.Module:
    """Build timm's module without the numbers that belong in it."""
    import timm

    card = model.description.backbone.card
    module: nn.Module = timm.create_model(card.architecture, pretrained=False, **card.build).eval()
    return module


def plain_reader(model: Model, backbone: nn.Module, place: Path) -> Reader:
    """Return what a backbone and the head that was written compute by the words of the `use.json` that was written."""
    import torch
    from safetensors.torch import load_file

    from prognobench.models import read_out
    from prognobench.training import Normalizer

    use, head = json.loads((place / USE).read_text(encoding="utf-8")), load_file(place / HEAD)
    normalize = Normalizer(model.description.backbone.card, "cpu")
    weight, bias = head["head.weight"].double(), head["head.bias"].double()
    mean, scale = head.get("head.mean", torch.zeros(1)), head.get("head.scale", torch.ones(1))

    def read(squares: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
        with torch.inference_mode():
            features = read_out(backbone, normalize(squares), **use["readout"])
            logits = ((features.double() - mean) / scale) @ weight.T + bias
            odds = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
            both = torch.stack([torch.sigmoid(use["slope"] * odds + use["intercept"]), torch.sigmoid(odds)])
        found: npt.NDArray[np.float64] = both.numpy()
        return found

    return read


def _is_plain(model: Model) -> bool:
    import torch

    with torch.device("meta"):
        expected = empty_backbone(model).state_dict()
    return expected.keys() == model.scorer.network.backbone.state_dict().keys()


FORMAT = Safetensors()
