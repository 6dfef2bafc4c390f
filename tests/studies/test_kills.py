"""Killed at random moments and run again, a study loses nothing and changes nothing."""

import os
import random
import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest

from prognobench.studies import Store, read_results

pytestmark = [pytest.mark.torch, pytest.mark.slow]

STUDY = """\
name: kills
cohorts: [{path: %s, tasks: [icu]}]
models: [{"timm:test_vit": {weights: random}}, {"timm:test_efficientnet": {weights: random}}]
strategies: [lp, fft, {lora: {rank: [2, 4]}}]
validation: {kfold: {folds: 5}}
protocol: {base: quick, epochs: 3, batch_size: 8}
controls: [majority]
"""
KILLS = 20


def command(study, results, *more):
    verb = [sys.executable, "-m", "prognobench.cli", "run", str(study), "--results", str(results), "--threads", "1"]
    return [*verb, "--checkpoint-minutes", "0", *more]


def files(folder):
    return sum(len(names) for _, _, names in os.walk(folder))


def kill_tree(process):
    """SIGKILL to the run and to its workers, as the out-of-memory killer or a power cut would."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        try:
            member.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    process.wait()
    psutil.wait_procs(family, timeout=10)


def test_no_kill_loses_duplicates_or_changes_a_record(phantom, tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text(STUDY % phantom)
    subprocess.run(command(study, tmp_path / "calm"), check=True, capture_output=True)

    dice, results, kills, kept = random.Random(7), tmp_path / "killed", 0, {}
    while kills < KILLS:
        process = subprocess.Popen(
            command(study, results, "--workers", "2" if kills % 2 else "1"), stdout=subprocess.DEVNULL
        )
        if kills % 3 == 0:
            # Right after a new file appears in the store.
            before = files(results)
            while process.poll() is None and files(results) <= before + dice.randrange(1, 8):
                time.sleep(0.0005)
        else:
            time.sleep(dice.uniform(1.0, 9.0))
        if process.poll() is not None:
            # The study was finished before the blow; take some records away so that there is more to do.
            store = Store(results)
            for key in dice.sample(store.record_keys(), 12):
                subprocess.run(["rm", "-r", str(store.runs / key)], check=True)
                kept.pop(key, None)
            continue
        kill_tree(process)
        kills += 1
        store = Store(results)
        found = {key: (store.runs / key / "status.json").read_bytes() for key in store.record_keys()}
        for key in found:
            store.verify(key)
        assert kept.items() <= found.items(), "a finished record is gone or was written anew"
        kept = found
    last = subprocess.run(command(study, results), capture_output=True, text=True, check=True)
    assert "45 of 45 jobs have a record" in " ".join(last.stdout.split())
    (calm, _), (killed, jobs) = read_results(tmp_path / "calm"), read_results(results)
    assert jobs["state"].eq("done").all()
    pd.testing.assert_frame_equal(calm, killed, check_exact=True)
    assert list(Store(results).tmp.iterdir()) == []


def test_a_killed_parent_takes_its_workers_with_it(phantom, tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text(STUDY % phantom)
    process = subprocess.Popen(command(study, tmp_path / "results"), stdout=subprocess.DEVNULL)
    workers = []
    while not workers:
        time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []


def listen_to_ctrl_c():
    """Undo what a shell does to processes behind `&`: they inherit that Ctrl-C is ignored, and rightly go on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_leaves_a_clean_store_and_says_how_to_go_on(phantom, tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text(STUDY % phantom)
    process = subprocess.Popen(
        command(study, tmp_path / "results"), stdout=subprocess.PIPE, text=True, preexec_fn=listen_to_ctrl_c
    )
    store = Store(tmp_path / "results")
    while len(store.record_keys()) < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again to go on" in " ".join(output.split())
    for key in store.record_keys():
        store.verify(key)
    assert list(store.tmp.glob("*.draft")) == []
