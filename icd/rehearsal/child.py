"""A child process whose output goes to a log and whose peak memory is measured."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from icd.experiments.yaml_files import ROOT

SECONDS_BETWEEN_LOOKS = 0.2
GRACE = 60.0  # seconds from SIGTERM to SIGKILL


@dataclass(frozen=True)
class Ended:
    """How a child process ended.

    status: its exit status; negative if a signal killed it.
    mebibytes: peak memory of it and its children together.
    """

    status: int
    mebibytes: float


def python(arguments: Sequence[str], log: Path, seconds: float = math.inf) -> Ended:
    """Run ``python`` with these arguments, and append its output to the log.

    Raises:
        TimeoutError: it has not ended after so many seconds, and was killed.
    """
    command = [sys.executable, *arguments]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    with log.open("a") as stream:
        stream.write(f"\n$ python {' '.join(arguments)}\n")
        stream.flush()
        process = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": path}
        )
        try:
            peak = _watch(process, time.monotonic() + seconds)
        finally:  # also when this process is interrupted
            _end(process)
    return Ended(process.returncode, peak)


def _end(process: subprocess.Popen) -> None:
    """End a process that may be running."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _watch(process: subprocess.Popen, deadline: float) -> float:
    """Wait for a process; returns the most memory that it and its children have used together."""
    peak = 0.0
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise TimeoutError("did not end in time")
        peak = max(peak, tree_memory(process.pid))
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return peak


def tree_memory(pid: int) -> float:
    """MiB that a process and its children use.

    Pages of one process alone add up. Shared ones, such as libraries, count once: those of the
    process that has most of them.
    """
    own, shared = [0], [0]
    with suppress(psutil.Error):  # it has just ended
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.Error):
                used = process.memory_full_info()
                own.append(used.uss)
                shared.append(used.rss - used.uss)
    return (sum(own) + max(shared)) / 2**20
