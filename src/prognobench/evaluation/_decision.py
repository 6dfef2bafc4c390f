"""Which strategies may be chosen for a task, on which evidence, and what speaks against trusting it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ._resampling import CONTROLS
from ._tables import BLOCK_KEYS

# From here on a reader should doubt; choices of this project.
FEW_POSITIVES = 10  # of the rarer class, in a test fold on average
WIDE_INTERVAL = 0.3  # of MCC
CENTER_SPREAD = 0.3  # of MCC, from the worst center to the best
_BLOCK = [*BLOCK_KEYS, "protocol"]
_CELL = [*_BLOCK, "model", "strategy"]
_COLUMNS = [
    *_BLOCK,
    *("strategy", "model", "level", "mcc", "ci_low", "ci_high", "rank", "rank_low", "rank_high", "in_top_group"),
    *("above_controls", "within_budget", "cheapest", "train_seconds", "peak_memory_bytes", "trainable_params"),
    *("trainable_percent", "evidence", "doubts", "undefined"),
]


@dataclass(frozen=True)
class Budget:
    """What one training may cost; None is no limit.

    Parameters
    ----------
    seconds
        Of one job, its share of shared work included, on the machine of the records.
    memory_bytes
        Peak memory of the process.
    trained_parameters
        Numbers that are trained, the head included.
    """

    seconds: float | None = None
    memory_bytes: float | None = None
    trained_parameters: float | None = None

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by the column that they bound."""
        told = {
            "train_seconds": self.seconds,
            "peak_memory_bytes": self.memory_bytes,
            "trainable_params": self.trained_parameters,
        }
        return {column: float(limit) for column, limit in told.items() if limit is not None}


def decision_map(
    folds: pd.DataFrame,
    jobs: pd.DataFrame,
    summary: pd.DataFrame,
    controls: pd.DataFrame,
    intervals: pd.DataFrame,
    ranking: pd.DataFrame,
    selection: pd.DataFrame,
    sizes: pd.DataFrame,
    budget: Budget | None = None,
) -> pd.DataFrame:
    """Say of each strategy, in each task, whether it may be chosen, on which evidence and with which doubts.

    Parameters
    ----------
    folds, summary, controls, intervals, ranking, selection
        What the functions `fold_metrics`, `summarize`, `compare_with_controls`, `intervals`, `ranking` and
        `selection` return.
    jobs
        The planned jobs; a column `peak_memory_bytes` is read where it is there.
    sizes
        What `task_sizes` returns.
    budget
        What one training may cost.

    Returns
    -------
    pandas.DataFrame
        One row a block, protocol and strategy that is no control, the best first:

        - `model`: with which the strategy has its highest mean MCC, within the budget where any is; all else is of this
          model. Missing where jobs of any of several models are not done, since that one may be the best;
        - `level`, `mcc`, `ci_low`, `ci_high` (the default interval), `rank` with its interval;
        - `in_top_group`: not told apart from the best learned result of the block; missing where nothing is ranked;
        - `above_controls`;
        - `train_seconds`, `peak_memory_bytes`, `trainable_params`, `trainable_percent`: means over its jobs;
        - `within_budget`, missing without a budget or where the cost is unknown; `cheapest`: the strategy of the top
          group (within the budget, if there is one) that trains fastest;
        - `evidence`, `doubts`: sentences; a better model that was passed over for its cost is named there; `undefined`:
          why it is not ranked.
    """
    cells = _cells(summary, ranking, controls, intervals)
    cells = _join(cells, _costs(folds, jobs))
    cells["within_budget"] = _within(cells, budget or Budget())
    best = _best_models(cells)
    best["cheapest"] = _cheapest(best)
    facts = _Facts(folds, summary, selection, sizes)
    told = [facts.tell(row) for row in best.to_dict("records")]
    best["evidence"] = [evidence for evidence, _ in told]
    best["doubts"] = [doubts for _, doubts in told]
    types = dict.fromkeys(["in_top_group", "above_controls", "within_budget", "cheapest"], "boolean")
    types |= dict.fromkeys(["level", "evidence", "doubts", "undefined"], "string")
    return best[_COLUMNS].astype(types).reset_index(drop=True)


