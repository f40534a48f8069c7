"""The valuable region of LD: priors around objects that no object is assigned to (algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou, distance_box_iou

from icd.methods.predictions import Levels
from icd.methods.tokens import Targets

NEAREST = 9  # priors of a level that ATSS considers for an object


def valuable_region(
    priors: Levels, valid: Levels, targets: Targets, extent: float
) -> Sequence[Tensor]:
    """Where extent * alpha <= DIoU(prior, object) <= alpha for an object of the image.

    Args:
        priors: anchors [P, 4] by level.
        valid: [N, P] bool by level, False in the padding.
        targets: the objects, each with its threshold alpha (:func:`thresholds`).
        extent: gamma of the paper.

    Returns:
        [N, P] bool by level.
    """
    counts = [len(boxes) for boxes in targets.boxes]
    boxes, anchors = torch.cat(list(targets.boxes)), torch.cat(list(priors))
    image = torch.tensor(np.arange(len(counts)).repeat(counts), dtype=torch.long)
    image = image.to(boxes.device, non_blocking=True)
    threshold = thresholds(priors, valid, boxes, image)
    near = distance_box_iou(anchors, boxes)
    around = (near >= extent * threshold) & (near <= threshold)
    images = image[:, None] == torch.arange(len(counts), device=image.device)
    region = (around.float() @ images.float()).T > 0
    sizes = [len(level) for level in priors]
    return (region & torch.cat(list(valid), dim=1)).split(sizes, dim=1)


def thresholds(priors: Levels, valid: Levels, boxes: Tensor, image: Tensor) -> Tensor:
    """The IoU [M] that makes a prior near an object positive, as ATSS's assigner has it.

    The mean plus the standard deviation of the IoUs of the priors whose centres are nearest to the
    object's, on each level.

    Args:
        priors, valid: see :func:`valuable_region`.
        boxes: [M, 4], objects of all images.
        image: [M], the index of each object's image.
    """
    overlaps, used = [], []
    for anchors, own in zip(priors, valid, strict=True):
        distance = torch.cdist(_centres(anchors), _centres(boxes))
        distance = distance.masked_fill(~own[image].T, torch.inf)
        least, nearest = distance.topk(min(NEAREST, len(anchors)), dim=0, largest=False)
        overlaps.append(box_iou(anchors, boxes).gather(0, nearest))
        used.append(least.isfinite())
    overlap, counts = torch.cat(overlaps), torch.cat(used)
    number = counts.sum(dim=0)
    mean = overlap.where(counts, 0).sum(dim=0) / number
    squares = (overlap - mean).square().where(counts, 0).sum(dim=0)
    return mean + (squares / (number - 1).clamp(min=1)).sqrt()


def _centres(boxes: Tensor) -> Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2
