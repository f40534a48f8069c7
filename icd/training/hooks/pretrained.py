"""Start from a pre-training: all weights come from an earlier training of the same detector."""

from __future__ import annotations

from pathlib import Path

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from icd.training.checkpoint import load_weights
from icd.training.distiller import bare_detector


@HOOKS.register_module()
class PretrainedHook(Hook):
    """Loads the weights of an earlier training of the same detector.

    Args:
        checkpoint: path of the weights.
    """

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint

    def before_train(self, runner: Runner) -> None:
        """Load the weights, unless the training resumes."""
        if runner.iter == 0:
            load_weights(bare_detector(runner.model), Path(self.checkpoint))
