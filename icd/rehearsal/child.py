"""A child process whose output goes to a log and whose peak memory is measured."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Ended:
    """How a child process ended.

    status: its exit status; negative if a signal killed it.
    mebibytes: peak memory of it and its children together.
    """

    status: int
    mebibytes: float


def python(arguments: Sequence[str], log: Path) -> Ended:
    """Run ``python`` with these arguments, and append its output to the log."""
    command = [sys.executable, *arguments]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    with log.open("a") as stream:
        stream.write(f"\n$ python {' '.join(arguments)}\n")
        stream.flush()
        process = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": path}
        )
        try:
            peak = _watch(process)
        finally:  # also when this process is interrupted
            if process.poll() is None:
                process.terminate()
            process.wait()
    return Ended(process.returncode, peak)


def _watch(process: subprocess.Popen) -> float:
    """Wait for a process; returns the most memory that it and its children have used together."""
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, tree_memory(process.pid))
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return peak


def tree_memory(pid: int) -> float:
    """MiB that a process and its children use; shared pages count once."""
    with suppress(psutil.Error):  # it has just ended
        parent = psutil.Process(pid)
        return sum(_memory(one) for one in (parent, *parent.children(recursive=True))) / 2**20
    return 0.0


def _memory(process: psutil.Process) -> int:
    """Bytes of a process; pages that several processes share are divided among them."""
    with suppress(psutil.Error):
        used = process.memory_full_info()
        return getattr(used, "pss", used.rss)  # pss is Linux's
    return 0
