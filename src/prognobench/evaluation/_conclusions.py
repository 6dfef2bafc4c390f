"""The five conclusions of Ruffini et al. (arXiv:2506.18434), each held against the study at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtr, stdtrit

from ._pairwise import corrected
from ._resampling import CONTROLS, Block, Cell, DrawnError, PatientBootstrap
from ._tables import BLOCK_KEYS
from .metrics import mcc_of_counts

Floats = npt.NDArray[np.float64]
Family = Literal["cnn", "foundation"]
PEFT = ("lora", "bitfit", "vera", "ia3")
LIGHT = ("lora", "bitfit")
SMALL = 200  # cases; the paper's N < 200
SEVERE = 0.15  # share of the rarer class; the paper's AFC_m has 15 %, its NY_small 13 %
BALANCED = 0.35  # the paper's AFC has 47 %, its CoCross and NY_all 36 to 37 %
FEW = 32  # shots
_LOSS = 0.05  # of MCC, below which a loss does not count as sensitivity
_ALPHA = 0.05
_CONFIDENCE = 0.95

CLAIMS = (
    f"CNNs with full fine-tuning stay reliable with very few (N < {SMALL}) or severely imbalanced data.",
    "Foundation models with PEFT (LoRA, BitFit) catch up or lead as data grow.",
    "PEFT is sensitive to class imbalance.",
    f"Linear probing is the most stable few-shot strategy (k ≤ {FEW}).",
    "No strategy is best everywhere: model, data size and balance decide together.",
)
VERDICTS = ("upheld", "contradicted", "not decidable")


def conclusions(
    bootstrap: PatientBootstrap,
    sizes: pd.DataFrame,
    controls: pd.DataFrame,
    ranking: pd.DataFrame,
    families: Mapping[str, str],
    methods: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Hold the five published conclusions against a study.

    Parameters
    ----------
    bootstrap
        The study's patients, drawn anew.
    sizes
        What `task_sizes` returns.
    controls
        What `compare_with_controls` returns.
    ranking
        What `ranking` returns.
    families
        Model to `cnn` (convolutional, pretrained with the labels of ImageNet) or `foundation`; others count as
        neither.
    methods
        Label of a strategy to the strategy it is a variant of (`lora_r8` to `lora`); where it is silent, the label up
        to its first `_`.

    Returns
    -------
    pandas.DataFrame
        Five rows: `number, claim, verdict, evidence`; `verdict` is one of `upheld`, `contradicted` and
        `not decidable`, `evidence` the numbers that decide, or what is lacking.

    Notes
    -----
    The claims are qualitative; how they are tested here is this project's choice (docs/report.md). Conclusions 1, 2
    and 3 compare the mean MCC of groups of models by the 95 % interval of the paired patient bootstrap, made as that of
    `pairwise_tests`, 3 only of tasks that share no patients; 4 compares spreads over folds and draws by the
    Pitman–Morgan test with Holm's correction, in which only folds count as independent; 5 reads the top groups of the
    ranking.
    """
    study = _Study(bootstrap, sizes, controls, families, methods or {})
    found = [_cnns(study), _growth(study), _imbalance(study), _few_shot(study), _everywhere(study, ranking)]
    rows = [
        {"number": number, "claim": claim, "verdict": _verdict(findings), "evidence": _evidence(findings, lacking)}
        for number, (claim, (findings, lacking)) in enumerate(zip(CLAIMS, found, strict=True), start=1)
    ]
    return pd.DataFrame(rows).astype(dict.fromkeys(["claim", "verdict", "evidence"], "string"))


@dataclass(frozen=True)
class _Finding:
    """What one task (or pair of tasks) says of a claim."""

    side: Literal["for", "against", "open"]
    told: str


# What was found, and what to say where nothing was.
_Findings = tuple[list[_Finding], str]


