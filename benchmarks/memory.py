"""What a worker holds for 1,000 films and for 100,000: `python benchmarks/memory.py`.

Each kind of work is done in a process of its own, with networks so small that what is left is what the films take.
Films are files without content: they take as much memory as others would, and no time to make.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from own_process import own_process

COUNTS = (1_000, 100_000)
WIDTH = 384
MODEL = "timm:test_vit"


def rows_of(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Map a file of that shape without content."""
    np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    return np.load(path, mmap_mode="r")


def parts(array: np.ndarray) -> list[Any]:
    """Cut films into training, validation and test as five folds do."""
    from prognobench.training import Films, Rows

    order = np.random.default_rng(0).permutation(len(array))
    cuts = np.split(order, [len(order) * 3 // 5, len(order) * 4 // 5])
    return [Films(Rows(array, cut), (cut % 3 == 0).astype(np.int64)) for cut in cuts]


def nothing(folder: Path, count: int) -> None:
    """Load a network, and no film."""
    from prognobench.models import find_weights, load_backbone, model_card

    card = model_card(MODEL)
    load_backbone(card, find_weights(card, "random"))


def features(folder: Path, count: int) -> None:
    """Send all films through a frozen backbone."""
    from prognobench.cohorts._packs import Pixels
    from prognobench.models import find_weights, load_backbone, model_card
    from prognobench.protocols import resolve_protocol
    from prognobench.training import frozen_features

    card = model_card(MODEL)
    array = rows_of(folder / "pixels.npy", (count, card.input_size, card.input_size), np.uint16)
    pixels = Pixels(f"empty-{count}", array, [f"{film:064x}" for film in range(count)])
    weights = find_weights(card, "random")
    frozen_features(load_backbone(card, weights), card, weights, pixels, resolve_protocol("quick").head)


def heads(folder: Path, count: int) -> None:
    """Solve a linear probe on features of `dinov2_s`, and score the test films."""
    from prognobench.protocols import resolve_protocol
    from prognobench.training import fit_probe

    path, random = folder / "features.npy", np.random.default_rng(0)
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (count, WIDTH)})
        for start in range(0, count, 1000):
            random.standard_normal((min(1000, count - start), WIDTH), dtype=np.float32).tofile(stream)
    train, val, test = parts(np.load(path, mmap_mode="r"))
    fit_probe(train, val, 2, resolve_protocol("quick")).score(test.rows)


def adapter(folder: Path, count: int) -> None:
    """Train LoRA for an epoch, and score the test films."""
    from prognobench.models import find_weights, load_backbone, model_card
    from prognobench.protocols import resolve_protocol
    from prognobench.strategies import parse_strategies
    from prognobench.training import fine_tune

    card, (strategy,) = model_card(MODEL), parse_strategies(["lora"])
    array = rows_of(folder / "pixels.npy", (count, card.input_size, card.input_size), np.uint16)
    train, val, test = parts(array)
    protocol = resolve_protocol({"base": "quick", "epochs": 1})
    backbone = load_backbone(card, find_weights(card, "random"))
    module = strategy.apply(backbone, strategy.plan(backbone, card), 0)
    fine_tune(module, strategy, card, train, val, 2, protocol, "fp32", 0).score(test.rows)


WORK = {"the process alone": nothing, "frozen features": features, "a linear probe": heads, "LoRA": adapter}


def one(connection: Connection, kind: str, count: int) -> None:
    """Do one kind of work, set up as a worker of `run` is, and tell the most memory that this process held."""
    import os

    from prognobench.studies._worker import _peak_memory, _reset_peak_memory
    from prognobench.training import keep_freed_memory, use_threads

    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROGNOBENCH_HOME"] = folder
        keep_freed_memory()
        use_threads(os.cpu_count() or 1)
        _reset_peak_memory()
        WORK[kind](Path(folder), count)
        connection.send(_peak_memory())


def measured(counts: tuple[int, ...] = COUNTS) -> list[dict[str, Any]]:
    """Return the most memory that each kind of work takes, in bytes, by the number of films."""
    found = []
    for kind in WORK:
        row: dict[str, Any] = {"work": kind, "bytes": {}}
        for count in counts:
            with own_process(one, kind, count) as own:
                try:
                    row["bytes"][str(count)] = own.recv()
                except EOFError:
                    raise RuntimeError(f"{kind} with {count} films ended without an answer") from None
        found.append(row)
    return found


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--films", type=int, nargs="+", default=COUNTS)
    print(json.dumps(measured(tuple(arguments.parse_args().films)), indent=1))
