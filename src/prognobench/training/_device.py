"""The device at hand: what it computes fast, and what a record says of it."""

from __future__ import annotations

import math
import os
import platform
import time
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from threadpoolctl import threadpool_limits

Precision = Literal["bf16", "fp32"]


def device_name() -> str:
    """Return `cuda` where a GPU can be used, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def usable_precision(setting: str) -> Precision:
    """Resolve `auto`, `bf16` or `fp32` for this device.

    bfloat16 is fast on GPUs since Ampere, and on processors with matrix or dot-product units for it (AMX,
    AVX512-BF16); elsewhere it is emulated and slower than float32.
    """
    if setting != "auto":
        return "bf16" if setting == "bf16" else "fp32"
    if device_name() == "cuda":
        return "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp32"
    return "bf16" if _cpu_has_bfloat16() else "fp32"


def _cpu_has_bfloat16() -> bool:
    # torch offers no public question for this; the names are stable since 2.4 and absent on other processors.
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def use_threads(threads: int) -> None:
    """Compute with this many threads from now on, in torch and in BLAS; results depend on it in the last bits."""
    # It brings a BLAS of its own, which can be told only when it is loaded.
    import scipy.linalg.lapack  # noqa: F401

    torch.set_num_threads(threads)
    threadpool_limits(threads)


def gflops_a_second(precision: Precision, size: int = 1024) -> float:
    """Measure the speed of one matrix multiplication in 10⁹ floating-point operations a second; takes a moment."""
    matrix = torch.ones(
        size, size, dtype=torch.bfloat16 if precision == "bf16" else torch.float32, device=device_name()
    )
    best = math.inf
    for _ in range(6):
        began = time.perf_counter()
        (matrix @ matrix)[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best / 1e9


def describe_device() -> dict[str, str | int | bool]:
    """Say what the results were computed on."""
    described: dict[str, str | int | bool] = {
        "device": device_name(),
        "processor": _processor(),
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "bf16_is_fast": usable_precision("auto") == "bf16",
    }
    if described["device"] == "cuda":
        described["gpu"] = torch.cuda.get_device_name()
    return described


def processor_name() -> str:
    """Return what computes: the name of the GPU where one is used, else of the processor."""
    return torch.cuda.get_device_name() if device_name() == "cuda" else _processor()


@cache
def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