def _verdict(findings: Sequence[_Finding]) -> str:
    sides = {finding.side for finding in findings}
    if "for" in sides and "against" not in sides:
        return "upheld"
    return "contradicted" if "against" in sides and "for" not in sides else "not decidable"


def _evidence(findings: Sequence[_Finding], lacking: str) -> str:
    if not findings:
        return f"{lacking}."
    sides = {finding.side for finding in findings}
    split = "The tasks contradict one another. " if {"for", "against"} <= sides else ""
    words = {"for": "For it", "against": "Against it", "open": "Open"}
    return split + " ".join(f"{words[finding.side]}: {finding.told}." for finding in findings)


@dataclass(frozen=True)
class _Study:
    bootstrap: PatientBootstrap
    sizes: pd.DataFrame
    controls: pd.DataFrame
    families: Mapping[str, str]
    methods: Mapping[str, str]

    def method(self, strategy: str) -> str:
        return self.methods.get(strategy, strategy.partition("_")[0])

    def blocks(self, regime: Callable[[Block], bool]) -> Iterator[tuple[Block, str]]:
        """Yield the blocks of a kind of regime, once for each protocol that learned cells of theirs follow."""
        for block in self.bootstrap.blocks:
            if regime(block):
                for protocol in dict.fromkeys(cell.protocol for cell in block.cells if not cell.is_control):
                    yield block, protocol

    def group(self, block: Block, protocol: str, family: Family, methods: Sequence[str]) -> list[Cell]:
        return [
            cell
            for cell in block.cells
            if cell.protocol == protocol
            and not cell.is_control
            and self.families.get(cell.model) == family
            and self.method(cell.strategy) in methods
        ]

    def size(self, block: Block) -> tuple[int, float] | None:
        """Return the cases of a block's task in the cohort trained on, and the share of the rarer class."""
        there = self.sizes[(self.sizes["cohort"] == block.keys["cohort"]) & (self.sizes["task"] == block.keys["task"])]
        if there.empty:
            # Trained on a cohort of which nothing was tested or validated.
            return None
        share = float(there["share_positive"].iloc[0])
        return int(there["n_cases"].iloc[0]), min(share, 1 - share)

    def is_above_controls(self, block: Block, cells: Sequence[Cell]) -> bool:
        rows = self.controls
        for key, value in block.keys.items():
            rows = rows[rows[key].isna() if pd.isna(value) else rows[key] == value]
        keys = {(cell.model, cell.strategy, cell.protocol) for cell in cells}
        named = rows[["model", "strategy", "protocol", "above_controls"]].itertuples(index=False, name=None)
        return any(above is not pd.NA and bool(above) for *key, above in named if tuple(key) in keys)


@dataclass(frozen=True, eq=False)
class _Gap:
    """How much better one group of cells is than another: means of MCC, and the difference in each resample."""

    a: float
    b: float
    drawn: Floats
    error: DrawnError
    test_cohort: str

    @property
    def value(self) -> float:
        return self.a - self.b

    @property
    def interval(self) -> tuple[float, float]:
        return _interval(self.value, self.drawn, [self.error])


def _interval(value: float, drawn: Floats, errors: Sequence[DrawnError]) -> tuple[float, float]:
    """Return the value ± Student's t times its standard error, of several errors the more careful."""
    error = DrawnError(max(one.factor for one in errors), min(one.freedom for one in errors))
    margin = float(stdtrit(error.freedom, (1 + _CONFIDENCE) / 2) * error.standard_error(drawn[:, None])[0])
    return value - margin, value + margin


