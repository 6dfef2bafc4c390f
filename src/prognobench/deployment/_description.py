"""What `model.json` says, and the folder it lies in: written whole, sealed, and refused when it was altered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from prognobench.cohorts import FilmRecipe
from prognobench.evaluation import OutOfFold
from prognobench.frame import (
    InputError,
    Problem,
    Problems,
    folder_in_one_step,
    sha256_bytes,
    sha256_json,
)
from prognobench.models import ModelCard

DESCRIPTION, CARD = "model.json", "MODEL_CARD.md"
ADAPTER, HEAD, LIKENESS = "adapter.safetensors", "head.safetensors", "likeness.safetensors"
# All that a model's folder may hold beside its description.
FILES = (CARD, ADAPTER, HEAD, LIKENESS)
SCHEMA = 2
_PACKAGES = ("prognobench", "torch", "timm", "peft", "numpy", "pillow", "safetensors")
_AGAIN = "Copy the whole folder again, or fit the model again"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Outcome(_Part):
    """What is predicted: the task, the names of its classes, and the column and spellings that they stand for."""

    task: str
    classes: tuple[str, ...]
    label: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    where: dict[str, tuple[str, ...]]


class Backbone(_Part):
    """The backbone, and the weights that the adapter and head belong to."""

    card: ModelCard
    weights: str
    sha256: str
    license: str
    source: str


class Adaptation(_Part):
    """The strategy with every setting; `seed` is that of the new tensors."""

    kind: str
    label: str
    settings: dict[str, Any]
    seed: int


class Head(_Part):
    """What the head reads: the last blocks' class tokens, and the mean patch token."""

    blocks: int
    patch_mean: bool


class Calibration(_Part):
    """As `prognobench.evaluation.OutOfFold`, and on the films of which cohort it rests."""

    cohort: str
    level: str
    slope: float
    intercept: float
    threshold: float
    n: int
    n_positive: int
    at_threshold: dict[str, float | None]

    @classmethod
    def of(cls, found: OutOfFold, cohort: str) -> Calibration:
        """Take it over."""
        return cls(cohort=cohort, **vars(found))

    def calibrate(self, score: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return calibrated probabilities of scores."""
        return OutOfFold(**self.model_dump(exclude={"cohort"})).calibrate(score)


class Limit(_Part):
    """Of the distance: what share of training films lies within it, of how many, and whether they were held out.

    `caught` is what share of altered copies of held-out films it flagged, by kind; schema 1 tried none.
    """

    distance: float
    share: float
    films: int
    held_out: bool = True
    caught: dict[str, float] = {}


class Check(_Part):
    """What two synthetic pictures give, by which other versions are told from versions that compute otherwise.

    A distance that is no number is None.
    """

    seed: int
    scores: tuple[float, ...]
    distances: tuple[float | None, ...]


class Description(_Part):
    """All that is known of a fitted model; the tensors lie beside it.

    In schema 1 a feature that hardly varied could rule the distance, and one odd film the limit; from 2 on neither can.
    `built` is what the training films were made with before `preprocessing`; None where that is not recorded.
    """

    schema_version: Literal[1, 2] = 2
    study: str
    cell: dict[str, Any]
    reason: str
    outcome: Outcome
    backbone: Backbone
    adaptation: Adaptation
    protocol: dict[str, Any]
    preprocessing: dict[str, Any]
    built: FilmRecipe | None = None
    head: Head
    training: dict[str, Any]
    calibration: dict[str, Calibration]
    limit: Limit
    check: Check
    versions: dict[str, str]
    device: dict[str, Any]
    evidence: dict[str, Any]
    files: dict[str, str] = {}

    @property
    def film(self) -> Calibration:
        """Calibration and threshold of single films."""
        return self.calibration["film"]


def versions_here() -> dict[str, str]:
    """Return the versions of what computes; a package that is absent is not named."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_folder(folder: Path, description: Description, files: Mapping[str, bytes]) -> Description:
    """Write a model's folder in one step: the files, and `model.json` with the SHA-256 of each and of itself.

    Returns the description as it was written, with these.
    """
    sealed = description.model_copy(update={"files": {name: sha256_bytes(files[name]) for name in sorted(files)}})
    content = json.loads(sealed.model_dump_json())
    with folder_in_one_step(folder) as draft:
        for name, data in files.items():
            (draft / name).write_bytes(data)
        text = json.dumps(content | {"sha256": sha256_json(content)}, indent=1, sort_keys=True, allow_nan=False)
        (draft / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
    return sealed


def read_folder(folder: Path) -> tuple[Description, dict[str, bytes]]:
    """Read a model's folder, every file checked against its SHA-256.

    Raises
    ------
    InputError
        It is no model's folder, files are missing, were altered or added, or it is of a later version; all are named.
    """
    content = _content(folder)
    problems = Problems()
    files: dict[str, bytes] = {}
    for name, sealed in content["files"].items():
        try:
            files[name] = (folder / name).read_bytes()
        except OSError:
            problems.add(folder / name, "the file of the model is missing", _AGAIN)
            continue
        if sha256_bytes(files[name]) != sealed:
            what = "the file was altered: its SHA-256 is not the one that model.json was sealed with"
            problems.add(folder / name, what, _AGAIN)
    for path in sorted(folder.glob("*.safetensors")):
        if path.name not in content["files"]:
            problems.add(path, "the file was added after the model was sealed", "Remove it")
    problems.raise_if_any()
    try:
        return Description.model_validate(content), files
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        what = f"it is not as this version writes it ('{where}': {first['msg']})"
        raise InputError(
            [Problem(str(folder / DESCRIPTION), what, "Use the version of prognobench that wrote it")]
        ) from None


def _content(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    if not folder.is_dir():
        what = "there is no such folder" if not folder.exists() else "this is a file, not the folder of a model"
        raise InputError([Problem(str(folder), what, "Give the folder that `prognobench fit` wrote")])
    if not path.is_file():
        empty = not any(folder.iterdir())
        what = "the folder is empty" if empty else f"the folder holds no {DESCRIPTION}, so it is no model"
        raise InputError([Problem(str(folder), what, "Give the folder that `prognobench fit` wrote")])
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sealed = content.pop("sha256")
        later = int(content["schema_version"]) > SCHEMA
        names = dict(content["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError([Problem(str(path), "it is damaged: it is no description of a model", _AGAIN)]) from None
    if sha256_json(content) != sealed:
        what = "it was altered: its SHA-256 is not the one it was sealed with"
        raise InputError([Problem(str(path), what, _AGAIN)])
    if later:
        made = content.get("versions", {}).get("prognobench", "a later version")
        what = f"it is of schema {content['schema_version']}, and this version reads up to {SCHEMA}"
        raise InputError([Problem(str(path), what, f"Install prognobench {made}")])
    if not set(names) <= set(FILES):
        raise InputError([Problem(str(path), "it names files that no model has", _AGAIN)])
    return content
