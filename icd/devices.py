"""The devices of a run: what it asks for, and not what happens to be there."""

from __future__ import annotations

import os

from icd.errors import InputError


def use_gpus(count: int) -> None:
    """Make sure that a run has the GPUs it asks for; 0 hides them all. Call before any CUDA work.

    Raises:
        InputError: fewer are visible.
    """
    if count == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return
    import torch

    visible = torch.cuda.device_count()
    if visible < count:
        raise InputError(
            "machine.gpus", "", f"asks for {count}, but {visible} are visible", "0 for the CPU"
        )
