"""The published conclusions: each verdict occurs, and says the numbers that decide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from prognobench.evaluation import PatientBootstrap, compare_with_controls, conclusions, ranking, task_sizes
from prognobench.evaluation._conclusions import CLAIMS, pitman_morgan

FAMILIES = {"resnet18": "cnn", "dinov2_s": "foundation", "biomedclip": "foundation"}
NO_RANKING = pd.DataFrame(columns=["cohort", "task", "test_cohort", "regime", "shots", "validation", "protocol",
                                   "model", "strategy", "top_group"])  # fmt: skip
FOLDS = 3


class Typed:
    """A study typed in: for each cell how many of a fold's films of each class are called right."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.films: list[pd.DataFrame] = []

    def add(self, model, strategy, right, *, task="icu", positives=20, negatives=20, draws=None, n_train=40,
            others=False, folds=FOLDS, cohort="typed", **words):  # fmt: skip
        """Add a cell; `right` is a share of both classes, or one for each fold (and draw); `others`: of other films."""
        regime = {"regime": "full", "shots": None, **words}
        for fold in range(folds):
            for draw in range(draws or 1):
                share = right[fold][draw] if isinstance(right, list) else right
                job = f"{task}/{model}/{strategy}/{regime['regime']}/{regime['shots']}/{fold}/{draw}"
                self.jobs.append(
                    {
                        "job": job,
                        "cohort": cohort,
                        "task": task,
                        "test_cohort": cohort,
                        "model": model,
                        "strategy": strategy,
                        "draw": draw if draws else None,
                        "validation": "kfold3",
                        "repeat": 0,
                        "fold": fold,
                        "test_center": None,
                        "seed": 42,
                        "protocol": "quick",
                        "n_train": n_train,
                        "trainable_params": 1,
                        "total_params": 2,
                        "train_seconds": 1.0,
                        "state": "done",
                        **regime,
                    }
                )
                if share is None:
                    self.jobs[-1]["state"] = "missing"
                    continue
                rows = []
                for label, count in ((1, positives), (0, negatives)):
                    called = np.arange(count) < round(share * count)
                    called = called[::-1] if others else called
                    rows += [(f"{task}{label}-{fold}-{place}", label, right) for place, right in enumerate(called)]
                names, labels, called = zip(*rows, strict=True)
                score = np.where(called, labels, 1 - np.array(labels)) * 0.8 + 0.1
                columns = {"job": job, "cohort": cohort, "image": names, "patient": names, "center": "A"}
                self.films.append(pd.DataFrame(columns | {"split": "test", "y_true": labels, "y_score": score}))
        return self

    def conclude(self, number: int, ranking: pd.DataFrame = NO_RANKING) -> tuple[str, str]:
        predictions, jobs = pd.concat(self.films), pd.DataFrame(self.jobs)
        bootstrap = PatientBootstrap(predictions, jobs, resamples=200)
        controls = compare_with_controls(predictions, jobs, bootstrap=bootstrap)
        table = conclusions(bootstrap, task_sizes(predictions, jobs), controls, ranking, FAMILIES)
        assert list(table["number"]) == [1, 2, 3, 4, 5]
        assert tuple(table["claim"]) == CLAIMS
        return table.loc[number - 1, "verdict"], table.loc[number - 1, "evidence"]


def small(cnn: float, foundation: float, **words: Any) -> Typed:
    typed = Typed().add("resnet18", "fft", cnn, **words).add("dinov2_s", "lora_r8", foundation, **words)
    return typed.add("none", "majority", 0.0 if words.get("control_wins") else 0.5, **words)


