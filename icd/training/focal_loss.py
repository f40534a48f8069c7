"""The sigmoid focal loss (Lin et al., ICCV 2017, equation 5) in one pass over gigabytes.

At the size of COCO, the logits of 16 images take a gigabyte. Each operator of mmdet's formula goes
through as much, and several copies are kept for the backward pass. mmcv has a kernel, but only
where it was compiled for the GPU. Here the forward pass computes value and gradient together, in
blocks that stay in the cache, and keeps the gradient alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.losses import focal_loss
from mmdet.registry import MODELS
from torch import Tensor
from torch.autograd.function import once_differentiable

from icd.methods.tokens import full_precision

EPSILON = torch.finfo(torch.float32).eps  # mmdet adds it to the number of positives
# Elements of a block, of which there are three copies: about the cache of a core and of a GPU.
BLOCK = {"cpu": 2**16, "cuda": 2**22}
EXACT = 40.0  # softplus(x) is x above it, up to a rounding error of float64


@MODELS.register_module(force=True)
class FocalLoss(focal_loss.FocalLoss):
    """mmdet's focal loss, in whose place configs get this one.

    What heads rarely use is left to mmdet: losses that are not reduced, targets and weights for
    each class, and predictions that are probabilities.
    """

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss of logits [N, C] for classes [N], a scalar.

        Args:
            pred: logits.
            target: class of each row; any number outside of [0, C) is the background.
            weight: [N] factors of the rows.
            avg_factor: what the sum is divided by, instead of the number of logits.
            reduction_override: ``mean`` or ``sum``, instead of the config's.
        """
        reduction = reduction_override or self.reduction
        usual = pred.dim() == 2 and target.dim() == 1 and not self.activated
        usual = usual and (weight is None or weight.shape == target.shape)
        if not usual or reduction == "none" or (reduction == "sum" and avg_factor is not None):
            return super().forward(pred, target, weight, avg_factor, reduction_override)
        loss = FocalSum.apply(pred, target, weight, self.gamma, self.alpha)
        if reduction == "mean":
            loss = loss / (pred.numel() if avg_factor is None else avg_factor + EPSILON)
        return self.loss_weight * loss


class FocalSum(torch.autograd.Function):
    """The focal loss of logits, summed over rows and classes, and its gradient at the same time."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, weight: Tensor | None, gamma: float, alpha: float
    ) -> Tensor:
        """See :meth:`FocalLoss.forward`; the sum is in float32 at least."""
        total = full_precision(logits.new_zeros(()))
        slopes = torch.empty_like(logits)
        rows = max(1, BLOCK.get(logits.device.type, BLOCK["cuda"]) // max(1, logits.shape[1]))
        for start in range(0, len(logits), rows):
            some = slice(start, start + rows)
            loss, slope = loss_and_slope(full_precision(logits[some]), target[some], gamma, alpha)
            if weight is None:
                total += loss.sum()
            else:
                factor = weight[some].to(loss)
                total += torch.dot(loss.sum(dim=1), factor)
                slope *= factor[:, None]
            slopes[some] = slope
        ctx.save_for_backward(slopes)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The saved gradient times the incoming one."""
        (slopes,) = ctx.saved_tensors
        return slopes * grad.to(slopes), None, None, None, None


def loss_and_slope(x: Tensor, target: Tensor, gamma: float, alpha: float) -> tuple[Tensor, Tensor]:
    """Loss and derivative of each logit [n, C], for targets [n].

    All classes of a row but its target are wrong: the target's alone is computed again.
    """
    wrong = of_wrong(x, gamma)
    index = target.clamp(0, x.shape[1] - 1)[:, None]
    is_object = target[:, None] == index  # the background has no class
    loss, slope = of_wrong(-x.gather(1, index), gamma)
    for each, own in zip(wrong, (alpha * loss, -alpha * slope), strict=True):
        each.mul_(1 - alpha)
        each.scatter_(1, index, own.where(is_object, each.gather(1, index)))
    return wrong


def of_wrong(x: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """p^gamma * -log(1 - p) with p the sigmoid of logits x, and its derivative by them.

    The derivative is p^gamma * (p + gamma * (1 - p) * -log(1 - p)).
    """
    slope = torch.sigmoid(x)
    power = slope.square() if gamma == 2 else slope.pow(gamma)
    loss = F.softplus(x, threshold=EXACT).mul_(power)
    slope.mul_(power.sub_(loss, alpha=gamma)).add_(loss, alpha=gamma)
    return loss, slope
