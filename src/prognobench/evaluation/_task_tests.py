"""Is one result better than another over several tasks: Wilcoxon's signed-rank test, as the paper's authors use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import Any

import numpy as np
import pandas as pd

from ._pairwise import corrected
from ._resampling import Block, Bools, Floats, Ints, Level, PatientBootstrap
from ._simulated import simulated
from ._tables import finished
from ._weighted import fold_mcc

_KEYS = ["regime", "shots", "validation"]
_COLUMNS = [
    *("scope", *_KEYS, "protocol", "model_a", "strategy_a", "model_b", "strategy_b"),
    *("n_tasks", "n_blocks", "median_difference", "p_wilcoxon", "p_wilcoxon_holm", "p_wilcoxon_bh", "smallest_p"),
    *("warning", "undefined"),
]
_SIGNIFICANT = 0.05
_TIE = 1e-12
_EXACT = 13  # with so few blocks all signs are gone through
_AT_ONCE = 256


def task_tests(
    predictions: pd.DataFrame,
    jobs: pd.DataFrame,
    *,
    level: Level = "auto",
    resamples: int = 2000,
    bootstrap: PatientBootstrap | None = None,
) -> pd.DataFrame:
    """Compare learned results over all tasks that share regime, validation and protocol.

    Parameters
    ----------
    predictions, jobs, level, resamples
        As `PatientBootstrap` takes them; nothing is resampled here.
    bootstrap
        That of the same tables, where it was made already; its own level holds.

    Returns
    -------
    pandas.DataFrame
        Rows of scope `cell` compare two models with their strategies, rows of scope `strategy` two strategies over the
        models that have both.

        - `n_blocks`: test folds of all `n_tasks` tasks (an outcome in a cohort that is trained on); in each, MCC at 0.5
          over seeds and draws gives one difference, for scope `strategy` the mean over models;
        - `median_difference` of `a` − `b`;
        - `p_wilcoxon`: two-sided signed-rank test of the differences, zeros left out; `_holm`, `_bh`: among the pairs
          of the same scope, regime, validation and protocol;
        - `smallest_p`: the smallest that this number of blocks can reach;
        - `warning`: where the test cannot fall below 0.05, where folds share training films, with what that does to its
          error, and where tasks share patients;
        - `undefined`: why numbers are missing, else blank.

    Raises
    ------
    InputError
        When the tables do not fit each other.

    Notes
    -----
    Wilcoxon 1945, https://doi.org/10.2307/3001968, as `scipy.stats.wilcoxon` computes it. The test takes the blocks as
    independent. They are not: folds of a task train on the same films, and tasks of a cohort test the same patients.
    `docs/statistics.md` shows how often it is wrong for that.
    """
    bootstrap = bootstrap or PatientBootstrap(predictions, jobs, level=level, resamples=resamples)

    def key(block: Block) -> tuple[str, ...]:
        return tuple(str(block.keys[name]) for name in _KEYS)

    tables = []
    for _, some in groupby(sorted(bootstrap.blocks, key=key), key):
        blocks = list(some)
        learned = [cell for block in blocks for cell in block.cells if not cell.is_control]
        for protocol in sorted({cell.protocol for cell in learned}):
            grid = _Grid.of(blocks, protocol)
            tables += [_table(grid, "cell", _cell_pairs(grid)), _table(grid, "strategy", _strategy_pairs(grid))]
    return finished(
        [table for table in tables if len(table)],
        _COLUMNS,
        ["scope", *_KEYS, "protocol"],
        bootstrap.planned.assign(scope=pd.Series("", bootstrap.planned.index, dtype="string")),
        string="model_a strategy_a model_b strategy_b warning undefined",
        int64="n_tasks n_blocks",
    )


def signed_rank_p(differences: Floats) -> Floats:
    """Return the two-sided p of Wilcoxon's signed-rank test of each column; 1 where all are 0.

    Parameters
    ----------
    differences
        Shape (blocks, pairs).

    Notes
    -----
    For up to 13 blocks all signs are gone through, ties and zeros or not, as `scipy.stats.wilcoxon` does pair by pair;
    beyond that the function is scipy's own.
    """
    from scipy.stats import rankdata, wilcoxon

    differences = np.where(np.abs(differences) <= _TIE, 0, differences)
    n = len(differences)
    if n > _EXACT:
        some = (differences != 0).any(axis=0)
        size = np.sort(np.abs(differences), axis=0)
        plain = (size[0] > 0) & (np.diff(size, axis=0) > 0).all(axis=0)
        p = np.ones(differences.shape[1])
        # Apart, since scipy chooses one method for all columns given: exact only where none has ties or zeros.
        for columns in (some & plain, some & ~plain):
            if columns.any():
                p[columns] = wilcoxon(differences[:, columns], axis=0).pvalue
        return p
    zero = differences == 0
    # What is equal but for the last bits has the same rank.
    ranks = np.where(zero, 0, rankdata(np.abs(np.round(differences, 11)), axis=0) - zero.sum(axis=0))
    positive = np.where(differences > 0, ranks, 0).sum(axis=0)
    signs = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.float64)
    found = []
    for start in range(0, differences.shape[1], _AT_ONCE):
        some_sums, own = signs @ ranks[:, start : start + _AT_ONCE], positive[start : start + _AT_ONCE]
        low, high = (some_sums <= own + 1e-9).mean(axis=0), (some_sums >= own - 1e-9).mean(axis=0)
        found.append(np.minimum(1, 2 * np.minimum(low, high)))
    return np.concatenate(found) if found else np.empty(0)


@dataclass(frozen=True, eq=False)
class _Grid:
    """MCC of every fold of several tasks by every learned cell of one protocol.

    `mcc` has shape (folds, cells), NaN where a cell is not done or a fold has one class; `planned` (folds, cells) says
    where a cell was planned at all, `lacking` (folds, cells) where jobs of it are not done; `task` is each fold's, and
    `share_patients` says whether any two tasks test patients of one cohort.
    """

    keys: dict[str, Any]
    protocol: str
    names: list[tuple[str, str]]
    mcc: Floats
    planned: Bools
    lacking: Bools
    task: Ints
    share_patients: bool

    @classmethod
    def of(cls, blocks: Sequence[Block], protocol: str) -> _Grid:
        cells = [[cell for cell in b.cells if not cell.is_control and cell.protocol == protocol] for b in blocks]
        names = sorted({(cell.model, cell.strategy) for some in cells for cell in some})
        column = {name: place for place, name in enumerate(names)}
        parts: list[tuple[Floats, Bools, Bools]] = []
        for block, some in zip(blocks, cells, strict=True):
            shape = max(1, len(block.folds)), len(names)
            mcc, planned, lacking = np.full(shape, np.nan), np.zeros(shape, bool), np.zeros(shape, bool)
            values = fold_mcc(block.folds, len(block.complete))
            for cell in some:
                place = column[cell.model, cell.strategy]
                planned[:, place], lacking[:, place] = True, bool(cell.lack)
                if cell.place >= 0:
                    mcc[:, place] = values[:, cell.place]
            parts.append((mcc, planned, lacking))
        tasks = [(str(block.keys["cohort"]), str(block.keys["task"])) for block in blocks]
        tested = {(task, str(block.keys["test_cohort"])) for task, block in zip(tasks, blocks, strict=True)}
        number = {task: place for place, task in enumerate(dict.fromkeys(tasks))}
        return cls(
            {name: blocks[0].keys[name] for name in _KEYS},
            protocol,
            names,
            np.concatenate([mcc for mcc, _, _ in parts]),
            np.concatenate([planned for _, planned, _ in parts]),
            np.concatenate([lacking for _, _, lacking in parts]),
            np.repeat([number[task] for task in tasks], [len(part[0]) for part in parts]),
            len({cohort for _, cohort in tested}) < len(tested),
        )


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Names of two sides and their differences in every fold, (folds, pairs); `lacking` where jobs are not done."""

    a: list[tuple[str | None, str]]
    b: list[tuple[str | None, str]]
    differences: Floats
    lacking: Bools


