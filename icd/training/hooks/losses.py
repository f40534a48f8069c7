"""The losses of a training: logged, and checked to be finite, without waiting for each of them.

Reading a number from a GPU waits until the GPU has done all its work. The losses of an iteration
therefore stay on the device until several iterations are read at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import RuntimeInfoHook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor

from icd.training.hooks.resume import checkpoints


@dataclass(frozen=True)
class Iteration:
    """An iteration whose losses are still on the device.

    number: counted from 1.
    values: what the model and the optimisers report, scalars by name.
    images: ids of the batch.
    """

    number: int
    values: dict[str, Tensor]
    images: list[int]


@HOOKS.register_module()
class LossHook(RuntimeInfoHook):
    """Logs the losses and stops a training that has diverged, before its weights are saved.

    It reads the losses at an interval and before each checkpoint. A finite loss can have a gradient
    that is not finite; the weights are therefore checked before they are saved, too.

    It takes the place of mmengine's hook, which reads each loss of each iteration.

    Args:
        interval: iterations between two readings. Use that of the log.
    """

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.unread: list[Iteration] = []
        self.last: dict[str, float] = {}  # losses of the last iteration that was read

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Tensor] | None = None,
    ) -> None:
        """Keep what the iteration reports; read it if a reading is due."""
        values = {**(outputs or {}), **gradient_norms(runner.optim_wrapper)}
        images = [sample.img_id for sample in (data_batch or {}).get("data_samples", [])]
        number = runner.iter + 1
        detached = {name: value.detach() for name, value in values.items()}
        self.unread.append(Iteration(number, detached, images))
        if number % self.interval == 0 or number == runner.max_iters:
            self.read(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Check losses and weights, and complete the log in the checkpoint."""
        self.check(runner, checkpoint["state_dict"])
        checkpoint["message_hub"] = runner.message_hub.state_dict()

    def check(self, runner: Runner, weights: Mapping[str, Tensor]) -> None:
        """Raise FloatingPointError unless all losses so far and these weights are finite."""
        self.read(runner)
        if not all(torch.isfinite(value).all() for value in weights.values()):
            raise divergence(runner, f"weights after iteration {runner.iter + 1}", self.last)

    def read(self, runner: Runner) -> None:
        """Read and log what is unread.

        Raises:
            FloatingPointError: a total loss is not finite; it names the first such iteration.
        """
        unread, self.unread = self.unread, []
        everything = read_all(
            [value for iteration in unread for value in iteration.values.values()]
        )
        numbers = iter(everything)
        for iteration in unread:
            read = {name: next(numbers) for name in iteration.values}
            self.last = {name: value for name, value in read.items() if "loss" in name}
            if not isfinite(read["loss"]):
                which = f"loss in iteration {iteration.number}"
                raise divergence(runner, which, self.last, iteration.images)
            for name, value in read.items():
                runner.message_hub.update_scalar(f"train/{name}", value)


def loss_hook(runner: Runner) -> LossHook:
    """The hook of a training."""
    return next(hook for hook in runner.hooks if isinstance(hook, LossHook))


def read_all(values: list[Tensor]) -> list[float]:
    """The values of scalars on the device, for which it is waited once."""
    return torch.stack([value.float() for value in values]).tolist() if values else []


def gradient_norms(wrapper: OptimWrapper | OptimWrapperDict) -> dict[str, Tensor]:
    """The norms before clipping in the last step of optimisers that clip, by name."""
    named = wrapper.items() if isinstance(wrapper, OptimWrapperDict) else [(None, wrapper)]
    norms = {name: getattr(own, "gradient_norm", None) for name, own in named}
    return {
        f"{name}.grad_norm" if name else "grad_norm": norm
        for name, norm in norms.items()
        if norm is not None
    }


def divergence(
    runner: Runner, what: str, losses: dict[str, float], images: list[int] | None = None
) -> FloatingPointError:
    """The error, with losses, images and the last good checkpoint."""
    good = checkpoints(Path(runner.work_dir))
    seen = f", images {images}" if images else ""
    return FloatingPointError(
        f"no finite {what}: {losses}{seen}; last good checkpoint: {good[-1] if good else 'none'}"
    )
