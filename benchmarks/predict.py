"""How fast a fitted model predicts: `python benchmarks/predict.py MODEL [FILMS] [--films FOLDER] [--threads N]
[--turns N]`.

Draws FILMS synthetic films (a thousand by default), or takes those of a folder, and sends them through the model's bare
backbone in the same process: pixels that lie ready in memory, in the batches that the model uses, nothing else. Then it
predicts the files, from the disk to the written table. Both are done in turns, so that what else the machine does meets
both. Prints films a second of each, and their ratio, which is to be at least 0.8.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np


def main() -> None:
    """Draw, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("count", type=int, nargs="?", default=1000)
    parser.add_argument("--films", type=Path, help="a folder of films instead of synthetic ones")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--turns", type=int, default=3, help="after one that warms up")
    told = parser.parse_args()
    from prognobench.deployment import Model
    from prognobench.training import keep_freed_memory, use_threads

    keep_freed_memory()  # as `prognobench predict` does; it helps the bare backbone as much
    use_threads(told.threads)
    model = Model.load(told.model)
    with tempfile.TemporaryDirectory() as name:
        folder = told.films or draw(Path(name), told.count)
        measure(model, folder, Path(name) / "predicted.csv", told.count, told.turns)


def draw(folder: Path, count: int) -> Path:
    """Draw a cohort of that many films, and return the folder of its images."""
    from prognobench.cohorts import make_phantom

    make_phantom(folder / "cohort", count, 0, films_per_patient=(1, 1))
    return folder / "cohort" / "images"


def measure(model, folder: Path, out: Path, count: int, turns: int) -> None:
    """Time the bare backbone and the prediction in turns."""
    import torch

    from prognobench.cohorts import film_sources, read_new_films
    from prognobench.deployment import predict

    films = read_new_films(film_sources(folder)[:count], model.preprocessing)
    squares = np.stack([film.square for film in films])
    scorer = model.scorer
    batches = [scorer._normalize(squares[at : at + scorer.batch]) for at in range(0, len(squares), scorer.batch)]
    bare, whole = [], []
    for turn in range(turns + 1):
        began = now()
        with torch.inference_mode():
            for batch in batches:
                scorer.network.backbone(batch)
        between = now()
        predicted = predict(model, folder, out)
        ended = now()
        if turn:  # the first one warms up
            bare.append(len(squares) / (between - began))
            whole.append(len(predicted.table) / (ended - between))
    card = model.description.backbone.card
    print(f"{card.id} on {torch.get_num_threads()} threads, {len(squares)} films, {turns} turns")
    for place, name in enumerate(("by the clock", "by the processor's seconds")):
        ratios = [one[place] / other[place] for one, other in zip(whole, bare, strict=True)]
        fast = [statistics.median(rates[place] for rates in each) for each in (bare, whole)]
        told = f"backbone {fast[0]:.2f}, predict {fast[1]:.2f} films/s; ratio {statistics.median(ratios):.3f}"
        print(f"  {name}: {told} (at least 0.8)")


def now():
    """Return the time by the clock, and what this process has computed; on a busy machine the second one counts."""
    return np.array([time.perf_counter(), time.process_time()])


if __name__ == "__main__":
    main()
