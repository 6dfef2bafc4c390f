"""A fitted model: loaded, checked, and asked about films."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from prognobench.cohorts import BadFilm, Fault, NewFilm, Preprocessing, film_in_memory, film_sources, read_new_films
from prognobench.frame import InputError, Problem, Problems

from ._agreement import RELATIVE, disagreement
from ._description import ADAPTER, HEAD, LIKENESS, Check, Description, read_folder, versions_here
from ._likeness import Likeness

if TYPE_CHECKING:
    from torch import Tensor, nn

    from prognobench.models import ModelCard
    from prognobench.strategies import Strategy

    from ._network import Network, Scorer

CHROMA = 0.04  # above which a picture is called colored; films have 0, but for a mark in color
_SIDES = (300, 260)  # of the synthetic pictures of the check
# Of a backbone's card: what it is built and fed by.
_BUILDS = {
    *("architecture", "build", "family", "width", "blocks", "class_token", "input_size", "mean", "std", "roles"),
    *("fused", "classifier", "positions"),
}
COLORED, FAR = "it is a color picture", "its features are far from those of the training films"


class ModelWarning(UserWarning):
    """Something that the user of a model is to know."""


class WrongOrder(ModelWarning):
    """Out of fold, a model's scores order the films the wrong way round."""


class EarlierLimit(ModelWarning):
    """A model was fitted when one odd film or feature could set the limit beyond which films are called unlike."""


class OtherVersions(ModelWarning):
    """A model was fitted under other versions of packages, and computes the same under those that are here."""


