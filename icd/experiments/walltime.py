"""Walltime and memory that a training requests on a cluster: from its rehearsal, or assumed."""

from __future__ import annotations

import math

from icd.experiments.machine import Machine
from icd.experiments.rehearsals import Rehearsal, rehearsed
from icd.experiments.run import Run

START = 20  # minutes for start-up and export
SLOWER = 1.5  # a training may be so much slower than expected; it resumes if that is not enough
ASSUMED = 1.0  # seconds per iteration if the track states none
MORE_MEMORY = 1.25
ANNOTATIONS = 8  # memory to read an annotation file, as a multiple of its size; 6.9 was measured
MEGABYTE = 10**6


def seconds_per_iteration(run: Run, machine: Machine, rehearsal: Rehearsal) -> float:
    """Seconds per iteration, measured by the rehearsal of the run's kind or assumed."""
    measured = rehearsed(run, rehearsal)
    if measured and measured.seconds_per_iteration:
        return measured.seconds_per_iteration
    return machine.seconds_per_iteration or ASSUMED


def training_minutes(run: Run, machine: Machine, rehearsal: Rehearsal) -> int:
    """Walltime of a training: 1.5 times its iterations, plus 20 minutes for start-up."""
    seconds = run.iterations * seconds_per_iteration(run, machine, rehearsal)
    return START + math.ceil(SLOWER * seconds / 60)


def training_memory(run: Run, machine: Machine, rehearsal: Rehearsal, annotations: int = 0) -> int:
    """Megabytes of memory for a training: 1.25 times the rehearsal's peak, or the track's value.

    Args:
        annotations: bytes of the annotation file. A rehearsal reads a few images only, but each
            process of a training reads the whole file.
    """
    measured = rehearsed(run, rehearsal)
    if measured is None or measured.host_mib is None:
        return machine.memory
    reading = ANNOTATIONS * annotations * max(machine.gpus, 1)
    return math.ceil((MORE_MEMORY * measured.host_mib * 2**20 + reading) / MEGABYTE)


def origin(run: Run, rehearsal: Rehearsal) -> str:
    """Where walltime and memory of a run come from, in words."""
    measured = rehearsed(run, rehearsal)
    return f"measured by rehearsal on {measured.machine}" if measured else "assumed, not measured"
