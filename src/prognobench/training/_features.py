"""Frozen features: every film goes through a frozen backbone once, whatever folds, shots and heads follow."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from prognobench.frame import file_lock, home, sha256_file, sha256_json, write_in_one_step
from prognobench.models import readable, readout_width, widest
from prognobench.protocols import Augmentation, Head, Readout, head_key

from ._augment import Augmenter
from ._batches import Normalizer
from ._bfloat16 import Reader
from ._device import device_name
from ._films import Stacked, give_back_pages, read_rows

if TYPE_CHECKING:
    from torch import nn

    from prognobench.cohorts import Pixels
    from prognobench.models import ModelCard, Weights

# Fixed, since the size of a batch can change the last bits of its features.
_BATCH = 32
_SCHEMA = 2  # 2: the last block of a transformer for the class token alone


@dataclass(frozen=True)
class FrozenFeatures:
    """The features of all films of a pixel cache under one frozen backbone.

    Attributes
    ----------
    array
        (films, width) float32, memory-mapped, in the order of the pixel cache; with variants (films × (1 + variants),
        width), the films as they are before all copies.
    key
        Content key of the features.
    films
        How many films went forward to make them, in all.
    seconds
        How long that took, in all.
    computed_here
        How many of them this call computed; 0 when they lay ready.
    """

    array: npt.NDArray[np.float32] | Stacked
    key: str
    films: int
    seconds: float
    computed_here: int


def frozen_features(
    backbone: nn.Module | Callable[[], nn.Module],
    card: ModelCard,
    weights: Weights,
    pixels: Pixels,
    head: Head,
    augmentation: Augmentation | None = None,
    variants: int = 0,
) -> FrozenFeatures:
    """Return the features of every film of `pixels`, computed once and kept.

    They are computed in float32 and kept under a key of all that can change them: pixels, weights, architecture,
    device, threads and the version of torch. Several processes may ask at once; one computes. What a killed process
    has finished is used by the next.

    Parameters
    ----------
    backbone
        The frozen module, as `load_backbone` gives it; or what loads it, which is called only if features lack.
    card, weights
        Its card and the weights it holds.
    pixels
        The pixel cache at the card's input size.
    head
        What the heads read of the backbone: of several readouts the widest is computed, which holds the others.
    augmentation, variants
        How many copies of each film are read as well, and how they are changed. The copies of one number are the same
        for every job, and kept as the films' own features are.
    """
    found = [
        _features_of(backbone, card, weights, pixels, head, augmentation, variant) for variant in range(1 + variants)
    ]
    if not variants:
        return found[0]
    return FrozenFeatures(
        Stacked([one.array for one in found if isinstance(one.array, np.ndarray)]),
        sha256_json([one.key for one in found]),
        sum(one.films for one in found),
        sum(one.seconds for one in found),
        sum(one.computed_here for one in found),
    )


def _features_of(
    backbone: nn.Module | Callable[[], nn.Module],
    card: ModelCard,
    weights: Weights,
    pixels: Pixels,
    head: Head,
    augmentation: Augmentation | None,
    variant: int,
) -> FrozenFeatures:
    """Return the features of all films as they are, or of their copies of one number."""
    readout = widest(readable(card, head.readouts))
    recipe: dict[str, Any] = {
        "schema": _SCHEMA,
        "pixels": pixels.key,
        "weights": weights.sha256,
        "architecture": [card.architecture, card.build, card.mean, card.std, card.positions],
        "head": head_key((readout,)),
        "device": device_name(),
        "threads": torch.get_num_threads(),
        "batch": _BATCH,
        # timm draws random weights and computes; its version can change both.
        "versions": [torch.__version__, version("timm")],
    }
    change: Augmenter | None = None
    if variant:
        assert augmentation is not None
        recipe["variant"] = [variant, augmentation.model_dump(mode="json")]
        change = Augmenter(augmentation, len(pixels.array), variant)
    key = sha256_json(recipe)
    folder = home() / "features" / key
    with file_lock(folder.with_suffix(".lock")):
        ready = _open(folder)
        if ready is not None:
            array, facts = ready
            return FrozenFeatures(array, key, facts["films"], facts["seconds"], 0)
        module = backbone if isinstance(backbone, torch.nn.Module) else backbone()
        computed = _compute(module, card, pixels, readout, folder, recipe, change)
        opened = _open(folder)
        assert opened is not None
        return FrozenFeatures(opened[0], key, opened[1]["films"], opened[1]["seconds"], computed)


def _open(folder: Path) -> tuple[npt.NDArray[np.float32], dict[str, Any]] | None:
    """Map finished features, or None where they are absent, unfinished or damaged."""
    try:
        facts = json.loads((folder / "features.json").read_text(encoding="utf-8"))
        if sha256_file(folder / "features.npy") != facts["sha256"]:
            return None
        return np.load(folder / "features.npy", mmap_mode="r"), facts
    except (OSError, ValueError, KeyError):
        return None


def _compute(
    backbone: nn.Module,
    card: ModelCard,
    pixels: Pixels,
    readout: Readout,
    folder: Path,
    recipe: dict[str, Any],
    change: Augmenter | None,
) -> int:
    """Fill the feature file batch by batch; after a kill, go on behind the last finished batch."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "features.json").unlink(missing_ok=True)
    path, counter = folder / "features.npy", folder / "done.json"
    films, width = len(pixels.array), readout_width(card, *readout)
    done, seconds = _finished(path, counter, (films, width))
    mode = "r+" if done else "w+"
    array = np.lib.format.open_memmap(path, mode=mode, dtype=np.float32, shape=(films, width))
    normalize = Normalizer(card, device_name())
    reader = Reader(backbone, readout).to(device_name()).eval()
    first = done
    with torch.inference_mode():
        while done < films:
            began = time.perf_counter()
            batch = read_rows(pixels.array, slice(done, done + _BATCH))
            changed = None if change is None else change.of(slice(done, done + len(batch)))
            features = reader(normalize(batch, changed)).float().cpu().numpy()
            if not np.isfinite(features).all():
                what = "hold values that are not finite: the weights or the films are damaged"
                raise ValueError(f"features of {card.id} {what}")
            array[done : done + len(batch)] = features
            done += len(batch)
            seconds += time.perf_counter() - began
            if done % (_BATCH * 16) == 0:
                array.flush()
                give_back_pages(array)
                write_in_one_step(counter, json.dumps({"films": done, "seconds": seconds}))
    array.flush()
    facts = {"films": films, "seconds": seconds, "sha256": sha256_file(path), "recipe": recipe}
    write_in_one_step(folder / "features.json", json.dumps(facts, indent=1))
    counter.unlink(missing_ok=True)
    return films - first


def _finished(path: Path, counter: Path, shape: tuple[int, int]) -> tuple[int, float]:
    try:
        facts = json.loads(counter.read_text(encoding="utf-8"))
        if np.load(path, mmap_mode="r").shape == shape:
            return int(facts["films"]), float(facts["seconds"])
    except (OSError, ValueError, KeyError):
        pass
    return 0, 0.0
