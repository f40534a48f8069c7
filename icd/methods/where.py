"""Which tokens to imitate: alternatives to the attention of instances (table 6).

Each function takes the FPN levels of teacher and student, the targets and the valid tokens [N, L].
It returns the weights [N, 1, L] of the tokens in ICD's distillation loss, without gradient and zero
in the padding. All of them weight the same error between the same values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torchvision
from mmdet.registry import TASK_UTILS
from torch import Tensor

from icd.methods.tokens import (
    Size,
    Targets,
    full_precision,
    padded_boxes,
    sizes_of,
)

Levels = Sequence[Tensor]
Where = Literal["instance", "everywhere", "foreground", "fine_grained", "activation"]

NEAR = 0.5  # psi of Wang et al.: share of the IoU of the object's best anchor
# The anchors of RetinaNet, for all detectors.
ANCHORS = {"octave_base_scale": 4, "scales_per_octave": 3, "ratios": [0.5, 1.0, 2.0]}
# Overlaps of objects and anchors at once: of all objects they would need gigabytes.
OVERLAPS = 2**23
ACTIVATION_TEMPERATURE = 0.5  # T of Zhang and Ma for one-stage detectors


def everywhere(teacher: Levels, student: Levels, targets: Targets, valid: Tensor) -> Tensor:
    """Equal weights for all tokens, also in images without objects: [N, 1, L]."""
    return valid[:, None].float()


def foreground(teacher: Levels, student: Levels, targets: Targets, valid: Tensor) -> Tensor:
    """Tokens whose cell's centre lies in an annotated box, on every level: [N, 1, L]."""
    centres = cell_centres(sizes_of(teacher), targets.strides, valid.device)
    x, y = centres.unbind(dim=1)
    left, top, right, bottom = padded_boxes(targets)[..., None].unbind(dim=2)
    inside = (left <= x) & (x < right) & (top <= y) & (y < bottom)
    return (inside.any(dim=1) & valid)[:, None].float()


def fine_grained(teacher: Levels, student: Levels, targets: Targets, valid: Tensor) -> Tensor:
    """Tokens near objects (Wang et al., CVPR 2019): [N, 1, L].

    A cell is near an object if one of its anchors has an IoU with the object of more than half of
    the largest IoU of all anchors, over all levels and all cells outside the padding.
    """
    anchors = all_anchors(sizes_of(teacher), targets.strides, valid.device)
    counts = [len(boxes) for boxes in targets.boxes]
    image = torch.tensor(np.arange(len(counts)).repeat(counts)).to(valid.device, non_blocking=True)
    boxes = torch.cat(list(targets.boxes)).to(anchors)
    near = torch.zeros(valid.shape, device=valid.device)
    # On a CPU, one object at a time fits the cache.
    on_cpu = valid.device.type == "cpu"
    some = 1 if on_cpu else max(1, OVERLAPS // anchors[..., 0].numel())
    for start in range(0, len(boxes), some):
        these = slice(start, start + some)
        found = near_objects(anchors, valid[image[these]], boxes[these])
        near.index_add_(0, image[these], found.float())
    return near.clamp(max=1)[:, None]


def near_objects(anchors: Tensor, valid: Tensor, boxes: Tensor) -> Tensor:
    """[n, L] bool, True for cells near an object.

    Args:
        anchors: [L, A, 4], the A anchors of each cell.
        valid: [n, L] bool, False in the padding of the object's image.
        boxes: [n, 4], the objects.
    """
    overlaps = torchvision.ops.box_iou(boxes, anchors.flatten(0, 1))
    best = overlaps.unflatten(1, anchors.shape[:2]).amax(dim=2) * valid
    return best > NEAR * best.amax(dim=1, keepdim=True)


def all_anchors(sizes: Sequence[Size], strides: Sequence[int], device: torch.device) -> Tensor:
    """[L, A, 4], mmdet's anchors of all cells. (Its own grid waits for the device.)"""
    at_origin = base_anchors(tuple(strides)).to(device, non_blocking=True)
    corners = cell_centres(sizes, strides, device, within=0.0).split([h * w for h, w in sizes])
    return torch.cat(
        [corner.repeat(1, 2)[:, None] + own for corner, own in zip(corners, at_origin, strict=True)]
    )


def base_anchors(strides: tuple[int, ...]) -> Tensor:
    """[levels, A, 4], the anchors of the first cell of each level."""
    generator = TASK_UTILS.build({"type": "AnchorGenerator", "strides": strides, **ANCHORS})
    return torch.stack(generator.base_anchors)


def activation(teacher: Levels, student: Levels, targets: Targets, valid: Tensor) -> Tensor:
    """Where activations are large in teacher and student (Zhang and Ma, ICLR 2021): [N, 1, L].

    The weights of a level are the softmax over its cells of the mean absolute activation, times the
    number of cells, as in the paper. So every level has the same mean. Teacher and student
    contribute half each. Padding is excluded.
    """
    sizes = [rows * columns for rows, columns in sizes_of(teacher)]
    attention = [
        (activation_attention(target, cells) + activation_attention(level, cells)) / 2
        for target, level, cells in zip(teacher, student, valid.split(sizes, dim=1), strict=True)
    ]
    return torch.cat(attention, dim=1)[:, None]


def activation_attention(level: Tensor, valid: Tensor) -> Tensor:
    """Spatial attention [N, h * w] of one level [N, C, h, w], with mean 1 where ``valid``."""
    strength = full_precision(level.detach()).abs().mean(dim=1).flatten(1)
    logits = (strength / ACTIVATION_TEMPERATURE).masked_fill(~valid, -torch.inf)
    share = logits.softmax(dim=1) * valid.sum(dim=1, keepdim=True)
    return share.where(valid, 0)  # avoids NaN on a level that consists of padding


def cell_centres(
    sizes: Sequence[Size], strides: Sequence[int], device: torch.device, within: float = 0.5
) -> Tensor:
    """[L, 2] (x, y) in pixels of the centres of all cells, level after level.

    With ``within`` 0 those of their upper left corners.
    """
    centres = []
    for (rows, columns), stride in zip(sizes, strides, strict=True):
        y, x = ((torch.arange(cells, device=device) + within) * stride for cells in (rows, columns))
        centres.append(torch.cartesian_prod(y, x).flip(1))
    return torch.cat(centres)


ALTERNATIVES = {
    function.__name__: function for function in (everywhere, foreground, fine_grained, activation)
}
