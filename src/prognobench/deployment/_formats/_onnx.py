"""ONNX: the whole model as one graph, for onnxruntime and others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._model import Model
from ._format import MOST_FILMS, Format, Reader, traceable, use_of

_OF_GRAY = {"one_gray_value": "a film that has one gray value only gives NaN, where `predict` names it as bad"}
_LONGEST = 65536


class Onnx(Format):
    """`images` (films, 3, size, size), normalized, or `gray` (height, width) give `probability` and `score`."""

    name = "onnx"
    suffix = ".onnx"
    needs = ("onnxruntime", "onnxscript")

    def refuses(self, model: Model, gray: bool) -> str | None:
        """Refuse nothing."""
        return None

    def write(self, model: Model, folder: Path, place: Path, gray: bool) -> Reader:
        """Write the graph, and return what onnxruntime computes."""
        import onnx
        import onnxruntime
        import torch

        from .._gray import GrayInput

        size = model.preprocessing.size
        if gray:
            sides = {name: torch.export.Dim(name, min=2, max=_LONGEST) for name in ("height", "width")}
            example, shapes, name = torch.rand(size + 7, size - 5), {0: sides["height"], 1: sides["width"]}, "gray"
        else:
            example, name = torch.rand(2, 3, size, size), "images"
            shapes = {0: torch.export.Dim("films", min=1, max=MOST_FILMS)}
        with traceable(model) as network:
            if gray:
                network = torch.nn.Sequential(GrayInput(model.description.backbone.card), network).eval()
            program = torch.onnx.export(
                network, (example,), dynamo=True, dynamic_shapes=(shapes,), input_names=[name],
                output_names=["probability", "score"], verbose=False,
            )  # fmt: skip
        assert program is not None
        program.save(place)
        graph = onnx.load(place)
        onnx.helper.set_model_props(graph, {"prognobench": json.dumps(use_of(model) | (_OF_GRAY if gray else {}))})
        onnx.save(graph, place)
        session = onnxruntime.InferenceSession(str(place), providers=["CPUExecutionProvider"])
        return _gray_reader(session) if gray else _reader(session, model)


def _reader(session: Any, model: Model) -> Reader:
    from prognobench.training import Normalizer

    normalize = Normalizer(model.description.backbone.card, "cpu")

    def read(squares: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
        return np.stack(session.run(["probability", "score"], {"images": normalize(squares).numpy()}))

    return read


def _gray_reader(session: Any) -> Reader:
    def read(squares: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
        each = [session.run(["probability", "score"], {"gray": square.astype(np.float32)}) for square in squares]
        return np.concatenate([np.stack(one) for one in each], axis=1)

    return read


FORMAT = Onnx()
