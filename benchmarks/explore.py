"""How long the explorer takes to show something: `python benchmarks/explore.py [RECORDS] [--keep DIR]`.

Makes the folder of synthetic records that `benchmarks/report.py` makes, starts `prognobench explore` on it as a user
does, and opens it in Debian's Chromium. Prints the seconds from the request to the first numbers on the screen and from
a filter's press to the new numbers, and for the server alone the seconds of a core that each answer takes: the first
time, when nothing was kept of the records, and at a later start. The folder given with `--keep` stays.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from report import make_store

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-background-networking", "--no-first-run", "--no-default-browser-check"]
MOST = 900.0  # seconds that anything may take


@contextmanager
def served(root: Path, home: Path) -> Iterator[tuple[psutil.Process, str, float]]:
    """Start the command; give its process, its address, and when it was started."""
    begun = time.perf_counter()
    command = [sys.executable, "-u", "-m", "prognobench.cli", "explore", str(root), "--port", "0"]
    environment = os.environ | {"PROGNOBENCH_HOME": str(home)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                    yield psutil.Process(process.pid), found[0], begun
                    return
        finally:
            process.terminate()


def until(page: Any, condition: str) -> float:
    """Wait until something is so on the page, and return when it was."""
    end = time.perf_counter() + MOST
    while not page.evaluate(condition):
        if time.perf_counter() > end:
            raise TimeoutError(condition)
        page.wait_for_timeout(10)
    return time.perf_counter()


def core_seconds(process: psutil.Process) -> float:
    """Return the seconds of a core that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def look(root: Path, home: Path, browser: Any, what: str, records: int) -> None:
    """Open the folder and say how long things take."""
    with served(root, home) as (process, address, begun):
        page = browser.new_page()
        page.set_default_timeout(1000 * MOST)
        asked = time.perf_counter()
        page.goto(address)
        seen = until(page, "!!document.querySelector('.counts')")
        used = core_seconds(process)
        print(
            f"{what}: progress on the screen {seen - begun:.1f} s after the command, {seen - asked:.1f} s after the "
            f"request; the server used {used:.1f} s of a core",
            flush=True,
        )
        shown = until(page, f"document.querySelector('.counts').innerText.startsWith('{records:,} of ') && "
                            "!/still being read/.test(document.body.innerText)")  # fmt: skip
        print(f"{what}: all numbers of all records {shown - begun:.1f} s after the command; "
              f"the server used {core_seconds(process):.1f} s of a core", flush=True)  # fmt: skip
        if what == "later start":
            done = until(page, "!/being computed/.test(document.body.innerText)")
            print(f"{what}: the report's tables {done - begun:.1f} s after the command; "
                  f"memory of the server {process.memory_info().rss >> 20} MiB", flush=True)  # fmt: skip
            answers(process, page, address)
        # What was measured is kept for the next start.
        time.sleep(5)
        page.close()


def answers(process: psutil.Process, page: Any, address: str) -> None:
    """Say how long views and filters take, first and again, once nothing else is computed."""
    while process.children(recursive=True):
        time.sleep(0.5)
    for name, path in (("overview", ""), ("compare", "compare"), ("heat map", "compare?plot=heat"), ("jobs", "job")):
        used, asked = core_seconds(process), time.perf_counter()
        page.goto(address + path)
        shown = until(page, "!!document.querySelector('#content .tools')")
        print(f"  {name:12} {shown - asked:5.2f} s from the request to the screen, "
              f"{core_seconds(process) - used:5.2f} s of a core in the server")  # fmt: skip
    page.goto(address + "compare?task=task_00")
    until(page, "!!document.querySelector('#numbers .caption')")
    page.get_by_text("Model", exact=True).click()
    for model in ("dinov2_s", "resnet18", "clip_l"):
        page.wait_for_timeout(1000)  # at rest, as before a person's press: the last one's plot may still be drawn
        before = page.inner_text("#numbers .caption")
        used, asked = core_seconds(process), time.perf_counter()
        page.get_by_label(model, exact=True).check()
        shown = until(page, f"document.querySelector('#numbers .caption').innerText !== {before!r}")
        print(f"  filter {model:9} {shown - asked:.2f} s from the press to the new numbers, "
              f"{core_seconds(process) - used:.2f} s of a core in the server")  # fmt: skip


def main() -> None:
    """Make the folder where it is not there, and look at it twice."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("records", type=int, nargs="?", default=10_000)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as play:
        root, home = given.keep or Path(scratch) / "results", Path(scratch) / "home"
        if not (root / "plans").exists():
            make_store(root, given.records)
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for what in ("first start", "later start"):
            look(root, home, browser, what, given.records)
        browser.close()


if __name__ == "__main__":
    main()
