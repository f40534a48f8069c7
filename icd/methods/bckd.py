"""Distillation with binary classification (Yang et al., ICCV 2023), for heads with sigmoid scores.

::

    p, b     score of each class and box, of prior i; T the teacher's, S the student's
    weight   w_ij  = |p_ij^T - p_ij^S|                                 of class j
    classes  L_cls = 1/n  sum_ij w_ij BCE(p_ij^S, p_ij^T)
    boxes    L_loc = 1/n  sum_i max_j(w_ij) (1 - IoU(b_i^S, b_i^T))
    loss     L     = weight (alpha_1 L_cls + alpha_2 L_loc)

The sums run over all priors outside of the padding, which the paper does not mention. What it
leaves open: n is the number of positive priors in the student's own loss, as in the losses of
detectors, and w has no gradient. The authors' configs have the generalised IoU in place of IoU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from icd.methods.boxes import Overlap, overlap_error
from icd.methods.predictions import Assignment, DensePredictions, valid_priors
from icd.methods.shares import mean_count
from icd.methods.soft_scores import SoftScores
from icd.methods.tokens import Targets


class BCKD(nn.Module):
    """Cross-entropy with the teacher's scores class by class, and overlap with its boxes.

    The method has no parameters of its own. It works with any dense head that has sigmoid scores.

    Args:
        weight: Weight of both losses together.
        classification: Weight alpha_1 of the scores.
        localisation: Weight alpha_2 of the boxes.
        overlap: Measure of the overlap, ``iou`` or the generalised IoU, ``giou``.

    The defaults are the authors' for GFL on COCO.
    """

    heads = "dense"  # asks for predictions

    def __init__(
        self,
        weight: Annotated[float, Ge(0)] = 1.0,
        classification: Annotated[float, Ge(0)] = 1.0,
        localisation: Annotated[float, Ge(0)] = 4.0,
        overlap: Overlap = "giou",
    ) -> None:
        super().__init__()
        self.classification, self.localisation = weight * classification, weight * localisation
        self.overlap: Overlap = overlap

    def forward(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        iteration: int,
        predictions: DensePredictions,
    ) -> dict[str, Tensor]:
        """The two losses of one batch; arguments as of :class:`icd.methods.icd.method.ICD`.

        ``predictions``: of both heads.
        """
        scores, boxes = [], []
        own, other = predictions.student, predictions.teacher
        for i, valid in enumerate(valid_priors(teacher, predictions, targets)):
            loss, apart = SoftScores.apply(own.logits[i], other.logits[i], valid, False)
            error = overlap_error(own.boxes[i], other.boxes[i], self.overlap)
            scores.append(loss)
            boxes.append((apart * error * valid).sum())
        count = self.count(targets, predictions.assignment)
        return {
            "loss_classes": self.classification * torch.stack(scores).sum() / count,
            "loss_boxes": self.localisation * torch.stack(boxes).sum() / count,
        }

    def count(self, targets: Targets, assignment: Assignment) -> Tensor:
        """The number n of positive priors, averaged over the shares of a batch; one at least."""
        return mean_count(assignment.positives, minimum=1)
