"""Localisation distillation (Zheng et al., CVPR 2022), for boxes that are distributions: GFL.

::

    softened  p_e(tau) = softmax(z_e / tau), z_e logits over the n bins of side e of a box      (4)
    LD        L_i  = tau^2 / 4  sum_e 1/n KL(p_e^T(tau) || p_e^S(tau))           of prior i     (5)
    main      the priors to which the student's own loss assigns an object
    valuable  the others with  gamma alpha <= DIoU(prior, object) <= alpha       (algorithm 1)
    classes   K_i  = tau_c^2 1/C KL(softmax(z^T / tau_c) || softmax(z^S / tau_c)), z of C classes
    loss      L    = weight (lambda_m 1/N sum_main s_i L_i + lambda_v 1/N sum_valuable s_i L_i
                             + lambda_c 1/n_main sum_main K_i)

T marks the teacher's predictions and S the student's. N is the number of images and n_main that of
priors in the main region. s_i is the student's highest score at prior i, without gradient. alpha is
the threshold of GFL's assigner (ATSS) for the object. Padding belongs to no region.

The paper leaves the reductions open. The authors' LDHead in mmdet has only the main region, with
the weights s_i and the means over sides and bins; its sum runs over the images of one GPU, two in
the configs. Here it is a mean over images, so the default weights are twice those of the configs.
The imitation of features, which some configs add, is not part of this method.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from icd.methods.distributions import divergence, side_divergence
from icd.methods.predictions import Assignment, DensePredictions, valid_priors
from icd.methods.shares import mean_count
from icd.methods.tokens import Targets
from icd.methods.valuable_region import valuable_region


class LD(nn.Module):
    """Divergence of the distributions of sides, at objects and around, and of those of classes.

    The method has no parameters of its own. It needs heads that predict sides as distributions.

    Args:
        weight: Weight of all losses together.
        main: Weight lambda_m of the main region.
        valuable: Weight lambda_v of the valuable region.
        classification: Weight lambda_c of the classes.
        temperature: Temperature tau of the sides.
        class_temperature: Temperature tau_c of the classes.
        extent: Share gamma that bounds the valuable region; at 1 it is empty.

    The defaults are the authors' for GFL on COCO.
    """

    heads = "distributions"  # asks for predictions

    def __init__(
        self,
        weight: Annotated[float, Ge(0)] = 1.0,
        main: Annotated[float, Ge(0)] = 0.5,
        valuable: Annotated[float, Ge(0)] = 0.5,
        classification: Annotated[float, Ge(0)] = 10.0,
        temperature: Annotated[float, Gt(0)] = 10.0,
        class_temperature: Annotated[float, Gt(0)] = 2.0,
        extent: Annotated[float, Ge(0), Le(1)] = 0.25,
    ) -> None:
        super().__init__()
        self.main, self.valuable = weight * main, weight * valuable
        self.classification = weight * classification
        self.temperature, self.class_temperature = temperature, class_temperature
        self.extent = extent

    def forward(
        self,
        teacher: Sequence[Tensor],
        student: Sequence[Tensor],
        targets: Targets,
        iteration: int,
        predictions: DensePredictions,
    ) -> dict[str, Tensor]:
        """The three losses of one batch; arguments as of :class:`icd.methods.icd.method.ICD`.

        ``predictions``: of both heads.
        """
        bins = predictions.student.bins
        assert bins, "as of all heads with distributions"
        valid = valid_priors(teacher, predictions, targets)
        near = valuable_region(predictions.priors, valid, targets, self.extent)
        main, valuable, classes = [], [], []
        own, other = predictions.student, predictions.teacher
        for i, positive in enumerate(predictions.assignment.positive):
            score = own.logits[i].detach().sigmoid().amax(dim=-1)
            error = score * side_divergence(own.sides[i], other.sides[i], self.temperature) / bins
            main.append((error * positive).sum())
            valuable.append((error * (near[i] & ~positive)).sum())
            apart = divergence(own.logits[i], other.logits[i], self.class_temperature)
            classes.append((apart * positive).sum() / own.logits[i].shape[-1])
        images, count = len(targets.boxes), self.count(targets, predictions.assignment)
        return {
            "loss_main": self.main * torch.stack(main).sum() / images,
            "loss_valuable": self.valuable * torch.stack(valuable).sum() / images,
            "loss_classes": self.classification * torch.stack(classes).sum() / count,
        }

    def count(self, targets: Targets, assignment: Assignment) -> Tensor:
        """The number of priors in the main region, averaged over shares; one at least."""
        return mean_count(assignment.positives, minimum=1)
