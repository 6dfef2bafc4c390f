"""How much work a plan is, and how long it will take: measured at earlier jobs of this machine, else guessed."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ._job import Job
from ._plan import Plan
from ._speeds import Work, known_speed

# Share of the device's matrix-multiplication speed that passes through a network reach, as seen on a processor:
# transformers are mostly large matrix products, depthwise convolutions mostly wait for memory. What rests on it is
# called an estimate wherever it is shown.
_SHARE_OF_PEAK = {"cnn": 0.15}
_USUAL_SHARE = 0.5
# What a job takes besides the films that go through a network: solving heads, reading pixels, writing its record. And
# what a worker takes to start. Measured on a server processor with a network so small that it costs nothing.
_JOB_SECONDS = {"control": 0.1, "probe": 0.1, "adapter": 0.6, "backbone": 0.6}
_START_SECONDS = 5.0


@dataclass(frozen=True)
class Estimate:
    """The work of a plan if no training stops early, and how long it takes.

    Attributes
    ----------
    forwards
        Films that pass forward through a backbone that stays as it is: frozen features, validation, scoring.
    training_passes
        Films that pass forward and backward through a backbone that trains.
    steps
        Steps of an optimizer that changes a backbone.
    forward_gflops, training_gflops
        10⁹ floating-point operations of the two by the cards' counts; a training pass counts as three forwards.
    seconds
        How long that takes at `threads` threads: by the speed measured at earlier jobs here, or by a share of the
        speed of this machine's matrix multiplication; for heads that train by gradient steps as long as one slow core
        takes; and for each job a fixed time, the same on every machine.
    measured
        Share of the operations whose speed was measured, 0 to 1.
    threads
        Threads that one worker computes with.
    """

    forwards: int
    training_passes: int
    steps: int
    forward_gflops: float
    training_gflops: float
    seconds: float
    measured: float
    threads: int


def estimate(plan: Plan) -> Estimate:
    """Count the work of a plan by the cards' operation counts, and say how long one worker takes.

    Each film goes once through each frozen backbone; a trained job passes its training films forward and backward
    every epoch, and its validation films forward as often as the protocol looks at them.
    """
    clock = _Clock(plan, os.cpu_count() or 1)
    frozen: set[tuple[str, str, str, int]] = set()
    forwards = passes = steps = 0
    forward_work = training_work = measured = 0.0
    seconds = _START_SECONDS
    for job in plan.jobs:
        seconds += _JOB_SECONDS[job.kind] + clock.head_seconds(job)
        if job.weights is None:
            continue
        card = plan.card(job)
        trained = 0
        if job.reads_features:
            seen = 0
            for cohort in dict.fromkeys((job.cohort, *job.test_cohorts)):
                variants = clock.variants(job) if cohort == job.cohort else 0
                copies = {(cohort, job.model, job.weights, copy) for copy in range(1 + variants)} - frozen
                if copies:
                    frozen |= copies
                    seen += len(copies) * plan.cohorts[cohort].films["sha256"].nunique()
        else:
            epochs, validations = clock.passes(job)
            batch = plan.protocols[job.protocol].batch_size
            trained, seen = epochs * job.n_train, (validations + 1) * job.n_val + job.n_test
            steps += epochs * -(-job.n_train // batch)
        forwards, passes = forwards + seen, passes + trained
        work = card.gflops * (seen + 3 * trained)
        forward_work, training_work = forward_work + card.gflops * seen, training_work + 3 * card.gflops * trained
        speed, known = clock.speed(job) if work else (1.0, False)
        seconds += work / speed
        measured += work if known else 0.0
    total = forward_work + training_work
    share = measured / total if total else 0.0
    return Estimate(forwards, passes, steps, forward_work, training_work, seconds, share, clock.threads)


class _Clock:
    """Knows how much one job is, and how many 10⁹ operations a second this machine does at such work."""

    def __init__(self, plan: Plan, threads: int) -> None:
        # The device is torch's to tell; it is loaded for nothing else here.
        from prognobench.training import processor_name

        self.plan, self.threads, self.device = plan, threads, processor_name()
        self.speeds: dict[tuple[str, ...], tuple[float, bool]] = {}
        self.counts: dict[tuple[str, ...], tuple[int, int]] = {}
        self.peaks: dict[str, float] = {}

    def passes(self, job: Job) -> tuple[int, int]:
        """Return how often the training films and the validation films pass, if nothing stops early."""
        place = (job.model, job.protocol)
        if place not in self.counts:
            protocol, read = self.plan.protocols[job.protocol], job.details["head"]
            readouts = len(read) if isinstance(read, list) else 1
            self.counts[place] = protocol.passes(readouts * len(protocol.head_learning_rates))
        return self.counts[place]

    def head_seconds(self, job: Job) -> float:
        """Return how long heads on ready features train by gradient steps; 0 for jobs that train none so."""
        from prognobench.training import head_seconds

        protocol = self.plan.protocols[job.protocol]
        if job.kind != "probe" or protocol.probe.solver != "heads":
            return 0.0
        films = job.n_train * (1 + protocol.probe.variants)
        return head_seconds(self.plan.card(job), films, len(job.details["task"]["classes"]), protocol)

    def variants(self, job: Job) -> int:
        """Return how many copies of each training film are read beside it."""
        return 0 if job.kind == "control" else self.plan.protocols[job.protocol].probe.variants

    def speed(self, job: Job) -> tuple[float, bool]:
        """Return the speed, and whether it was measured at such work."""
        kind = "features" if job.reads_features else job.kind
        place = (job.model, job.protocol, kind)
        if place not in self.speeds:
            card, precision = self.plan.card(job), job.details["precision"]
            found = known_speed(Work(self.device, self.threads, card.architecture, kind, precision))
            guess = self._peak(precision) * _SHARE_OF_PEAK.get(card.family, _USUAL_SHARE)
            self.speeds[place] = (guess, False) if found is None else (found, True)
        return self.speeds[place]

    def _peak(self, precision: str) -> float:
        from prognobench.training import gflops_a_second, usable_precision

        if precision not in self.peaks:
            self.peaks[precision] = gflops_a_second(usable_precision(precision))
        return self.peaks[precision]
