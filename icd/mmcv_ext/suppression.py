"""Non-maximum suppression, hard and soft."""

from __future__ import annotations

import ctypes

import torch
import torchvision
from torch import Tensor

from .casting import in_full_precision

# mmcv's integer codes for the method of Soft-NMS; 0 is the naive one.
LINEAR, GAUSSIAN = 1, 2


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy non-maximum suppression.

    Args:
        boxes: (N, 4), x1 y1 x2 y2 in pixels.
        scores: (N,).
        iou_threshold: a box goes if its IoU with a kept, better box is greater than this.
        offset: 0 or 1; the width of a box is x2 - x1 + offset, and so for the height.

    Returns:
        (K,) int64, the indices of the kept boxes, best first.
    """
    # mmcv takes the threshold as a C float. At an IoU of exactly 0.6 the rounding decides.
    threshold = ctypes.c_float(iou_threshold).value
    extent = _extent(in_full_precision(boxes), offset)
    return torchvision.ops.nms(extent, in_full_precision(scores), threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (Bodla et al., ICCV 2017): overlapping boxes lose score instead of being dropped.

    mmcv calls it with tensors on the CPU, whatever device the boxes came from.

    Args:
        boxes, scores, offset: as for `nms`.
        dets: (N, 5), its first K rows are overwritten with the kept boxes and their new scores.
        iou_threshold: IoU from which on the naive (0) and linear (1) methods lower a score.
        sigma: width of the gaussian method (2), exp(-IoU^2 / sigma).
        min_score: a box whose lowered score is below this is dropped.

    Returns:
        (K,) int64, the indices of the kept boxes, best first.
    """
    scores, extent = scores.clone(), _extent(boxes, offset)
    left = torch.arange(len(boxes), device=boxes.device)
    kept: list[Tensor] = []
    while len(left) > 0:
        best = left[scores[left].argmax()]
        dets[len(kept)] = torch.cat([boxes[best], scores[best, None]])
        kept.append(best)
        # Two empty boxes have no IoU: 0.
        iou = torchvision.ops.box_iou(extent[best, None], extent[left])[0].nan_to_num(0.0)
        if method == GAUSSIAN:
            factor = torch.exp(-iou.square() / sigma)
        else:
            lowered = 1 - iou if method == LINEAR else torch.zeros_like(iou)
            factor = torch.where(iou >= iou_threshold, lowered, 1.0)
        scores[left] *= factor
        left = left[(scores[left] >= min_score) & (left != best)]
    return torch.stack(kept) if kept else left


def _extent(boxes: Tensor, offset: int) -> Tensor:
    """Boxes (N, 4) whose x2 - x1 is the width of `boxes` under mmcv's offset."""
    return torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1) if offset else boxes
