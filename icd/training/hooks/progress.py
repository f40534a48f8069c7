"""Hooks that follow a training: where it is, and what it tells whoever watches."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from mmdet.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from icd.process.signals import tell
from icd.training.distiller import unwrap
from icd.training.hooks.resume import checkpoints

SECONDS_BETWEEN_LINES = 10.0


@HOOKS.register_module()
class IterationHook(Hook):
    """Tells a Distiller which iteration it is in, also after resuming."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Called by the Runner."""
        unwrap(runner.model).iteration = runner.iter


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops a training that has diverged, before its weights are saved.

    A finite loss may have had a gradient that is not; therefore the weights are looked at before
    each checkpoint, so that the last one is always good.
    """

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Called by the Runner."""
        self.losses = {k: v.detach() for k, v in outputs.items() if "loss" in k}
        self.images = [sample.img_id for sample in data_batch["data_samples"]]
        if not torch.isfinite(self.losses["loss"]):
            raise self.divergence(runner, "loss in")

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Called by the Runner."""
        if not all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values()):
            raise self.divergence(runner, "weights after")

    def divergence(self, runner: Runner, what: str) -> FloatingPointError:
        """The error with all that is known about it."""
        losses = {name: value.item() for name, value in self.losses.items()}
        good = (checkpoints(Path(runner.work_dir)) or ["none"])[-1]
        return FloatingPointError(
            f"no finite {what} iteration {runner.iter + 1}: {losses}, images {self.images}; "
            f"last good checkpoint: {good}"
        )


@HOOKS.register_module()
class ProgressHook(Hook):
    """One line every few seconds on stderr: run, step, loss, time left.

    Args:
        run: the run's id.
    """

    priority = "LOW"

    def __init__(self, run: str) -> None:
        self.run = run

    def before_train(self, runner: Runner) -> None:
        """Called by the Runner."""
        self.first, self.start = runner.iter, time.monotonic()
        self.last_line = self.start

    @master_only
    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: dict | None = None,
    ) -> None:
        """Called by the Runner."""
        now, done = time.monotonic(), runner.iter + 1
        if now - self.last_line < SECONDS_BETWEEN_LINES and done < runner.max_iters:
            return
        self.last_line = now
        left = (now - self.start) / (done - self.first) * (runner.max_iters - done)
        losses = {k: v.item() for k, v in (outputs or {}).items() if k.startswith("loss")}
        text = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        tell(f"{self.run}  {done}/{runner.max_iters}  {text}  {clock(left)} left")


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, e.g. 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
