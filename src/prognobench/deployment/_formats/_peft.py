"""peft: the adapter alone, as plain HF peft loads it onto the timm model with the same weights."""

from __future__ import annotations

from pathlib import Path

from prognobench.frame import InputError, Problem

from .._description import ADAPTER, read_folder
from .._model import Model, adapted_module, tensors_of
from ._format import Format, Reader
from ._safetensors import plain_reader, write_use


class Peft(Format):
    """`peft.PeftModel.from_pretrained(backbone, folder)`, and `head.safetensors` with `use.json` beside it."""

    name = "peft"

    def refuses(self, model: Model, gray: bool) -> str | None:
        """Refuse what has no adapter."""
        refused = super().refuses(model, gray)
        adaptation = model.description.adaptation
        if refused is None and adaptation.kind != "adapter":
            return f"{adaptation.label} has no adapter; choose safetensors"
        return refused

    def write(self, model: Model, folder: Path, place: Path, gray: bool) -> Reader:
        """Write the adapter, and return what plain peft computes with it on the backbone's own weights."""
        from peft import PeftModel

        from prognobench.models import find_weights, load_backbone
        from prognobench.strategies import export_peft

        description, files = read_folder(folder)
        _, module = adapted_module(description, tensors_of(files, ADAPTER, folder), str(folder))
        try:
            export_peft(module, place)
        except ValueError as error:
            raise InputError([Problem(str(folder), str(error), "Choose safetensors, which has it merged")]) from None
        write_use(model, folder, place)
        card = description.backbone.card
        backbone = load_backbone(card, find_weights(card, description.backbone.weights))
        loaded = PeftModel.from_pretrained(backbone, place).eval()
        return plain_reader(model, loaded, place)


FORMAT = Peft()
