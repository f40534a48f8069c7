"""Processes that hold a lock, and what tests need to know about those that others have started."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from icd.process.lock import locked


def ends_within(seconds: float, process: int) -> bool:
    """Wait until a process has ended, for so many seconds at most."""
    until = time.monotonic() + seconds
    while runs(process):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def runs(process: int) -> bool:
    """Whether a process is there and has not ended; one that nobody has waited for has."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children(process: int) -> list[int]:
    """The processes that a process has started."""
    return [*map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]


def hold(folder: Path) -> int:
    """A process that holds the lock of a run until it is killed; its id."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        with locked(folder):
            os.write(writer, b".")
            time.sleep(60)
        os._exit(1)
    assert os.read(reader, 1) == b"."
    return process


def end(process: int) -> None:
    """Kill a process of the tests."""
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
