"""The sigmoid focal loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .casting import in_full_precision


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Focal loss (Lin et al., ICCV 2017, equation 5); writes `output` (N, C).

    With p_t the probability that the sigmoid gives to the right answer for a class,
    ``-alpha_t * (1 - p_t)^gamma * log(p_t)``; alpha_t is alpha for the class of the target and
    1 - alpha for the others. The logarithm is exact at any finite logit, whereas mmcv's kernel
    cuts it off at about -87.

    Args:
        input: (N, C), logits.
        target: (N,) int64, class in [0, C); C is the background, which has no positive class.
        weight: (C,), factor of a row by the class of its target, or empty for none.
    """
    logits, positive = _logits_of_truth(input, target)
    loss = -torch.sigmoid(-logits).pow_(gamma) * F.logsigmoid(logits)
    loss = torch.where(positive, alpha * loss, (1 - alpha) * loss)
    output.copy_(_weighted(loss, target, weight))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Derivative of `sigmoid_focal_loss_forward` by the logits; writes `grad_input` (N, C)."""
    logits, positive = _logits_of_truth(input, target)
    p, q = torch.sigmoid(logits), torch.sigmoid(-logits)  # p_t and 1 - p_t
    slope = q.pow(gamma) * (gamma * p * F.logsigmoid(logits) - q)
    # The logits of the other classes came in with the sign changed.
    slope = torch.where(positive, alpha * slope, (alpha - 1) * slope)
    grad_input.copy_(_weighted(slope, target, weight))


def _logits_of_truth(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, C) whose sigmoid is p_t, and where the class is that of the target (N, C)."""
    logits = in_full_precision(input)
    positive = target[:, None] == torch.arange(logits.shape[1], device=target.device)
    return torch.where(positive, logits, -logits), positive


def _weighted(rows: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    return rows * weight[target, None] if weight.numel() > 0 else rows
