"""Hooks that follow a training: iteration, finite losses, a line of progress."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from icd.process.signals import tell
from icd.training.distiller import unwrap
from icd.training.hooks.resume import checkpoints

SECONDS_BETWEEN_LINES = 10.0


@HOOKS.register_module()
class IterationHook(Hook):
    """Tells a Distiller its iteration, also after resuming."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Set the iteration."""
        unwrap(runner.model).iteration = runner.iter


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops a training that has diverged, before its weights are saved.

    A finite loss can have a gradient that is not finite. The hook therefore also checks the weights
    before each checkpoint, so the last checkpoint is always good.
    """

    losses: dict[str, Tensor]  # of the last iteration
    images: list[int]  # ids of its batch

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Check the loss."""
        losses, batch = outputs or {}, data_batch or {}
        self.losses = {k: v.detach() for k, v in losses.items() if "loss" in k}
        self.images = [sample.img_id for sample in batch["data_samples"]]
        if not torch.isfinite(self.losses["loss"]):
            raise self.divergence(runner, "loss in")

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Check the weights."""
        if not all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values()):
            raise self.divergence(runner, "weights after")

    def divergence(self, runner: Runner, what: str) -> FloatingPointError:
        """The error, with losses, images and the last good checkpoint."""
        losses = {name: value.item() for name, value in self.losses.items()}
        good = checkpoints(Path(runner.work_dir))
        return FloatingPointError(
            f"no finite {what} iteration {runner.iter + 1}: {losses}, images {self.images}; "
            f"last good checkpoint: {good[-1] if good else 'none'}"
        )


@HOOKS.register_module()
class ProgressHook(Hook):
    """Prints a line every few seconds to stderr: run, iteration, losses, time left.

    Args:
        run: the run's id.
    """

    priority = "LOW"

    def __init__(self, run: str) -> None:
        self.run = run

    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self.first, self.start = runner.iter, time.monotonic()
        self.last_line = self.start

    @master_only
    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Print the line if it is due."""
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
