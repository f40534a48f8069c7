"""What a method can ask for beside the two pyramids: what the heads made of them.

A method whose class states ``heads``, the kind of heads, receives predictions as the fifth argument
of its ``forward``: with ``heads = "dense"`` :class:`DensePredictions`, with ``"distributions"`` the
same of heads with bins, with ``"towers"`` :class:`TowerPredictions`. If it has a ``count``
(:mod:`icd.methods.shares`), this receives the :class:`Assignment` beside the targets.
:mod:`icd.training.heads` reads all this from mmdet's heads.

A dense head predicts for P priors per level (anchors, or points), one or more at each cell. Priors
follow each other row by row, those of one cell next to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from icd.methods.tokens import Targets, padded_boxes, valid_levels

Levels = Sequence[Tensor]  # one tensor for each level that a method distils, from fine to coarse
Decode = Callable[[Levels], list[Tensor]]


@dataclass(frozen=True)
class Dense:
    """The predictions of a dense head for N images, by level.

    logits: [N, P, C], of which the sigmoid is the score of each class.
    sides: [N, P, D], how a box lies about its prior, as the head itself expresses it: D = 4 deltas
        or distances, or 4 x n logits of n bins (GFL: left, top, right, bottom).
    bins: n, or None if a side is one number.
    decode: boxes in pixels of ``sides``.
    """

    logits: Levels
    sides: Levels
    bins: int | None
    decode: Decode

    @cached_property
    def boxes(self) -> list[Tensor]:
        """[N, P, 4], corners in pixels, which may lie outside of the image."""
        return self.decode(self.sides)


@dataclass(frozen=True)
class Assignment:
    """What the student's own loss made of the ground truth, by level.

    labels: [N, P] class indices; the number of classes stands for the background.
    weights: [N, P] weights in the classification loss: 0 where a prior is ignored.
    sides: [N, P, 4] targets of the localisation, as the head expresses them; they count for
        positive priors only.
    classes: number of classes.
    decode: boxes in pixels of ``sides``.
    """

    labels: Levels
    weights: Levels
    sides: Levels
    classes: int
    decode: Decode

    @cached_property
    def positive(self) -> list[Tensor]:
        """[N, P] bool, True where an object is assigned to a prior."""
        return [(labels >= 0) & (labels < self.classes) for labels in self.labels]

    @cached_property
    def positives(self) -> Tensor:
        """The number of positive priors of all images and levels."""
        return torch.stack([positive.sum() for positive in self.positive]).sum()

    @cached_property
    def boxes(self) -> list[Tensor]:
        """[N, P, 4], the corners in pixels of the box of each positive prior's object."""
        return self.decode(self.sides)

    def objects(self, targets: Targets) -> list[Tensor]:
        """[N, P], index of the object that is assigned to each prior, -1 where there is none.

        The object is the one of the prior's label with the nearest box. Objects that share label
        and box share the first one's index.
        """
        truth = padded_boxes(targets)
        labels = torch.nn.utils.rnn.pad_sequence(
            list(targets.labels), batch_first=True, padding_value=-1
        )
        return [
            _nearest(*level, truth, labels)
            for level in zip(self.boxes, self.labels, self.positive, strict=True)
        ]


def _nearest(
    boxes: Tensor, labels: Tensor, positive: Tensor, truth: Tensor, names: Tensor
) -> Tensor:
    """For boxes [N, P, 4] with labels [N, P], the index of the nearest of ``truth`` [N, K, 4]."""
    found = torch.full_like(labels, -1)
    least = torch.full_like(boxes[..., 0], torch.inf)
    for k in range(truth.shape[1]):  # all at once would take K times the memory
        distance = (boxes - truth[:, None, k]).abs().sum(dim=-1)
        nearer = positive & (labels == names[:, None, k]) & (distance < least)
        found, least = found.masked_fill(nearer, k), distance.where(nearer, least)
    return found


@dataclass(frozen=True)
class DensePredictions:
    """What two dense heads predict for the same priors.

    student, teacher: their predictions; the teacher's have no gradient.
    priors: by level, anchors [P, 4] as corners in pixels, or points [P, 2] as x, y.
    assignment: of the student's own loss.
    """

    student: Dense
    teacher: Dense
    priors: Levels
    assignment: Assignment


@dataclass(frozen=True)
class TowerPredictions(DensePredictions):
    """Those of heads with a tower of convolutions each for classification and localisation.

    cross: what the teacher's head predicts from the student's features after so many convolutions
        of both towers, with gradients for the student. After 0 it is what the teacher's whole head
        makes of the student's pyramid.
    """

    cross: Callable[[int], Dense]


def valid_priors(levels: Levels, predictions: DensePredictions, targets: Targets) -> list[Tensor]:
    """[N, P] bool by level, False where a prior's cell sees nothing but padding.

    ``levels``: the pyramid of one of the detectors, each [N, C, h, w].
    """
    cells = valid_levels(levels, targets)
    counts = [len(priors) for priors in predictions.priors]
    return [
        valid[..., None].expand(-1, -1, count // valid.shape[1]).flatten(1)
        for valid, count in zip(cells, counts, strict=True)
    ]
