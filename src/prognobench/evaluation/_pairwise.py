"""Is one result better than another: paired tests between the models and strategies of a block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from prognobench.frame import sha256_json

from ._intervals import tested_per_trained
from ._resampling import Block, Cell, Floats, Fold, Ints, Level, PatientBootstrap
from ._tables import BLOCK_KEYS, finished
from ._weighted import fold_mcc
from .metrics import mcc_of_counts

TESTS = ("p_bootstrap", "p_permutation", "p_corrected_t")
_P_COLUMNS = [f"{test}{corrected}" for test in TESTS for corrected in ("", "_holm", "_bh")]
_COLUMNS = [
    *BLOCK_KEYS,
    *("protocol", "level", "metric", "model_a", "strategy_a", "model_b", "strategy_b", "n_folds", "a", "b"),
    *("difference", "ci_low", "ci_high", "n_resamples"),
    *_P_COLUMNS,
    *("smallest_difference", "warning", "undefined"),
]
_POWER = 0.8
_SIGNIFICANT = 0.05
# Differences of equal predictions may differ from 0 in the last bits.
_TIE = 1e-12
_PAIRS = 32  # pairs whose resamples are held at once


def pairwise_tests(
    predictions: pd.DataFrame,
    jobs: pd.DataFrame,
    *,
    level: Level = "auto",
    resamples: int = 2000,
    confidence: float = 0.95,
    bootstrap: PatientBootstrap | None = None,
) -> pd.DataFrame:
    """Compare every two learned results of a block and protocol by their MCC on the same patients.

    Parameters
    ----------
    predictions, jobs, level, resamples
        As `PatientBootstrap` takes them. As many swaps as resamples are made.
    confidence
        Of the interval.
    bootstrap
        That of the same tables, where it was made already; its own level and resamples hold.

    Returns
    -------
    pandas.DataFrame
        One row a pair, `a` before `b` in the order of model and strategy. Controls are compared by
        `compare_with_controls` and are in no pair.

        - `a`, `b`: mean MCC at 0.5 over seeds and draws, then over the `n_folds` test folds with both classes;
        - `difference` = `a` − `b`, with the interval `ci_low` to `ci_high` of the paired bootstrap over patients;
        - `p_bootstrap`: two-sided, of the same bootstrap; `p_permutation`: of swapping both results of a patient;
          `p_corrected_t`: of the t test over folds with the correction of Nadeau & Bengio, for k-fold and hold-out;
        - `<p>_holm`, `<p>_bh`: after Holm and after Benjamini & Hochberg, among the pairs of the block and protocol;
        - `smallest_difference`: the smallest true difference that this many patients would have shown in 80 % of
          studies, two-sided at 5 %;
        - `warning`: which test cannot fall below 0.05 however large the difference;
        - `undefined`: why numbers are missing, else blank.

    Raises
    ------
    InputError
        When the tables do not fit each other.

    Notes
    -----
    The bootstrap (see `PatientBootstrap`) and the permutation hold the trained models fixed: they tell whether these
    models differ on such patients, not whether another training would show the same. The interval is the difference
    ± Student's t times the bootstrap's standard error, with the patients less the folds as degrees of freedom and the
    variance of each fold enlarged by n / (n − 1), since a resample is less spread than patients are; p is of the same
    t. In a permutation both models' predictions of a patient, in all folds and films together, are swapped with
    chance one half (Edgington & Onghena 2007), those of the one job of a result without seeds with each of the other's
    jobs; p counts the swaps with at least the difference found, and the study itself.
    """
    bootstrap = bootstrap or PatientBootstrap(predictions, jobs, level=level, resamples=resamples)
    tables = [
        _table(block, cells, confidence)
        for block in bootstrap.blocks
        for cells in learned_by_protocol(block)
        if len(cells) > 1
    ]
    texts = "level metric model_a strategy_a model_b strategy_b warning undefined"
    keys = [*BLOCK_KEYS, "protocol"]
    return finished(tables, _COLUMNS, keys, bootstrap.planned, string=texts, int64="n_folds n_resamples")


def learned_by_protocol(block: Block) -> list[list[Cell]]:
    """Return the block's cells that are no controls, one list a protocol, each in the order of model and strategy."""
    learned = sorted(
        (cell for cell in block.cells if not cell.is_control), key=lambda c: (c.protocol, c.model, c.strategy)
    )
    protocols = dict.fromkeys(cell.protocol for cell in learned)
    return [[cell for cell in learned if cell.protocol == protocol] for protocol in protocols]


