"""Where to imitate the teacher: attention to instances, and what it is compared with (table 6).

Each function takes the :class:`Clues` of a batch and what a decoder layer found, and returns the
weights [N, M or 1, L] that :func:`icd.methods.icd.distillation.distillation_loss` uses: without
gradient, zero at tokens in the padding. They all weigh the same error between the same values, so
that nothing but the place differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torchvision
from mmdet.registry import TASK_UTILS
from torch import Tensor

from icd.methods.icd.auxiliary import full_precision
from icd.methods.targets import Targets
from icd.methods.tokens import Size

# Of the object's best anchor: psi of Wang et al.
NEAR = 0.5
# The anchors of RetinaNet, whatever the detector is.
ANCHORS = {"octave_base_scale": 4, "scales_per_octave": 3, "ratios": [0.5, 1.0, 2.0]}
# T of Zhang and Ma for one-stage detectors.
ACTIVATION_TEMPERATURE = 0.5


@dataclass(frozen=True)
class Clues:
    """What can tell where to imitate, for N images of L tokens on several levels.

    targets: the ground truth.
    teacher, student: FPN levels, each [N, C, h, w].
    valid: [N, L] bool, False in the padding.
    asked: for each image, which of its queries have an attention that counts.
    temperature: flattens that attention.
    """

    targets: Targets
    teacher: Sequence[Tensor]
    student: Sequence[Tensor]
    valid: Tensor
    asked: Sequence[range]
    temperature: float

    @property
    def level_sizes(self) -> list[Size]:
        """Rows and columns of each level."""
        return [tuple(level.shape[-2:]) for level in self.teacher]


class Looked(Protocol):
    """What a decoder layer found, as far as it tells where to imitate."""

    def attention(self, asked: Sequence[range], temperature: float) -> Tensor:
        """[N, M, L], summed over the queries asked of each image, without gradient."""


def instance(clues: Clues, found: Looked) -> Tensor:
    """The attention of the instances, summed (Kang et al., NeurIPS 2021): [N, M, L]."""
    return found.attention(clues.asked, clues.temperature)


def everywhere(clues: Clues, found: Looked) -> Tensor:
    """All tokens alike, also in images without objects: [N, 1, L]."""
    return clues.valid[:, None].float()


def foreground(clues: Clues, found: Looked) -> Tensor:
    """Tokens whose cell's centre lies in an annotated box, on every level: [N, 1, L]."""
    centres = cell_centres(clues.level_sizes, clues.targets.padded_size, clues.valid.device)
    inside = [
        ((boxes[:, None, :2] <= centres) & (centres < boxes[:, None, 2:])).all(-1).any(0)
        for boxes in clues.targets.boxes
    ]
    return (torch.stack(inside) & clues.valid)[:, None].float()


def fine_grained(clues: Clues, found: Looked) -> Tensor:
    """Tokens near objects (Wang et al., CVPR 2019): [N, 1, L].

    Near an object are the cells with an anchor whose IoU with it is more than half of the
    largest that any anchor has, over all levels and the cells that are not in the padding.
    """
    strides = level_strides(clues.level_sizes, clues.targets.padded_size)
    generator = TASK_UTILS.build({"type": "AnchorGenerator", "strides": strides, **ANCHORS})
    levels = generator.grid_priors(clues.level_sizes, device=clues.valid.device)
    anchors = torch.cat(levels).unflatten(0, (-1, generator.num_base_priors[0]))
    near = [
        near_objects(anchors, valid, boxes)
        for boxes, valid in zip(clues.targets.boxes, clues.valid, strict=True)
    ]
    return torch.stack(near)[:, None].float()


def near_objects(anchors: Tensor, valid: Tensor, boxes: Tensor) -> Tensor:
    """[L] bool for the A anchors [L, A, 4] of each cell, ``valid`` [L], and objects [n, 4]."""
    near = torch.zeros_like(valid)
    for box in boxes:  # one by one: all objects with all anchors at once need gigabytes
        overlaps = torchvision.ops.box_iou(anchors.flatten(0, 1), box[None].to(anchors))
        best = overlaps.view(anchors.shape[:2]).amax(dim=1) * valid
        near |= best > NEAR * best.max()
    return near


def activation(clues: Clues, found: Looked) -> Tensor:
    """Where activations are large in teacher and student (Zhang and Ma, ICLR 2021): [N, 1, L].

    On each level the softmax over cells of the mean absolute channel, times the number of cells,
    as in the paper; so every level has the same mean. Teacher and student count half each. Padding
    takes no part in it.
    """
    sizes = [rows * columns for rows, columns in clues.level_sizes]
    attention = [
        (activation_attention(theirs, valid) + activation_attention(ours, valid)) / 2
        for theirs, ours, valid in zip(
            clues.teacher, clues.student, clues.valid.split(sizes, dim=1), strict=True
        )
    ]
    return torch.cat(attention, dim=1)[:, None]


def activation_attention(level: Tensor, valid: Tensor) -> Tensor:
    """Spatial attention [N, h * w] of one level [N, C, h, w], with mean 1 where ``valid``."""
    strength = full_precision(level.detach()).abs().mean(dim=1).flatten(1)
    logits = (strength / ACTIVATION_TEMPERATURE).masked_fill(~valid, -torch.inf)
    share = logits.softmax(dim=1) * valid.sum(dim=1, keepdim=True)
    return share.where(valid, 0)  # also on a level that is padding alone


def level_strides(sizes: Sequence[Size], padded_size: Size) -> list[float]:
    """Pixels from cell to cell on each level.

    Strides of a pyramid are powers of two; padded size over level size falls short of them where
    the last cell reaches beyond the image.
    """
    steps = (
        max(extent / cells for extent, cells in zip(padded_size, size, strict=True))
        for size in sizes
    )
    return [2 ** math.ceil(math.log2(step)) for step in steps]


def cell_centres(sizes: Sequence[Size], padded_size: Size, device: torch.device) -> Tensor:
    """[L, 2] (x, y) in pixels of the centres of all cells, level after level."""
    centres = []
    for (rows, columns), stride in zip(sizes, level_strides(sizes, padded_size), strict=True):
        y, x = ((torch.arange(cells, device=device) + 0.5) * stride for cells in (rows, columns))
        centres.append(torch.cartesian_prod(y, x).flip(1))
    return torch.cat(centres)


Weighing = Callable[[Clues, Looked], Tensor]

WHERE: dict[str, Weighing] = {
    function.__name__: function
    for function in (instance, everywhere, foreground, fine_grained, activation)
}


def weighing(where: str, fakes: bool) -> Weighing:
    """The function of a name, which must be the attention if fake instances are to count.

    Raises:
        ValueError: there is no such function, or it asks no queries and ``fakes`` is true.
    """
    if where not in WHERE:
        raise ValueError(f"where is {where!r}, not one of {sorted(WHERE)}")
    if fakes and where != "instance":
        raise ValueError(f"where is {where!r}, which asks no queries, but fakes is true")
    return WHERE[where]