def _gap(block: Block, a: Sequence[Cell], b: Sequence[Cell]) -> _Gap | str:
    """Return the gap between two groups of cells, or say why it is not known."""
    lacking = [cell for cell in (*a, *b) if cell.lack]
    if lacking:
        # Without some of its models a group's mean is another number.
        return f"of {lacking[0].model} {lacking[0].strategy} {lacking[0].lack}"
    if len({frozenset(cell.folds) for cell in (*a, *b)}) > 1:
        return "they were tested on different films"
    places = [[cell.place for cell in group] for group in (a, b)]
    means = [float(block.mcc[group].mean()) for group in places]
    if any(np.isnan(means)):
        return "no test fold holds both classes"
    drawn = block.drawn_mcc[:, places[0]].mean(axis=1) - block.drawn_mcc[:, places[1]].mean(axis=1)
    return _Gap(means[0], means[1], drawn, block.drawn_error(a[0]), str(block.keys["test_cohort"]))


def _cnns(study: _Study) -> _Findings:
    """1: in small or imbalanced tasks, CNNs under FFT against foundation models under PEFT."""
    findings, fits, both = [], False, False
    for block, protocol in study.blocks(_is_full):
        size = study.size(block)
        cnns = study.group(block, protocol, "cnn", ["fft"])
        others = study.group(block, protocol, "foundation", PEFT)
        both = both or bool(cnns and others)
        if size is None or not (size[0] < SMALL or size[1] <= SEVERE):
            continue
        fits = True
        if not (cnns and others):
            continue
        about = f"{_place(block, protocol)} ({_cases(block, size)})"
        gap = _gap(block, cnns, others)
        if isinstance(gap, str):
            findings.append(_Finding("open", f"{about}: {gap}"))
            continue
        side, note = _side(*gap.interval), ""
        if side == "for" and not study.is_above_controls(block, cnns):
            side, note = "open", "; but no CNN is above its controls"
        told = f"{about}: CNNs with FFT against foundation models with PEFT, {_numbers(gap)}{note}"
        findings.append(_Finding(side, told))
    if not both:
        return findings, "No task has both a CNN with FFT and a foundation model with PEFT on all its training data"
    small = f"fewer than {SMALL} cases, or a rarer class of at most {100 * SEVERE:.0f} %"
    return findings, f"No task has {small}" if not fits else "No such task has both kinds of model"


def _growth(study: _Study) -> _Findings:
    """2: the gap of foundation models under LoRA or BitFit to CNNs under FFT, from the least to the most data."""
    same: dict[tuple[Any, ...], list[Block]] = {}
    for block, protocol in study.blocks(lambda _: True):
        if study.group(block, protocol, "foundation", LIGHT) and study.group(block, protocol, "cnn", ["fft"]):
            key = tuple(block.keys[key] for key in ("cohort", "task", "test_cohort", "validation"))
            same.setdefault((*key, protocol), []).append(block)
    findings = []
    for (*_, protocol), blocks in same.items():
        if len(blocks) > 1:
            blocks = sorted(blocks, key=_n_train)
            findings.append(_grow(study, blocks[0], blocks[-1], protocol))
    if not same:
        return findings, "No task has both a foundation model with LoRA or BitFit and a CNN with FFT"
    return findings, "Every task was trained at one size only, so nothing shows what more data bring"


def _grow(study: _Study, few: Block, many: Block, protocol: str) -> _Finding:
    sizes = f"from {_n_train(few):.0f} to {_n_train(many):.0f} training films"
    about = f"{_place(many, protocol, regime=False)}, {sizes}"
    gaps = []
    shared = {_key(cell) for cell in few.cells} & {_key(cell) for cell in many.cells}
    for block in (few, many):
        light = [cell for cell in study.group(block, protocol, "foundation", LIGHT) if _key(cell) in shared]
        cnns = [cell for cell in study.group(block, protocol, "cnn", ["fft"]) if _key(cell) in shared]
        gap = _gap(block, light, cnns) if light and cnns else "no model was trained at both sizes"
        if isinstance(gap, str):
            return _Finding("open", f"{about}: {gap}")
        gaps.append(gap)
    if not np.array_equal(few.drawn, many.drawn):
        return _Finding("open", f"{about}: the two sizes were tested on different films")
    before, after = gaps
    low, high = _interval(after.value - before.value, after.drawn - before.drawn, [before.error, after.error])
    behind = after.interval[1] < 0
    side: Literal["for", "against", "open"] = "open"
    if low > 0 and not behind:
        side = "for"
    elif high < 0 or (behind and not low > 0):
        side = "against"
    told = (
        f"{about}: foundation models with LoRA or BitFit against CNNs with FFT first {_numbers(before)}, "
        f"last {_numbers(after)}; change {_signed(after.value - before.value, low, high)}"
    )
    return _Finding(side, told)


