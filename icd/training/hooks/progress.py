"""Hooks that follow a training: the iteration, the epoch, a line of progress."""

from __future__ import annotations

import time
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from icd.process.signals import tell
from icd.training.distiller import unwrap
from icd.training.hooks.losses import read_all

SECONDS_BETWEEN_LINES = 10.0


@HOOKS.register_module()
class IterationHook(Hook):
    """Tells a Taught model its iteration, also after resuming."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Set the iteration."""
        unwrap(runner.model).iteration = runner.iter


@HOOKS.register_module()
class EpochHook(Hook):
    """Tells heads that ask for it how often the training has seen its images.

    mmengine does so only where it counts in epochs. TOOD assigns otherwise from some epoch on.

    Args:
        batch: images per iteration over all devices.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Set the epoch, from 0 on, where mmdet's heads look for it."""
        epoch = runner.iter * self.batch // len(runner.train_dataloader.dataset)
        runner.message_hub.update_info("epoch", epoch)


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
        losses = {k: v for k, v in (outputs or {}).items() if k.startswith("loss")}
        values = zip(losses, read_all(list(losses.values())), strict=True)
        text = "  ".join(f"{name} {value:.3f}" for name, value in values)
        tell(f"{self.run}  {done}/{runner.max_iters}  {text}  {clock(left)} left")


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, e.g. 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
