"""How long a plan will take, guessed from its floating-point operations."""

from __future__ import annotations

from dataclasses import dataclass

from ._plan import Plan

# Share of the device's matrix-multiplication speed that passes through a network reach, as seen on a processor:
# transformers are mostly large matrix products, depthwise convolutions mostly wait for memory. The estimate is called
# one wherever it is shown.
_SHARE_OF_PEAK = {"cnn": 0.15}
_USUAL_SHARE = 0.5


@dataclass(frozen=True)
class Estimate:
    """An estimate of a plan's work, not a measurement.

    Attributes
    ----------
    gflops
        10⁹ floating-point operations if no training stops early.
    seconds
        How long they take at a share of the speed of this machine's matrix multiplication.
    """

    gflops: float
    seconds: float


def estimate(plan: Plan) -> Estimate:
    """Estimate the work of a plan from the cards' operation counts.

    Each film goes once through each frozen backbone; a trained job passes its training films forward and backward
    (counted as three forwards) every epoch, and its validation films forward as often as the protocol looks at them.
    """
    # The speed of the device is torch's to tell; it is loaded for nothing else here.
    from prognobench.training import gflops_a_second

    total = seconds = 0.0
    speed: dict[str, float] = {}
    frozen: set[tuple[str, str, str]] = set()
    for job in plan.jobs:
        if job.weights is None:
            continue
        card = plan.card(job)
        if job.reads_features:
            places = {(cohort, job.model, job.weights) for cohort in (job.cohort, *job.test_cohorts)} - frozen
            frozen |= places
            work = card.gflops * sum(plan.cohorts[cohort].films["sha256"].nunique() for cohort, _, _ in places)
        else:
            protocol, read = plan.protocols[job.protocol], job.details["head"]
            readouts = len(read) if isinstance(read, list) else 1
            trained, validated = protocol.passes(readouts * len(protocol.head_learning_rates))
            work = card.gflops * (3 * trained * job.n_train + (validated + 1) * job.n_val + job.n_test)
        precision = job.details["precision"]
        if precision not in speed:
            speed[precision] = gflops_a_second(precision)
        total += work
        seconds += work / (speed[precision] * _SHARE_OF_PEAK.get(card.family, _USUAL_SHARE))
    return Estimate(total, seconds)
