"""How fast `cohort build dicom` is beside a bare loop: `python benchmarks/ingest.py [FILMS] [SIDE] [PROCESSES]`.

Writes synthetic DICOM films of that side in pixels (12 bits, uncompressed, JPEG 2000 and JPEG-LS in turn), then times
both in this one run, each twice in turn, the better of each counting:

- bare: as many processes, each decoding with pydicom, resizing to 1024 pixels with Pillow and writing the same PNG;
- build: the whole command, with headers, table, LUTs, checks and the cohort folder.

Prints films a second, their ratio, and the most memory that all processes of the build held at one time. The exit
status is 1 where the build has less than 80 % of the bare loop's films a second, or more than 1 GiB.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pydicom
import pydicom.pixels
from PIL import Image

from prognobench.cohorts import build_cohort
from prognobench.cohorts._build import write_png
from prognobench.cohorts._phantom import draw_table, render_film
from prognobench.cohorts._phantom_layouts._objects import compress, film_object, save_object

LEAST_SHARE, MOST_MIB = 0.8, 1024
SYNTAXES = ("ExplicitVRLittleEndian", "JPEG2000Lossless", "JPEGLSLossless")


def write_films(folder: Path, films: int, side: int) -> None:
    """Write the raw films; a few drawings serve for all, shifted, since drawing is slow and not what is measured."""
    drawn = [render_film(film, 0, size=320) for film in draw_table(6, 0)[:6]]
    rows = ["patient,icu"]
    for number in range(films):
        small = Image.fromarray(drawn[number % len(drawn)].astype(np.float32)).resize((side, side), Image.BICUBIC)
        levels = np.asarray(small)
        noise = np.random.default_rng(number).normal(0, 4, levels.shape)
        values = (4095 * (levels - levels.min()) / np.ptp(levels) + noise).clip(0, 4095).astype(np.uint16)
        dataset = film_object(values, (f"p{number}", "s", "r", "i"), WindowCenter=2000, WindowWidth=3900)
        save_object(compress(dataset, SYNTAXES[number % len(SYNTAXES)]), folder / f"p{number}" / "film.dcm")
        rows.append(f"p{number},{'yes' if number % 2 else 'no'}")
    (folder / "outcomes.csv").write_text("\n".join(rows) + "\n")


def bare(job: tuple[Path, Path]) -> None:
    """Decode, resize and write one film with nothing around it."""
    source, target = job
    array = pydicom.pixels.pixel_array(pydicom.dcmread(source))
    height, width = array.shape
    scale = 1024 / max(height, width)
    image = Image.fromarray(array.astype(np.float32))
    small = np.asarray(image.resize((round(width * scale), round(height * scale)), Image.Resampling.BILINEAR))
    write_png((small * np.float32(65535 / 4095)).clip(0, 65535).astype(np.uint16), target)


def run_bare(raw: Path, out: Path, processes: int) -> float:
    """Return seconds."""
    out.mkdir()
    jobs = [(path, out / f"{place}.png") for place, path in enumerate(sorted(raw.rglob("*.dcm")))]
    began = time.perf_counter()
    with multiprocessing.get_context("forkserver").Pool(processes) as pool:
        pool.map(bare, jobs, chunksize=4)
    return time.perf_counter() - began


def run_build(raw: Path, out: Path, processes: int) -> tuple[float, float]:
    """Return seconds, and MiB of all processes together."""
    peak, done = [0.0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(peak, done))
    watcher.start()
    tasks = {"icu": {"label": "icu", "positive": "yes", "negative": "no"}}
    began = time.perf_counter()
    build_cohort("dicom", raw, out, {"table": str(raw / "outcomes.csv"), "tasks": tasks}, workers=processes)
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    return seconds, peak[0]


def _watch(peak: list[float], done: threading.Event) -> None:
    """Note the most memory of this process and those it started; what several share counts once (PSS)."""
    while not done.wait(0.2):
        total = 0
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            try:
                total += getattr(process.memory_full_info(), "pss", 0) or process.memory_info().rss
            except psutil.Error:
                continue
        peak[0] = max(peak[0], total / 2**20)


def main() -> int:
    """Print one line for each of the two, and the ratio; return the exit status."""
    films, side, *rest = [*map(int, sys.argv[1:]), *(60, 2000)[len(sys.argv) - 1 :]]
    processes = rest[0] if rest else os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        write_films(raw, films, side)
        loops, builds = [], []
        for turn in range(2):
            loops.append(run_bare(raw, Path(folder) / f"bare-{turn}", processes))
            builds.append(run_build(raw, Path(folder) / f"cohort-{turn}", processes))
    bare_rate, build_rate = films / min(loops), films / min(seconds for seconds, _ in builds)
    print(f"{films} films of {side} x {side} pixels, {processes} processes")
    print(f"bare  {bare_rate:6.2f} films a second")
    print(f"build {build_rate:6.2f} films a second, {100 * build_rate / bare_rate:.0f} % of the bare loop")
    memory = max(memory for _, memory in builds)
    print(f"memory {memory:.0f} MiB at most, all processes together")
    return int(build_rate < LEAST_SHARE * bare_rate or memory > MOST_MIB)


if __name__ == "__main__":
    sys.exit(main())
