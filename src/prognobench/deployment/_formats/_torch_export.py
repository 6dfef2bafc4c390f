"""torch.export: the whole model as one program, which runs with torch alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from .._model import Model
from ._format import MOST_FILMS, Format, Reader, traceable


class TorchExport(Format):
    """`torch.export.load(file).module()(images)` gives probability and score of (films, 3, size, size)."""

    name = "torch-export"
    suffix = ".pt2"

    def write(self, model: Model, folder: Path, place: Path, gray: bool) -> Reader:
        """Write the program, and return what it computes when it is loaded."""
        import torch

        from prognobench.training import Normalizer

        size = model.preprocessing.size
        films = torch.export.Dim("films", min=1, max=MOST_FILMS)
        with traceable(model) as network:
            program = torch.export.export(network, (torch.rand(2, 3, size, size),), dynamic_shapes=({0: films},))
            torch.export.save(program, place)
            loaded = torch.export.load(place).module()
        normalize = Normalizer(model.description.backbone.card, "cpu")

        def read(squares: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
            with torch.inference_mode():
                found: npt.NDArray[np.float64] = torch.stack(loaded(normalize(squares))).numpy()
            return found

        return read


FORMAT = TorchExport()
