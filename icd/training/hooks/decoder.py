"""Start from a decoder that was trained alone."""

from __future__ import annotations

from pathlib import Path

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from icd.training.checkpoint import load_weights
from icd.training.distiller import unwrap


@HOOKS.register_module()
class WarmDecoderHook(Hook):
    """Loads a trained decoder into the method before the first iteration.

    Args:
        checkpoint: path of the decoder's weights.
    """

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint

    def before_train(self, runner: Runner) -> None:
        """Load the weights, unless the training resumes."""
        if runner.iter == 0:
            load_weights(unwrap(runner.model).method.decoder_parts(), Path(self.checkpoint))