@dataclass(frozen=True, eq=False)
class Pairs:
    """What the tests say of pairs of complete cells with the same folds; every array has shape (pairs,)."""

    difference: Floats
    low: Floats
    high: Floats
    n_resamples: Ints
    smallest: Floats
    p_bootstrap: Floats
    p_permutation: Floats
    p_corrected_t: Floats


def compare_pairs(block: Block, a: Sequence[Cell], b: Sequence[Cell], confidence: float) -> Pairs:
    """Test each of the cells `a` against the one of `b` at the same place.

    Parameters
    ----------
    block
        Theirs.
    a, b
        Complete cells; those of a pair have the same folds.
    confidence
        Of the interval.
    """
    first, second = (np.array([cell.place for cell in cells], dtype=np.int64) for cells in (a, b))
    difference = block.mcc[first] - block.mcc[second]
    error, n = _standard_errors(block, first, second)
    scale = [block.drawn_error(cell) for cell in a]
    error *= np.array([one.factor for one in scale])
    freedom = np.array([one.freedom for one in scale])
    margin = stdtrit(freedom, (1 + confidence) / 2) * error
    return Pairs(
        difference,
        difference - margin,
        difference + margin,
        n,
        (stdtrit(freedom, 1 - _SIGNIFICANT / 2) + stdtrit(freedom, _POWER)) * error,
        _two_sided(difference, error, freedom),
        _permuted(block, a, b, difference),
        _corrected_t(block, first, second),
    )


def _two_sided(difference: Floats, error: Floats, freedom: Floats | float) -> Floats:
    """Return the p of Student's t; 1 where there is no difference at all, NaN where one has no spread."""
    none = np.abs(difference) <= _TIE
    t = np.divide(np.abs(difference), error, out=np.full_like(difference, np.nan), where=error > 0)
    p: Floats = np.where(none, np.where(np.isnan(error), np.nan, 1.0), 2 * stdtr(freedom, -t))
    return p


def _standard_errors(block: Block, a: Ints, b: Ints) -> tuple[Floats, Ints]:
    """Return the spread of the resampled differences, and how many resamples have one."""
    drawn = block.drawn_mcc.T
    error, n = np.full(len(a), np.nan), np.zeros(len(a), dtype=np.int64)
    for start in range(0, len(a), _PAIRS):
        some = slice(start, start + _PAIRS)
        differences = drawn[a[some]] - drawn[b[some]]
        there = ~np.isnan(differences)
        counts = there.sum(axis=1)
        if not there.all():
            differences = np.where(there, differences, 0)
        differences -= (differences.sum(axis=1) / np.maximum(counts, 1))[:, None]
        differences *= there
        squares = np.einsum("ij,ij->i", differences, differences)
        spread = np.sqrt(np.divide(squares, counts - 1, out=np.full(len(counts), np.nan), where=counts > 1))
        # Equal predictions differ in the last bits where several jobs are averaged.
        error[some], n[some] = np.where(spread < _TIE, 0, spread), counts
    return error, n


def _corrected_t(block: Block, a: Ints, b: Ints) -> Floats:
    """Return the p of the t test over folds, corrected for training parts that overlap; NaN where that is undefined."""
    ratio, lack = tested_per_trained(block)
    if lack:
        return np.full(len(a), np.nan)
    values = fold_mcc(block.folds, len(block.complete))
    differences = values[:, a] - values[:, b]
    n = (~np.isnan(differences)).sum(axis=0)
    mean = np.nansum(differences, axis=0) / np.maximum(n, 1)
    squares = np.nansum((differences - mean) ** 2, axis=0)
    std = np.sqrt(np.divide(squares, n - 1, out=np.full(len(a), np.nan), where=n > 1))
    several = np.where(n > 1, n, np.nan)
    error = np.where(std < _TIE, 0, std) * np.sqrt(1 / several + ratio)
    return _two_sided(np.where(n > 0, mean, np.nan), error, several - 1)


