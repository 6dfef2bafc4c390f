"""Builds backbones: timm's module, the stored weights, every key in its place."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prognobench.frame import InputError, Problem, Problems, sha256_bytes

from ._attention import use_plain_attention
from ._cards import ModelCard
from ._positions import is_square_grid, resample_as_dinov2
from ._weights import RANDOM, Weights, fetch_command

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

_SMALL = 0.11


def load_backbone(card: ModelCard, weights: Weights, *, seed: int | None = None) -> nn.Module:
    """Build a backbone with its weights.

    Nothing is downloaded, and the state of torch's random generator is left as it was.

    Parameters
    ----------
    card
        The model.
    weights
        What `find_weights` gave for it. The file is hashed again, and those bytes are the ones that are loaded.
    seed
        May repeat the seed of random weights; to choose another, ask `find_weights` for `random:SEED`.

    Returns
    -------
    nn.Module
        timm's module in eval mode and float32 without classifier: images of shape (n, 3, input_size, input_size),
        normalized as the card says, give features of shape (n, width). Random weights are timm's own
        initialization, with every scale that starts as one number of at most 0.1 set to 1 (LayerScale under any
        name, norms and gains that start at 0): as published they would silence every block.

    Raises
    ------
    InputError
        When the file is missing or altered, or its keys and shapes are not exactly those of the model, but for the
        classifier that the card declares.
    ValueError
        When the weights are of another model, or `seed` is not that of the random weights.
    """
    if weights.model != card.id:
        raise ValueError(f"the weights '{weights.id}' are of {weights.model}, not of {card.id}")
    if weights.path is None:
        return _build_random(card, weights, seed)
    state = fit(card, _read_verified(card, weights, weights.path), str(weights.path))
    module = _create(card)
    module.load_state_dict(state, strict=True)
    return module.float().eval()


def fit(
    card: ModelCard,
    state: dict[str, Tensor],
    where: str,
    *,
    layout: str = "timm",
    problems: Problems | None = None,
) -> dict[str, Tensor]:
    """Give the state that the card's headless module loads strictly.

    Leaves out the declared classifier, resamples positions as the card says and refuses everything else that does
    not fit, all at once and with the `problems` that were found before. `where` and `layout` name the file in errors.
    """
    kept = {key: tensor for key, tensor in state.items() if not card.is_classifier(key)}
    expected = expected_tensors(card)
    problems = problems or Problems()
    side = _grid_side(expected)
    if card.positions == "dinov2" and side and "pos_embed" in kept and is_square_grid(kept["pos_embed"]):
        kept["pos_embed"] = resample_as_dinov2(kept["pos_embed"], side)
    keys = f"the keys of timm's {card.architecture}"
    remedy = f"Give a file that holds exactly {keys}" + (f", in the layout {layout}" if layout != "timm" else "")
    for key in expected:
        if key not in kept:
            problems.add(where, f"the tensor '{key}' is missing", remedy)
    for key, tensor in kept.items():
        if key not in expected:
            problems.add(where, f"the tensor '{key}' is surplus", remedy)
        elif tensor.shape != expected[key].shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(expected[key].shape)}"
            problems.add(where, f"'{key}' has the shape {shapes}", remedy)
        elif tensor.is_floating_point() != expected[key].is_floating_point():
            problems.add(where, f"'{key}' is {tensor.dtype}, not {expected[key].dtype}", remedy)
        # The backbone is float32: what is finite in a file of wider numbers need not be so there.
        elif tensor.is_floating_point() and not bool(tensor.float().isfinite().all()):
            problems.add(where, f"'{key}' holds values that are not finite", "Fetch or copy the file again")
    problems.raise_if_any()
    return kept


def expected_tensors(card: ModelCard) -> dict[str, Tensor]:
    """Return the state of the card's headless module in timm's order: shapes and types without values."""
    import timm
    import torch

    with torch.device("meta"):
        module = timm.create_model(card.architecture, pretrained=False, **card.build)
    state: dict[str, Tensor] = module.state_dict()
    return state


def _read_verified(card: ModelCard, weights: Weights, path: Path) -> dict[str, Tensor]:
    from ._files import read_safetensors

    again = f"Remove {path.parent} and fetch it again: {fetch_command(card, weights.id)}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError([Problem(str(path), f"the weights cannot be read ({error.strerror})", again)]) from None
    found = sha256_bytes(content)
    if found != weights.sha256:
        what = f"the weights were altered: sha256 {found}, recorded {weights.sha256}"
        raise InputError([Problem(str(path), what, again)])
    return read_safetensors(content, str(path))


def _build_random(card: ModelCard, weights: Weights, seed: int | None) -> nn.Module:
    import torch

    recorded = int(weights.sha256.removeprefix(f"{RANDOM}:"))
    if seed is not None and seed != recorded:
        raise ValueError(f"these are random weights of seed {recorded}; ask find_weights for '{RANDOM}:{seed}'")
    module = _create(card, recorded)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if _silences(name, parameter):
                parameter.fill_(1.0)
    return module.float().eval()


def _silences(name: str, parameter: Tensor) -> bool:
    """Tell by its values whether a parameter shuts off a branch.

    LayerScale starts at 1e-6 to 0.1 under a dozen names, and the last norm or gain of a residual branch at 0. Nothing
    but a scale starts as one small number; as zeros, biases and tokens do, too.
    """
    end = name.rpartition(".")[2]
    if "bias" in end or not parameter.numel():
        return False
    first = float(parameter.flatten()[0])
    if abs(first) > _SMALL or not bool((parameter == first).all()):
        return False
    one_a_channel = parameter.numel() == max(parameter.shape, default=1)
    return first != 0 or (one_a_channel and not re.search("token|pos|embed", end))


def _create(card: ModelCard, seed: int = 0) -> nn.Module:
    import timm
    import torch

    with _own_randomness(seed):
        module: nn.Module = timm.create_model(card.architecture, pretrained=False, **card.build)
    if not torch.cuda.is_available():
        use_plain_attention(module)
    if card.family == "cnn":
        # Once and for all uses: another memory format is another kernel, and other last bits.
        module.to(memory_format=torch.channels_last)
    return module


@contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _grid_side(expected: dict[str, Tensor]) -> int | None:
    positions = expected.get("pos_embed")
    return math.isqrt(positions.shape[1] - 1) if positions is not None and is_square_grid(positions) else None