def _cells(
    summary: pd.DataFrame, ranking: pd.DataFrame, controls: pd.DataFrame, intervals: pd.DataFrame
) -> pd.DataFrame:
    """Gather what is known of every learned cell."""
    cells = summary.loc[~summary["strategy"].isin(CONTROLS), [*_CELL, "headline"]].rename(columns={"headline": "level"})
    cells["n_missing"] = summary["n_missing"]
    patient = (cells["level"] == "patient").to_numpy(bool)
    learned = summary.loc[cells.index]
    cells["mcc"] = np.where(patient, learned["mcc_patient_mean"], learned["mcc_mean"])
    ranked = ranking[[*_CELL, "rank", "rank_low", "rank_high", "top_group", "undefined"]]
    cells = _join(cells, ranked.rename(columns={"top_group": "in_top_group"}))
    candidates = cells["mcc"].where(cells["in_top_group"].notna())
    blocks = candidates.groupby([cells[key] for key in _BLOCK], dropna=False)
    cells["_is_best"] = candidates.eq(blocks.transform("max"))
    cells = _join(cells, controls[[*_CELL, "above_controls", "control"]])
    chosen = intervals[(intervals["metric"] == "mcc") & intervals["default"].fillna(False).astype(bool)]
    return _join(cells, chosen[[*_CELL, "ci_low", "ci_high"]].drop_duplicates(_CELL))


