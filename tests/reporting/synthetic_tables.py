"""Tables of SYNTHETIC studies of any size, in the form that `prognobench.evaluation` gives them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np
import pandas as pd

from prognobench.evaluation import BLOCK_KEYS, CONTROLS, METRIC_COLUMNS, summarize

BLOCK = [*BLOCK_KEYS, "protocol"]
CELL = [*BLOCK, "model", "strategy"]
SHARES = {"lp": 0.004, "ia3": 0.17, "vera_r4": 0.07, "bitfit": 0.24, "lora_r4": 1.2, "lora_r8": 2.4, "lora_r16": 4.7}
PARAMETERS = {"dinov2_s": 22e6, "dinov2_b": 86e6, "dinov2_l": 304e6, "clip_l": 303e6, "resnet18": 11e6}


@dataclass(frozen=True, eq=False)
class StudyTables:
    jobs: pd.DataFrame
    fold_metrics: pd.DataFrame
    summary: pd.DataFrame
    controls: pd.DataFrame
    intervals: pd.DataFrame = field(default_factory=pd.DataFrame)
    ranking: pd.DataFrame = field(default_factory=pd.DataFrame)
    subgroups: pd.DataFrame = field(default_factory=pd.DataFrame)
    reliability: pd.DataFrame = field(default_factory=pd.DataFrame)


def study_tables(
    models=("dinov2_s", "resnet18"),
    strategies=("lp", "lora_r8", "fft"),
    tasks=("icu",),
    regimes=(("full", None),),
    folds=5,
    holes=(),
    controls=CONTROLS,
    protocol="standard",
    seed=0,
    spread=0.12,
    patients=False,
    memory=False,
    weights=("",),
) -> StudyTables:
    """Make the tables of a study; `holes` are (model, strategy, fold), or with a task, whose jobs are missing.

    `weights` are added to models' names; the control `random` has the architecture alone.
    """
    random = np.random.default_rng(seed)
    named = {f"{model}{one}": model for model in models for one in weights}
    cells = [*product(named, strategies)]
    cells += [("none", name) for name in controls if name != "random"]
    cells += [(model, "random") for model in models if "random" in controls]
    rows = []
    for task, (regime, shots), (model, strategy), fold in product(tasks, regimes, cells, range(folds)):
        architecture = named.get(model, model)
        total = PARAMETERS.get(architecture, 25e6)
        hole = {(model, strategy, fold), (model, strategy, fold, task)} & set(holes)
        share = SHARES.get(strategy, 100.0 if strategy == "fft" else 0.004)
        rows.append(
            {
                "job": f"{task}/{regime}{shots}/{model}/{strategy}/{fold}", "cohort": "hannover", "task": task,
                "test_cohort": "hannover", "model": model, "strategy": strategy, "regime": regime, "shots": shots,
                "draw": None, "validation": "kfold", "repeat": 0, "fold": fold, "test_center": None, "seed": 42,
                "protocol": protocol, "n_train": 300, "trainable_params": int(total * share / 100),
                "total_params": int(total), "train_seconds": 3 + share * random.uniform(5, 9),
                "architecture": None if model == "none" else architecture, "state": "missing" if hole else "done",
            }
        )  # fmt: skip
    jobs = pd.DataFrame(rows).convert_dtypes()
    jobs["test_center"] = jobs["test_center"].astype("string")
    for name in ("draw", "shots"):
        jobs[name] = jobs[name].astype("Int64")
    if memory:
        jobs["peak_memory_bytes"] = 1e9 + 20 * jobs["total_params"].astype(float)
    done = jobs[jobs["state"] == "done"].reset_index(drop=True)
    skill = {key: random.normal(0.45, 0.12) for key in product(named, strategies)}
    skill |= {(model, "random"): 0.25 + random.normal(0, 0.05) for model in models}
    skill |= {("none", "majority"): 0.0, ("none", "metadata"): 0.3}
    base = np.array([skill[key] for key in zip(done["model"], done["strategy"], strict=True)])
    fewer = np.log2(done["shots"].astype(float).fillna(64).to_numpy()) / 6
    noise = np.where(done["strategy"] == "majority", 0, random.normal(0, spread, len(done)))
    numbers = pd.DataFrame({name: np.clip(base * fewer + noise, -1, 1) for name in METRIC_COLUMNS})
    folds_table = pd.concat([done.drop(columns="state"), numbers], axis=1).copy()
    folds_table["trainable_percent"] = 100 * done["trainable_params"].astype(float) / done["total_params"].astype(float)
    folds_table["n_test"], folds_table["n_test_patients"] = 50, 40 if patients else 50
    summary = summarize(folds_table, jobs)
    return StudyTables(
        jobs, folds_table, summary, _controls(summary, random), _intervals(summary), pd.DataFrame(),
        _subgroups(summary, random), _reliability(summary, random),
    )  # fmt: skip


def _learned(summary: pd.DataFrame) -> pd.DataFrame:
    return summary[~summary["strategy"].isin(CONTROLS)]


def _controls(summary, random) -> pd.DataFrame:
    best = summary[summary["strategy"].isin(CONTROLS) & (summary["n_missing"] == 0)]
    best = best.sort_values("mcc_mean").drop_duplicates(BLOCK, keep="last")
    table = _learned(summary)[[*CELL, "headline", "mcc_mean", "mcc_n", "n_missing"]]
    table = table.merge(best[[*BLOCK, "strategy", "mcc_mean"]], "left", BLOCK, suffixes=("", "_best"))
    table = table.rename(columns={"strategy_best": "control", "mcc_mean": "mcc", "mcc_mean_best": "control_mcc"})
    table = table.rename(columns={"headline": "level", "mcc_n": "n_folds"})
    known = (table["n_missing"] == 0) & table["control"].notna()
    table["mcc"] = table["mcc"].where(table["n_missing"] == 0)
    table["difference"] = (table["mcc"] - table["control_mcc"]).where(known)
    half = random.uniform(0.04, 0.2, len(table))
    table["ci_low"], table["ci_high"] = table["difference"] - half, table["difference"] + half
    table["n_resamples"] = np.where(known, 2000, 0)
    table["above_controls"] = (table["ci_low"] > 0).astype("boolean").where(known)
    undone = np.where(table["n_missing"] > 0, "1 of 5 jobs are not done", "no control was run")
    table["undefined"] = pd.Series(np.where(known, "", undone), dtype="string")
    return table.drop(columns="n_missing")


def _intervals(summary) -> pd.DataFrame:
    table = summary[CELL].copy()
    for method, default in (("t", False), ("nadeau_bengio", True)):
        part = "mcc_patient" if (summary["headline"] == "patient").all() else "mcc"
        wider = 1.5 if default else 1.0
        half = wider * 2.1 * summary[f"{part}_std"] / summary[f"{part}_n"].clip(lower=1) ** 0.5
        own = summary[CELL].assign(
            level=summary["headline"], metric="mcc", method=method, estimate=summary[f"{part}_mean"],
            ci_low=summary[f"{part}_mean"] - half, ci_high=summary[f"{part}_mean"] + half, n_folds=summary["n_folds"],
            n_resamples=0, estimand="the mean over folds", default=default, undefined="",
        )  # fmt: skip
        table = own if not default else pd.concat([table, own], ignore_index=True)
    return table


def _subgroups(summary, random) -> pd.DataFrame:
    values = {
        "view": ["AP", "PA"],
        "sex": ["F", "M", ""],
        "age": ["0–39", "40–59", "60–79", "80+"],
        "center": ["A", "B"],
    }
    groups = pd.DataFrame([(a, v) for a, all_of in values.items() for v in all_of], columns=["attribute", "value"])
    table = _learned(summary)[[*CELL, "headline", "mcc_mean"]].merge(groups, "cross")
    table = table.rename(columns={"headline": "level"})
    table["n_patients"] = random.integers(4, 80, len(table))
    table["n_films"] = table["n_patients"] + 3
    table["n_positive"], table["n_folds"] = table["n_patients"] // 3, 5
    table["mcc"] = table["mcc_mean"] + random.normal(0, 0.1, len(table))
    table.loc[table["value"] == "", "mcc"] = np.nan
    half = 1.2 / np.sqrt(table["n_patients"])
    table["mcc_ci_low"], table["mcc_ci_high"] = table["mcc"] - half, table["mcc"] + half
    table["worst"] = table["mcc"] == table.groupby([*CELL, "attribute"], dropna=False)["mcc"].transform("min")
    table["undefined"] = np.where(table["mcc"].isna(), "one class", "")
    return table.drop(columns="mcc_mean")


def _reliability(summary, random) -> pd.DataFrame:
    bins = pd.DataFrame({"bin_low": np.arange(10) / 10, "bin_high": np.arange(1, 11) / 10})
    table = summary[[*CELL, "headline"]].rename(columns={"headline": "level"})
    table = table.merge(pd.DataFrame({"calibration": ["raw", "platt", "prior"]}), "cross").merge(bins, "cross")
    table["n"] = random.integers(0, 40, len(table))
    table["mean_score"] = ((table["bin_low"] + table["bin_high"]) / 2).where(table["n"] > 0)
    bend = np.where(table["calibration"] == "raw", 0.6, 0.95)
    share = 0.5 + (table["mean_score"] - 0.5) * bend + random.normal(0, 0.04, len(table))
    table["share_positive"] = share.clip(0, 1)
    half = 0.9 / np.sqrt(table["n"].where(table["n"] > 0))
    table["share_ci_low"], table["share_ci_high"] = (share - half).clip(0, 1), (share + half).clip(0, 1)
    return table
