"""Overlap of predicted boxes. torchvision's losses select boxes by value, which waits for a GPU."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Overlap = Literal["giou", "iou"]
TINY = 1e-7  # pixels: boxes may be empty


def overlap_error(first: Tensor, second: Tensor, overlap: Overlap) -> Tensor:
    """1 - IoU [...], or 1 - GIoU, of boxes [..., 4] (corners) with the second ones in their place.

    GIoU (Rezatofighi et al., CVPR 2019) is IoU less the share of the smallest enclosing box that
    neither covers.
    """
    inner = torch.min(first[..., 2:], second[..., 2:]) - torch.max(first[..., :2], second[..., :2])
    common = _area(inner.clamp(min=0))
    union = sum(_area(box[..., 2:] - box[..., :2]) for box in (first, second)) - common
    error = 1 - common / (union + TINY)
    if overlap == "iou":
        return error
    outer = torch.max(first[..., 2:], second[..., 2:]) - torch.min(first[..., :2], second[..., :2])
    enclosing = _area(outer)
    return error + (enclosing - union) / (enclosing + TINY)


def _area(sides: Tensor) -> Tensor:
    """Areas [...] of boxes with sides [..., 2]."""
    return sides[..., 0] * sides[..., 1]
