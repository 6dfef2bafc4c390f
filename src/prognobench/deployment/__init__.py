"""From benchmark to use: fit a model, predict with it, export it, explain it."""

from ._card import standing
from ._choice import parse_names
from ._description import Description, read_folder
from ._explain import Explanation, explain
from ._export import export, formats
from ._fit import fit
from ._listing import print_predicted
from ._model import EarlierLimit, Model, ModelWarning, OtherVersions, WrongOrder
from ._predict import Predicted, predict

__all__ = [
    "Description",
    "EarlierLimit",
    "Explanation",
    "Model",
    "ModelWarning",
    "OtherVersions",
    "Predicted",
    "WrongOrder",
    "explain",
    "export",
    "fit",
    "formats",
    "parse_names",
    "predict",
    "print_predicted",
    "read_folder",
    "standing",
]