class TestSmallAndImbalanced:
    def test_upheld_where_the_cnn_is_better(self):
        verdict, evidence = small(0.95, 0.6).conclude(1)
        assert verdict == "upheld"
        assert "MCC × 100 90.0 against 20.0, difference +70.0 [" in evidence
        assert "(120 films, rarer class 50 %)" in evidence

    def test_contradicted_where_it_is_worse(self):
        assert small(0.6, 0.95).conclude(1)[0] == "contradicted"

    def test_open_where_they_are_alike(self):
        verdict, evidence = small(0.8, 0.8).conclude(1)
        assert verdict == "not decidable"
        assert evidence.startswith("Open: typed · icu · full · kfold3 · quick (120 films")

    def test_open_where_no_cnn_is_above_its_controls(self):
        typed = small(0.8, 0.3).add("none", "metadata", 0.9)
        verdict, evidence = typed.conclude(1)
        assert (verdict, "no CNN is above its controls" in evidence) == ("not decidable", True)

    def test_large_and_balanced_tasks_do_not_count(self):
        verdict, evidence = small(0.95, 0.6, positives=40, negatives=40).conclude(1)
        assert verdict == "not decidable"
        assert evidence == "No task has fewer than 200 cases, or a rarer class of at most 15 %."

    def test_large_and_imbalanced_ones_do(self):
        assert small(0.95, 0.6, positives=20, negatives=180).conclude(1)[0] == "upheld"

    def test_it_takes_both_kinds_of_model(self):
        verdict, evidence = Typed().add("dinov2_s", "lora_r8", 0.9).conclude(1)
        assert verdict == "not decidable"
        assert evidence.startswith("No task has both a CNN with FFT and a foundation model with PEFT")

    def test_a_hole_is_said_and_decides_nothing(self):
        typed = Typed().add("resnet18", "fft", [[0.9], [None], [0.9]]).add("dinov2_s", "lora_r8", 0.6)
        verdict, evidence = typed.conclude(1)
        assert (verdict, "of resnet18 fft 1 of 3 jobs are not done" in evidence) == ("not decidable", True)

    def test_tasks_that_contradict_one_another_decide_nothing(self):
        typed = small(0.95, 0.6)
        other = small(0.6, 0.95, task="death")
        typed.jobs += other.jobs
        typed.films += other.films
        verdict, evidence = typed.conclude(1)
        assert verdict == "not decidable"
        assert evidence.startswith("The tasks contradict one another.")


def grown(before: tuple[float, float], after: tuple[float, float]) -> Typed:
    typed = Typed()
    for (light, cnn), words in ((before, {"regime": "few_shot", "shots": 4, "n_train": 8}), (after, {})):
        typed.add("dinov2_s", "bitfit", light, **words).add("resnet18", "fft", cnn, **words)
    return typed


class TestGrowth:
    @pytest.mark.parametrize(
        ("before", "after", "verdict"),
        [
            ((0.55, 0.8), (0.9, 0.8), "upheld"),  # behind, then ahead
            ((0.55, 0.8), (0.8, 0.8), "upheld"),  # caught up
            ((0.9, 0.6), (0.7, 0.8), "contradicted"),  # ahead, then behind
            ((0.6, 0.9), (0.6, 0.9), "contradicted"),  # behind, and no closer
            ((0.5, 0.95), (0.75, 0.95), "not decidable"),  # closer, and still behind
            ((0.8, 0.8), (0.8, 0.8), "not decidable"),
        ],
    )
    def test_every_course(self, before, after, verdict):
        found, evidence = grown(before, after).conclude(2)
        assert found == verdict
        assert "typed · icu · kfold3 · quick, from 8 to 40 training films" in evidence

    def test_one_size_shows_no_growth(self):
        verdict, evidence = small(0.9, 0.6).conclude(2)
        assert verdict == "not decidable"
        assert evidence == "Every task was trained at one size only, so nothing shows what more data bring."


def balances(severe: tuple[float, float], even: tuple[float, float], cohorts=("small", "large")) -> Typed:
    typed, of = Typed(), dict(zip(("severe", "even"), cohorts, strict=True))
    counts = {"severe": {"positives": 20, "negatives": 180}, "even": {"positives": 80, "negatives": 80}}
    for (task, words), (peft, full) in zip(counts.items(), (severe, even), strict=True):
        words |= {"task": task, "cohort": of[task]}
        typed.add("dinov2_s", "lora_r8", peft, **words).add("dinov2_s", "fft", full, **words)
    return typed


