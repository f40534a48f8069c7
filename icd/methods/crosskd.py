"""CrossKD (Wang et al., CVPR 2024): the student's features pass through the teacher's head.

::

    cross    p^, b^ = what the teacher's head predicts from the student's features, which enter
                      both of its towers after the first convolutions
    classes  L_cls  = 1/n  sum over priors, classes of |p^T - p^| BCE(p^, p^T)
    boxes    L_reg  = 1/n  sum over positive priors of D(b^, b^T)
    D        1 - GIoU of the boxes; for sides that are distributions (GFL), KL(b^T || b^)
    loss     L      = weight (lambda_cls L_cls + lambda_reg L_reg)

p are scores and b boxes; T marks the teacher's own predictions. The teacher's head is frozen, but
its gradients reach the student's features. The student's own predictions take no part, so they
follow the annotations alone.

The first sum runs over all priors, the second over the positive ones of the student's own loss:
the paper's region selection S is 1 there. What the paper leaves open: both are divided by n, the
number of positive priors, as the losses of detectors are. KL is the mean over the four sides of the
sum over bins, and the sum over priors leaves out the padding. Centrenesses are not distilled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from icd.methods.boxes import overlap_error
from icd.methods.distributions import side_divergence
from icd.methods.predictions import Assignment, Dense, TowerPredictions, valid_priors
from icd.methods.shares import mean_count
from icd.methods.soft_scores import SoftScores
from icd.methods.tokens import Targets


class CrossKD(nn.Module):
    """The teacher's predictions, imitated by the teacher's head with the student's features.

    The method has no parameters of its own. It needs heads with a tower of convolutions each for
    classes and boxes, equally wide and long in student and teacher.

    Args:
        weight: Weight of both losses together.
        classification: Weight lambda_cls of the scores.
        localisation: Weight lambda_reg of the boxes; the authors' for GFL is 4.
        position: Number of the student's convolutions, of each tower, before its features cross
            over. The authors' is 3 of 4, for FCOS 2.

    The defaults are the authors' for RetinaNet and ATSS on COCO.
    """

    heads = "towers"  # asks for predictions, also across the heads

    def __init__(
        self,
        weight: Annotated[float, Ge(0)] = 1.0,
        classification: Annotated[float, Ge(0)] = 1.0,
        localisation: Annotated[float, Ge(0)] = 1.0,
        position: Annotated[int, Ge(0)] = 3,
    ) -> None:
        super().__init__()
        self.classification, self.localisation = weight * classification, weight * localisation
        self.position = position

    def forward(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        iteration: int,
        predictions: TowerPredictions,
    ) -> dict[str, Tensor]:
        """The two losses of one batch; arguments as of :class:`icd.methods.icd.method.ICD`.

        ``predictions``: of both heads, and across them.
        """
        cross, other = predictions.cross(self.position), predictions.teacher
        scores = [
            SoftScores.apply(*level, True)[0]
            for level in zip(
                cross.logits,
                other.logits,
                valid_priors(teacher, predictions, targets),
                strict=True,
            )
        ]
        boxes = [
            (error * positive).sum()
            for error, positive in zip(
                box_errors(cross, other), predictions.assignment.positive, strict=True
            )
        ]
        count = self.count(targets, predictions.assignment)
        return {
            "loss_classes": self.classification * torch.stack(scores).sum() / count,
            "loss_boxes": self.localisation * torch.stack(boxes).sum() / count,
        }

    def count(self, targets: Targets, assignment: Assignment) -> Tensor:
        """The number n of positive priors, averaged over the shares of a batch; one at least."""
        return mean_count(assignment.positives, minimum=1)


def box_errors(student: Dense, teacher: Dense) -> list[Tensor]:
    """The distance D of each prior [N, P] by level."""
    if student.bins is None:
        pairs = zip(student.boxes, teacher.boxes, strict=True)
        return [overlap_error(ours, theirs, "giou") for ours, theirs in pairs]
    pairs = zip(student.sides, teacher.sides, strict=True)
    return [side_divergence(ours, theirs, temperature=1) for ours, theirs in pairs]
