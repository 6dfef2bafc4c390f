"""Whether bfloat16 costs anything: `python benchmarks/precision.py`.

Trains strategies on a synthetic cohort of middling difficulty in bfloat16 and in float32, with the same split, seed
and order of films, and compares the MCC on the same test films: the paired difference over seeds with its t interval.
Takes more than an hour; what is in the file already is not done again, so it can be interrupted.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t
from sklearn.metrics import matthews_corrcoef

from prognobench.cohorts import Preprocessing, load_cohort, make_phantom, open_pixels
from prognobench.models import find_weights, load_backbone, model_card
from prognobench.protocols import resolve_protocol
from prognobench.strategies import parse_strategies
from prognobench.training import Films, Rows, fine_tune, keep_freed_memory, use_threads

FILMS = 1000
# Training and validation films and epochs: a transformer takes ten times as long for a film.
SIZES = {"efficientnet_lite0": (240, 120, 5), "dinov2_s": (160, 60, 3)}
TESTED = 400
FEWEST = 5  # seeds, for an interval to be told
CASES = (("efficientnet_lite0", "lora"), ("efficientnet_lite0", "fft"), ("dinov2_s", "lora"), ("dinov2_s", "fft"))


def cohort_at(folder: Path, signal: float) -> tuple[Any, np.ndarray]:
    """Make the cohort where it lacks; return its pixels and labels, film by film."""
    path = folder / f"phantom-{signal:g}"
    if not path.exists():
        make_phantom(path, FILMS, 7, films_per_patient=(1, 1), signal=signal)
    cohort = load_cohort(path / "cohort.yaml")
    rows = cohort.task("icu").rows
    pixels = open_pixels(cohort, Preprocessing(name="standard", size=224))
    positions = pixels.positions(rows["sha256"].tolist())
    return Rows(pixels.array, positions), rows["label"].to_numpy(dtype=np.int64)


def settings(model: str, signal: float, threads: int) -> dict[str, Any]:
    """Return what else a result depends on."""
    return {"signal": signal, "threads": threads, "sizes": [*SIZES[model], TESTED]}


def trained(
    folder: Path, signal: float, threads: int, model: str, strategy: str, precision: str, seed: int
) -> dict[str, Any]:
    """Train once, set up as a worker of `run` is, and return the MCC on the test films, with their scores."""
    keep_freed_memory()
    use_threads(threads)
    films, labels = cohort_at(folder, signal)
    order = np.random.default_rng(seed).permutation(len(labels))
    train, val, epochs = SIZES[model]
    cut = {"train": order[:train], "val": order[train : train + val], "test": order[train + val :][:TESTED]}
    parts = {name: Films(Rows(films.array, films.positions[rows]), labels[rows]) for name, rows in cut.items()}
    card, (chosen,) = model_card(model), parse_strategies([strategy])
    protocol = resolve_protocol({"base": "quick", "precision": precision, "epochs": epochs})
    chosen = chosen.under(protocol)
    backbone = load_backbone(card, find_weights(card))
    module = chosen.apply(backbone, chosen.plan(backbone, card), seed)
    began = time.perf_counter()
    outcome = fine_tune(module, chosen, card, parts["train"], parts["val"], 2, protocol, precision, seed)
    seconds = time.perf_counter() - began
    scores = outcome.score(parts["test"].rows)[:, 1]
    mcc = matthews_corrcoef(parts["test"].labels, scores >= 0.5)
    return {
        "model": model,
        "strategy": strategy,
        "precision": precision,
        "seed": seed,
        "mcc": float(mcc),
        "train_seconds": seconds,
        **settings(model, signal, threads),
        "scores": [round(float(score), 5) for score in scores],
    }


def paired(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for each case the paired difference in MCC, bfloat16 minus float32, with its 95 % t interval."""
    found = []
    for model, strategy in CASES:
        of = {
            (row["precision"], row["seed"]): row for row in rows if (row["model"], row["strategy"]) == (model, strategy)
        }
        seeds = sorted({seed for _, seed in of if ("bf16", seed) in of and ("fp32", seed) in of})
        if len(seeds) < FEWEST:
            continue
        low, high = (np.array([of[precision, seed]["mcc"] for seed in seeds]) for precision in ("bf16", "fp32"))
        half = t.ppf(0.975, len(seeds) - 1) * (low - high).std(ddof=1) / np.sqrt(len(seeds))
        faster = sum(of["fp32", seed]["train_seconds"] for seed in seeds) / sum(
            of["bf16", seed]["train_seconds"] for seed in seeds
        )
        found.append(
            {
                "model": model,
                "strategy": strategy,
                "seeds": len(seeds),
                "mcc_fp32": float(high.mean()),
                "mcc_bf16": float(low.mean()),
                "difference": float((low - high).mean()),
                "half_width": float(half),
                "times_as_fast": faster,
            }
        )
    return found


def main() -> None:
    """Train what is not there yet and print the differences."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path("docs/measured/precision.jsonl"))
    arguments.add_argument(
        "--folder", type=Path, default=Path("build/precision"), help="where the cohort lies or is made"
    )
    arguments.add_argument("--signal", type=float, default=0.5)
    arguments.add_argument("--seeds", type=int, default=6)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--workers", type=int, default=1, help="trainings at a time, as many as there are cores")
    arguments.add_argument("--cases", nargs="+", default=["/".join(case) for case in CASES])
    chosen = arguments.parse_args()
    cohort_at(chosen.folder, chosen.signal)  # made once, before several look for it
    lines = chosen.out.read_text(encoding="utf-8").splitlines() if chosen.out.exists() else []
    rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if settings(row["model"], chosen.signal, chosen.threads).items() <= row.items()]
    done = {(row["model"], row["strategy"], row["precision"], row["seed"]) for row in rows}
    grid = [
        (*case.split("/"), precision, seed)
        for case in chosen.cases
        for seed in range(chosen.seeds)
        for precision in ("fp32", "bf16")
    ]
    # One training a process: what one leaves in memory is nothing to the next.
    pool = ProcessPoolExecutor(chosen.workers, get_context("spawn"), max_tasks_per_child=1)
    given = chosen.folder, chosen.signal, chosen.threads
    try:
        for ready in as_completed([pool.submit(trained, *given, *one) for one in grid if one not in done]):
            rows.append(ready.result())
            with chosen.out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(rows[-1]) + "\n")
            print({name: told for name, told in rows[-1].items() if name != "scores"}, flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    found = paired(rows)
    chosen.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for row in found:
        print(row)


if __name__ == "__main__":
    main()
