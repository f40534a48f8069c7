"""One training with mmengine's Runner, from the last good checkpoint if there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from icd.experiments.run import Run
from icd.training.distiller import unwrap
from icd.training.hooks.account import AccountHook
from icd.training.hooks.losses import loss_hook
from icd.training.hooks.resume import resume_point
from icd.training.parallel import share_counts
from icd.training.precision import flush_denormals, set_precision


class FormattedRunner(Runner):
    """mmengine's Runner that sets the model's memory format before data-parallel wrapping.

    The wrapper lays out the buffers in which it averages gradients as the parameters are then. If a
    parameter changes its format later, the elements of its gradient are mixed up in the first
    iteration.
    """

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """Set the format, then wrap."""
        if self.cfg.channels_last:
            model.to(memory_format=torch.channels_last)
        return super().wrap_model(model_wrapper_cfg, model)


@flush_denormals()
def train_model(run: Run, config: Config, *hooks: Hook) -> tuple[nn.Module, dict[str, Any]]:
    """Train by a config of :func:`icd.training.config.training_config`.

    Args:
        run: the run, whose checkpoints lie in the config's ``work_dir``.
        config: complete config of the Runner.
        hooks: further hooks.

    Returns:
        The trained model, and the cost of its training (see :class:`AccountHook`).
    """
    last = resume_point(Path(config.work_dir), run.id)
    start = {"load_from": str(last.file), "resume": True} if last.file else {}
    runner, account = FormattedRunner.from_cfg(Config(config.to_dict() | start)), AccountHook()
    last.tell(runner)
    for hook in (account, *hooks):
        runner.register_hook(hook)
    if config.linear_rule != 1:
        runner.logger.info(f"linear rule: learning rate multiplied by {config.linear_rule:g}")
    model = unwrap(runner.model)
    share_counts(model)
    set_precision(model, config.precision, config.teacher_precision)
    try:
        runner.train()
    except Exception:
        loss_hook(runner).read(runner)  # a loss that is not finite may be the cause
        raise
    return model, account.account()
