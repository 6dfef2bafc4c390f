"""From benchmark to use: fit a model, predict with it, export it, explain it."""

from ._choice import parse_names
from ._description import Description, read_folder
from ._fit import fit
from ._model import Model, OtherVersions
from ._predict import Predicted, predict

__all__ = [
    "Description",
    "Model",
    "OtherVersions",
    "Predicted",
    "fit",
    "parse_names",
    "predict",
    "read_folder",
]
