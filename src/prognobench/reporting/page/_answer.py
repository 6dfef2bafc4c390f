"""The answer in two sentences, and what speaks against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prognobench.cohorts import AuditReport
from prognobench.evaluation import BLOCK_KEYS, CONTROLS

from .._best import above_as_chosen, best_cell
from .._tables import StudyTables
from ._audits import confound_doubts
from ._parts import is_missing, plural, sentences, words

BLOCK = [*BLOCK_KEYS, "protocol"]
CELL = [*BLOCK, "model", "strategy"]
METHODS = {
    "nadeau_bengio": "corrected t over folds (Nadeau–Bengio)",
    "bootstrap": "bootstrap over patients",
    "t": "t over folds",
}


@dataclass(frozen=True)
class Answer:
    """What one block says: two sentences, the doubts, and who won."""

    title: str
    sentences: tuple[str, str]
    doubts: tuple[str, ...]
    is_above: bool | None
    strategies: frozenset[str]  # of the top group; empty where nothing is ranked
    chosen: bool = False  # whether `is_above` is corrected for a choice


def block_title(row: Any) -> str:
    """Name a block in words."""
    tested = "" if row["test_cohort"] == row["cohort"] else f", tested on {words(row['test_cohort'])}"
    shots = "" if is_missing(row["shots"]) else f" {row['shots']:.0f}"
    how = f"{words(row['regime'])}{shots} · {words(row['validation'])} · {words(row['protocol'])}"
    return f"{words(row['cohort'])} · {words(row['task'])}{tested} · {how}"


def blocks_of(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Cut a table into its blocks, of each task all training films before few of them."""

    def place(block: pd.DataFrame) -> tuple[Any, ...]:
        one = block.iloc[0]
        few = (one["regime"] != "full", words(one["regime"]), -1 if is_missing(one["shots"]) else one["shots"])
        where = (words(one[key]) for key in ("cohort", "task", "test_cohort"))
        return (*where, *few, words(one["validation"]), words(one["protocol"]))

    if rows.empty:
        return []
    return sorted((block for _, block in rows.groupby(BLOCK, dropna=False, sort=False)), key=place)


def answers(tables: StudyTables, audits: Mapping[str, AuditReport] | None = None) -> list[Answer]:
    """Answer each block of the study; what the audits found of its cohorts is held against the best model."""
    return [_answer(tables, block, audits or {}) for block in blocks_of(tables.results)]


def overall(found: list[Answer]) -> tuple[str, ...]:
    """Answer the whole study in two sentences."""
    if len(found) == 1:
        return found[0].sentences
    known = [one for one in found if one.is_above is not None]
    above = sum(bool(one.is_above) for one in known)
    first = f"In {above} of {plural(len(found), 'comparison')} the model with the highest MCC is above its controls"
    first += ", corrected for having been chosen" if any(one.chosen for one in known) else ""
    if len(known) < len(found):
        first += f"; in {len(found) - len(known)} that is not known"
    ranked = [one for one in found if one.strategies]
    if not ranked:
        return f"{first}.", "Nothing is ranked, because jobs are missing or nothing could be compared."
    counts = {name: sum(name in one.strategies for one in ranked) for one in ranked for name in one.strategies}
    most = max(counts.values())
    names = sorted(name for name, count in counts.items() if count == most)
    listed = f"{', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}"
    verb = "is" if len(names) == 1 else "are"
    return f"{first}.", (
        f"Most often among the best that cannot be told apart {verb} {listed}: in {most} of "
        f"{plural(len(ranked), 'ranking')}."
    )


def _answer(tables: StudyTables, block: pd.DataFrame, audits: Mapping[str, AuditReport]) -> Answer:
    title = block_title(block.iloc[0])
    found = best_cell(block)
    if found.cell is None:
        return Answer(title, (f"No best is named: {found.why}.", _compared(block)), (), None, frozenset())
    best, learned = found.cell, block[~block["control"] & block["mcc_mean"].notna()]
    name = f"{words(best['model'])} with {words(best['strategy'])}"
    ranking = of_block(tables.ranking, best)
    in_top = ranking["top_group"].astype("boolean").fillna(False).astype(bool) & ~ranking["strategy"].isin(CONTROLS)
    top = ranking[in_top]
    above, chosen = above_as_chosen(best, of_block(tables.selection, best))
    opened = f"Not shown: that {name} is above its controls. It" if above is False else name
    told = (
        f"{opened} has the highest mean MCC × 100, {_with_interval(tables, block, best)}"
        f"{_corrected(tables, best, len(learned))}{_size(tables, best)}.",
        f"{_standing(best, chosen)}{_ties(top, best, len(learned) - 1)}",
    )
    doubts = (*_doubts(tables, best), *confound_doubts(audits, best, _roc_auc(tables, best)))
    strategies = frozenset(words(one) for one in top["strategy"])
    return Answer(title, told, doubts, above, strategies, chosen is not None)


def _with_interval(tables: StudyTables, block: pd.DataFrame, best: Mapping[Any, Any]) -> str:
    told = f"{100 * best['mcc_mean']:.1f}"
    rows, method = with_mcc_interval(block, tables)
    row = rows[(rows["model"] == best["model"]) & (rows["strategy"] == best["strategy"])].iloc[0]
    if is_missing(row["mcc_ci_low"]):
        return f"{told} (no 95 % interval is defined)"
    return f"{told} [{100 * row['mcc_ci_low']:.1f}, {100 * row['mcc_ci_high']:.1f}] (95 % interval: {method})"


