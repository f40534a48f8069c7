"""What tests need to know about processes that are not their children."""

from __future__ import annotations

import time
from pathlib import Path


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
