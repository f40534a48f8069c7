"""Numbers too small to matter, which cost some processors much time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def underflow_is_zero() -> Iterator[None]:
    """Numbers below 1e-38 count as zero on a CPU.

    As gradients they change no weight, but some processors are several times slower with them.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