class TestImbalance:
    @pytest.mark.parametrize(
        ("severe", "even", "verdict"),
        [
            ((0.6, 0.95), (0.9, 0.9), "upheld"),
            ((0.95, 0.95), (0.9, 0.9), "contradicted"),
            ((0.95, 0.6), (0.9, 0.9), "contradicted"),
        ],
    )
    def test_every_verdict(self, severe, even, verdict):
        found, evidence = balances(severe, even).conclude(3)
        assert found == verdict
        assert "in 1 imbalanced and" in evidence

    def test_an_interval_that_holds_0_and_a_loss_of_5_points_decides_nothing(self):
        typed = balances((0.8, 0.0), (0.9, 0.9))
        keep = [job["task"] != "severe" or job["strategy"] != "fft" for job in typed.jobs]
        typed.jobs = [job for job, kept in zip(typed.jobs, keep, strict=True) if kept]
        typed.films = [films for films, kept in zip(typed.films, keep, strict=True) if kept]
        typed.add("dinov2_s", "fft", 0.8, task="severe", cohort="small", positives=20, negatives=180, others=True)
        assert typed.conclude(3)[0] == "not decidable"

    def test_tasks_that_share_patients_decide_nothing(self):
        verdict, evidence = balances((0.6, 0.95), (0.9, 0.9), cohorts=("one", "one")).conclude(3)
        assert verdict == "not decidable"
        assert "tasks share patients" in evidence

    def test_it_takes_both_kinds_of_task(self):
        verdict, evidence = small(0.9, 0.6).conclude(3)
        assert verdict == "not decidable"
        assert evidence.startswith("It takes a foundation model with PEFT and with FFT")


STEADY = [[0.75, 0.8, 0.75], [0.8, 0.75, 0.8], [0.8, 0.8, 0.75], [0.75, 0.75, 0.8], [0.8, 0.75, 0.75]]
SHAKY = [[0.3, 0.9, 0.6], [0.95, 0.4, 0.8], [0.2, 1.0, 0.7], [0.9, 0.35, 0.5], [0.6, 0.25, 1.0]]


class TestFewShot:
    def few(self, lp, lora, shots=4) -> Typed:
        words = {"regime": "few_shot", "shots": shots, "draws": 3, "n_train": 8, "folds": len(lp)}
        return Typed().add("dinov2_s", "lp", lp, **words).add("dinov2_s", "lora_r8", lora, **words)

    @pytest.mark.parametrize(
        ("lp", "lora", "verdict"),
        [(STEADY, SHAKY, "upheld"), (SHAKY, STEADY, "contradicted"), (STEADY, STEADY, "not decidable")],
    )
    def test_every_verdict(self, lp, lora, verdict):
        found, evidence = self.few(lp, lora).conclude(4)
        assert found == verdict
        assert "standard deviation of MCC × 100 over folds and draws, LP" in evidence

    def test_draws_of_two_folds_are_too_few(self):
        verdict, evidence = self.few(STEADY[:2], SHAKY[:2]).conclude(4)
        assert (verdict, "2 test folds with draws in common; it takes 3" in evidence) == ("not decidable", True)

    def test_several_seeds_beside_a_probe_of_one_are_averaged_within_fold_and_draw(self):
        one, several = self.few(STEADY, SHAKY), self.few(STEADY, SHAKY)
        for job, films in list(zip(several.jobs, several.films, strict=True)):
            if job["strategy"] == "lora_r8":
                several.jobs.append(job | {"job": job["job"] + "/again", "seed": 43})
                several.films.append(films.assign(job=job["job"] + "/again"))
        assert several.conclude(4) == one.conclude(4)
        assert one.conclude(4)[0] == "upheld"

    def test_a_spread_of_nothing_has_a_small_p_and_not_0(self):
        verdict, evidence = self.few([[0.8] * 3] * 5, SHAKY).conclude(4)
        assert verdict == "upheld"
        assert "(p < 0.001)" in evidence

    def test_more_than_32_shots_are_not_few(self):
        verdict, evidence = self.few(STEADY, SHAKY, shots=64).conclude(4)
        assert (verdict, evidence) == ("not decidable", "The study has no few-shot regime of at most 32 shots.")

    def test_it_takes_another_strategy(self):
        typed = Typed().add("dinov2_s", "lp", 0.8, regime="few_shot", shots=4)
        assert typed.conclude(4)[1].startswith("No few-shot task has linear probing beside another strategy")


def ranked(**tops: dict[str, bool]) -> pd.DataFrame:
    rows = [
        {"cohort": "typed", "task": task, "test_cohort": "typed", "regime": "full", "shots": None,
         "validation": "kfold3", "protocol": "quick", "model": "dinov2_s", "strategy": strategy, "top_group": top}
        for task, strategies in tops.items()
        for strategy, top in strategies.items()
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"top_group": "boolean"})


