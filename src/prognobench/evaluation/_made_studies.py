"""Studies of synthetic patients whose true answers are known, on which intervals and tests are tried."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from scipy.special import ndtr, ndtri

from ._resampling import Block, Bools, Cell, Floats, Fold, Ints
from ._weighted import WEIGHTED
from .metrics import mcc_of_counts

_FILMS = np.array([1, 2, 3])
_FILM_SHARES = np.array([0.5, 0.3, 0.2])
_FILM_SPREAD = 0.7  # of a film's features around its patient's
_COMMON = 0.5  # share of a feature's variance that all models see alike
_CENTER_SPREAD = 0.3  # of the centers' shifts of each feature
_CENTER_SHARE_SPREAD = 0.08  # of the centers' shares of positive patients
_SCALE = 1e-3  # keeps scores, linear in the features, within 0 to 1 around 0.5
_AT_ONCE = 100


@dataclass(frozen=True)
class Design:
    """How the patients of a study are made, dealt and learned from.

    Parameters
    ----------
    name
        What it is, in a few words.
    validation
        `kfold`, `holdout` or `loco`; the last makes folds centers, with shares of positives and shifts of features of
        their own.
    sizes
        Patients of each fold or center; for `holdout` of the five parts of which one tests and one validates.
    repeats
        How often the patients are dealt.
    level
        Whether `patient` or `film` is a case.
    share
        Of positive patients.
    features
        How many numbers a model makes of a film. All models' are alike in law; half of their variance is common.
    effects
        For each model, how far the classes' means lie apart, in standard deviations of a patient.
    thresholds
        For each model that is given and not trained, where it cuts, from the middle between the classes, in the same
        unit; empty where each fold trains: the nearest centroid, on the patients that neither test nor validate.
    extreme
        Whether this shows where a method breaks, and so has no say in which is the default.
    """

    name: str
    validation: Literal["kfold", "holdout", "loco"]
    sizes: tuple[int, ...]
    repeats: int = 1
    level: Literal["patient", "film"] = "patient"
    share: float = 0.3
    features: int = 10
    effects: tuple[float, ...] = (1.6,)
    thresholds: tuple[float, ...] = ()
    extreme: bool = False

    @property
    def patients(self) -> int:
        """Of the whole study."""
        return sum(self.sizes)

    @cached_property
    def part(self) -> Ints:
        """The fold or center of each patient in the first deal; shape (patients,)."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @cached_property
    def folds(self) -> list[tuple[tuple[int, int], Bools, Bools]]:
        """(repeat, fold), who tests and who trains, each of shape (patients,)."""
        rng = np.random.default_rng(5)
        found = []
        for repeat in range(self.repeats):
            part = self.part if not repeat else rng.permutation(self.part)
            for fold in range(1 if self.validation == "holdout" else len(self.sizes)):
                test = part == fold
                validates = (part == (fold + 1) % len(self.sizes)) & (self.validation != "loco")
                found.append(((repeat, fold), test, ~test & ~validates))
        return found


@dataclass(frozen=True, eq=False)
class MadeStudy:
    """One made study.

    Parameters
    ----------
    block
        Its cells and folds, as evaluation makes them of records.
    truth
        For each metric that of each fold's models on all patients like those of the fold; shape (folds, cells).
    """

    block: Block
    truth: dict[str, Floats]


def made_studies(design: Design, studies: int, resamples: int, seed: int) -> Iterator[MadeStudy]:
    """Make studies; the same seed makes the same ones."""
    rng = np.random.default_rng(seed)
    drawn = None
    for start in range(0, studies, _AT_ONCE):
        made = _Made.of(design, rng, min(_AT_ONCE, studies - start))
        for place in range(len(made.positive)):
            block = made.block(place, resamples)
            if drawn is None:
                drawn = block.drawn
            # Draws depend on the sizes of folds alone, which are the same.
            block.drawn = drawn
            yield MadeStudy(block, {name: values[place] for name, values in made.truth.items()})


