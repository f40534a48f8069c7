"""Seeds as functions of what they belong to, so no random number depends on earlier ones."""

from __future__ import annotations

import numpy as np


def seed_of(*numbers: int) -> int:
    """One 32-bit seed from several numbers (seed, process, iteration, ...)."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
