"""The imitation of the teacher's values, weighed by attention (equation 9)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from icd.methods.icd.auxiliary import full_precision


def instance_weights(logits: Tensor, asked: Tensor, temperature: float = 1.0) -> Tensor:
    """Weight of each token and head: attention summed over instances.

    Args:
        logits: [N, M, K, L] attention logits.
        asked: [N, K] bool, the queries that count: those that are annotated instances.
        temperature: divides the logits; above 1 the attention is flatter.

    Returns:
        [N, M, L] without gradient; zero for an image without instances.
    """
    attention = full_precision(logits.detach() / temperature).softmax(dim=-1)
    return (attention * asked[:, None, :, None]).sum(dim=2)


def normalise_values(values: Tensor) -> Tensor:
    """Layer norm over the channels of one head, without affine: [..., d]."""
    values = full_precision(values)
    return F.layer_norm(values, values.shape[-1:])


def distillation_loss(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    """<m, MSE(V^S, V^T)> / sum m, averaged over images and heads.

    Args:
        student, teacher: [N, M, L, d] values; the teacher's are constants.
        weights: [N, M, L], or [N, 1, L] for all heads; an image whose weights are all zero adds 0.
    """
    error = (student - teacher.detach()).square().mean(dim=-1)
    total = weights.sum(dim=-1)
    # Not a clamp to a tiny number: its inverse overflows in the backward pass, and inf * 0 is nan.
    weighted = (weights * error).sum(dim=-1) / total.where(total > 0, 1)
    return weighted.mean()
