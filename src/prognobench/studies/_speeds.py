"""How fast this machine was at earlier jobs, so that a plan need not guess."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from prognobench.frame import file_lock, home, write_in_one_step

# A shorter piece of work is mostly start-up and says little.
_LEAST_SECONDS = 1.0
# Older measurements fade: a machine gets other libraries, and other work beside this.
_MEMORY_SECONDS = 600.0


@dataclass(frozen=True)
class Work:
    """What a speed is measured for.

    Attributes
    ----------
    device
        Name of the GPU or processor.
    threads
        Threads that computed.
    architecture
        The network.
    kind
        `features` (forward alone, frozen), `adapter` or `backbone` (training steps and scoring).
    precision
        `bf16` or `fp32`.
    """

    device: str
    threads: int
    architecture: str
    kind: str
    precision: str

    @property
    def key(self) -> str:
        """Its name in the file."""
        return " · ".join((self.device, f"{self.threads} threads", self.architecture, self.kind, self.precision))


def note_speed(work: Work, gflops: float, seconds: float) -> None:
    """Keep what a job took: 10⁹ floating-point operations by the card's count, and the seconds they lasted."""
    if seconds < _LEAST_SECONDS or gflops <= 0:
        return
    place = home() / "speeds.json"
    with file_lock(place.with_suffix(".lock")):
        known = _read()
        before = known.get(work.key, {"gflops": 0.0, "seconds": 0.0})
        fade = min(1.0, _MEMORY_SECONDS / (before["seconds"] + seconds))
        total = {"gflops": before["gflops"] * fade + gflops, "seconds": before["seconds"] * fade + seconds}
        write_in_one_step(place, json.dumps(known | {work.key: total}, indent=1, sort_keys=True))


def known_speed(work: Work) -> float | None:
    """Return the measured 10⁹ operations a second, or None where such work was never done here."""
    found = _read().get(work.key)
    return None if found is None else found["gflops"] / found["seconds"]


def _read() -> dict[str, Any]:
    """Read what is known; a damaged file is no more than a speed that must be measured again."""
    try:
        known = json.loads((home() / "speeds.json").read_text(encoding="utf-8"))
        return {
            str(key): {"gflops": float(value["gflops"]), "seconds": float(value["seconds"])}
            for key, value in known.items()
            if float(value["seconds"]) > 0
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