def _join(cells: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    # Where a key is missing throughout, as `shots` often is, tables may have it in different types.
    return cells.merge(other.astype(cells[_CELL].dtypes.to_dict()), "left", _CELL)


def _costs(folds: pd.DataFrame, jobs: pd.DataFrame) -> pd.DataFrame:
    """Average what the jobs of each cell took."""
    costs = ["train_seconds", "trainable_params", "trainable_percent", "peak_memory_bytes"]
    table = folds[[*_CELL, "job", *costs[:-1]]].copy()
    table["peak_memory_bytes"] = np.nan
    if "peak_memory_bytes" in jobs:
        memory = jobs.drop_duplicates("job").set_index("job")["peak_memory_bytes"]
        table["peak_memory_bytes"] = table["job"].map(memory)
    table[costs] = table[costs].astype("float64")
    return table.groupby(_CELL, dropna=False)[costs].mean().reset_index()


def _within(cells: pd.DataFrame, budget: Budget) -> pd.Series[Any]:
    """Tell which cells keep to every limit; missing where there is none, or a cost that it bounds is unknown."""
    kept = pd.Series(pd.NA, index=cells.index, dtype="boolean")
    for column, limit in budget.limits.items():
        one = (cells[column] <= limit).astype("boolean").mask(cells[column].isna())
        kept = one if kept.isna().all() else kept & one
    return kept


def _best_models(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the best cell of each strategy, the best strategy first; without a model where a hole hides which it is.

    What keeps to the budget comes before what may, and that before what does not. `_passed` has the model that would
    be the best without a budget, where it is another, and `_passed_mcc` its MCC.
    """
    strategy = [*_BLOCK, "strategy"]
    falling = cells.sort_values("mcc", ascending=False, kind="stable", na_position="last")
    groups = falling.groupby(strategy, dropna=False, sort=False)
    holes = groups["n_missing"].transform("sum").where(groups["model"].transform("size") > 1, 0)
    falling = falling.assign(
        _holes=holes.astype("int64"),
        _passed=groups["model"].transform("first"),
        _passed_mcc=groups["mcc"].transform("max"),
        _allowed=falling["within_budget"].astype("float64").rsub(1).fillna(0.5),
    )
    falling["_passed"] = falling["_passed"].mask((falling["_passed_mcc"] > falling["mcc"].fillna(-np.inf)).eq(False))
    best = falling.sort_values("_allowed", kind="stable").drop_duplicates(strategy)
    hidden = best["_holes"] > 0
    told = ["mcc", "ci_low", "ci_high", "rank", "rank_low", "rank_high", "train_seconds", "peak_memory_bytes"]
    told += ["trainable_params", "trainable_percent", "_passed_mcc"]
    best.loc[hidden, told] = np.nan
    best.loc[hidden, ["model", "in_top_group", "above_controls", "within_budget", "_passed"]] = pd.NA
    best = best.sort_values("mcc", ascending=False, kind="stable", na_position="last")
    return best.sort_values(_BLOCK, kind="stable", na_position="first")


def _cheapest(best: pd.DataFrame) -> pd.Series[Any]:
    """Mark the strategy of each top group that trains fastest, within the budget where there is one."""
    allowed = best["in_top_group"].astype("boolean").fillna(False) & best["within_budget"].fillna(True)
    fastest = best["train_seconds"].where(allowed.astype(bool))
    least = fastest.groupby([best[key] for key in _BLOCK], dropna=False).transform("min")
    return (fastest == least).astype("boolean")


@dataclass(frozen=True, eq=False)
class _Facts:
    folds: pd.DataFrame
    summary: pd.DataFrame
    selection: pd.DataFrame
    sizes: pd.DataFrame

    @cached_property
    def _folds_of(self) -> dict[tuple[Any, ...], pd.DataFrame]:
        # Groups of few columns: to cut a wide table into thousands of groups takes seconds.
        shown = self.folds[[*_CELL, "n_test", "n_test_patients", "test_center", "mcc", "mcc_patient"]]
        groups = shown.groupby(_CELL, dropna=False, sort=False)
        return {_values(dict(zip(_CELL, key, strict=True)), _CELL): rows for key, rows in groups}

    @cached_property
    def _summary_of(self) -> dict[tuple[Any, ...], dict[Any, Any]]:
        return _rows(self.summary, _CELL)

    @cached_property
    def _selection_of(self) -> dict[tuple[Any, ...], dict[Any, Any]]:
        return _rows(self.selection, _CELL)

    @cached_property
    def _sizes_of(self) -> dict[tuple[Any, ...], dict[Any, Any]]:
        return _rows(self.sizes, ["cohort", "task"])

    def tell(self, row: Mapping[Any, Any]) -> tuple[str, str]:
        """Return evidence and doubts of one row, in sentences."""
        if row["_holes"]:
            count = f"{row['_holes']} {'job is' if row['_holes'] == 1 else 'jobs are'}"
            return f"No best model is named: {count} not done, and a model that lacks some may be the best.", " ".join(
                f"{doubt}." for doubt in self._unranked(row)
            )
        doubts = [
            *self._unranked(row),
            *self._above(row),
            *self._positives(row),
            *self._width(row),
            *self._holes(row),
            *self._chosen(row),
            *self._centers(row),
        ]
        return self._evidence(row), " ".join(f"{doubt}." for doubt in doubts)

    def _evidence(self, row: Mapping[Any, Any]) -> str:
        if np.isnan(row["mcc"]):
            return "No test fold gives an MCC."
        interval = "" if pd.isna(row["ci_low"]) else f" [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"
        words = [f"MCC × 100 is {100 * row['mcc']:.1f}{interval} with {row['model']}"]
        if not pd.isna(row["rank_low"]):
            # Equal ones share the mean of their ranks.
            ranks = f"rank {row['rank']:.3g}, 95 % interval {row['rank_low']:.3g} to {row['rank_high']:.3g}"
            words.append(f"{ranks}, controls counted")
        if not pd.isna(row["in_top_group"]):
            told = "not told apart from" if row["in_top_group"] else "below"
            paired = "(paired interval, not corrected for the number of results)"
            words.append("the best learned result" if row["_is_best"] else f"{told} the best learned result {paired}")
        if not pd.isna(row["above_controls"]) and row["above_controls"]:
            words.append("above its controls")
        if not pd.isna(row["_passed"]):
            better = f"{row['_passed']} with {100 * row['_passed_mcc']:.1f}"
            words.append(f"passed over, since it does not keep to the budget or its cost is unknown: {better}")
        return "; ".join(words) + "."

    def _unranked(self, row: Mapping[Any, Any]) -> list[str]:
        why = "" if pd.isna(row["undefined"]) else str(row["undefined"])
        return [] if not pd.isna(row["in_top_group"]) else [f"Not ranked: {why}" if why else "Not ranked"]

    def _above(self, row: Mapping[Any, Any]) -> list[str]:
        if pd.isna(row["above_controls"]):
            return ["Not compared with its controls"]
        told = f"Not above the control {row['control']}, which needs no learned image content"
        return [] if row["above_controls"] else [told]

    def _positives(self, row: Mapping[Any, Any]) -> list[str]:
        rows, one = self._folds_of.get(_values(row, _CELL)), self._sizes_of.get((row["test_cohort"], row["task"]))
        if rows is None or one is None:
            return []
        patients = row["level"] == "patient"
        cases = rows["n_test_patients" if patients else "n_test"].mean()
        share = one["n_positive_patients"] / one["n_patients"] if patients else one["n_positive_films"] / one["n_films"]
        kind, share = ("positive", share) if share <= 0.5 else ("negative", 1 - share)
        if cases * share >= FEW_POSITIVES:
            return []
        count = round(cases * share)
        unit = ("patient" if patients else "film") + ("" if count == 1 else "s")
        return [f"Few to go by: {count or 'fewer than 1'} {kind} {unit} in a test fold on average"]

    def _width(self, row: Mapping[Any, Any]) -> list[str]:
        width = row["ci_high"] - row["ci_low"]
        if pd.isna(width):
            return ["No interval is known to hold here"] if not np.isnan(row["mcc"]) else []
        return [f"The interval is {100 * width:.0f} points of MCC wide"] if width > WIDE_INTERVAL else []

    def _holes(self, row: Mapping[Any, Any]) -> list[str]:
        one = self._summary_of[_values(row, _CELL)]
        told = []
        if one["n_missing"]:
            told.append(f"{one['n_missing']} of its jobs {'is' if one['n_missing'] == 1 else 'are'} not done")
        counted = one["mcc_patient_n"] if row["level"] == "patient" else one["mcc_n"]
        if counted < one["n_folds"] and not one["n_missing"]:
            told.append(f"{one['n_folds'] - counted} of {one['n_folds']} test folds hold one class and do not count")
        return told

    def _chosen(self, row: Mapping[Any, Any]) -> list[str]:
        one = self._selection_of.get(_values(row, _CELL))
        if one is None or one["n_candidates"] == 1 or pd.isna(one["corrected"]):
            return []
        told = (
            f"Chosen as the best of {one['n_candidates']} on the same folds: corrected for that, its MCC × 100 is "
            f"{100 * one['corrected']:.1f} instead of {100 * one['naive']:.1f}"
        )
        if pd.isna(one["above_controls"]) or one["above_controls"] or not row["above_controls"]:
            return [told]
        bounds = (100 * one[f"corrected_difference{end}"] for end in ("", "_ci_low", "_ci_high"))
        return [told + ", which is not shown to be above its controls ({:+.1f} [{:+.1f}, {:+.1f}])".format(*bounds)]

    def _centers(self, row: Mapping[Any, Any]) -> list[str]:
        rows = self._folds_of.get(_values(row, _CELL))
        if rows is None:
            return []
        column = "mcc_patient" if row["level"] == "patient" else "mcc"
        centers = rows.groupby("test_center")[column].mean().dropna()
        if len(centers) < 2 or centers.max() - centers.min() <= CENTER_SPREAD:
            return []
        return [f"Between centers MCC × 100 goes from {100 * centers.min():.1f} to {100 * centers.max():.1f}"]


def _rows(table: pd.DataFrame, keys: Sequence[str]) -> dict[tuple[Any, ...], dict[Any, Any]]:
    """Return the rows of a table by their keys."""
    return {_values(row, keys): row for row in table.to_dict("records")}


def _values(row: Mapping[Any, Any], keys: Sequence[str]) -> tuple[Any, ...]:
    # Missing values of different kinds are unequal, even to themselves.
    return tuple(None if pd.isna(row[key]) else row[key] for key in keys)