def _permuted(block: Block, a: Sequence[Cell], b: Sequence[Cell], difference: Floats) -> Floats:
    """Return the share of swaps with at least the difference found; NaN where the jobs of a pair cannot be matched."""
    swaps = _swaps(block)
    folds = [_Swapped.of(fold, swaps, len(block.complete)) for fold in block.folds if fold.has_both_classes]
    p = np.full(len(difference), np.nan)
    # Pairs with the same folds and numbers of jobs are swapped together.
    shapes = [tuple(fold.jobs_of(one, two) for fold in folds) for one, two in zip(a, b, strict=True)]
    for shape in set(shapes):
        pairs = np.array([place for place, other in enumerate(shapes) if other == shape])
        used = [(fold, jobs) for fold, jobs in zip(folds, shape, strict=True) if jobs != 0]
        if not used or any(jobs < 0 for _, jobs in used):
            continue
        first, second = (np.array([cells[place].place for place in pairs]) for cells in (a, b))
        for start in range(0, len(pairs), _PAIRS):
            some = slice(start, start + _PAIRS)
            total = np.zeros((len(pairs[some]), len(swaps)))
            for fold, jobs in used:
                total += fold.differences(first[some], second[some], jobs)
            found = np.abs(difference[pairs[some]])[:, None]
            as_large = (np.abs(total / len(used)) >= found - _TIE).sum(axis=1)
            p[pairs[some]] = (1 + as_large) / (1 + len(swaps))
    return p