def _imbalance(study: _Study) -> _Findings:
    """3: what PEFT loses to FFT on the same foundation models, in imbalanced tasks against balanced ones."""
    gaps: dict[str, dict[bool, list[_Gap]]] = {}
    why: list[str] = []
    for block, protocol in study.blocks(_is_full):
        size = study.size(block)
        peft = study.group(block, protocol, "foundation", PEFT)
        full = study.group(block, protocol, "foundation", ["fft"])
        models = {cell.model for cell in peft} & {cell.model for cell in full}
        if size is None or not models or SEVERE < size[1] < BALANCED:
            continue
        gap = _gap(block, *([cell for cell in group if cell.model in models] for group in (peft, full)))
        if isinstance(gap, str):
            why.append(f"{_place(block, protocol)}: {gap}")
        else:
            gaps.setdefault(protocol, {True: [], False: []})[size[1] <= SEVERE].append(gap)
    findings = [_Finding("open", told) for told in why]
    for protocol, by_balance in gaps.items():
        severe, even = by_balance[True], by_balance[False]
        if not (severe and even):
            continue
        means, drawn = zip(*(_mean_gap(group) for group in (severe, even)), strict=True)
        low, high = _interval(means[0] - means[1], drawn[0] - drawn[1], [gap.error for gap in (*severe, *even)])
        side: Literal["for", "against", "open"] = "for" if high < 0 else "against" if low > -_LOSS else "open"
        note, cohorts = "", [gap.test_cohort for gap in (*severe, *even)]
        if len(set(cohorts)) < len(cohorts):
            # Each task's patients are drawn by themselves, as if they were others'.
            side, note = "open", "; but tasks share patients, for which this interval does not hold"
        told = (
            f"{protocol}: PEFT minus FFT on the same foundation models is {100 * means[0]:+.1f} in {len(severe)} "
            f"imbalanced and {100 * means[1]:+.1f} in {len(even)} balanced tasks (MCC × 100); difference "
            f"{_signed(means[0] - means[1], low, high)}{note}"
        )
        findings.append(_Finding(side, told))
    return findings, (
        "It takes a foundation model with PEFT and with FFT both in a severely imbalanced task (rarer class at most "
        f"{100 * SEVERE:.0f} %) and in a balanced one (at least {100 * BALANCED:.0f} %)"
    )


def _mean_gap(gaps: Sequence[_Gap]) -> tuple[float, Floats]:
    drawn: Floats = np.mean([gap.drawn for gap in gaps], axis=0)
    return float(np.mean([gap.value for gap in gaps])), drawn


def _few_shot(study: _Study) -> _Findings:
    """4: the spread of MCC over folds and draws, of LP against every other strategy."""
    findings, few = [], False
    for block, protocol in study.blocks(_is_few_shot):
        few = True
        cells = [cell for cell in block.cells if cell.protocol == protocol and not cell.is_control]
        probes = {cell.model: cell for cell in cells if study.method(cell.strategy) == "lp"}
        others: dict[str, list[Cell]] = {}
        for cell in cells:
            if cell.model in probes and study.method(cell.strategy) != "lp":
                others.setdefault(cell.strategy, []).append(cell)
        if others:
            findings.append(_spread(block, protocol, probes, others))
    if few:
        return findings, "No few-shot task has linear probing beside another strategy of the same model"
    return findings, f"The study has no few-shot regime of at most {FEW} shots"