class Model:
    """A model that `fit` made, ready to predict.

    Attributes
    ----------
    description
        All that `model.json` says.
    classes_
        The names of the classes, in the order of the columns of `predict_proba`.
    notes
        What its user should know, such as that it was fitted under other versions of packages.

    Examples
    --------
    >>> model = Model.load("icu-model")  # doctest: +SKIP
    >>> model.predict_proba(["film.png"])  # doctest: +SKIP
    array([[0.83, 0.17]])
    """

    def __init__(self, description: Description, network: Network, likeness: Likeness) -> None:
        from ._network import Scorer

        self.description = description
        self.classes_: npt.NDArray[np.str_] = np.array(description.outcome.classes)
        self.notes = (*_wrong_order(description), *_earlier_limit(description))
        self.scorer: Scorer = Scorer(network, likeness)
        self.preprocessing = Preprocessing(
            name=description.preprocessing["name"], size=description.preprocessing["size"]
        )

    @classmethod
    def load(cls, folder: str | Path) -> Model:
        """Load a model from its folder; nothing is downloaded.

        Parameters
        ----------
        folder
            What `fit` wrote. Every file is checked against its SHA-256, and the weights of the backbone against
            theirs. Where packages have other versions than at fitting, two synthetic pictures are scored and held
            against the scores of then; equal ones give a warning (`OtherVersions`). So does a calibration whose slope
            is not positive (`WrongOrder`), and a limit for unlike films that may flag next to nothing (`EarlierLimit`).

        Raises
        ------
        InputError
            The folder is no model or was altered, the weights of its backbone are not here or others, or other
            versions compute other numbers.
        """
        folder = Path(folder)
        description, files = read_folder(folder)
        model = cls(description, _network(description, files, folder), _likeness(description, files, folder))
        for kind, notes in ((WrongOrder, _wrong_order(description)), (EarlierLimit, _earlier_limit(description))):
            for note in notes:
                warnings.warn(f"{folder}: {note}", kind, stacklevel=2)
        model._check_versions(folder)
        return model

    def predict(self, images: Any) -> npt.NDArray[np.str_]:
        """Return the class of each film at the model's threshold; see `predict_proba`."""
        positive = self.predict_proba(images)[:, 1] >= self.description.film.threshold
        called: npt.NDArray[np.str_] = self.classes_[positive.astype(int)]
        return called

    def predict_proba(self, images: Any) -> npt.NDArray[np.float64]:
        """Return the calibrated probability of each class, (films, 2), in the order of `classes_`.

        Parameters
        ----------
        images
            One or several of: the path of a film, folder, table or cohort; a PIL image; an array of gray values
            (height, width) or 8-bit colors (height, width, 3). An array (films, height, width) is that many films.

        Raises
        ------
        InputError
            Films cannot be read; all of them are named.
        """
        positive = self.scores(images)["probability"].to_numpy(np.float64)
        return np.stack([1 - positive, positive], axis=1)

    def scores(self, images: Any) -> pd.DataFrame:
        """Return all that the model says of each film.

        Parameters
        ----------
        images
            As `predict_proba` takes them.

        Returns
        -------
        pandas.DataFrame
            One row a film: `image` (its name, or its place among several), `probability` (calibrated), `decision`,
            `score` (before calibration), `distance` to the training films (1 is the limit) and `unlike`: why it does
            not look like one of them, else blank.
        """
        films = self._films(images)
        names = [name for name, _ in films]
        return self.table(names, [film for _, film in films])

    def table(self, names: Sequence[str], films: Sequence[NewFilm]) -> pd.DataFrame:
        """Score films that were read; see `scores`."""
        size = self.preprocessing.size
        squares = np.stack([film.square for film in films]) if films else np.zeros((0, size, size), np.uint16)
        found = self.scorer.score(squares)
        called = found.probability >= self.description.film.threshold
        colored = [film.chroma > CHROMA for film in films]
        return pd.DataFrame(
            {
                "image": list(names),
                "probability": found.probability,
                "decision": self.classes_[called.astype(int)],
                "score": found.score,
                "distance": found.distance,
                "unlike": [_unlike(*told) for told in zip(found.distance, colored, strict=True)],
            }
        )

    def _films(self, images: Any) -> list[tuple[str, NewFilm]]:
        problems, found = Problems(), []
        for place, one in enumerate(_listed(images)):
            if isinstance(one, str | Path):
                sources = film_sources(Path(one))
                read = read_new_films(sources, self.preprocessing, built=self.description.built)
                for source, film in zip(sources, read, strict=True):
                    if isinstance(film, Fault):
                        problems.add(source.name, film.what, film.remedy)
                    else:
                        found.append((source.name, film))
                continue
            try:
                found.append((str(place), film_in_memory(one, self.preprocessing)))
            except BadFilm as bad:
                problems.add(f"image {place}", bad.fault.what, bad.fault.remedy)
        problems.raise_if_any()
        return found

    def _check_versions(self, folder: Path) -> None:
        """Name versions that are not those of the fitting, and refuse those that compute other numbers."""
        then, now = self.description.versions, versions_here()
        others = [
            f"{name} {now.get(name, 'absent')} instead of {then[name]}" for name in then if now.get(name) != then[name]
        ]
        if not others:
            return
        told = f"it was fitted under other versions: {', '.join(others)}"
        then_check, now_check = self.description.check, make_check(self, self.description.check.seed)
        install = "Install those: pip install " + " ".join(f"{name}=={number}" for name, number in then.items())
        if computed := others_of(then_check, now_check):
            what = f"{told}; these compute other numbers ({'; '.join(computed)})"
            raise InputError([Problem(str(folder), what, install)])
        difference = float(np.abs(np.subtract(now_check.scores, then_check.scores)).max())
        note = f"{folder}: {told}; two check pictures score the same to within {max(difference, 1e-12):.1g}. {install}"
        self.notes = (*self.notes, note)
        warnings.warn(note, OtherVersions, stacklevel=3)


def _wrong_order(description: Description) -> tuple[str, ...]:
    wrong = {level: at.slope for level, at in description.calibration.items() if at.slope <= 0}
    if not wrong:
        return ()
    told = " and ".join(f"{level}s (slope {slope:.3g})" for level, slope in wrong.items())
    return (f"out of fold its scores order {told} the wrong way round, and its probabilities turn them: do not use it",)


def _earlier_limit(description: Description) -> tuple[str, ...]:
    if description.schema_version > 1:
        return ()
    return (
        "its limit for unlike films is of an earlier kind that may flag next to nothing; fit it again to have them "
        "flagged (its probabilities stay the same)",
    )


def _unlike(distance: float, colored: bool) -> str:
    # A distance that is no number is not near either.
    return "; ".join([*([] if distance <= 1 else [FAR]), *([COLORED] if colored else [])])