def _cell_pairs(grid: _Grid) -> _Pairs:
    a, b = np.triu_indices(len(grid.names), 1)
    both = grid.planned[:, a] & grid.planned[:, b]
    lacking: Bools = np.any(both & (grid.lacking[:, a] | grid.lacking[:, b]), axis=0)
    names = [[grid.names[place] for place in places] for places in (a, b)]
    return _Pairs(list(names[0]), list(names[1]), grid.mcc[:, a] - grid.mcc[:, b], lacking)


def _strategy_pairs(grid: _Grid) -> _Pairs:
    models = sorted({model for model, _ in grid.names})
    strategies = sorted({strategy for _, strategy in grid.names})
    column = {name: place for place, name in enumerate(grid.names)}
    pairs = list(combinations(strategies, 2))
    differences, lacking = np.full((len(grid.mcc), len(pairs)), np.nan), np.zeros(len(pairs), bool)
    for place, (one, two) in enumerate(pairs):
        shared = [m for m in models if (m, one) in column and (m, two) in column]
        a, b = (np.array([column[m, side] for m in shared], dtype=np.int64) for side in (one, two))
        both = grid.planned[:, a] & grid.planned[:, b]
        lacking[place] = (both & (grid.lacking[:, a] | grid.lacking[:, b])).any()
        found, n = np.where(both, grid.mcc[:, a] - grid.mcc[:, b], 0), both.sum(axis=1)
        differences[:, place] = np.divide(found.sum(axis=1), n, out=np.full(len(n), np.nan), where=n > 0)
    return _Pairs([(None, one) for one, _ in pairs], [(None, two) for _, two in pairs], differences, lacking)


