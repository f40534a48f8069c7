"""Binary cross-entropy with a teacher's scores, weighed by how far the scores are apart.

For logits x of the student and y of the teacher, p = sigmoid(x), t = sigmoid(y), the loss of each
prior and class is that of GFL's quality focal loss with beta = 1 (Li et al., NeurIPS 2020)::

    |t - p| * BCE(p, t),    BCE(p, t) = -t log p - (1 - t) log (1 - p) = log (1 + e^x) - t x

CrossKD and BCKD use it. At the size of COCO, the logits take gigabytes, and PyTorch would keep a
copy of each intermediate value for the backward pass. Here the forward pass computes value and
gradient together and keeps the gradient alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from icd.methods.tokens import full_precision

EXACT = 40.0  # softplus(x) is x above it, up to a rounding error of float64


class SoftScores(torch.autograd.Function):
    """The loss of some priors, and how far each prior's scores are apart.

    ``apply(student, teacher, valid, through_weight)``, with logits [N, P, C] of both, ``valid``
    [N, P] bool, and whether the weight |t - p| has a gradient, too. Returns the sum over valid
    priors and their classes, and max |t - p| over classes [N, P], which has no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, valid: Tensor, through_weight: bool
    ) -> tuple[Tensor, Tensor]:
        """See the class; both results are float32 at least."""
        x, target = full_precision(student), full_precision(teacher).sigmoid()
        score = x.sigmoid()
        entropy = F.softplus(x, threshold=EXACT).sub_(target * x)
        gap = target.neg_().add_(score)  # p - t: the slope of the entropy
        weight = gap.abs()
        slope = gap * weight
        if through_weight:  # the slope of |p - t| is sign(p - t) p (1 - p)
            slope.add_(score.mul_(1 - score).mul_(gap.sign_()).mul_(entropy))
        ctx.save_for_backward(slope.mul_(valid[..., None]).to(student.dtype))
        largest = weight.amax(dim=-1)
        ctx.mark_non_differentiable(largest)
        return (weight.mul_(entropy).sum(dim=-1) * valid).sum(), largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """The saved gradient times the incoming one."""
        (slope,) = ctx.saved_tensors
        return slope * grad.to(slope), None, None, None