@dataclass(frozen=True, eq=False)
class _Made:
    """Some studies at once.

    `positive` and `films` say class and number of films of each patient, (studies, patients); `scores` has for each
    fold (studies, patients of the fold, films, models), with one film at the level of patients; `truth` (studies,
    folds, models).
    """

    design: Design
    positive: Bools
    films: Ints
    scores: list[Floats]
    truth: dict[str, Floats]

    @classmethod
    def of(cls, design: Design, rng: np.random.Generator, studies: int) -> _Made:
        n, parts, models, width = design.patients, len(design.sizes), len(design.effects), design.features
        share, shift = np.full((studies, parts), design.share), np.zeros((studies, parts, models, width))
        if design.validation == "loco":
            share = np.clip(share + _CENTER_SHARE_SPREAD * rng.normal(size=share.shape), 0.1, 0.9)
            shift = _CENTER_SPREAD * rng.normal(size=shift.shape)
        positive = rng.random((studies, n)) < share[:, design.part]
        if design.validation == "kfold":
            positive = _dealt(positive, parts, rng)
        films = rng.choice(_FILMS, p=_FILM_SHARES, size=(studies, n))
        apart = np.array(design.effects)[:, None] / np.sqrt(width)
        common = np.sqrt(_COMMON) * rng.normal(size=(studies, n, 1, width))
        own = np.sqrt(1 - _COMMON) * rng.normal(size=(studies, n, models, width))
        patient = np.where(positive, 0.5, -0.5)[..., None, None] * apart + common + own + shift[:, design.part]
        seen = patient[:, :, None] + _FILM_SPREAD * rng.normal(size=(studies, n, max(_FILMS), models, width))
        there = np.arange(max(_FILMS)) < films[..., None]
        mean = (seen * there[..., None, None]).sum(axis=2) / films[..., None, None]
        scores, truths = [], []
        for _, test, train in design.folds:
            weights, middle = _trained(design, mean, positive, train)
            cases = (seen if design.level == "film" else mean[:, :, None])[:, test]
            linear = np.einsum("snfmd,smd->snfm", cases - middle[:, None, None], weights)
            scores.append(0.5 + _SCALE * linear)
            at = int(design.part[np.flatnonzero(test)[0]]) if design.validation == "loco" else 0
            truths.append(_truth(weights, middle, apart, shift[:, at], share[:, at, None], design.level))
        truth = {name: np.stack([one[name] for one in truths], axis=1) for name in WEIGHTED}
        return cls(design, positive, films, scores, truth)

    def block(self, study: int, resamples: int) -> Block:
        """Return one study as evaluation sees it."""
        models = len(self.design.effects)
        folds = []
        for (name, test, train), scores in zip(self.design.folds, self.scores, strict=True):
            patients = np.flatnonzero(test)
            of_case, film = np.arange(len(patients)), np.zeros(len(patients), dtype=np.int64)
            if self.design.level == "film":
                of_case, film = np.nonzero(np.arange(max(_FILMS)) < self.films[study, patients][:, None])
            score, positive = scores[study][of_case, film], self.positive[study, patients][of_case]
            folds.append(
                Fold((*name, None), patients, of_case, positive, score, np.arange(models), train.sum(), test.sum())
            )
        cells = [Cell(f"m{place}", "lp", "", "made", 1, 1, set(range(len(folds))), place) for place in range(models)]
        keys: dict[str, Any] = dict.fromkeys(["cohort", "task", "test_cohort"], "made")
        keys |= {"regime": "full", "shots": None, "validation": self.design.validation}
        return Block(keys, self.design.level, cells, folds, resamples)


def _dealt(positive: Bools, parts: int, rng: np.random.Generator) -> Bools:
    """Put patients in such an order that every fold has its share of the positive ones."""
    n = positive.shape[1]
    rank = np.argsort(np.argsort(positive + rng.random(positive.shape), axis=1), axis=1)
    order = np.argsort(rank % parts + 0.5 * rng.random(positive.shape), axis=1)
    dealt: Bools = np.take_along_axis(positive, order, axis=1)
    assert n % parts == 0
    return dealt


def _trained(design: Design, mean: Floats, positive: Bools, train: Bools) -> tuple[Floats, Floats]:
    """Return direction and cut of each model, (studies, models, features): the nearest centroid's, or given."""
    shape = len(mean), *mean.shape[2:]
    if design.thresholds:
        # A step of the threshold's length along the direction, which has the length 1.
        direction = np.full(shape, 1 / np.sqrt(design.features))
        return direction, direction * np.array(design.thresholds)[:, None]
    centroids = []
    for one in (positive & train, ~positive & train):
        centroids.append(np.einsum("sn,snmd->smd", one, mean) / one.sum(axis=1)[:, None, None])
    return centroids[0] - centroids[1], (centroids[0] + centroids[1]) / 2


