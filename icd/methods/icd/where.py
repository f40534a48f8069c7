"""Which tokens to imitate: the attention of instances, and alternatives to it (table 6).

Each function takes the :class:`WeightingContext` of a batch and the output of a decoder layer. It
returns the weights [N, M or 1, L] of the distillation loss: without gradient, zero at tokens in
the padding. All of them weigh the same error between the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torchvision
from mmdet.registry import TASK_UTILS
from torch import Tensor

from icd.methods.icd.decoder import LayerOutput
from icd.methods.tokens import Size, Targets, full_precision, level_strides, sizes_of

NEAR = 0.5  # psi of Wang et al.: share of the IoU of the object's best anchor
# The anchors of RetinaNet, whatever the detector is.
ANCHORS = {"octave_base_scale": 4, "scales_per_octave": 3, "ratios": [0.5, 1.0, 2.0]}
ACTIVATION_TEMPERATURE = 0.5  # T of Zhang and Ma for one-stage detectors


@dataclass(frozen=True)
class WeightingContext:
    """What the weights of L tokens in N images may depend on, besides a decoder layer's output.

    targets: the ground truth.
    teacher, student: FPN levels, each [N, C, h, w].
    valid: [N, L] bool, False in the padding.
    counted: [N, k] bool, which of the first k queries count; the others do not.
    temperature: flattens their attention.
    """

    targets: Targets
    teacher: Sequence[Tensor]
    student: Sequence[Tensor]
    valid: Tensor
    counted: Tensor
    temperature: float


def instance(context: WeightingContext, output: LayerOutput) -> Tensor:
    """The attention of the instances, summed (Kang et al., NeurIPS 2021): [N, M, L]."""
    return output.attention(context.counted, context.temperature)


def everywhere(context: WeightingContext, output: LayerOutput) -> Tensor:
    """All tokens alike, also in images without objects: [N, 1, L]."""
    return context.valid[:, None].float()


def foreground(context: WeightingContext, output: LayerOutput) -> Tensor:
    """Tokens whose cell's centre lies in an annotated box, on every level: [N, 1, L]."""
    centres = cell_centres(
        sizes_of(context.teacher), context.targets.padded_size, context.valid.device
    )
    inside = [
        ((boxes[:, None, :2] <= centres) & (centres < boxes[:, None, 2:])).all(-1).any(0)
        for boxes in context.targets.boxes
    ]
    return (torch.stack(inside) & context.valid)[:, None].float()


def fine_grained(context: WeightingContext, output: LayerOutput) -> Tensor:
    """Tokens near objects (Wang et al., CVPR 2019): [N, 1, L].

    Near an object are the cells with an anchor whose IoU with it is more than half of the
    largest that any anchor has, over all levels and the cells that are not in the padding.
    """
    strides = level_strides(sizes_of(context.teacher), context.targets.padded_size)
    generator = TASK_UTILS.build({"type": "AnchorGenerator", "strides": strides, **ANCHORS})
    levels = generator.grid_priors(sizes_of(context.teacher), device=context.valid.device)
    anchors = torch.cat(levels).unflatten(0, (-1, generator.num_base_priors[0]))
    near = [
        near_objects(anchors, valid, boxes)
        for boxes, valid in zip(context.targets.boxes, context.valid, strict=True)
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


def activation(context: WeightingContext, output: LayerOutput) -> Tensor:
    """Where activations are large in teacher and student (Zhang and Ma, ICLR 2021): [N, 1, L].

    On each level the softmax over cells of the mean absolute channel, times the number of cells,
    as in the paper; so every level has the same mean. Teacher and student count half each. Padding
    takes no part in it.
    """
    sizes = [rows * columns for rows, columns in sizes_of(context.teacher)]
    attention = [
        (activation_attention(theirs, valid) + activation_attention(ours, valid)) / 2
        for theirs, ours, valid in zip(
            context.teacher, context.student, context.valid.split(sizes, dim=1), strict=True
        )
    ]
    return torch.cat(attention, dim=1)[:, None]


def activation_attention(level: Tensor, valid: Tensor) -> Tensor:
    """Spatial attention [N, h * w] of one level [N, C, h, w], with mean 1 where ``valid``."""
    strength = full_precision(level.detach()).abs().mean(dim=1).flatten(1)
    logits = (strength / ACTIVATION_TEMPERATURE).masked_fill(~valid, -torch.inf)
    share = logits.softmax(dim=1) * valid.sum(dim=1, keepdim=True)
    return share.where(valid, 0)  # also on a level that is padding alone


def cell_centres(sizes: Sequence[Size], padded_size: Size, device: torch.device) -> Tensor:
    """[L, 2] (x, y) in pixels of the centres of all cells, level after level."""
    centres = []
    for (rows, columns), stride in zip(sizes, level_strides(sizes, padded_size), strict=True):
        y, x = ((torch.arange(cells, device=device) + 0.5) * stride for cells in (rows, columns))
        centres.append(torch.cartesian_prod(y, x).flip(1))
    return torch.cat(centres)


Where = Literal["instance", "everywhere", "foreground", "fine_grained", "activation"]
Weighting = Callable[[WeightingContext, LayerOutput], Tensor]

WHERE: dict[str, Weighting] = {
    function.__name__: function
    for function in (instance, everywhere, foreground, fine_grained, activation)
}


def weighting(where: str, fakes: bool) -> Weighting:
    """The function of a name, which must be the attention if fake instances are to count.

    Raises:
        ValueError: there is no such function, or it uses no queries and ``fakes`` is true.
    """
    if where not in WHERE:
        raise ValueError(f"where is {where!r}, not one of {sorted(WHERE)}")
    if fakes and where != "instance":
        raise ValueError(f"where is {where!r}, which uses no queries, but fakes is true")
    return WHERE[where]
