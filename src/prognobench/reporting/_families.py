"""Which models are convolutional networks of the usual kind, and which foundation models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from prognobench.models import model_cards

Family = Literal["cnn", "foundation", "other"]
_IMAGENET = "ImageNet"


def families(models: Iterable[str]) -> dict[str, Family]:
    """Tell the family of each model by its card: `cnn`, `foundation` or `other`.

    A `cnn` is a convolutional network pretrained with the labels of ImageNet; a `foundation` model was pretrained on
    anything else, whatever its architecture (a MedCLIP with a ResNet is one, as in Ruffini et al.). Anything else, and
    a model of timm without a card of its own, is `other`: no card says what it was pretrained on.

    Examples
    --------
    >>> families(["resnet50", "medclip_resnet", "dinov2_s", "timm:vit_tiny_patch16_224"])
    {'resnet50': 'cnn', 'medclip_resnet': 'foundation', 'dinov2_s': 'foundation', 'timm:vit_tiny_patch16_224': 'other'}
    """
    cards = model_cards()
    found: dict[str, Family] = {}
    for model in models:
        card = cards.get(model)
        if card is None:
            found[model] = "other"
        elif card.pretraining.startswith(_IMAGENET):
            found[model] = "cnn" if card.family == "cnn" else "other"
        else:
            found[model] = "foundation"
    return found
