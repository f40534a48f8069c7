"""Non-maximum suppression of a whole batch, as an operator that PyTorch runs and ONNX has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torchvision
from torch import Tensor

EXCLUDED = -1.0  # score of a candidate that is none
NAME = "icd::keep"


@dataclass(frozen=True)
class Candidates:
    """Boxes that compete, the same number M in each of B images.

    boxes: [B, M, 4], x1 y1 x2 y2 in pixels.
    scores: [B, M]; EXCLUDED for those that are below the threshold of scores.
    labels: [B, M] int64.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


@torch.library.custom_op(NAME, mutates_args=())
def keep(boxes: Tensor, scores: Tensor, iou_threshold: float, count: int) -> Tensor:
    """Which boxes greedy non-maximum suppression keeps.

    Args:
        boxes: [B, M, 4], x1 y1 x2 y2.
        scores: [B, M]; boxes with a negative one take no part.
        iou_threshold: a box goes if its IoU with a kept, better box is greater than this.
        count: number of boxes that are kept in each image, at most.

    Returns:
        [B, M] bool.
    """
    kept = torch.zeros_like(scores, dtype=torch.bool)
    for own, each, marks in zip(boxes, scores, kept, strict=True):
        there = (each >= 0).nonzero()[:, 0]
        marks[there[torchvision.ops.nms(own[there], each[there], iou_threshold)[:count]]] = True
    return kept


@keep.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: float, count: int) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


def translations() -> dict[Any, Callable[..., Any]]:
    """How torch.onnx writes the operator."""
    import onnx
    from onnxscript import opset18

    op: Any = opset18  # its types are those of attributes, not of what it takes

    def written(boxes: Any, scores: Any, iou_threshold: float, count: int) -> Any:
        # Scores [B, 1, M]: the operator knows classes, but here each image is one.
        alone = op.Unsqueeze(scores, [1])
        kept = op.NonMaxSuppression(boxes, alone, count, iou_threshold, EXCLUDED / 2)
        places = op.Gather(kept, [0, 2], axis=1)  # of image, class and box, the class is left out
        number = op.Slice(op.Shape(kept), [0], [1])
        nowhere = op.Expand(op.Constant(value_int=0), op.Shape(scores))
        marks = op.ScatterND(nowhere, places, op.Expand(op.Constant(value_int=1), number))
        return op.Cast(marks, to=onnx.TensorProto.BOOL)

    return {torch.ops.icd.keep.default: written}


def suppressed(
    found: Candidates, groups: Tensor | None, iou_threshold: float, count: int
) -> Candidates:
    """The ``count`` best candidates of each image after suppression, best first.

    Args:
        found: the candidates.
        groups: [B, M]; boxes of different groups do not suppress each other. None: all do.
        iou_threshold, count: see :func:`keep`.

    Returns:
        As many in each image, ``min(count, M)``; the last may be EXCLUDED.
    """
    boxes = found.boxes
    if groups is not None:  # moves groups apart, as mmcv's batched_nms
        extent = boxes.amax((1, 2)) + 1
        boxes = boxes + (groups * extent[:, None])[..., None]
    marks = torch.ops.icd.keep(boxes, found.scores, iou_threshold, count)
    scores = torch.where(marks, found.scores, EXCLUDED)
    best, place = scores.topk(min(count, scores.shape[1]))
    boxes = found.boxes.gather(1, place[..., None].expand(-1, -1, 4))
    return Candidates(boxes, best, found.labels.gather(1, place))
