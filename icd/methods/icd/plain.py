"""The method in its plain formulation: the equations, with every tensor that they name.

This is the specification of :mod:`icd.methods.icd.fast`: tests hold values and gradients of both
equal. It keeps the attention of all queries to all tokens, and the values of both networks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icd.methods.icd.decoder import CrossAttention, LayerOutput
from icd.methods.tokens import Tokens, full_precision


@dataclass(frozen=True)
class PlainOutput(LayerOutput):
    """A layer's output with the attention logits.

    logits: [N, M, K, L], K_j^T F_j^q(q) / sqrt(d); -inf at tokens that are not valid.
    """

    logits: Tensor

    def attention(self, counted: Tensor, temperature: float = 1.0) -> Tensor:
        """See :meth:`LayerOutput.attention`."""
        return instance_weights(self.logits[:, :, : counted.shape[1]], counted, temperature)


def look_up(attention: CrossAttention, queries: Tensor, tokens: Tokens) -> PlainOutput:
    """Equation 5: aggregate the values of ``tokens`` for ``queries`` [N, K, C]."""
    features, heads = tokens.features, attention.heads
    query = split_heads(attention.query(queries), heads)
    key = split_heads(attention.key(features + attention.position(tokens.position)), heads)
    value = split_heads(attention.value(features), heads)
    logits = query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1])
    logits = logits.masked_fill(~tokens.valid[:, None, None, :], -torch.inf)
    aggregated = (full_precision(logits).softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
    return PlainOutput(attention.out(aggregated), value, logits)


def imitation_loss(
    student: Tensor, projection: nn.Linear, teacher: Tensor, weights: Tensor, normalise: bool
) -> Tensor:
    """Equation 9, the distillation loss of one decoder layer.

    Args:
        student: features [N, L, C].
        projection: F^v of the student, from its features to its values.
        teacher: values V^T [N, M, L, d]; constants.
        weights: [N, M, L], or [N, 1, L] for all heads; constants.
        normalise: whether to layer-normalise the values of each head, of both networks.
    """
    ours = split_heads(projection(student), teacher.shape[1])
    return distillation_loss(compared(ours, normalise), compared(teacher, normalise), weights)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[N, L, C] as [N, heads, L, C / heads]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def compared(values: Tensor, normalise: bool) -> Tensor:
    """Values [..., d] as the distillation loss compares them."""
    return normalise_values(values) if normalise else full_precision(values)


def normalise_values(values: Tensor) -> Tensor:
    """Layer norm over the channels of one head, without affine: [..., d]."""
    values = full_precision(values)
    return F.layer_norm(values, values.shape[-1:])


def instance_weights(logits: Tensor, counted: Tensor, temperature: float = 1.0) -> Tensor:
    """Attention summed over the queries ``counted`` [N, K]: [N, M, L] without gradient.

    Zero for an image of which no query counts. The logits are [N, M, K, L].
    """
    attention = full_precision(logits.detach() / temperature).softmax(dim=-1)
    return (attention * counted[:, None, :, None]).sum(dim=2)


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
