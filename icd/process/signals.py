"""Signals that stop a process: it ends its work cleanly and prints a message.

Slurm sends SIGTERM some seconds before SIGKILL. A terminal sends SIGINT at Ctrl-C. Neither means
that the run has failed. :mod:`icd.training.hooks.interrupt` handles signals during a training.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TypeAlias

SIGNALS = (signal.SIGTERM, signal.SIGINT)

Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | None


class Interrupted(SystemExit):
    """A signal ended the work. The process exits with 128 + the signal's number (SIGTERM: 143)."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


@contextmanager
def interruptible(what: str) -> Iterator[None]:
    """Within the block, a signal ends the work cleanly and removes half-written files.

    Args:
        what: name of the work, for the message.

    Raises:
        Interrupted: immediately; during a training, after the current iteration.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        tell(f"{what}: interrupted by {name(number)}; the same command continues")
        raise Interrupted(number)

    before = handle(dict.fromkeys(SIGNALS, stop))
    try:
        yield
    finally:
        handle(before)


def handle(handlers: Mapping[signal.Signals, Handler]) -> dict[signal.Signals, Handler]:
    """Install signal handlers and return those that they replace."""
    return {number: signal.signal(number, handler) for number, handler in handlers.items()}


def name(number: int) -> str:
    """Name of a signal, e.g. SIGTERM."""
    return signal.Signals(number).name


def tell(line: str) -> None:
    """Print a line to stderr; a closed stderr is not an error."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def die_with_parent() -> None:
    """Make the kernel kill this process when the process that started it ends, however it does."""
    set_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
