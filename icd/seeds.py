"""Random states as functions of what they belong to, so that no draw depends on those before it."""

from __future__ import annotations

import numpy as np


def seed_of(*numbers: int) -> int:
    """One seed, of 32 bits, that stands for several numbers (seed, process, iteration, ...)."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
