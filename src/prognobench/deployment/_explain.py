"""Where in a film a score comes from, and whether such a map says anything of what the model has learned."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prognobench.cohorts import BadFilm, Fault, NewFilm, film_in_memory, film_sources, read_new_films
from prognobench.frame import InputError, Problem, nearest, write_in_one_step

from ._model import Model

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ._network import Network

Floats = npt.NDArray[np.float64]
ALIKE = 0.5  # rank correlation from which on a map is called much the same without what was learned
_RANDOM = "random:1"
_STEPS = 32  # of the integral
_SMOOTHING = 1 / 40  # of the film's side: about half a patch
METHODS = {"integrated-gradients": "Integrated gradients", "grad-cam": "Grad-CAM"}


@dataclass(frozen=True, eq=False)
class Explanation:
    """A map of what moved the score, and the same map of a network that has learned nothing.

    Attributes
    ----------
    method
        `integrated-gradients` or `grad-cam`.
    film
        What the model sees, (size, size) from 0 to 1.
    map, random_map
        (size, size) from 0 to 1, of the model, and of its architecture with random weights.
    rank_correlation, ssim
        How alike the two are: Spearman's, and the structural similarity. Near 1, the map shows the film's edges and
        not what the model knows. The first is NaN where one of the maps is empty, and there is no verdict then.
    probability, decision, distance, unlike
        What the model says of the film.
    """

    method: str
    film: Floats
    map: Floats
    random_map: Floats
    rank_correlation: float
    ssim: float
    probability: float
    decision: str
    distance: float
    unlike: str

    @property
    def verdict(self) -> str:
        """A sentence on how far the map can be believed."""
        if not self.map.any():
            return "The map is empty: nothing in the film moves the score up, and no more can be said of it"
        if np.isnan(self.rank_correlation):
            return "With random weights the map is empty: nothing can be said of how far the map can be believed"
        alike = self.rank_correlation >= ALIKE
        told = f"rank correlation {self.rank_correlation:.2f}, SSIM {self.ssim:.2f}"
        if alike:
            return f"With random weights the map is much the same ({told}): it shows the film, not what was learned"
        return f"With random weights the map is another one ({told}): it depends on what was learned"


def explain(model: Model, image: Any, out: Path | None = None, method: str | None = None) -> Explanation:
    """Show where in a film its score comes from, with the check that belongs beside it.

    Parameters
    ----------
    model
        What `Model.load` returned.
    image
        One film: its path, a PIL image, or an array as `Model.predict_proba` takes them.
    out
        A PNG to write: the film, the map over it, and beside it the map of random weights.
    method
        `integrated-gradients` (from the black film; the default of all but CNNs) or `grad-cam` (the default of CNNs,
        and theirs alone).

    Raises
    ------
    InputError
        captum is not installed, the film cannot be read, or the method does not fit the model.

    Notes
    -----
    Sundararajan, Taly & Yan 2017 (arXiv:1703.01365), absolute values summed over channels and smoothed; Selvaraju et
    al. 2017 (arXiv:1610.02391), at what the pooling reads. Both by captum, of the log-odds before calibration. The
    check is the parameter randomization test of Adebayo et al. 2018 (arXiv:1810.03292): all weights and the head are
    random. A map says where the score comes from and neither that this is disease nor that it is right.
    """
    if find_spec("captum") is None:
        what = "maps are made by captum, which is not installed"
        raise InputError([Problem("captum", what, "Run `pip install 'prognobench[explain]'`")])
    card = model.description.backbone.card
    chosen = method or ("grad-cam" if card.family == "cnn" else "integrated-gradients")
    _check_method(chosen, card.family, card.id)
    film = _film(model, image)
    square = film.square
    row = model.table(["film"], [film]).iloc[0]
    network = model.scorer.network
    random = _randomized(model)
    own, other = (_map(one, model, square, chosen) for one in (network, random))
    explanation = Explanation(
        chosen,
        square.astype(np.float64) / 65535,
        own,
        other,
        rank_correlation(own, other),
        ssim(own, other),
        float(row["probability"]),
        str(row["decision"]),
        float(row["distance"]),
        str(row["unlike"]),
    )
    if out is not None:
        write_in_one_step(Path(out), _picture(explanation, model))
    return explanation


def rank_correlation(one: Floats, other: Floats) -> float:
    """Return Spearman's rank correlation of two maps; NaN where one of them is the same everywhere."""
    from scipy.stats import rankdata

    ranks = np.stack([rankdata(one.ravel()), rankdata(other.ravel())])
    ranks -= ranks.mean(axis=1, keepdims=True)
    scale = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float(ranks[0] @ ranks[1] / scale) if scale else float("nan")


def ssim(one: Floats, other: Floats) -> float:
    """Return the mean structural similarity of two maps from 0 to 1 (Wang et al. 2004, Gaussian of 1.5 pixels).

    Examples
    --------
    >>> ramp = np.linspace(0, 1, 400).reshape(20, 20)
    >>> round(ssim(ramp, ramp), 6)
    1.0
    """
    from scipy.ndimage import gaussian_filter

    def smooth(values: Floats) -> Floats:
        # A window of 11 pixels, as published.
        smoothed: Floats = gaussian_filter(values, 1.5, truncate=3.5)
        return smoothed

    small, contrast = 0.01**2, 0.03**2
    means = smooth(one), smooth(other)
    spread = smooth(one**2) - means[0] ** 2, smooth(other**2) - means[1] ** 2
    shared = smooth(one * other) - means[0] * means[1]
    above = (2 * means[0] * means[1] + small) * (2 * shared + contrast)
    below = (means[0] ** 2 + means[1] ** 2 + small) * (spread[0] + spread[1] + contrast)
    # Where the window reaches over the edge nothing is compared; a map smaller than the window is compared as it is.
    inner = (above / below)[5:-5, 5:-5]
    return float((inner if inner.size else above / below).mean())


