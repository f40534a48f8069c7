"""One training with mmengine's Runner, from the last good checkpoint if there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import Runner
from torch import nn

from icd.experiments.run import Run
from icd.experiments.trackers import NO_TRACKING, Tracking
from icd.tracking.guard import abort, visualizer_config
from icd.training import arithmetic
from icd.training.channels_last import to_channels_last
from icd.training.distiller import unwrap
from icd.training.hooks.account import AccountHook
from icd.training.hooks.losses import loss_hook
from icd.training.hooks.resume import iteration_of, resume_point
from icd.training.parallel import share_counts, unused_parameters
from icd.training.precision import flush_denormals, set_precision
from icd.training.pyramid import require_head_on_pyramid


class PreparedRunner(Runner):
    """mmengine's Runner that gives the model its final form before data-parallel wrapping.

    The wrapper takes parameters as they are then. It lays out the buffers in which it averages
    gradients: if a parameter changes its memory format later, the elements of its gradient are
    mixed up in the first iteration. It also waits for the gradient of each parameter that is
    trained then: some backbones of mmdet (MobileNetV2, EfficientNet) freeze their first stages in
    ``train()``, and the second iteration would fail.
    """

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """Set the format, freeze, then wrap."""
        if self.cfg.channels_last:
            to_channels_last(model)
        if model_wrapper_cfg and not any(one.is_cuda for one in model.parameters()):
            model = revert_sync_batchnorm(model)  # PyTorch synchronises statistics on GPUs alone
        if model_wrapper_cfg:
            model_wrapper_cfg = {**model_wrapper_cfg, **unused_parameters(model)}
        return super().wrap_model(model_wrapper_cfg, model.train())


@flush_denormals()
def train_model(
    run: Run, config: Config, *hooks: Hook, tracking: Tracking = NO_TRACKING
) -> tuple[nn.Module, dict[str, Any]]:
    """Train by a config of :func:`icd.training.config.training_config`.

    Args:
        run: the run, whose checkpoints lie in the config's ``work_dir``.
        config: complete config of the Runner.
        hooks: further hooks.
        tracking: the trackers that follow it.

    Raises:
        InputError: the detector's head does not fit its pyramid.

    Returns:
        The trained model, the cost of its training (see :class:`AccountHook`) and, as
        ``arithmetic``, how it computed.
    """
    with arithmetic.settings(config.tf32, config.deterministic):
        runner, account = build_runner(run, config, tracking), AccountHook()
        for hook in (account, *hooks):
            runner.register_hook(hook)
        model = unwrap(runner.model)
        require_head_on_pyramid(getattr(model, "student", model))
        share_counts(model, config.accumulate)
        set_precision(model, config.precision, config.teacher_precision)
        try:
            runner.train()
        except Exception:
            loss_hook(runner).read(runner)  # a loss that is not finite may be the cause
            raise
        finally:
            abort(runner.visualizer, tracking)  # does nothing if the training has ended by itself
        return model, account.account() | {"arithmetic": arithmetic.record(config)}


def build_runner(run: Run, config: Config, tracking: Tracking = NO_TRACKING) -> PreparedRunner:
    """A Runner at the last good checkpoint of a run, if there is one."""
    last = resume_point(Path(config.work_dir), run.id)
    start: dict[str, Any] = {"load_from": str(last.file), "resume": True} if last.file else {}
    if tracking.trackers:
        done = iteration_of(last.file) if last.file else 0
        start["visualizer"] = visualizer_config(run, tracking, done)
    runner = PreparedRunner.from_cfg(Config(config.to_dict() | start))
    last.tell(runner)
    if config.linear_rule != 1:
        runner.logger.info(f"linear rule: learning rate multiplied by {config.linear_rule:g}")
    return runner
