"""What the simulation found: which intervals and tests hold, and so are shown first."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

# Written by `python docs/simulate.py`.
SIMULATED = Path(__file__).with_name("simulated.json")
# An interval at 95 % holds if its coverage is within these; a test at 5 % if its error is at most this.
COVERAGE_HOLDS = (0.92, 0.97)
ERROR_HOLDS = 0.06
# The first that holds is the default: the more that it is about, the earlier.
PREFERENCE = ("nadeau_bengio", "t", "bootstrap")
# Only all training films were simulated, with at least so many test folds, of which the intervals over folds are made.
REGIME = "full"
FEWEST_FOLDS = {"kfold": 5, "holdout": 10, "loco": 6}
# Which truth each is about.
TRUTHS = {"nadeau_bengio": "made_again", "t": "made_again", "bootstrap": "these_models"}


@cache
def simulated() -> dict[str, Any]:
    """Return the record of the simulation."""
    found: dict[str, Any] = json.loads(SIMULATED.read_text(encoding="utf-8"))
    return found


@cache
def default_interval(validation: str, metric: str, regime: str = REGIME, folds: int | None = None) -> str:
    """Return the method whose interval of the metric held in every design of this kind of validation, or nothing.

    Parameters
    ----------
    validation, regime
        Their words in tables, such as `kfold5` and `full`. What was not simulated has no default.
    metric
        The metric's name.
    folds
        How many test folds, those of all repeats, the interval would be made of; None is as many as were simulated.
        With fewer an interval over folds is none that was simulated; one over patients is, for it needs no fold more.
    """
    designs = [design for design in simulated()["designs"] if validation.startswith(design["validation"])]
    designs = [design for design in designs if not design["extreme"] and regime == REGIME]
    for method in PREFERENCE:
        if method != "bootstrap" and folds is not None and any(folds < FEWEST_FOLDS[d["validation"]] for d in designs):
            continue
        shares = [design["coverage"].get(metric, {}).get(method, {}).get(TRUTHS[method]) for design in designs]
        if shares and all(share is not None and holds(share) for share in shares):
            return method
    return ""


def holds(coverage: float) -> bool:
    """Tell whether an interval at 95 % covers as often as it says."""
    return COVERAGE_HOLDS[0] <= coverage <= COVERAGE_HOLDS[1]
