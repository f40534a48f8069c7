"""Arithmetic of training recipes that planning, training and reports share."""

from __future__ import annotations


def scaled_lr(lr: float, batch_size: int, reference_batch: int | None = None) -> float:
    """The learning rate for a batch size, by the linear scaling rule (Goyal et al., 2017).

    Args:
        lr: rate for ``reference_batch`` images per iteration.
        batch_size: images per iteration, over all GPUs.
        reference_batch: batch size that ``lr`` was tuned for; None applies no scaling.
    """
    return lr * (batch_size / (reference_batch or batch_size))
