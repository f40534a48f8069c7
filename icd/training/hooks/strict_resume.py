"""Resuming: the checkpoint must be of the same model."""

from __future__ import annotations

from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from icd.errors import InputError
from icd.training.distiller import unwrap


@HOOKS.register_module()
class StrictResumeHook(Hook):
    """Refuses to resume from a checkpoint whose tensors differ from the model's.

    mmengine would load what fits and ignore the rest.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare names and shapes before the weights are loaded."""
        own, saved = unwrap(runner.model).state_dict(), checkpoint["state_dict"]
        names = own.keys() | saved.keys()
        wrong = [
            n for n in names if n not in own or n not in saved or own[n].shape != saved[n].shape
        ]
        if wrong:
            raise InputError(
                runner.work_dir,
                min(wrong),
                f"differs between model and checkpoint ({len(wrong)} of {len(names)} tensors)",
                "a checkpoint of this model; without the folder, training starts anew",
            )
        runner.logger.info(f"all {len(own)} tensors of model and checkpoint agree")
