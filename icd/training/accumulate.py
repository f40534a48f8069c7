"""Gradient accumulation: a process computes its part of a batch share by share.

It needs the memory of one share only. An iteration remains one whole batch and one step of all
optimisers, so schedules, checkpoints and logs do not change. Images are padded to the size of the
largest of the process's batch, as without accumulation. Each loss is divided as in data-parallel
training (:mod:`icd.training.parallel`), which has the same exceptions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from mmdet.models.dense_heads import ATSSHead, CondInstBboxHead, FCOSHead
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import LOOPS
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop
from torch import Tensor

from icd.methods.shares import computing, counting, totals
from icd.training.distiller import Taught, bare_detector, targets_of, unwrap

Share = dict[str, Any]  # inputs [n, 3, H, W] and data_samples of n images
# Heads whose targets, and so whose counts, depend on the objects alone, not on predictions.
COUNTED = (AnchorHead, ATSSHead, FCOSHead, CondInstBboxHead)


@LOOPS.register_module()
class AccumulatingLoop(IterBasedTrainLoop):
    """mmengine's loop, with ``shares`` forward and backward passes in each iteration."""

    def __init__(self, *args: Any, shares: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shares = shares

    def run_iter(self, data_batch: dict[str, Any]) -> None:
        """One iteration: the whole batch."""
        where, runner = {"batch_idx": self._iter, "data_batch": data_batch}, self.runner
        runner.call_hook("before_train_iter", **where)
        outputs = step(runner.model, data_batch, runner.optim_wrapper, self.shares)
        runner.call_hook("after_train_iter", **where, outputs=outputs)
        self._iter += 1


def step(
    model: Any, data: dict[str, Any], optimiser: OptimWrapper, number: int
) -> dict[str, Tensor]:
    """Train on a batch in so many shares; the losses of the batch by name.

    Args:
        model: a detector or a Distiller, in a data-parallel wrapper or not.
        data: a batch as the data loader gives it.
        optimiser: the wrapper of one optimiser or of several.
        number: of shares, which divides the number of images.
    """
    inside = unwrap(model)
    shares = list(split(inside.data_preprocessor(data, training=True), number))
    sums = totals([counts(inside, share) for share in shares])
    logs: list[dict[str, Tensor]] = []
    for index, share in enumerate(shares):
        last = index == number - 1
        # Processes average their gradients once, in the last backward pass.
        alone = model.no_sync() if model is not inside and not last else nullcontext()
        with alone, computing(index, number, sums):
            loss, log = inside.parse_losses(model(**share, mode="loss"))
            if last:
                optimiser.update_params(loss / number)
            else:
                (loss / number).backward()
        logs.append({name: value.detach() for name, value in log.items()})
    return {name: torch.stack([log[name] for log in logs]).mean(dim=0) for name in logs[0]}


def split(data: Share, number: int) -> Iterator[Share]:
    """The shares of a preprocessed batch."""
    images = len(data["data_samples"]) // number
    for start in range(0, images * number, images):
        own = slice(start, start + images)
        yield {key: data[key][own] for key in ("inputs", "data_samples")}


@torch.no_grad()
def counts(model: Any, share: Share) -> list[Tensor]:
    """The counts that the losses of a share divide by, known before the networks run."""
    with counting() as seen:
        for head in bare_detector(model).modules():
            if getattr(type(head), "loss_by_feat", None) in [own.loss_by_feat for own in COUNTED]:
                head.loss_by_feat(*blanks(head, share["inputs"]), *ground_truth(share))
        if isinstance(model, Taught) and (count := getattr(model.method, "count", None)):
            known: list[Any] = [targets_of(**share, strides=model.levels.strides)]
            if model.heads:
                known.append(model.heads.assign(**share))
            count(*known)
    return seen


def ground_truth(share: Share) -> tuple[Any, ...]:
    """Instances, images and ignored instances, as mmdet's losses expect them."""
    instances, ignored, images = unpack_gt_instances(share["data_samples"])
    return instances, images, ignored


def blanks(head: Any, inputs: Tensor) -> list[Sequence[Tensor]]:
    """Predictions of zero for images [n, 3, H, W]: each kind [n, channels, h, w] by level."""
    boxes = head.prior_generator.num_base_priors[0]  # per cell
    channels = [boxes * head.cls_out_channels, boxes * 4]
    if isinstance(head, (ATSSHead, FCOSHead)):
        channels.append(boxes)  # centreness
    if isinstance(head, CondInstBboxHead):
        channels.append(head.num_params)
    images, _, *size = inputs.shape
    strides = [max(stride) for stride in head.prior_generator.strides]
    return [
        [
            inputs.new_zeros(images, count, *(-(-side // stride) for side in size))
            for stride in strides
        ]
        for count in channels
    ]
