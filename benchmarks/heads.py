"""How long heads on frozen features take: `python benchmarks/heads.py [--films 5000] [--threads 2]`.

Drawn features of the width of `dinov2_s`, 5 folds, full training parts and 5 draws each of 1, 2, 4, 8 and 16 shots. Of
the logistic regressions all are solved, and those of one fold by scikit-learn as well. Of the heads by gradient steps
(12 heads on up to 4 blocks, as the paper's protocol has them) some epochs are trained, by the trainer as well; what
1,000 epochs would take is extrapolated and called so. Prints seconds by the wall and of the processor.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np

from prognobench.models import model_card
from prognobench.protocols import resolve_protocol
from prognobench.training import Films, Rows, fit_probe, use_threads
from prognobench.training._finetune import train_heads
from prognobench.training._head_steps import train_heads_at_once

FOLDS, DRAWS, SHOTS = 5, 5, (1, 2, 4, 8, 16)
CARD = model_card("dinov2_s")


def drawn(films: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return correlated features with a faint difference between two classes, and the labels."""
    rng = np.random.default_rng(0)
    labels = (rng.random(films) < 0.3).astype(np.int64)
    mixing = rng.normal(size=(64, width)) / 8
    array = (rng.normal(size=(films, 64)) @ mixing + rng.normal(size=(films, width))).astype(np.float32)
    array[:, :40] += labels[:, None] * np.float32(0.3)
    return array, labels


def splits(labels: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield shots (0: all), training, validation and test films of each fold and draw; few-shot validation matches."""
    rng = np.random.default_rng(1)
    fold_of = rng.integers(0, FOLDS, len(labels))
    for fold in range(FOLDS):
        train, val, test = (np.flatnonzero(np.isin(fold_of, which)) for which in parts(fold))
        yield 0, train, val, test
        for shots in SHOTS:
            for _ in range(DRAWS):
                yield shots, some(rng, train, labels, shots), some(rng, val, labels, shots), test


def parts(fold: int) -> tuple[list[int], list[int], list[int]]:
    val, test = (fold + 1) % FOLDS, fold
    return [other for other in range(FOLDS) if other not in (val, test)], [val], [test]


def some(rng: np.random.Generator, films: np.ndarray, labels: np.ndarray, shots: int) -> np.ndarray:
    return np.sort(np.concatenate([rng.permutation(films[labels[films] == label])[:shots] for label in (0, 1)]))


def seconds(do: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    do()
    return time.perf_counter() - wall, time.process_time() - cpu


def logistic(count: int) -> None:
    from sklearn.linear_model import LogisticRegression

    array, labels = drawn(count, CARD.width)
    protocol = resolve_protocol("standard")
    spent = {"full": np.zeros(2), "few-shot": np.zeros(2)}
    heads = dict.fromkeys(spent, 0)
    first = None
    for shots, *chosen in splits(labels):
        train, val, test = (Films(Rows(array, rows), labels[rows]) for rows in chosen)
        kind = "few-shot" if shots else "full"
        spent[kind] += seconds(lambda t=train, v=val, e=test: fit_probe(t, v, 2, protocol, CARD).score(e.rows))
        heads[kind] += len(protocol.probe.penalties)
        first = first or train
    for kind, total in spent.items():
        report(f"logistic, {kind}, {heads[kind]} heads", *(1e3 * total / heads[kind]), "ms a head")
    report("logistic, all", *(1e3 * sum(spent.values()) / sum(heads.values())), "ms a head")
    features = first.rows[:].astype(np.float64)
    features = (features - features.mean(axis=0)) / features.std(axis=0)

    def solve() -> None:
        for penalty in protocol.probe.penalties:
            LogisticRegression(C=penalty, class_weight="balanced", tol=1e-7, max_iter=20_000).fit(
                features, first.labels
            )

    report(
        "scikit-learn (lbfgs), one full fold",
        *(1e3 * np.array(seconds(solve)) / len(protocol.probe.penalties)),
        "ms a head",
    )


def by_steps(count: int) -> None:
    array, labels = drawn(count, 5 * CARD.width)
    asked = {"full": 0, "16 shots": 16, "1 shot": 1}
    for name, wanted in asked.items():
        _, *chosen = next(split for split in splits(labels) if split[0] == wanted)
        train, val, _ = (Films(Rows(array, rows), labels[rows]) for rows in chosen)
        epochs = 3 if name == "full" else 60
        protocol = resolve_protocol({"base": "paper", "epochs": epochs})
        steps = epochs * -(-len(train.labels) // protocol.batch_size)
        for way, train_grid in (("together", train_heads_at_once), ("by the trainer", train_heads)):
            spent = seconds(lambda f=train_grid, t=train, v=val, p=protocol: f(CARD, t, v, 2, p, 1))
            report(f"12 heads {way}, {name}", *(1e3 * np.array(spent) / steps), "ms a step")
            whole = spent[0] / epochs * resolve_protocol("paper").epochs
            print(f"{'':40} 1,000 epochs without early stopping, extrapolated: {whole:.0f} s")


def report(what: str, wall: float, cpu: float, unit: str) -> None:
    print(f"{what:40} {wall:8.2f} {cpu:8.2f} {unit}")


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--films", type=int, default=5000)
    arguments.add_argument("--threads", type=int, default=2)
    chosen = arguments.parse_args()
    use_threads(chosen.threads)
    print(f"{'':40} {'wall':>8} {'CPU':>8}")
    logistic(chosen.films)
    by_steps(chosen.films)


if __name__ == "__main__":
    main()