def make_check(model: Model, seed: int) -> Check:
    """Keep what the model gives of two synthetic pictures: smooth noise, from gray values to scores."""
    random = np.random.Generator(np.random.PCG64(seed))
    pictures = [np.kron(random.uniform(0, 1000, (side // 20, 13)), np.ones((20, 20))) for side in _SIDES]
    films = [film_in_memory(picture.round(), model.preprocessing) for picture in pictures]
    found = model.scorer.score(np.stack([film.square for film in films]))
    distances = (float(one) if np.isfinite(one) else None for one in found.distance)
    return Check(seed=seed, scores=tuple(found.score.tolist()), distances=tuple(distances))


def others_of(then: Check, now: Check) -> list[str]:
    """Say which numbers of the check pictures are others now; distances show what scores near 0 or 1 hide."""
    far = [np.array(one.distances, dtype=np.float64) for one in (then, now)]
    told = [disagreement(np.array(then.scores), np.array(now.scores))]
    if not np.allclose(far[1], far[0], rtol=RELATIVE, atol=0, equal_nan=True):
        told.append("distances to the training films differ")
    return [one for one in told if one]


def adapted_module(description: Description, state: Mapping[str, Tensor], where: str) -> tuple[Strategy, nn.Module]:
    """Build the backbone with its adapter in place, not merged.

    Raises
    ------
    InputError
        The backbone is not the one that this version knows by its name, or its weights are not here, or are others.
    """
    from prognobench.models import find_weights, load_backbone
    from prognobench.strategies import resolved_strategy

    card, adaptation = description.backbone.card, description.adaptation
    _check_card(card, where)
    strategy = resolved_strategy(adaptation.settings)
    if adaptation.kind == "backbone":
        # All of its numbers are in the folder; what the architecture starts from does not matter.
        weights = find_weights(card, "random:0")
    else:
        try:
            weights = find_weights(card, description.backbone.weights)
        except InputError as error:
            first = error.problems[0]
            what = f"the weights '{description.backbone.weights}' of its backbone {card.id} are not here ({first.what})"
            raise InputError([Problem(where, what, first.remedy)]) from None
        if weights.sha256 != description.backbone.sha256:
            what = (
                f"the weights '{weights.id}' that are here are not those that it was fitted on (their SHA-256 differs)"
            )
            raise InputError([Problem(where, what, f"Fetch or add those again ({description.backbone.source})")])
    backbone = load_backbone(card, weights)
    module = strategy.apply(backbone, strategy.plan(backbone, card), adaptation.seed)
    strategy.load(module, dict(state))
    return strategy, module


def _check_card(card: ModelCard, where: str) -> None:
    """Refuse a backbone that this installation builds or feeds otherwise.

    What a folder says of an architecture would be handed to timm, which looks up hubs and files for some names and
    arguments; whoever wrote the folder sealed it, too.
    """
    from prognobench.models import model_card

    try:
        own = model_card(card.id).model_dump(mode="json", include=_BUILDS)
    except InputError as error:
        what = f"its backbone '{card.id}' is not known here ({error.problems[0].what})"
        raise InputError([Problem(where, what, "Install what offers that backbone, or the versions of then")]) from None
    told = card.model_dump(mode="json", include=_BUILDS)
    others = [name for name in sorted(told) if told[name] != own[name]]
    if others:
        what = f"the card of its backbone '{card.id}' is not the one of this version ({', '.join(others)})"
        remedy = (
            "Install the version of prognobench and of timm that wrote it; do not use it if you do not know who did"
        )
        raise InputError([Problem(where, what, remedy)])


def tensors_of(files: Mapping[str, bytes], name: str, folder: Path) -> dict[str, Tensor]:
    """Read the tensors of one of the folder's files."""
    from safetensors.torch import load

    if name not in files:
        raise InputError([Problem(str(folder / name), "the file of the model is missing", "Fit the model again")])
    found: dict[str, Tensor] = load(files[name])
    return found


def _network(description: Description, files: Mapping[str, bytes], folder: Path) -> Network:
    from ._network import LinearHead, Network, merged

    state = tensors_of(files, ADAPTER, folder) if ADAPTER in files else {}
    strategy, module = adapted_module(description, state, str(folder))
    readout = (description.head.blocks, description.head.patch_mean)
    head = LinearHead(tensors_of(files, HEAD, folder))
    return Network(merged(strategy, module), description.backbone.card, readout, head, description.film)


def _likeness(description: Description, files: Mapping[str, bytes], folder: Path) -> Likeness:
    found = {name: tensor.numpy() for name, tensor in tensors_of(files, LIKENESS, folder).items()}
    return Likeness(found["center"], found["scale"], found["whiten"], description.limit.distance)


def _listed(images: Any) -> Iterable[Any]:
    from PIL import Image

    if isinstance(images, str | Path | Image.Image):
        return [images]
    if isinstance(images, np.ndarray) and images.ndim == 2:
        return [images]
    if isinstance(images, np.ndarray) and images.ndim == 3 and images.shape[2] in (3, 4) and images.dtype == np.uint8:
        return [images]
    listed: Iterable[Any] = images
    return listed