def _table(grid: _Grid, scope: str, pairs: _Pairs) -> pd.DataFrame:
    there = ~np.isnan(pairs.differences)
    n = there.sum(axis=0)
    tested = (n > 0) & ~pairs.lacking
    p, median = np.full(len(n), np.nan), np.full(len(n), np.nan)
    for mask, columns in _alike(there, tested):
        differences = pairs.differences[np.ix_(mask, columns)]
        p[columns], median[columns] = signed_rank_p(differences), np.median(differences, axis=0)
    smallest = np.where(n > 0, np.minimum(1, 2.0 ** (1 - n)), np.nan)
    n_tasks = np.array([len(np.unique(grid.task[mask])) for mask in there.T], dtype=np.int64)
    reasons = np.where(pairs.lacking, "jobs of one of the two are not done", np.where(n > 0, "", "no fold has both"))
    return pd.DataFrame(
        {
            "scope": scope,
            **grid.keys,
            "protocol": grid.protocol,
            "model_a": [name[0] for name in pairs.a],
            "strategy_a": [name[1] for name in pairs.a],
            "model_b": [name[0] for name in pairs.b],
            "strategy_b": [name[1] for name in pairs.b],
            "n_tasks": n_tasks,
            "n_blocks": n,
            "median_difference": median,
            **corrected("p_wilcoxon", p),
            "smallest_p": smallest,
            "warning": [
                _warning(bound, count > tasks, tasks > 1 and grid.share_patients, int(tested.sum()))
                for bound, tasks, count in zip(smallest, n_tasks, n, strict=True)
            ],
            "undefined": reasons,
        }
    )


def _alike(there: Bools, tested: Bools) -> Iterator[tuple[Bools, Ints]]:
    """Yield which blocks are there, with the pairs for which they are these."""
    masks: dict[bytes, list[int]] = {}
    for column in np.flatnonzero(tested):
        masks.setdefault(there[:, column].tobytes(), []).append(int(column))
    for columns in masks.values():
        yield there[:, columns[0]], np.array(columns)


def _warning(smallest: float, share_films: bool, share_patients: bool, pairs: int) -> str:
    told = []
    if smallest > _SIGNIFICANT:
        told.append("so few blocks cannot reach 0.05")
    elif smallest * pairs > _SIGNIFICANT:
        told.append(f"p_wilcoxon_holm cannot fall below 0.05 with {pairs} pairs")
    if share_films:
        errors = [design["error"] for design in simulated()["tasks"]]
        told.append(
            f"folds share training films; simulated error at 5 %: {100 * min(errors):.0f} to {100 * max(errors):.0f} %"
        )
    if share_patients:
        told.append("tasks share patients, so blocks are not independent")
    return "; ".join(told)