def _spread(block: Block, protocol: str, probes: Mapping[str, Cell], others: Mapping[str, Sequence[Cell]]) -> _Finding:
    about = _place(block, protocol)
    told, p_values, lower = [], [], []
    for strategy, cells in others.items():
        probed = [probes[cell.model] for cell in cells]
        lacking = [cell for cell in (*cells, *probed) if cell.lack]
        if lacking:
            return _Finding("open", f"{about}: of {lacking[0].model} {lacking[0].strategy} {lacking[0].lack}")
        probe, other, folds = _values_in_common(block, probed, cells)
        if folds < 3:
            return _Finding("open", f"{about}: {folds} test folds with draws in common; it takes 3 to compare spreads")
        spreads = [float(np.std(group, ddof=1)) for group in (probe, other)]
        p_values.append(pitman_morgan(probe, other, folds))
        lower.append(spreads[0] < spreads[1])
        told.append(f"{100 * spreads[0]:.1f} against {strategy} {100 * spreads[1]:.1f}")
    holm = corrected("p", np.array(p_values))["p_holm"]
    told = [f"{text} (p {'< 0.001' if p < 0.001 else f'= {p:.2g}'})" for text, p in zip(told, holm, strict=True)]
    sure = [p < _ALPHA for p in holm]
    side: Literal["for", "against", "open"] = "open"
    if all(lower) and any(sure):
        side = "for"
    elif any(certain and not less for certain, less in zip(sure, lower, strict=True)):
        side = "against"
    return _Finding(side, f"{about}: standard deviation of MCC × 100 over folds and draws, LP {', '.join(told)}")


def _values_in_common(block: Block, a: Sequence[Cell], b: Sequence[Cell]) -> tuple[Floats, Floats, int]:
    """Return MCC of two groups in each fold and draw that all their cells have, and how many folds these are of.

    Each is the mean over a cell's seeds and then over the cells.
    """
    values: list[tuple[float, float]] = []
    folds = 0
    for fold in block.folds:
        if not fold.has_both_classes:
            continue
        mcc = mcc_of_counts(fold.true.sum(0), fold.false.sum(0), fold.positives.sum(), fold.negatives.sum())
        draws = [set(fold.draw[fold.cell == cell.place].tolist()) for cell in (*a, *b)]
        common = sorted(set.intersection(*draws))
        folds += bool(common)
        for draw in common:
            here = [[mcc[(fold.cell == cell.place) & (fold.draw == draw)].mean() for cell in group] for group in (a, b)]
            values.append((float(np.mean(here[0])), float(np.mean(here[1]))))
    both = np.array(values, dtype=np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1], folds


def pitman_morgan(a: Floats, b: Floats, independent: int | None = None) -> float:
    """Return the two-sided p that two paired samples have the same variance.

    Parameters
    ----------
    a, b
        The paired values, shape (n,), n at least 3.
    independent
        How many pairs, at least 3, are independent of one another where not all are, as draws tested on the same
        patients are not: that many decide the degrees of freedom, which is the careful end. None is all.

    Notes
    -----
    Pitman 1939 (https://doi.org/10.1093/biomet/31.1-2.9) and Morgan 1939 (https://doi.org/10.1093/biomet/31.1-2.13):
    the sum and the difference of the pairs are uncorrelated exactly where the variances are equal.

    Examples
    --------
    >>> a = np.array([1.0, 5.0, 2.0, 8.0, 3.0])
    >>> round(pitman_morgan(a, np.array([3.0, 3.2, 3.1, 2.9, 3.3])), 4)
    0.0005
    """
    total, difference = a + b, a - b
    if np.ptp(total) == 0 or np.ptp(difference) == 0:
        # One of them is constant: the variances are equal.
        return 1.0
    r = float(np.clip(np.corrcoef(total, difference)[0, 1], -1, 1))
    freedom = (len(a) if independent is None else independent) - 2
    if abs(r) == 1:
        return 0.0
    return float(2 * stdtr(freedom, -abs(r) * np.sqrt(freedom / (1 - r * r))))