class TestEverywhere:
    @pytest.mark.parametrize(
        ("tops", "verdict", "told"),
        [
            ({"a": {"lp": True, "fft": False}, "b": {"lp": False, "fft": True}}, "upheld", "told apart from the best"),
            ({"a": {"lp": True, "fft": True}, "b": {"lp": True, "fft": False}}, "contradicted", "lp is in the top"),
            ({"a": {"lp": True, "fft": True}, "b": {"lp": True, "fft": True}}, "not decidable", "fft, lp are in"),
            ({"a": {"lp": True, "fft": False}}, "not decidable", "in at least two tasks or regimes"),
            ({"a": {"lp": True, "fft": None}, "b": {"lp": None, "fft": None}}, "not decidable", "without holes"),
        ],
    )
    def test_every_verdict(self, tops, verdict, told):
        found, evidence = small(0.9, 0.6).conclude(5, ranked(**tops))
        assert (found, told in evidence) == (verdict, True)

    def test_a_control_is_no_strategy(self):
        tops = {"a": {"lp": True, "fft": False, "majority": True}, "b": {"lp": True, "fft": False, "majority": True}}
        assert small(0.9, 0.6).conclude(5, ranked(**tops))[0] == "contradicted"

    def test_a_control_that_wins_decides_nothing(self):
        typed = Typed()
        for task, control in (("a", 1.0), ("b", 0.5)):
            typed.add("dinov2_s", "lp", 0.8, task=task).add("dinov2_s", "fft", 0.8, task=task)
            typed.add("none", "metadata", control, task=task)
        table = ranking(pd.concat(typed.films), pd.DataFrame(typed.jobs), resamples=200)
        assert table.loc[table["task"] == "a"].set_index("strategy")["rank"].idxmin() == "metadata"
        verdict, evidence = typed.conclude(5, table)
        assert verdict == "not decidable"
        assert "fft, lp are in the top group everywhere" in evidence

    def test_a_top_group_without_a_strategy_decides_nothing(self):
        tops = {"a": {"lp": False, "fft": False, "metadata": True}, "b": {"lp": True, "fft": False}}
        verdict, evidence = small(0.9, 0.6).conclude(5, ranked(**tops))
        assert verdict == "not decidable"
        assert "no strategy is in the top group" in evidence

    def test_variants_of_a_strategy_are_one(self):
        tops = {"a": {"lora_r4": True, "lora_r8": False, "fft": False}, "b": {"lora_r8": True, "fft": False}}
        assert small(0.9, 0.6).conclude(5, ranked(**tops))[0] == "contradicted"


class TestPitmanMorgan:
    def test_equals_the_correlation_test_of_sum_and_difference(self):
        random = np.random.default_rng(0)
        a, b = random.normal(size=15), random.normal(0, 3, size=15)
        assert pitman_morgan(a, b) == pytest.approx(stats.pearsonr(a + b, a - b).pvalue, rel=1e-9)

    def test_its_type_one_error_is_the_level(self):
        random = np.random.default_rng(1)
        pairs = random.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=(2000, 12))
        rejected = np.mean([pitman_morgan(pair[:, 0], pair[:, 1]) < 0.05 for pair in pairs])
        assert 0.035 < rejected < 0.065

    def test_pairs_that_are_not_independent_count_less(self):
        random = np.random.default_rng(2)
        a, b = random.normal(size=15), random.normal(0, 3, size=15)
        r = stats.pearsonr(a + b, a - b).statistic
        expected = 2 * stats.t.sf(abs(r) * np.sqrt(3 / (1 - r * r)), 3)
        assert pitman_morgan(a, b, independent=5) == pytest.approx(expected, rel=1e-9)

    def test_its_error_stays_below_the_level_where_draws_share_patients(self):
        random = np.random.default_rng(3)
        rejected = 0
        for _ in range(1000):
            folds = random.normal(size=(2, 5, 1)).repeat(4, axis=2)
            a, b = (folds + 0.5 * random.normal(size=(2, 5, 4))).reshape(2, 20)
            rejected += pitman_morgan(a, b, independent=5) < 0.05
        assert rejected < 65
