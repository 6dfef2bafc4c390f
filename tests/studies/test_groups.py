"""Jobs that share features are dealt together; how they are dealt changes no bit."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from prognobench.studies import Store, plan_study, read_study
from prognobench.studies._groups import Dealer, chunks_of, group_of
from prognobench.studies._kit import kit_of
from prognobench.studies._worker import Bench, WorkerSettings

pytestmark = pytest.mark.torch
STUDY = """\
name: groups
cohorts: [{path: %s, tasks: [icu]}]
models: [{"timm:test_vit": {weights: random}}]
strategies: [lp, {lora: {rank: 2}}]
regimes: [full, {few_shot: {shots: [1, 2], draws: 2}}]
validation: {kfold: {folds: 3}}
protocol: {base: quick, epochs: 1, batch_size: 8}
controls: [majority, metadata, random]
"""


@pytest.fixture(scope="module")
def plan(phantom, tmp_path_factory):
    path = tmp_path_factory.mktemp("groups") / "study.yaml"
    path.write_text(STUDY % phantom, encoding="utf-8")
    return plan_study(read_study(path))


def test_each_job_is_in_one_chunk_with_those_that_read_the_same(plan):
    chunks = chunks_of(plan.jobs)
    assert sorted(job.key for chunk in chunks for job in chunk) == sorted(job.key for job in plan.jobs)
    for chunk in chunks:
        assert len({group_of(job) for job in chunk}) == 1
        assert len(chunk) <= 16
        assert len(chunk) == 1 or chunk[0].kind in ("probe", "control")
    readers = {group_of(job) for job in plan.jobs if job.reads_features}
    # The probe's weights and the three of the control; `random` without a seed is the first of these.
    assert len(readers) == 4


def test_chunks_follow_from_the_plan_alone(plan):
    assert chunks_of(plan.jobs) == chunks_of(tuple(plan.jobs))
    keys = [[job.key for job in chunk] for chunk in chunks_of(plan.jobs)]
    half = {job.key for job in plan.jobs[::2]}
    left = Dealer([job for job in chunk if job.key in half] for chunk in chunks_of(plan.jobs))
    dealt = []
    while (job := left.next("w")) is not None:
        dealt.append(job.key)
    assert sorted(dealt) == sorted(half)
    place = {key: number for number, chunk in enumerate(keys) for key in chunk}
    # A chunk that was begun is finished before another.
    runs = [place[key] for key in dealt]
    changes = sum(before != after for before, after in pairwise(runs))
    assert changes == len(set(runs)) - 1


def test_two_workers_share_a_group_and_in_the_end_a_chunk(plan):
    probes = [job for job in plan.jobs if job.strategy == "lp"]
    dealer = Dealer(chunks_of(probes))
    dealt = {"one": [], "two": []}
    while dealer:
        for worker, jobs in dealt.items():
            if (job := dealer.next(worker)) is not None:
                jobs.append(job)
    assert abs(len(dealt["one"]) - len(dealt["two"])) <= 1
    assert {job.key for jobs in dealt.values() for job in jobs} == {job.key for job in probes}


def test_what_a_dead_worker_had_not_begun_is_dealt_again(plan):
    probes = [job for job in plan.jobs if job.strategy == "lp"]
    dealer = Dealer(chunks_of(probes))
    begun = dealer.next("dead")
    dealer.leave("dead")
    assert dealer
    rest = []
    while (job := dealer.next("alive")) is not None:
        rest.append(job.key)
    assert sorted([begun.key, *rest]) == sorted(job.key for job in probes)
    assert not dealer


def test_a_kit_says_of_each_film_what_the_split_says(plan):
    kit = kit_of(plan)
    assert kit.plan.jobs == ()
    assert not kit.plan.splits
    assert sum(kit.sharers.values()) == sum(1 for job in plan.jobs if job.reads_features)
    for job in plan.jobs[:20]:
        rows = plan.cohorts[job.cohort].task(job.task).rows
        parts = plan.splits[job.value("split")].table[["image", "part"]]
        merged = rows.merge(parts, on="image", how="left").sort_values("image")["part"]
        codes = kit.parts[job.cohort, job.task, job.details["split"]]
        expected = merged.map({"train": 0, "val": 1, "test": 2}).fillna(-1).astype(int)
        np.testing.assert_array_equal(codes, expected)


def test_order_mates_and_interruptions_change_no_bit(plan, tmp_path):
    """Every job alone in a fresh bench, in the plan's order, and backwards behind all others."""
    jobs = [job for job in plan.jobs if job.kind in ("probe", "control")]
    settings = WorkerSettings(tmp_path, 1, 600.0)
    forth, back = (Bench(kit_of(plan), Store(tmp_path), settings) for _ in range(2))
    there = {job.key: forth.run(job).predictions for job in jobs}
    again = {job.key: back.run(job).predictions for job in reversed(jobs)}
    # In a bench that has seen nothing else, as behind an interruption.
    for job in jobs[::9]:
        again[job.key + "alone"] = Bench(kit_of(plan), Store(tmp_path), settings).run(job).predictions
    for key, predictions in again.items():
        pd.testing.assert_frame_equal(predictions, there[key.removesuffix("alone")], check_exact=True)
