"""The sections with numbers: results, comparisons, rankings, intervals, subgroups, calibration, decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from prognobench.evaluation import CONTROLS

from .._best import above_as_chosen, best_cell, own_controls
from .._tables import StudyTables
from ._answer import BLOCK, CELL, block_title, blocks_of, method_name, of_block, with_mcc_interval
from ._parts import (
    Card,
    Cell,
    Column,
    Heading,
    PageTable,
    Part,
    Prose,
    Row,
    Section,
    Terms,
    duration,
    is_missing,
    mean_and_std,
    number,
    number_cell,
    p_value,
    plural,
    records,
    sentences,
    table,
    text,
    with_interval,
    words,
    yes_or_no,
)


def _model(row: Row) -> Cell:
    # Controls that look at no image have the model `none`.
    name = "" if row["model"] == "none" else words(row["model"])
    return Cell(name, name.casefold())


MODEL, STRATEGY = Column("model", _model), Column("strategy", text("strategy"))
_MOST_OPEN = 2  # tables of one kind that stand open; more are folded away
_PATIENT_BOOTSTRAP = "95 % interval of the paired bootstrap over patients"


_CORRECTED = ("corrected", "corrected_ci_low", "corrected_ci_high")
_CORRECTED_DIFFERENCE = (
    "corrected_difference",
    "corrected_difference_ci_low",
    "corrected_difference_ci_high",
)
_CHOSEN = ("n_candidates", "chosen_above", *_CORRECTED, *_CORRECTED_DIFFERENCE)


def winners_table(tables: StudyTables) -> PageTable:
    """Show the best of each block, naive and corrected, beside its own controls; none where no best is named."""
    rows = []
    for block in blocks_of(tables.results):
        none = dict.fromkeys(_CHOSEN)
        blank = none | dict.fromkeys(CONTROLS)
        found = best_cell(block)
        if found.cell is None:
            known = ("mcc_mean", "above_controls", "model", "strategy")
            rows.append(block.iloc[0].to_dict() | blank | dict.fromkeys(known) | {"why": found.why})
            continue
        controls = own_controls(block, found.cell["architecture"]).groupby("strategy")["mcc_mean"].max().to_dict()
        chosen = of_block(tables.selection, found.cell)
        chosen = chosen.rename(columns={"above_controls": "chosen_above"})
        corrected = chosen.iloc[0].to_dict() if len(chosen) else none
        above, _ = above_as_chosen(found.cell, of_block(tables.selection, found.cell))
        row = found.cell | blank | controls | {key: corrected[key] for key in none}
        rows.append(row | {"above_controls": above, "why": ""})
    columns = [
        Column("where", lambda row: Cell(block_title(row), None, "wrap")),
        Column("best", _winner),
        Column("naive", number("mcc_mean")),
        Column("corrected", with_interval(*_CORRECTED)),
        Column("best of", number("n_candidates", 0, 1)),
        *(Column(name, number(name)) for name in CONTROLS),
        Column("over best control", with_interval(*_CORRECTED_DIFFERENCE, sign=True), "corrected, too"),
        Column("", _verdict),
    ]
    caption = (
        "The best of each comparison, naive and corrected for having been chosen, beside its controls (random: of its "
        "own architecture); MCC × 100, 95 % intervals of the (paired) bootstrap over patients"
    )
    return table(caption, columns, rows, csv="selection", look=lambda row: "" if row["why"] else row_look(row))


def _verdict(row: Row) -> Cell:
    if row["why"]:
        return Cell("")
    known = not is_missing(row["above_controls"])
    told = ("above" if row["above_controls"] else "not above") if known else "not compared"
    return Cell(told, told, "mark")


def _winner(row: Row) -> Cell:
    if row["why"]:
        return Cell(f"none: {row['why']}", None, "wrap")
    return Cell(f"{words(row['model'])} {words(row['strategy'])}", row["model"])


def results_section(tables: StudyTables) -> Section:
    """Show every model and strategy beside its controls."""
    rows = _with_more_metrics(tables.results, tables.summary)
    columns = [
        MODEL,
        STRATEGY,
        Column("MCC", mean_and_std("mcc_mean", "mcc_std")),
        Column("95 % interval", _interval),
        Column("over best control", with_interval("difference", "ci_low", "ci_high", sign=True)),
        Column("", marks_cell),
        Column("PR-AUC", number("pr_auc_mean")),
        Column("ROC-AUC", number("roc_auc")),
        Column("sensitivity", number("sensitivity")),
        Column("specificity", number("specificity")),
        Column("folds", lambda row: Cell(f"{row['folds']}/{row['n_folds']}", row["folds"], "number")),
    ]
    parts: list[Part] = []
    for title, block in _blocks(rows):
        block, method = with_mcc_interval(block, tables)
        block = block.sort_values("mcc_mean", ascending=False, kind="stable").sort_values("control", kind="stable")
        level = block["level"].iloc[0]
        unit = "a patient's mean score" if level == "patient" else "each film"
        notes = [f"Means over test folds; everything of {unit} at a threshold of 0.5. Controls stand last."]
        missing = int(block["n_missing"].sum())
        if missing:
            notes.append(f"{plural(missing, 'planned job')} not done; no best is named.")
        parts += [
            Heading(f"{title} · {level} level"),
            table(f"All × 100, mean over folds (MCC ± std). 95 % interval: {method}; over best control: paired "
                  "bootstrap over patients", columns, records(block), csv="summary", more=("controls",), notes=notes,
                  look=row_look),
        ]  # fmt: skip
    return Section("results", "Results", tuple(parts))


def _with_more_metrics(shown: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    patient = (summary["headline"] == "patient").to_numpy(bool)
    more = summary[CELL].copy()
    for name in ("roc_auc", "sensitivity", "specificity"):
        more[name] = summary[f"{name}_patient_mean"].where(patient, summary[f"{name}_mean"])
    return shown.merge(more.astype(shown[CELL].dtypes.to_dict()), "left", CELL)


def _interval(row: Row) -> Cell:
    if is_missing(row["mcc_ci_low"]):
        return Cell("–", None, "number")
    low, high = (number_cell(row[key]) for key in ("mcc_ci_low", "mcc_ci_high"))
    return Cell(f"[{low.text}, {high.text}]", low.sort, "number")


def marks_cell(row: Row) -> Cell:
    """Mark the best, the controls, and what is not above them."""
    if row["control"]:
        return Cell("control", "control", "quiet")
    marks = ["best"] if row["best"] else []
    if is_missing(row["above_controls"]):
        marks.append("not compared")
    elif not row["above_controls"]:
        marks.append(f"not above {words(row['best_control'])}")
    return Cell(", ".join(marks), ", ".join(marks), "mark")


def row_look(row: Row) -> str:
    """Return the look of a row of results."""
    if row["control"]:
        return "control"
    if not is_missing(row["above_controls"]) and not row["above_controls"]:
        return "doubtful"
    return "best" if row["best"] else ""


def comparisons_section(tables: StudyTables) -> Section:
    """Show how the best differs from the others, and strategies over all tasks."""
    parts: list[Part] = []
    against = [
        Column("model", text("model_b")),
        Column("strategy", text("strategy_b")),
        Column("MCC", number("b")),
        Column("behind it by", with_interval("difference", "ci_low", "ci_high", sign=True)),
        Column("p bootstrap", p_value("p_bootstrap_holm")),
        Column("p permutation", p_value("p_permutation_holm")),
        Column("p corrected t", p_value("p_corrected_t_holm")),
        Column("could have shown", number("smallest_difference"), "the smallest true difference, in points"),
    ]
    blocks = _n_blocks(tables.pairwise_tests)
    for title, block in _blocks(tables.pairwise_tests):
        best, rows = _against_best(block)
        columns, notes = _with_notes(against, rows)
        caption = f"{best} against the others, MCC × 100; {_PATIENT_BOOTSTRAP}; p after Holm's correction"
        parts += _titled(title, table(caption, columns, rows, csv="pairwise_tests", notes=notes), blocks)
    tasks = records(tables.task_tests[tables.task_tests["scope"] == "strategy"])
    if tasks:
        over = [
            Column("where", _over_tasks),
            Column("strategy", text("strategy_a")),
            Column("against", text("strategy_b")),
            Column("blocks", number("n_blocks", 0, 1), "tasks × folds"),
            Column("tasks", number("n_tasks", 0, 1)),
            Column("median difference", number("median_difference", sign=True)),
            Column("p Wilcoxon", p_value("p_wilcoxon")),
            Column("p after Holm", p_value("p_wilcoxon_holm")),
            Column("smallest p", p_value("smallest_p"), "that this number of blocks can reach"),
        ]
        columns, notes = _with_notes(over, tasks)
        caption = "Wilcoxon signed-rank test over (task × fold) blocks, as Ruffini et al.; no interval"
        parts += [
            Heading("Strategies over all tasks and folds"),
            table(caption, columns, tasks, csv="task_tests", notes=notes),
        ]
    return Section(
        "comparisons", "Comparisons", tuple(parts or [_nothing("No two models or strategies were compared")])
    )


def _over_tasks(row: Row) -> Cell:
    shots = "" if is_missing(row["shots"]) else f" {row['shots']:.0f}"
    told = f"{words(row['regime'])}{shots} · {words(row['validation'])} · {words(row['protocol'])}"
    return Cell(told, told.casefold())


def _with_notes(columns: Sequence[Column], rows: Sequence[Row]) -> tuple[list[Column], list[str]]:
    """Say what is noted of every row once below the table, and else in a column."""
    told = {_joined(row, "warning", "undefined") for row in rows}
    if len(told) > 1:
        return [*columns, Column("note", lambda row: Cell(_joined(row, "warning", "undefined"), None, "wrap"))], []
    return list(columns), [f"{note[0].upper()}{note[1:]}." for note in told if note]


def _against_best(block: pd.DataFrame) -> tuple[str, Sequence[Row]]:
    """Turn every pair that holds the best of a block so that the best comes first."""
    turned = block.rename(columns={"model_a": "model_b", "model_b": "model_a", "strategy_a": "strategy_b",
                                   "strategy_b": "strategy_a", "a": "b", "b": "a"})  # fmt: skip
    turned = turned.assign(
        difference=-block["difference"], ci_low=-block["ci_high"], ci_high=-block["ci_low"],
    )  # fmt: skip
    both = pd.concat([block, turned], ignore_index=True)
    if both["a"].isna().all():
        return "The first", records(block)
    first = both.sort_values("a", ascending=False, kind="stable").iloc[0]
    rows = both[(both["model_a"] == first["model_a"]) & (both["strategy_a"] == first["strategy_a"])]
    name = f"{words(first['model_a'])} {words(first['strategy_a'])} ({100 * first['a']:.1f})"
    return name, records(rows.sort_values("b", ascending=False, kind="stable"))


def ranking_section(tables: StudyTables) -> Section:
    """Show the ranks with their intervals, and the winner corrected for the choice."""
    parts: list[Part] = []
    winners = records(tables.selection)
    if winners:
        columns = [
            Column("where", lambda row: Cell(block_title(row), None, "wrap")),
            Column("winner", lambda row: Cell(f"{words(row['model'])} {words(row['strategy'])}")),
            Column("chosen among", number("n_candidates", 0, 1)),
            Column("naive", with_interval("naive", "naive_ci_low", "naive_ci_high"), "as if it had been fixed before"),
            Column("corrected", with_interval("corrected", "corrected_ci_low", "corrected_ci_high"),
                   "for having been chosen on the same folds"),
            Column("note", text("undefined", "wrap")),
        ]  # fmt: skip
        parts += [
            Heading("The winner, naive and corrected"),
            table("MCC × 100 of the best of each block; 95 % interval of the bootstrap over patients", columns, winners,
                  csv="selection"),
        ]  # fmt: skip
    columns = [
        Column("rank", _rank, "equal ones share the mean of their ranks"),
        Column("95 % interval", _ranks),
        MODEL,
        STRATEGY,
        Column("MCC", number("mcc")),
        Column("best in", number("p_best", 0), "% of the resamples"),
        Column("group", number("group", 0, 1), "not told apart from its first"),
        Column("top group", yes_or_no("top_group"), "not told apart from the best"),
    ]
    blocks = _n_blocks(tables.ranking)
    for title, block in _blocks(tables.ranking):
        rows = records(block.sort_values("rank", kind="stable"))
        shown, notes = _with_notes(columns, rows)
        caption = "Ranks by mean MCC × 100, controls among them; 95 % interval of the bootstrap over patients"
        made = table(caption, shown, rows, csv="ranking", notes=notes, look=_rank_look)
        parts += _titled(title, made, blocks)
    return Section("ranking", "Ranking", tuple(parts or [_nothing("Nothing was ranked")]))


def _rank_look(row: Row) -> str:
    if row["strategy"] in CONTROLS:
        return "control"
    return "best" if not is_missing(row["top_group"]) and row["top_group"] else ""


def _rank(row: Row) -> Cell:
    shared = not is_missing(row["rank"]) and float(row["rank"]) % 1 != 0
    return number_cell(row["rank"], 1 if shared else 0, 1)


def _ranks(row: Row) -> Cell:
    if is_missing(row["rank_low"]):
        return Cell("–", None, "number")
    return Cell(f"{row['rank_low']:g} to {row['rank_high']:g}", float(row["rank_low"]), "number")


def intervals_section(tables: StudyTables) -> Section:
    """Show the three intervals of every mean MCC side by side."""
    rows = tables.intervals[tables.intervals["metric"] == "mcc"] if len(tables.intervals) else tables.intervals
    columns = [
        MODEL,
        STRATEGY,
        Column("interval", lambda row: Cell(method_name(words(row["method"])), words(row["method"]))),
        Column("MCC", with_interval("estimate", "ci_low", "ci_high")),
        Column("default", yes_or_no("default", no=""), "found to hold in simulations"),
        Column("folds", number("n_folds", 0, 1)),
    ]
    parts: list[Part] = []
    for title, block in _blocks(rows):
        caption = "95 % intervals of the mean MCC × 100, each named in its row"
        every = records(block)
        shown, notes = _with_notes(columns, every)
        estimands = {words(row["method"]): words(row["estimand"]) for row in every}
        notes += [f"{method_name(name)}: {told}." for name, told in estimands.items()]
        made = table(caption, shown, every, csv="intervals", notes=notes)
        parts += _titled(title, made, _n_blocks(rows))
    return Section("intervals", "Intervals", tuple(parts or [_nothing("No interval was computed")]))


def subgroups_section(tables: StudyTables, has_films: bool) -> Section:
    """Show how the best of each block does within view, center, sex and age."""
    columns = subgroup_columns()
    parts: list[Part] = []
    for title, block in _blocks(tables.subgroups):
        rows, name = _best_of(tables, block)
        if rows is None:
            parts += [Heading(title), _nothing(f"No best is named: {name}")]
            continue
        caption = f"{name} within groups, × 100; 95 % interval of the bootstrap over patients"
        made = table(caption, columns, records(rows), csv="subgroups", look=worst_look)
        parts += _titled(title, made, _n_blocks(tables.subgroups))
    why = "No view, center, sex or age of the films is known" if has_films else (
        "The results folder does not hold what is known of the films (an older one); run the study again to add it"
    )  # fmt: skip
    note = Prose(("Shown for the highest mean MCC of each block; all models are in subgroups.csv.",), look="quiet")
    return Section("subgroups", "Subgroups", (note, *parts) if parts else (_nothing(why),))


def subgroup_columns() -> list[Column]:
    """Return the columns of a table of subgroups."""
    return [
        Column("by", text("attribute")),
        Column("value", text("value")),
        Column("films", number("n_films", 0, 1)),
        Column("patients", number("n_patients", 0, 1)),
        Column("positive", number("n_positive", 0, 1)),
        Column("MCC × 100", with_interval("mcc", "mcc_ci_low", "mcc_ci_high")),
        Column("ROC-AUC", with_interval("roc_auc", "roc_auc_ci_low", "roc_auc_ci_high")),
        Column("sensitivity", with_interval("sensitivity", "sensitivity_ci_low", "sensitivity_ci_high")),
        Column("specificity", with_interval("specificity", "specificity_ci_low", "specificity_ci_high")),
        Column("worst", yes_or_no("worst", yes="worst", no=""), "lowest MCC of its attribute"),
        Column("note", text("undefined", "wrap")),
    ]


def worst_look(row: Row) -> str:
    """Return the look of a row of subgroups."""
    return "doubtful" if not is_missing(row["worst"]) and row["worst"] else ""


def _best_of(tables: StudyTables, block: pd.DataFrame) -> tuple[pd.DataFrame | None, str]:
    """Choose the rows of the best model and strategy, and name it; or say why none is named."""
    found = best_cell(of_block(tables.results, block.iloc[0].to_dict()))
    if found.cell is None:
        return None, found.why
    best = found.cell
    rows = block[(block["model"] == best["model"]) & (block["strategy"] == best["strategy"])]
    return rows, f"{words(best['model'])} {words(best['strategy'])}"


def calibration_section(tables: StudyTables) -> Section:
    """Show how far the scores are probabilities, raw and recalibrated on validation."""
    parts: list[Part] = []
    for title, block in _blocks(tables.summary):
        level = words(block["headline"].iloc[0])
        columns = [MODEL, STRATEGY, *_calibration_columns(block, level)]
        caption = f"Calibration at {level} level, means over folds; no interval"
        parts += _titled(title, table(caption, columns, records(block), csv="summary"), _n_blocks(tables.summary))
    if not parts:
        return Section("calibration", "Calibration", (_nothing("Nothing was calibrated"),))
    return Section("calibration", "Calibration", (Terms(_CALIBRATION, "What these numbers mean", True), *parts))


_MEASURES = {
    "brier": "Brier",
    "log_loss": "log loss",
    "ece": "ECE",
    "calibration_slope": "slope",
    "calibration_intercept": "intercept",
}
_CALIBRATION = (
    ("Brier, log loss", "how far the predicted probabilities are from what happened; 0 is perfect"),
    ("ECE", "expected calibration error: by how much probability and frequency differ, in ten bins; 0 is perfect"),
    ("slope", "1 is perfect; below 1 the model is too sure of itself"),
    ("intercept", "0 is perfect; above 0 the probabilities are too low on average, below 0 too high"),
    ("raw", "as the model says; training with class weights makes the rare class look more likely than it is"),
    ("Platt", "recalibrated by a logistic regression on the validation part"),
    ("prior", "the shift of the class weights taken back, by the share of the sick"),
)  # fmt: skip


def _calibration_columns(block: pd.DataFrame, level: str) -> list[Column]:
    at = "_patient" if level == "patient" else ""
    return [
        Column(f"{heading} {kind}", number(f"{name}{at}{suffix}_mean", 3, 1))
        for name, heading in _MEASURES.items()
        for suffix, kind in (("", "raw"), ("_platt", "Platt"), ("_prior", "prior"))
        if f"{name}{at}{suffix}_mean" in block and block[f"{name}{at}{suffix}_mean"].notna().any()
        if suffix != "_prior" or _shifts(block, at)
    ]


def _shifts(block: pd.DataFrame, at: str) -> bool:
    """Tell whether taking the class weights back changes anything; training without them has nothing to take back."""
    pairs = ((block[f"{name}{at}_prior_mean"], block[f"{name}{at}_mean"]) for name in _MEASURES)
    return any(((prior - raw).abs() > 1e-12).any() for prior, raw in pairs)


def decision_section(tables: StudyTables) -> Section:
    """Show which strategies may be chosen, and the published conclusions."""
    columns = [
        STRATEGY,
        Column("best model", text("model")),
        Column("top group", yes_or_no("in_top_group"), "not told apart from the best"),
        Column("cheapest", yes_or_no("cheapest", no=""), "trains fastest of the top group"),
        Column("within budget", yes_or_no("within_budget"), "where a budget was given"),
        Column("seconds", number("train_seconds", 1, 1), "of training, mean of its jobs"),
        Column("memory GiB", number("peak_memory_bytes", 2, 1 / 2**30), "peak of the process"),
        Column("% trained", number("trainable_percent", 3, 1), "trained numbers of all numbers"),
        Column("evidence", text("evidence", "wrap")),
        Column("doubts", text("doubts", "wrap")),
    ]
    parts: list[Part] = []
    for title, block in _blocks(tables.decision):
        parts += [
            Heading(title),
            table("Which strategy, on which evidence; interval: the default one, named under Intervals", columns,
                  records(block), csv="decision",
                  look=lambda row: "best" if not is_missing(row["in_top_group"]) and row["in_top_group"] else ""),
        ]  # fmt: skip
    how = "arXiv:2506.18434. docs/report.md says how each is tested; intervals: 95 %, paired bootstrap over patients."
    parts += [Heading("Five published conclusions, held against this study"), Prose((how,), look="quiet")]
    parts += [
        Card(f"{row['number']}. {words(row['claim'])}", (), sentences(words(row["evidence"])), words(row["verdict"]),
             _VERDICT_LOOKS.get(row["verdict"], ""))
        for row in records(tables.conclusions)
    ]  # fmt: skip
    return Section("decision", "Decision map and conclusions", tuple(parts))


_VERDICT_LOOKS = {"upheld": "good", "contradicted": "bad"}


def cost_section(tables: StudyTables, costs: pd.DataFrame) -> Section:
    """Show what the jobs took."""
    folds = tables.fold_metrics[["model", "strategy", "trainable_params", "trainable_percent", "job"]]
    folds = folds.drop_duplicates("job").astype({"job": "string"})
    both = folds.merge(costs.astype({"job": "string"}), "left", "job")
    numeric = both.drop(columns=["model", "strategy", "job"]).apply(pd.to_numeric, errors="coerce").astype("float64")
    both = pd.concat([both[["model", "strategy"]], numeric], axis=1)
    means = both.groupby(["model", "strategy"], dropna=False, sort=True).agg("mean").reset_index()
    means["jobs"] = both.groupby(["model", "strategy"], dropna=False, sort=True).size().to_numpy()
    columns = [
        MODEL,
        STRATEGY,
        Column("jobs", number("jobs", 0, 1)),
        Column("own seconds", number("own_seconds", 1, 1), "mean of its jobs"),
        Column("shared seconds", number("shared_seconds", 1, 1), "share of what was done once for several jobs"),
        Column("peak memory GiB", number("peak_memory_bytes", 2, 1 / 2**30), "mean of its jobs"),
        Column("trained numbers", number("trainable_params", 0, 1), "the head included"),
        Column("% trained", number("trainable_percent", 3, 1)),
        Column("GFLOP", number("gflops", 0, 1), "10⁹ operations by the model card's count, mean of its jobs"),
    ]
    total = float(costs[["own_seconds", "shared_seconds"]].astype("float64").to_numpy().sum()) if len(costs) else 0.0
    note = f"All jobs together took {duration(total)} of one worker's time."
    caption = "Cost of a job, mean; no interval"
    return Section("cost", "Cost", (table(caption, columns, records(means), csv="fold_metrics", notes=[note]),))


def _blocks(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for block in blocks_of(rows):
        yield block_title(block.iloc[0]), block


def _titled(title: str, part: PageTable, blocks: int) -> list[Part]:
    """Put a title above a table; where there are many, fold it away under the title."""
    return [replace(part, folded=title)] if blocks > _MOST_OPEN else [Heading(title), part]


def _n_blocks(rows: pd.DataFrame) -> int:
    return len(rows[BLOCK].drop_duplicates())


def _joined(row: Row, *names: str) -> str:
    told = (words(row[name]) for name in names if name in row and not is_missing(row[name]) and row[name] != "")
    shown = "; ".join(told)
    for name, plain in _COLUMN_WORDS.items():
        shown = shown.replace(name, plain)
    return shown


# Tables speak of their columns; people read headings.
_COLUMN_WORDS = {
    f"p_{test}{after}": f"p {named}{' after ' + corrected if after else ''}"
    for after, corrected in (("_holm", "Holm"), ("_bh", "Benjamini–Hochberg"), ("", ""))
    for test, named in (
        ("bootstrap", "bootstrap"),
        ("permutation", "permutation"),
        ("corrected_t", "corrected t"),
        ("wilcoxon", "Wilcoxon"),
    )
}


def _nothing(why: str) -> Prose:
    return Prose((f"{why}.",), look="quiet")
