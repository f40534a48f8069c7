"""What costs a processor time and changes no result."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Limits of glibc's mallopt: by number, while it keeps memory, and where it moves them by itself.
LIMITS = {
    "M_TRIM_THRESHOLD": (-1, -1, 2**26),  # of free bytes at the end of the heap, that go back
    "M_MMAP_THRESHOLD": (-3, 2**25, 2**25),  # of bytes that are had outside of it
    "M_MMAP_MAX": (-4, 0, 2**16),  # of such pieces
}


@contextmanager
def at_full_speed() -> Iterator[None]:
    """Numbers below 1e-38 count as zero, and freed memory is kept for the next step.

    As gradients such numbers change no weight, but some processors are several times slower with
    them. Memory that goes back to the system comes back page by page, each one cleared: up to a
    fifth of the time of a step on large images. With a GPU, whose memory PyTorch keeps itself,
    it may go.
    """
    torch.set_flush_denormal(True)
    keep_memory(not torch.cuda.is_available())
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        keep_memory(False)


def keep_memory(kept: bool) -> None:
    """Let the C library keep freed memory or not; where it is not glibc, nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for limit, keeping, usual in LIMITS.values():
            mallopt(limit, keeping if kept else usual)