def _swaps(block: Block) -> Floats:
    """Draw which patients are swapped; shape (resamples, patients)."""
    words = [str(block.keys[key]) for key in ("cohort", "task", "test_cohort", "validation")]
    seed = int(sha256_json(["swaps", *words, block.patients])[:32], 16)
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.integers(0, 2, (block.resamples, block.patients), dtype=np.uint8).astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Swapped:
    """A fold in which patients are swapped between two cells.

    A job's true and false positives are one whole number, true · (negatives + 1) + false, which is linear in the
    patients, so swapped counts are sums; `mcc` has the MCC for each such number. `found` is that of each job, `swapped`
    its part among the swapped patients, shape (jobs, resamples); `jobs` lists the jobs of each cell in their order.
    """

    mcc: Floats
    found: Ints
    swapped: Ints
    jobs: list[Ints]

    @classmethod
    def of(cls, fold: Fold, swaps: Floats, cells: int) -> _Swapped:
        positives, negatives = int(fold.positives.sum()), int(fold.negatives.sum())
        true, false = np.divmod(np.arange((positives + 1) * (negatives + 1), dtype=np.float64), negatives + 1)
        numbers = fold.true * (negatives + 1) + fold.false
        return cls(
            mcc_of_counts(true, false, positives, negatives),
            numbers.sum(axis=0).astype(np.int64),
            np.ascontiguousarray((swaps[:, fold.patients] @ numbers).T).astype(np.int64),
            [np.flatnonzero(fold.cell == cell) for cell in range(cells)],
        )

    def jobs_of(self, a: Cell, b: Cell) -> int:
        """Return how many jobs the one with more has here, −1 where that is no multiple of the other's."""
        fewer, more = sorted((len(self.jobs[a.place]), len(self.jobs[b.place])))
        return more if fewer and more % fewer == 0 else 0 if more == 0 else -1

    def differences(self, a: Ints, b: Ints, jobs: int) -> Floats:
        """Return the difference of both cells' mean MCC after each swap; shape (pairs, resamples).

        A job of a cell with fewer, as of a method without seeds, is swapped with each of the other's in turn; jobs are
        in the order of draws, then seeds.
        """
        total = 0.0
        for place in range(jobs):
            one, two = (
                np.array([self.jobs[cell][place * len(self.jobs[cell]) // jobs] for cell in cells]) for cells in (a, b)
            )
            number = self.swapped[two] - self.swapped[one] + self.found[one][:, None]
            both = (self.found[one] + self.found[two])[:, None]
            total = total + self.mcc[number] - self.mcc[both - number]
        return np.asarray(total) / jobs


def _table(block: Block, cells: list[Cell], confidence: float) -> pd.DataFrame:
    """Return the rows of all pairs of the learned cells of one protocol."""
    a, b = np.triu_indices(len(cells), 1)
    why_not = [_why_not(block, cells[i], cells[j]) for i, j in zip(a, b, strict=True)]
    comparable = np.array([not why for why in why_not], dtype=bool)
    first, second = ([cells[place] for place in places[comparable]] for places in (a, b))
    found = compare_pairs(block, first, second, confidence)

    def of_pairs(values: Floats | Ints, missing: float = np.nan) -> Floats:
        result = np.full(len(a), missing)
        result[comparable] = values
        return result

    means = np.array([block.mcc[cell.place] if cell.place >= 0 else np.nan for cell in cells])
    tests = {
        "p_bootstrap": of_pairs(found.p_bootstrap),
        "p_permutation": of_pairs(found.p_permutation),
        "p_corrected_t": of_pairs(found.p_corrected_t),
    }
    _, lack = tested_per_trained(block)
    return pd.DataFrame(
        {
            **block.keys,
            "protocol": cells[0].protocol,
            "level": block.level,
            "metric": "mcc",
            "model_a": np.array([cell.model for cell in cells], dtype=object)[a],
            "strategy_a": np.array([cell.strategy for cell in cells], dtype=object)[a],
            "model_b": np.array([cell.model for cell in cells], dtype=object)[b],
            "strategy_b": np.array([cell.strategy for cell in cells], dtype=object)[b],
            "n_folds": np.array([block.n_folds(cell) for cell in cells])[a],
            "a": means[a],
            "b": means[b],
            "difference": of_pairs(found.difference),
            "ci_low": of_pairs(found.low),
            "ci_high": of_pairs(found.high),
            "n_resamples": of_pairs(found.n_resamples, 0).astype(np.int64),
            **{name: values for test, p in tests.items() for name, values in corrected(test, p).items()},
            "smallest_difference": of_pairs(found.smallest),
            "warning": _warning(block, int(comparable.sum())),
            "undefined": [
                why or _why_no_test(p, q, t, lack) for why, p, q, t in zip(why_not, *tests.values(), strict=True)
            ],
        }
    )


def corrected(test: str, p: Floats) -> dict[str, Floats]:
    """Return p as it is and after Holm 1979 and Benjamini & Hochberg 1995, among those that are known."""
    known = np.flatnonzero(~np.isnan(p))
    found = {test: p, f"{test}_holm": np.full_like(p, np.nan), f"{test}_bh": np.full_like(p, np.nan)}
    if len(known):
        # statsmodels' `multipletests` gives the same bits and collects garbage at each call, which takes up to a second
        # in a large study.
        order = known[np.argsort(p[known])]
        n, rising = len(order), np.arange(1, len(order) + 1)
        holm = np.maximum.accumulate(p[order] * rising[::-1])
        bh = np.minimum.accumulate((p[order] / (rising / n))[::-1])[::-1]
        found[f"{test}_holm"][order], found[f"{test}_bh"][order] = np.minimum(holm, 1), np.minimum(bh, 1)
    return found


def _why_not(block: Block, a: Cell, b: Cell) -> str:
    """Say why a pair is not compared, or nothing."""
    lacking = [f"of {cell.model} {cell.strategy} {cell.lack}" for cell in (a, b) if cell.lack]
    if lacking:
        return "; ".join(lacking)
    if a.folds != b.folds:
        return "they were tested on other films"
    return "" if block.n_folds(a) else _NO_FOLD


_NO_FOLD = "no test fold holds both classes"


def _why_no_test(bootstrap: float, permutation: float, t: float, lack: str) -> str:
    why = []
    if np.isnan(bootstrap):
        why.append("p_bootstrap: the difference has no spread over resamples")
    if np.isnan(permutation):
        why.append("p_permutation: the numbers of seeds and draws of the two are no multiples")
    if np.isnan(t):
        why.append(f"p_corrected_t: {lack or 'the difference has no spread over folds'}")
    return "; ".join(why)


def _warning(block: Block, pairs: int) -> str:
    smallest = 1 / (1 + block.resamples)
    if pairs * smallest <= _SIGNIFICANT:
        return ""
    return f"p_permutation_holm cannot fall below 0.05 with {pairs} pairs and {block.resamples} swaps"