def _everywhere(study: _Study, ranking: pd.DataFrame) -> _Findings:
    """5: which strategies are in the top group, which is that of learned results, of every ranking."""
    tops: list[tuple[str, set[str], set[str]]] = []
    for _, block in ranking.groupby([*BLOCK_KEYS, "protocol"], dropna=False, sort=False):
        known = block[block["top_group"].notna() & ~block["strategy"].isin(CONTROLS)]
        methods = {study.method(strategy) for strategy in known["strategy"]}
        if len(methods) > 1:
            top = {study.method(strategy) for strategy in known.loc[known["top_group"].astype(bool), "strategy"]}
            tops.append((_named(block.iloc[0]), methods, top))
    lacking = "It takes rankings without holes of at least two strategies, in at least two tasks or regimes"
    if len(tops) < 2:
        return [], lacking
    common = set.intersection(*(methods for _, methods, _ in tops))
    if len(common) < 2:
        return [], "No two strategies were run in all tasks and regimes"
    if not all(top for _, _, top in tops):
        # A table whose best is none of them tells no strategy apart from the best one.
        empty = next(name for name, _, top in tops if not top)
        return [_Finding("open", f"{empty}: no strategy is in the top group")], ""
    always = sorted(set.intersection(*(top for _, _, top in tops)) & common)
    listed = "; ".join(f"{name}: {', '.join(sorted(top & common)) or 'none of them'}" for name, _, top in tops)
    counted = f"top groups of {len(tops)} rankings ({listed})"
    if not always:
        return [_Finding("for", f"every strategy is told apart from the best somewhere; {counted}")], ""
    if len(always) == 1:
        return [_Finding("against", f"{always[0]} is in the top group everywhere, and no other is; {counted}")], ""
    return [_Finding("open", f"{', '.join(always)} are in the top group everywhere; {counted}")], ""


def _is_full(block: Block) -> bool:
    return bool(block.keys["regime"] == "full")


def _is_few_shot(block: Block) -> bool:
    shots = block.keys["shots"]
    return "few_shot" in str(block.keys["regime"]) and not pd.isna(shots) and int(shots) <= FEW


def _n_train(block: Block) -> float:
    sizes = [fold.n_train for fold in block.folds]
    return float(np.mean(sizes)) if sizes else float("nan")


def _key(cell: Cell) -> tuple[str, str, str]:
    return cell.model, cell.strategy, cell.protocol


def _place(block: Block, protocol: str, regime: bool = True) -> str:
    return _named(block.keys | {"protocol": protocol}, regime)


def _named(keys: Mapping[Any, Any] | pd.Series[Any], regime: bool = True) -> str:
    tested = "" if keys["test_cohort"] == keys["cohort"] else f" → {keys['test_cohort']}"
    shots = "" if pd.isna(keys["shots"]) else f" {keys['shots']}"
    middle = f" · {keys['regime']}{shots}" if regime else ""
    return f"{keys['cohort']}{tested} · {keys['task']}{middle} · {keys['validation']} · {keys['protocol']}"


def _cases(block: Block, size: tuple[int, float]) -> str:
    unit = "patients" if block.level == "patient" else "films"
    return f"{size[0]} {unit}, rarer class {100 * size[1]:.0f} %"


def _side(low: float, high: float) -> Literal["for", "against", "open"]:
    return "for" if low > 0 else "against" if high < 0 else "open"


def _numbers(gap: _Gap) -> str:
    difference = _signed(gap.value, *gap.interval)
    return f"MCC × 100 {100 * gap.a:.1f} against {100 * gap.b:.1f}, difference {difference}"


def _signed(value: float, low: float, high: float) -> str:
    return f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
