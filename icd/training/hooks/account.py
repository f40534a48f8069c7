"""The cost of a training so far, summed over all its sessions (it may stop and resume)."""

from __future__ import annotations

import time

from mmengine.hooks import Hook
from mmengine.runner import Runner

from icd.training.manifest import peak_memory_mib


class AccountHook(Hook):
    """Stores time and peak memory of a training in its checkpoints."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.earlier_seconds = 0.0
        self.earlier_peak: dict[str, float] = {}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Called by the Runner."""
        checkpoint["meta"]["account"] = self.account()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Called by the Runner when it resumes."""
        earlier = checkpoint["meta"]["account"]
        self.earlier_seconds, self.earlier_peak = earlier["seconds"], earlier["peak_memory_mib"]

    def account(self) -> dict:
        """``seconds``, summed over all sessions, and ``peak_memory_mib``, their maximum."""
        peak = peak_memory_mib()
        return {
            "seconds": self.earlier_seconds + time.monotonic() - self.start,
            "peak_memory_mib": {
                name: max(value, self.earlier_peak.get(name, 0.0)) for name, value in peak.items()
            },
        }