def _check_method(method: str, family: str, model: str) -> None:
    if method not in METHODS:
        what = f"there is no method '{method}'"
        raise InputError([Problem("argument --method", what, nearest(method, list(METHODS)))])
    if method == "grad-cam" and family != "cnn":
        what = f"Grad-CAM reads the maps of a CNN, and {model} is none"
        raise InputError([Problem("argument --method", what, "Choose integrated-gradients")])


def _film(model: Model, image: Any) -> NewFilm:
    if not isinstance(image, str | Path):
        try:
            return film_in_memory(image, model.preprocessing)
        except BadFilm as bad:
            raise InputError([Problem("the image", bad.fault.what, bad.fault.remedy)]) from None
    sources = film_sources(Path(image))
    if len(sources) != 1:
        what = f"these are {len(sources)} films, and one at a time is explained"
        raise InputError([Problem(str(image), what, "Give one film")])
    (film,) = read_new_films(sources, model.preprocessing, built=model.description.built)
    if isinstance(film, Fault):
        raise InputError([Problem(str(image), film.what, film.remedy)])
    return film


def _randomized(model: Model) -> Network:
    """Return the model's architecture with random weights and a random head."""
    import torch

    from prognobench.models import find_weights, load_backbone

    from ._network import LinearHead, Network

    one, own = model.description, model.scorer.network
    card = one.backbone.card
    generator = torch.Generator().manual_seed(1)
    width = own.head.weight.shape[1]
    head = LinearHead({"head.weight": torch.randn(2, width, generator=generator) * 0.01, "head.bias": torch.zeros(2)})
    backbone = load_backbone(card, find_weights(card, _RANDOM))
    return Network(backbone, card, own.readout, head, one.film).to(model.scorer.device)


def _map(network: Network, model: Model, square: npt.NDArray[np.uint16], method: str) -> Floats:
    import torch

    from prognobench.training import Normalizer

    normalize = Normalizer(network.card, model.scorer.device)
    pixels = normalize(square[None])
    with torch.enable_grad():
        if method == "grad-cam":
            found = _grad_cam(network, pixels, len(square))
        else:
            found = _integrated_gradients(network, pixels, normalize(np.zeros_like(square)[None]), model.scorer.batch)
    values = found - found.min()
    scaled: Floats = values / values.max() if values.max() > 0 else values
    return scaled


def _integrated_gradients(network: Network, pixels: Tensor, black: Tensor, batch: int) -> Floats:
    from captum.attr import IntegratedGradients
    from scipy.ndimage import gaussian_filter

    method = IntegratedGradients(network.odds)
    found = method.attribute(pixels, baselines=black, n_steps=_STEPS, internal_batch_size=batch)
    by_pixel = found[0].detach().abs().sum(dim=0).cpu().numpy().astype(np.float64)
    smoothed: Floats = gaussian_filter(by_pixel, len(by_pixel) * _SMOOTHING)
    return smoothed


def _grad_cam(network: Network, pixels: Tensor, size: int) -> Floats:
    from captum.attr import LayerAttribution, LayerGradCam

    layer, reads_input = _last_map(network.backbone)
    method = LayerGradCam(network.odds, layer)
    found = method.attribute(pixels.requires_grad_(), relu_attributions=True, attribute_to_layer_input=reads_input)
    wide = LayerAttribution.interpolate(found, (size, size), interpolate_mode="bilinear")
    values: Floats = wide[0, 0].detach().cpu().numpy().astype(np.float64)
    return values


def _last_map(backbone: nn.Module) -> tuple[Any, bool]:
    """Return what Grad-CAM looks at: the input of the pooling, or the output of the last convolution."""
    from torch import nn

    pooling = getattr(backbone, "global_pool", None)
    if isinstance(pooling, nn.Module):
        return pooling, True
    return [part for part in backbone.modules() if isinstance(part, nn.Conv2d)][-1], False


def _picture(one: Explanation, model: Model) -> bytes:
    """Draw film, map and check; nothing on it names a patient or a file."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    titles = ("what the model sees", METHODS[one.method], f"{METHODS[one.method]}, random weights")
    axes = figure.subplots(1, 3)
    for axis, title, shown in zip(axes, titles, (None, one.map, one.random_map), strict=True):
        axis.imshow(one.film, cmap="gray", vmin=0, vmax=1)
        if shown is not None:
            drawn = axis.imshow(shown, cmap="inferno", vmin=0, vmax=1, alpha=0.55)
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    bar = figure.colorbar(drawn, ax=axes, shrink=0.7, ticks=[0, 1])
    bar.set_ticklabels(["least", "most"])
    bar.set_label("effect on the score, each map by itself", fontsize=8.5)
    unlike = " The film is unlike the training films." if one.unlike else ""
    task, threshold = model.description.outcome.task, model.description.film.threshold
    told = f"P({task}) = {one.probability:.2f}, called {one.decision} (threshold {threshold:.2f}).{unlike}"
    figure.suptitle(told, fontsize=11)
    below = f"{one.verdict}.\nA map says where the score comes from, not that this is disease. Not a medical device."
    figure.supxlabel(below, fontsize=8.5)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