def _size(tables: StudyTables, best: Mapping[Any, Any]) -> str:
    sizes = tables.sizes
    rows = sizes[(sizes["cohort"] == best["test_cohort"]) & (sizes["task"] == best["task"])]
    if rows.empty:
        return ""
    one = rows.iloc[0]
    patients, positive = plural(int(one["n_patients"]), "patient"), int(one["n_positive_patients"])
    return f"; task {words(best['task'])} of {words(best['test_cohort'])}: {patients}, {positive:,} of them positive"


def _corrected(tables: StudyTables, best: Mapping[Any, Any], candidates: int) -> str:
    if candidates == 1:
        return ", the only one tried"
    chosen = of_block(tables.selection, best)
    if chosen.empty or is_missing(chosen["corrected"].iloc[0]):
        return f" (highest of {candidates}, not corrected for the choice)"
    one = chosen.iloc[0]
    return f"; corrected for having been chosen among {one['n_candidates']}, {100 * one['corrected']:.1f}"


def _standing(best: Mapping[Any, Any], chosen: Mapping[Any, Any] | None) -> str:
    above = None if pd.isna(best["above_controls"]) else bool(best["above_controls"])
    if above is None:
        why = words(best["undefined"])
        return f"Whether it is above its controls is not known{f' ({why})' if why else ''}"
    bounds = f"[{100 * best['ci_low']:+.1f}, {100 * best['ci_high']:+.1f}]"
    told = f"{100 * best['difference']:+.1f} points, 95 % {bounds}, to the control {words(best['best_control'])}"
    if above and chosen is not None:
        told += ", and corrected for having been chosen " + "{:+.1f} [{:+.1f}, {:+.1f}]".format(
            *(100 * chosen[f"corrected_difference{end}"] for end in ("", "_ci_low", "_ci_high"))
        )
        if not chosen["above_controls"]:
            return (
                f"As the best of {chosen['n_candidates']} it is not above what needs no learned image content "
                f"({told}), so nothing shows that it reads disease"
            )
    if above:
        return f"It is above what needs no learned image content ({told})"
    return f"It is not above what needs no learned image content ({told}), so nothing shows that it reads disease"


def _ties(top: pd.DataFrame, best: Mapping[Any, Any], others: int) -> str:
    """Say how many cannot be told apart from the best; nothing where the ranking has another group than its own."""
    if not others or not ((top["model"] == best["model"]) & (top["strategy"] == best["strategy"])).any():
        return "."
    if len(top) == 1:
        return f", and better than {_all_of(others)} in uncorrected paired intervals."
    return (
        f"; {len(top) - 1:,} of {plural(others, 'other')} cannot be told apart from the best in uncorrected paired "
        "intervals."
    )


def _all_of(others: int) -> str:
    return "the other one" if others == 1 else f"all {others:,} others"


def _compared(block: pd.DataFrame) -> str:
    """Say how many results could be compared with their controls, where no best is named."""
    known = block.loc[~block["control"], "above_controls"].dropna().astype(bool)
    if known.empty:
        return "Nothing could be compared with its controls."
    above = int(known.sum())
    verb = "is above its" if above == 1 else "are above their"
    return f"Of {plural(len(known), 'result')} that could be compared, {above:,} {verb} controls."


def _doubts(tables: StudyTables, best: Mapping[Any, Any]) -> tuple[str, ...]:
    rows = of_block(tables.decision, best)
    rows = rows[(rows["model"] == best["model"]) & (rows["strategy"] == best["strategy"])]
    if rows.empty:
        return ()
    return sentences(words(rows["doubts"].iloc[0]))


def _roc_auc(tables: StudyTables, best: Mapping[Any, Any]) -> float:
    """Return the mean ROC-AUC of a result at its level; NaN where it is not known."""
    rows = of_block(tables.summary, best)
    rows = rows[(rows["model"] == best["model"]) & (rows["strategy"] == best["strategy"])]
    name = "roc_auc_patient_mean" if best["level"] == "patient" else "roc_auc_mean"
    return float("nan") if rows.empty or is_missing(rows[name].iloc[0]) else float(rows[name].iloc[0])


def of_block(table: pd.DataFrame, row: Mapping[Any, Any]) -> pd.DataFrame:
    """Return the rows of the block that a row stands in."""
    for key in BLOCK:
        table = table[table[key].isna() if is_missing(row[key]) else table[key] == row[key]]
    return table


def with_mcc_interval(block: pd.DataFrame, tables: StudyTables) -> tuple[pd.DataFrame, str]:
    """Add the interval of the mean MCC that holds for the block, or the first one that is defined, and name it."""
    found = tables.intervals
    found = found[(found["metric"] == "mcc") & found["ci_low"].notna()]
    found = found.merge(block[BLOCK].drop_duplicates().astype(found[BLOCK].dtypes.to_dict()), on=BLOCK)
    defaults = found[found["default"].fillna(False).astype(bool)]
    there = set((defaults if len(defaults) else found)["method"])
    method = next((name for name in METHODS if name in there), "")
    rows = found.loc[found["method"] == method, [*CELL, "ci_low", "ci_high"]]
    rows = rows.rename(columns={"ci_low": "mcc_ci_low", "ci_high": "mcc_ci_high"})
    named = method_name(method) if method else "none is defined"
    if method and not len(defaults):
        named += ", not known to hold here"
    return block.merge(rows.astype(block[CELL].dtypes.to_dict()), "left", CELL), named


def method_name(word: str) -> str:
    """Say the name of an interval as people do."""
    return METHODS.get(word, word)
