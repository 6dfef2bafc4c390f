"""What figures need of a study's tables, computed once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd

from prognobench.evaluation import BLOCK_KEYS

from ._best import Best, best_cell
from ._families import Family, families
from ._results import result_table
from ._safe import printable

BLOCK = [*BLOCK_KEYS, "protocol"]
CELL = [*BLOCK, "model", "strategy"]
_COSTS = ["trainable_params", "trainable_percent", "train_seconds"]


class Tables(Protocol):
    """The tables of a study that figures are drawn from, each as `prognobench.evaluation` makes it."""

    @property
    def fold_metrics(self) -> pd.DataFrame: ...
    @property
    def summary(self) -> pd.DataFrame: ...
    @property
    def controls(self) -> pd.DataFrame: ...
    @property
    def intervals(self) -> pd.DataFrame: ...
    @property
    def subgroups(self) -> pd.DataFrame: ...
    @property
    def reliability(self) -> pd.DataFrame: ...
    @property
    def jobs(self) -> pd.DataFrame: ...


@dataclass(frozen=True)
class Block:
    """Cells that may be compared: their keys, and what a panel calls them."""

    keys: tuple[Any, ...]
    title: str


class Shown:
    """The cells of a study as figures show them: at their headline level, with interval, controls and costs."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row a cell, controls with every protocol that they serve.

        Columns: the keys, `control` (bool), `architecture`, `level`, `mcc`, `std`, `ci_low`, `ci_high`, `ci_method`,
        `folds` of `n_folds`, `n_missing`, `best`, what `controls.csv` says (`best_control`, `difference`,
        `difference_ci_low`, `difference_ci_high`, `above_controls`, `undefined`), and means of `trainable_params`,
        `trainable_percent`, `train_seconds`.
        """
        told = {"mcc_mean": "mcc", "mcc_std": "std"}
        told |= {"ci_low": "difference_ci_low", "ci_high": "difference_ci_high"}
        rows = result_table(self.tables.summary, self.tables.controls, jobs=self.tables.jobs).rename(columns=told)
        # Whatever its own protocol: the control of another one keeps its interval and cost.
        rows["_source"] = _sources(rows, self.tables.summary)
        source = [*BLOCK_KEYS, "_source", "model", "strategy"]
        for extra in (_intervals(self.tables), _costs(self.tables)):
            rows = rows.merge(extra.rename(columns={"protocol": "_source"}), "left", source)
        return rows.drop(columns="_source")

    @cached_property
    def learned(self) -> pd.DataFrame:
        """The cells that are no control."""
        return self.cells[~self.cells["control"]]

    @cached_property
    def blocks(self) -> list[Block]:
        """The blocks in the order of the tables, but of each task all data before few of them."""
        keys = self.cells[BLOCK].drop_duplicates()
        keys = keys.assign(_few=keys["shots"].notna())
        keys = keys.sort_values(["cohort", "task", "test_cohort", "_few"], kind="stable", na_position="first")[BLOCK]
        return [Block(tuple(row), self.title(row)) for row in keys.itertuples(index=False)]

    @cached_property
    def largest(self) -> list[Block]:
        """Of each task and way of validation the block with the most training films: all of them, or most shots."""
        keys = self.cells[BLOCK].drop_duplicates()
        keys = keys.assign(_shots=keys["shots"].astype("Float64").astype(float).fillna(np.inf))
        keys = keys.sort_values("_shots", kind="stable", ascending=False)
        chosen = keys.drop_duplicates([key for key in BLOCK if key not in ("regime", "shots")])
        there = {tuple(map(str, row)) for row in chosen[BLOCK].itertuples(index=False, name=None)}
        return [block for block in self.blocks if tuple(map(str, block.keys)) in there]

    def best(self, block: Block) -> Best:
        """Name the best cell of a block, or say why none is named."""
        return best_cell(self.of(block), "mcc")

    def best_control(self, block: Block) -> float:
        """Return the MCC × 100 of the best control of a block, of any architecture; NaN where there is none."""
        rows = self.of(block)
        return 100 * float(rows.loc[rows["control"], "mcc"].max())

    def rows_of(self, block: Block) -> dict[str, list[str]]:
        """Say by which rows each model of a block stands, `random` by every model of its architecture.

        Where no model of that architecture was adapted it stands by itself; what looks at no image stands by no model.
        """
        part = self.of(block)
        learned = part[~part["control"]]
        names = [name for name in self.models if (learned["model"] == name).any()]
        places = {name: [name] for name in names}
        random = part.loc[part["control"] & (part["strategy"] == "random"), "model"].drop_duplicates()
        pairs = set(learned[["model", "architecture"]].itertuples(index=False, name=None))
        for architecture in random:
            places[architecture] = [name for name in names if (name, architecture) in pairs] or [architecture]
        return places

    def title(self, row: Any, without: Iterable[str] = ()) -> str:
        """Name a block by its task and by what differs between the study's blocks."""
        keys = self.cells[BLOCK]
        several = {key for key in BLOCK if keys[key].nunique(dropna=False) > 1} - set(without)
        tested = row.test_cohort != row.cohort
        words = [row.cohort] if "cohort" in several else []
        words += [f"{row.task}, tested on {row.test_cohort}" if tested else row.task]
        if "regime" not in without and ("regime" in several or not pd.isna(row.shots) or row.regime != "full"):
            words.append(row.regime if pd.isna(row.shots) or "shots" in without else f"{row.regime} {row.shots}")
        words += [getattr(row, key) for key in ("validation", "protocol") if key in several]
        return " · ".join(short(word, 40) for word in words)

    def of(self, block: Block, table: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the rows of one block: of the cells, or of a table with the same keys."""
        table = self.cells if table is None else table
        chosen = pd.Series(True, index=table.index)
        for key, value in zip(BLOCK, block.keys, strict=True):
            chosen &= table[key].isna() if pd.isna(value) else (table[key] == value).fillna(False)
        return table[chosen]

    @cached_property
    def families(self) -> dict[str, Family]:
        """The family of every model."""
        return families(self.models)

    @cached_property
    def models(self) -> list[str]:
        """The models that were adapted, by name."""
        return sorted(self.learned["model"].dropna().unique(), key=natural)

    @cached_property
    def strategies(self) -> list[str]:
        """The strategies, from the one that trains least on."""
        share = self.learned.groupby("strategy")["trainable_percent"].median()
        rank = {str(name): float(value) for name, value in share.fillna(float("inf")).items()}
        return sorted(rank, key=lambda name: (round(rank[name], 3), natural(name)))

    @cached_property
    def interval(self) -> str:
        """What the intervals of MCC are, for captions."""
        methods = sorted(self.learned["ci_method"].dropna().unique())
        names = {
            "t": "Student's t over folds",
            "nadeau_bengio": "t over folds with the correction of Nadeau and Bengio",
            "bootstrap": "bootstrap of patients within folds",
        }
        told = " and ".join(names.get(method, method) for method in methods if method)
        return told or "none, for no interval is known to hold here"

    @cached_property
    def unit(self) -> str:
        """What the MCC of the blocks counts, for captions."""
        levels = set(self.cells["level"].dropna())
        units = {"film": "films", "patient": "patients (mean score of a patient's films)"}
        return " or ".join(units[level] for level in sorted(levels) if level in units) or "films"


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts `lora_r8` before `lora_r16`."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def signed(number: float, form: str = ".0f") -> str:
    """Return a number × 100 with a real minus, and none before a zero."""
    text = f"{100 * number:{form}}".replace("-", "−")
    return text.replace("−", "") if not text.strip("−0.") else text


def short(text: object, limit: int = 24) -> str:
    """Return a name as figures print it: without control codes, its middle left out where it is long."""
    name = printable(text)
    return name if len(name) <= limit else f"{name[: limit - limit // 3 - 1]}…{name[-(limit // 3) :]}"


def _sources(rows: pd.DataFrame, summary: pd.DataFrame) -> pd.Series[Any]:
    """Return the protocol that each cell was planned under; a control may stand in for another protocol's."""
    own = summary[CELL].assign(_own=True)
    there = rows[CELL].merge(own, "left", CELL)["_own"].notna().to_numpy()
    keys = [*BLOCK_KEYS, "model", "strategy"]
    first = summary[[*keys, "protocol"]].drop_duplicates(keys)
    other = rows[keys].merge(first, "left", keys)["protocol"].set_axis(rows.index)
    return rows["protocol"].where(there, other)


def _intervals(tables: Tables) -> pd.DataFrame:
    """Return the default interval of each cell's MCC at its headline level."""
    table, summary = tables.intervals, tables.summary
    chosen = table[(table["metric"] == "mcc") & table["default"].fillna(False).astype(bool) & table["ci_low"].notna()]
    chosen = chosen.merge(summary[[*CELL, "headline"]], "inner", CELL)
    chosen = chosen[chosen["level"] == chosen["headline"]]
    chosen = chosen.rename(columns={"method": "ci_method"})[[*CELL, "ci_low", "ci_high", "ci_method"]]
    return summary[[*CELL]].merge(chosen.drop_duplicates(CELL), "left", CELL)


def _costs(tables: Tables) -> pd.DataFrame:
    """Return each cell's mean costs over its jobs."""
    folds = tables.fold_metrics
    columns = folds[[*CELL, "job", *_COSTS]].copy()
    for name in _COSTS:
        columns[name] = columns[name].astype("Float64").astype("float64")
    costs = [*_COSTS]
    if "peak_memory_bytes" in tables.jobs:
        memory = tables.jobs[["job", "peak_memory_bytes"]].drop_duplicates("job").astype({"job": "string"})
        columns = columns.astype({"job": "string"}).merge(memory, "left", "job")
        columns["peak_memory"] = columns["peak_memory_bytes"].astype("Float64").astype("float64")
        costs.append("peak_memory")
    return columns.groupby(CELL, dropna=False, sort=False)[costs].mean().reset_index()
