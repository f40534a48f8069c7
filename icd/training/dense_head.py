"""The terms in which a dense head of mmdet speaks: its targets, and its boxes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmdet.models.dense_heads import ATSSHead, FCOSHead, GFLHead
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder, DistancePointBBoxCoder
from mmdet.models.utils import unpack_gt_instances
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from icd.errors import InputError
from icd.methods.predictions import Assignment, Dense

SMALLEST_RATIO = 16 / 1000  # mmdet's limit of a box's sides over its anchor's, and the inverse


@dataclass(frozen=True)
class HeadTargets:
    """The targets of a head's loss for N images and all P priors of each level.

    priors: [P, 4] or [P, 2].
    labels: [N, P].
    weights: [N, P] of the classification.
    sides: [N, P, 4].
    """

    priors: Sequence[Tensor]
    labels: Sequence[Tensor]
    weights: Sequence[Tensor]
    sides: Sequence[Tensor]


class DenseHead:
    """A head whose loss is AnchorHead's, as RetinaNet's.

    Args:
        head: of mmdet.
    """

    bins: int | None = None

    def __init__(self, head: Any) -> None:
        self.head = head

    @property
    def per_cell(self) -> int:
        """Number of priors at each cell."""
        return int(self.head.prior_generator.num_base_priors[0])

    def priors_of_cell(self, place: int) -> list[list[float]]:
        """The priors of the first cell of a level, in pixels."""
        first = self.head.prior_generator.single_level_grid_priors((1, 1), place, device="cpu")
        return [[round(side, 3) for side in prior] for prior in first.tolist()]

    def dense(
        self, outputs: Sequence[Sequence[Tensor]], places: Sequence[int], priors: Sequence[Tensor]
    ) -> Dense:
        """What the head predicts at some of its levels.

        Args:
            outputs: of the head: logits and sides, each [N, channels, h, w] by level.
            places: the levels.
            priors: of these levels.
        """
        logits, sides = outputs[0], outputs[1]
        return Dense(
            logits=[per_prior(logits[place], self.per_cell) for place in places],
            sides=[per_prior(sides[place], self.per_cell) for place in places],
            bins=self.bins,
            decode=partial(_each_level, self.boxes, places, priors),
        )

    def assignment(self, targets: HeadTargets, places: Sequence[int]) -> Assignment:
        """The targets of the head's loss at some of its levels."""
        labels, weights, sides, priors = (
            [by_level[place] for place in places]
            for by_level in (targets.labels, targets.weights, targets.sides, targets.priors)
        )
        decode = partial(_each_level, self.target_boxes, places, priors)
        return Assignment(labels, weights, sides, self.head.num_classes, decode)

    def boxes(self, place: int, priors: Tensor, sides: Tensor) -> Tensor:
        """Boxes [N, P, 4] in pixels that the head predicts at a level, from its sides [N, P, D]."""
        return decode_deltas(sides, priors, self.head.bbox_coder)

    def target_boxes(self, place: int, priors: Tensor, sides: Tensor) -> Tensor:
        """Boxes [N, P, 4] in pixels of the targets of a level."""
        return sides if self.head.reg_decoded_bbox else self.boxes(place, priors, sides)

    @contextmanager
    def watch_targets(self, keep: Callable[[HeadTargets], None]) -> Iterator[None]:
        """Within the block, hand the targets to ``keep`` when the head's loss computes them."""
        before, own = self.head.get_targets, vars(self.head).get("get_targets")

        def watched(priors: Any, *args: Any, **kwargs: Any) -> Any:
            seen = self.given_priors(priors)  # before some heads change the list
            result = before(priors, *args, **kwargs)
            keep(self.parse(seen, result))
            return result

        self.head.get_targets = watched
        try:
            yield
        finally:
            if own is None:
                del self.head.get_targets
            else:
                self.head.get_targets = own

    def targets(self, inputs: Tensor, samples: Sequence[DetDataSample]) -> HeadTargets:
        """The targets for images [N, 3, H, W]; they must not depend on predictions."""
        instances, ignored, images = unpack_gt_instances(samples)
        anchors, flags = self.head.get_anchors(self.sizes(inputs), images, device=inputs.device)
        priors = self.given_priors(anchors)
        # Not of the instance, whose counts are those of the loss (icd.training.parallel).
        get_targets = partial(type(self.head).get_targets, self.head)
        found = get_targets(anchors, flags, instances, images, batch_gt_instances_ignore=ignored)
        return self.parse(priors, found)

    def sizes(self, inputs: Tensor) -> list[tuple[int, int]]:
        """Rows and columns of each level for images [N, 3, H, W]."""
        height, width = inputs.shape[-2:]
        strides = self.head.prior_generator.strides
        return [(-(-height // down), -(-width // across)) for across, down in strides]

    def given_priors(self, priors: Any) -> list[Tensor]:
        """The priors of each level, from what ``get_targets`` is given first."""
        return list(priors[0])

    def parse(self, priors: list[Tensor], result: Sequence[Any]) -> HeadTargets:
        """The targets that ``get_targets`` of the head returns."""
        labels, weights, sides = result[:3]
        return HeadTargets(priors, labels, weights, sides)


class CentredHead(DenseHead):
    """A head whose loss is that of ATSS."""

    def target_boxes(self, place: int, priors: Tensor, sides: Tensor) -> Tensor:
        """The targets are boxes in pixels."""
        return sides

    def parse(self, priors: list[Tensor], result: Sequence[Any]) -> HeadTargets:
        """The anchors come first."""
        return super().parse(priors, result[1:])


class DistributionHead(CentredHead):
    """A head whose loss is that of GFL: each side is a distribution over distances."""

    def __init__(self, head: Any) -> None:
        super().__init__(head)
        self.bins = head.reg_max + 1

    def boxes(self, place: int, priors: Tensor, sides: Tensor) -> Tensor:
        """The expected distance of each side from the anchor's centre, in strides."""
        shares = sides.unflatten(-1, (4, -1)).softmax(dim=-1)
        distances = torch.arange(shares.shape[-1], device=sides.device, dtype=sides.dtype)
        stride = self.head.prior_generator.strides[place][0]
        return around(centres(priors), (shares * distances).sum(dim=-1) * stride)


class PointHead(DenseHead):
    """A head whose loss is that of FCOS: distances from points to the sides."""

    def target_boxes(self, place: int, priors: Tensor, sides: Tensor) -> Tensor:
        """Distances are in strides if ``norm_on_bbox``, else in pixels."""
        unit = self.head.strides[place] if self.head.norm_on_bbox else 1
        return around(priors, sides * unit)

    def boxes(self, place: int, priors: Tensor, sides: Tensor) -> Tensor:
        """As the targets, but a head that does not train predicts pixels."""
        in_pixels = not self.head.training
        return around(priors, sides) if in_pixels else self.target_boxes(place, priors, sides)

    def targets(self, inputs: Tensor, samples: Sequence[DetDataSample]) -> HeadTargets:
        """See :meth:`DenseHead.targets`."""
        instances, _, _ = unpack_gt_instances(samples)
        sizes, device = self.sizes(inputs), inputs.device
        points = self.head.prior_generator.grid_priors(sizes, dtype=inputs.dtype, device=device)
        return self.parse(points, type(self.head).get_targets(self.head, points, instances))

    def given_priors(self, priors: Any) -> list[Tensor]:
        """The points, level by level."""
        return list(priors)

    def parse(self, priors: list[Tensor], result: Sequence[Any]) -> HeadTargets:
        """Labels and sides of each level, the images one after the other."""
        labels, sides = (
            [level.unflatten(0, (-1, len(points))) for level, points in zip(*pair, strict=True)]
            for pair in ((result[0], priors), (result[1], priors))
        )
        return HeadTargets(
            priors, labels, [torch.ones_like(x, dtype=torch.float) for x in labels], sides
        )


# How to read a head, by its loss.
KNOWN: dict[Any, type[DenseHead]] = {
    AnchorHead.loss_by_feat: DenseHead,
    ATSSHead.loss_by_feat: CentredHead,
    GFLHead.loss_by_feat: DistributionHead,
    FCOSHead.loss_by_feat: PointHead,
}


def dense_head(name: str, detector: nn.Module) -> DenseHead:
    """The dense head of a detector, the student or the teacher.

    Raises:
        InputError: it has none, or one that cannot be read.
    """
    head = getattr(detector, "bbox_head", None)
    expected = "a head whose loss is that of RetinaNet, ATSS, GFL or FCOS, with sigmoid scores"
    if head is None:
        problem = f"is missing in the {name}, a {type(detector).__name__}"
        raise InputError("model", "bbox_head", problem, expected)
    kind = KNOWN.get(getattr(type(head), "loss_by_feat", None))
    coder = getattr(head, "bbox_coder", None)
    usual = isinstance(coder, (DeltaXYWHBBoxCoder, DistancePointBBoxCoder))
    if kind is None or not usual or not head.use_sigmoid_cls:
        problem = f"of the {name} is a {type(head).__name__}, which this method cannot read"
        raise InputError("model", "bbox_head", problem, expected)
    return kind(head)


def per_prior(level: Tensor, per_cell: int) -> Tensor:
    """A map [N, A x D, h, w] of A priors per cell as [N, h x w x A, D]."""
    images, channels = level.shape[:2]
    return level.permute(0, 2, 3, 1).reshape(images, -1, channels // per_cell)


def centres(anchors: Tensor) -> Tensor:
    """The centres [P, 2] of anchors [P, 4]."""
    return (anchors[:, :2] + anchors[:, 2:]) / 2


def around(points: Tensor, distances: Tensor) -> Tensor:
    """Boxes [N, P, 4] whose left, top, right and bottom sides are so far from points [P, 2]."""
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)


def decode_deltas(deltas: Tensor, anchors: Tensor, coder: Any) -> Tensor:
    """Boxes [N, P, 4] from deltas to anchors [P, 4], as mmdet's DeltaXYWHBBoxCoder has them.

    mmdet's own function copies constants to the GPU, for which it waits.
    """
    x, y, width, height = (
        delta * std + mean
        for delta, mean, std in zip(deltas.unbind(-1), coder.means, coder.stds, strict=True)
    )
    sides = anchors[:, 2:] - anchors[:, :2]
    centre = centres(anchors) + torch.stack([x, y], dim=-1) * sides
    limit = -math.log(SMALLEST_RATIO)
    half = torch.stack([width, height], dim=-1).clamp(-limit, limit).exp() * sides / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def _each_level(
    boxes: Callable[[int, Tensor, Tensor], Tensor],
    places: Sequence[int],
    priors: Sequence[Tensor],
    sides: Sequence[Tensor],
) -> list[Tensor]:
    return [boxes(*level) for level in zip(places, priors, sides, strict=True)]
