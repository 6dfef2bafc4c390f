"""Which cell of a study becomes the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prognobench.evaluation import BLOCK_KEYS
from prognobench.frame import InputError, Problem, Problems, nearest
from prognobench.reporting import StudyTables, best_cell

# What may be named, in the order in which it is told.
NAMES = ("cohort", "task", "test_cohort", "validation", "protocol", "model", "strategy")
_BLOCK = [*BLOCK_KEYS, "protocol"]


@dataclass(frozen=True)
class Choice:
    """A cell, by its words in tables, and why it was chosen."""

    cell: Mapping[str, Any]
    reason: str

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a table that are about this cell, as far as the table tells cells apart."""
        for key, value in self.cell.items():
            if key in table:
                table = table[table[key].isna() if pd.isna(value) else (table[key] == value).fillna(False)]
        return table

    def block(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the block that the cell stands in."""
        words = {key: value for key, value in self.cell.items() if key in _BLOCK}
        return Choice(words, "").rows(table)


def parse_names(texts: Sequence[str]) -> dict[str, str]:
    """Read `key=value` texts that name a cell.

    Raises
    ------
    InputError
        A text is no `key=value`, or the key names nothing of a cell.
    """
    problems, named = Problems(), {}
    for text in texts:
        key, is_there, value = text.partition("=")
        if not is_there or key not in NAMES:
            problems.add(
                f"argument '{text}'", "this names no part of a result", f"{nearest(key, NAMES)}; such as task=icu"
            )
        named[key] = value
    problems.raise_if_any()
    return named


def choose(tables: StudyTables, named: Mapping[str, str], where: str) -> Choice:
    """Choose the cell that is named, or the first of the decision map.

    Parameters
    ----------
    tables
        The study's tables.
    named
        Words that the cell has, by key; none chooses the strategy and model with which the decision map begins.
    where
        The results folder, for errors.

    Raises
    ------
    InputError
        Nothing is so called, several tasks or recipes are left, or none may be called the best.
    """
    rows = tables.results[~tables.results["control"] & (tables.results["regime"] == "full")]
    if rows.empty:
        what = "the study has no result of the regime `full`, and a model for use is trained on all films"
        raise InputError([Problem(where, what, "Run the study with regimes=[full]")])
    for key, value in named.items():
        known = sorted({str(one) for one in rows[key]})
        if value not in known:
            raise InputError([Problem(where, f"there is no result with {key}={value}", nearest(value, known))])
        rows = rows[rows[key] == value]
    _refuse_several(rows, where)
    if {"model", "strategy"} & set(named):
        found = best_cell(rows)
        if found.cell is None:
            what = f"no best can be told of what is named: {found.why}"
            raise InputError([Problem(where, what, "Run the study again to finish it, or name one that is done")])
        best = found.cell
        others = len(rows) - 1
        told = f", with the highest mean MCC of {others + 1} results so named" if others else ""
        words = ", ".join(f"{key} {value}" for key, value in named.items())
        return Choice(_words(best), f"Named by the user ({words}){told}.")
    return _first(tables, rows, where)


def _first(tables: StudyTables, rows: pd.DataFrame, where: str) -> Choice:
    block = Choice({key: rows[key].iloc[0] for key in _BLOCK}, "")
    decided = block.rows(tables.decision)
    # A strategy with a hole stands last in the map, and may be the best all the same.
    hole = best_cell(block.rows(tables.results)).why
    if hole or decided.empty or pd.isna(decided["model"].iloc[0]) or pd.isna(decided["mcc"].iloc[0]):
        why = f": {hole}" if hole else "" if decided.empty else f": {decided['evidence'].iloc[0].rstrip('.')}"
        remedy = "Run the study again to finish it, or name one: model=NAME strategy=NAME"
        raise InputError([Problem(where, f"no result of the study may be called its best{why}", remedy)])
    first = decided.iloc[0].to_dict()
    return Choice(_words(first), f"The first of the study's decision map. {first['evidence']}")


def _refuse_several(rows: pd.DataFrame, where: str) -> None:
    blocks = rows[_BLOCK].drop_duplicates()
    if len(blocks) == 1:
        return
    open_keys = [key for key in _BLOCK if blocks[key].nunique(dropna=False) > 1]
    known = "; ".join(f"{key}: {', '.join(sorted(map(str, blocks[key].unique())))}" for key in open_keys)
    what = f"several tasks or recipes are to choose from ({known})"
    example = " ".join(f"{key}={blocks[key].iloc[0]}" for key in open_keys)
    raise InputError([Problem(where, what, f"Name one of each, such as {example}")])


def _words(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {key: row[key] for key in (*_BLOCK, "model", "strategy")}