def _truth(
    weights: Floats, middle: Floats, apart: Floats, shift: Floats, share: Floats, level: str
) -> dict[str, Floats]:
    """Return the metrics of linear models on all patients, by the normal law; each of shape (studies, models)."""
    length = np.linalg.norm(weights, axis=-1)
    high, low = ((weights * (side * apart / 2 + shift - middle)).sum(axis=-1) / length for side in (1, -1))
    mixed = level == "patient"
    spread = np.sqrt(1 + _FILM_SPREAD**2 / (_FILMS if mixed else np.ones(1)))
    parts = _FILM_SHARES if mixed else np.ones(1)

    def above(mean: Floats, cut: Floats | float) -> Floats:
        """Return the share of a class with more than `cut`; the last axis of both is for the number of films."""
        return np.asarray(sum(p * ndtr((mean - cut) / s) for p, s in zip(parts, spread, strict=True)))

    sensitivity, specificity = above(high, 0.0), 1 - above(low, 0.0)
    called = share * sensitivity + (1 - share) * (1 - specificity)
    pairs = [
        (p * q, np.hypot(s, t)) for p, s in zip(parts, spread, strict=True) for q, t in zip(parts, spread, strict=True)
    ]
    nodes, masses = np.polynomial.hermite_e.hermegauss(40)
    pr_auc = np.zeros_like(length)
    for p, s in zip(parts, spread, strict=True):
        # Precision at the score of each positive case, averaged over them.
        cut = high[..., None] + s * nodes
        true, false = above(high[..., None], cut), above(low[..., None], cut)
        odds = share[..., None]
        pr_auc += p * (odds * true / (odds * true + (1 - odds) * false)) @ (masses / masses.sum())
    return {
        "mcc": (sensitivity + specificity - 1) * np.sqrt(share * (1 - share) / (called * (1 - called))),
        "pr_auc": pr_auc,
        "roc_auc": np.asarray(sum(p * ndtr((high - low) / s) for p, s in pairs)),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
    }


def threshold_of_equal_mcc(design: Design) -> float:
    """Return the other threshold with the MCC that the design's first one has, on all patients."""
    from scipy.optimize import brentq

    apart = np.array(design.effects[:1])[:, None] / np.sqrt(design.features)
    direction = np.full((1, 1, design.features), 1 / np.sqrt(design.features))
    no_shift, share = np.zeros_like(direction), np.array([[design.share]])

    def mcc(threshold: float) -> float:
        return float(_truth(direction, direction * threshold, apart, no_shift, share, design.level)["mcc"][0, 0])

    grid = np.linspace(-3, 3, 601)
    peak = float(grid[np.argmax([mcc(threshold) for threshold in grid])])
    wanted, first = mcc(design.thresholds[0]), design.thresholds[0]
    bounds = (peak, 4.0) if first < peak else (-4.0, peak)
    return float(brentq(lambda threshold: mcc(threshold) - wanted, *bounds))


def shared_task_differences(tasks: int, shared: bool, studies: int, seed: int) -> Floats:
    """Return differences of MCC between two ways to train that are equally good, in all tasks and folds of studies.

    Parameters
    ----------
    tasks
        How many there are; their outcomes go together by a correlation of 0.6 where patients are shared.
    shared
        Whether all tasks are about the same 100 patients, or each about 100 others.
    studies
        How many to make.
    seed
        The same seed makes the same ones.

    Returns
    -------
    numpy.ndarray
        Shape (tasks × folds, studies); 0 where a fold has one class.
    """
    rng = np.random.default_rng(seed)
    n, folds, width = 100, 5, 10
    fold = np.repeat(np.arange(folds), n // folds)
    found = []
    for start in range(0, studies, _AT_ONCE):
        some = min(_AT_ONCE, studies - start)
        people = 1 if shared else tasks
        common = rng.normal(size=(some, people, n))
        ill = np.sqrt(0.6) * common + np.sqrt(0.4) * rng.normal(size=(some, tasks, n))
        positive = ill > ndtri(0.7)
        noise = np.sqrt(_COMMON) * rng.normal(size=(some, people, n, 1, width))
        noise = noise + np.sqrt(1 - _COMMON) * rng.normal(size=(some, people, n, 2, width))
        features = np.broadcast_to(common[..., None, None] / np.sqrt(width) + noise, (some, tasks, n, 2, width))
        rows = np.zeros((some, tasks, folds))
        for test in range(folds):
            train = (fold != test) & (fold != (test + 1) % folds)
            ill_mean, well_mean = (
                np.einsum("stn,stnmd->stmd", one, features) / np.maximum(one.sum(axis=2), 1)[..., None, None]
                for one in (positive & train, ~positive & train)
            )
            cases = features[:, :, fold == test] - ((ill_mean + well_mean) / 2)[:, :, None]
            called = np.einsum("stnmd,stmd->stnm", cases, ill_mean - well_mean) >= 0
            case = positive[:, :, fold == test, None]
            positives, negatives = (np.maximum(one.sum(axis=2), 0.0) for one in (case, ~case))
            mcc = mcc_of_counts(
                (called & case).sum(axis=2).astype(np.float64),
                (called & ~case).sum(axis=2).astype(np.float64),
                positives,
                negatives,
            )
            rows[:, :, test] = mcc[..., 0] - mcc[..., 1]
        found.append(rows.reshape(some, tasks * folds).T)
    return np.concatenate(found, axis=1)
