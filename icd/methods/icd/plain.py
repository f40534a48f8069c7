"""The method in its plain formulation: the equations, with every tensor that they name.

This is the specification of what :mod:`icd.methods.icd.attention` and
:mod:`icd.methods.icd.imitation` compute, which materialise less: attention of all queries to all
tokens, padded ones too, and values of both networks. Tests hold both equal, values and gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from icd.methods.icd.auxiliary import full_precision
from icd.methods.icd.distillation import distillation_loss, instance_weights, normalise_values
from icd.methods.icd.queries import Queries
from icd.methods.icd.where import Clues
from icd.methods.targets import Targets
from icd.methods.tokens import Tokens, flatten_levels, tokenize

if TYPE_CHECKING:
    from icd.methods.icd.decoder import CrossAttention
    from icd.methods.icd.method import ICD


@dataclass(frozen=True)
class LookUp:
    """What one decoder layer found; with M heads of d = C / M channels.

    queries: [N, K, C], the layer's output.
    logits: [N, M, K, L], K_j^T F_j^q(q) / sqrt(d); -inf at tokens that are not valid.
    values: [N, M, L, d], V_j^T.
    """

    queries: Tensor
    logits: Tensor
    values: Tensor

    def attention(self, asked: Sequence[range], temperature: float = 1.0) -> Tensor:
        """Attention [N, M, L] summed over the queries ``asked`` of each image, no gradient."""
        slots = range(self.logits.shape[2])
        mask = torch.tensor([[slot in chosen for slot in slots] for chosen in asked])
        return instance_weights(self.logits, mask.to(self.logits.device), temperature)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[N, L, C] as [N, heads, L, C / heads]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def look_up(attention: CrossAttention, queries: Tensor, tokens: Tokens) -> LookUp:
    """Aggregate the values of ``tokens`` for ``queries`` [N, K, C]."""
    heads = attention.heads
    query = split_heads(attention.query(queries), heads)
    key = split_heads(attention.key(tokens.features + attention.position(tokens.position)), heads)
    value = split_heads(attention.value(tokens.features), heads)
    logits = query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1])
    logits = logits.masked_fill(~tokens.valid[:, None, None, :], -torch.inf)
    found = (full_precision(logits).softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
    return LookUp(attention.out(found), logits, value)


def losses(
    method: ICD,
    teacher: Sequence[Tensor],
    student: Sequence[Tensor],
    targets: Targets,
    queries: Queries,
    detach: bool,
) -> dict[str, Tensor]:
    """What :meth:`icd.methods.icd.method.ICD.losses` computes."""
    tokens = tokenize(teacher, targets.image_sizes, targets.padded_size)
    found = method.decoder(method.encoder(queries), tokens)
    features = flatten_levels(student)
    values = student_values(method, features.detach() if detach else features)
    clues = Clues(
        targets, teacher, student, tokens.valid, method.asked(targets, queries), method.temperature
    )
    per_layer = [method.auxiliary(layer.queries, queries) for layer in found]
    return method.total(per_layer, imitation(method, values, found, clues))


def student_values(method: ICD, features: Tensor) -> list[Tensor]:
    """V^S of each layer, [N, M, L, d], from the student's features [N, L, C]."""
    return [split_heads(project(features), method.heads) for project in method.student_values]


def imitation(
    method: ICD, values: Sequence[Tensor], found: Sequence[LookUp], clues: Clues
) -> list[Tensor]:
    """L_distill of each layer."""
    return [
        distillation_loss(
            compared(method, ours), compared(method, layer.values), method.weigh(clues, layer)
        )
        for ours, layer in zip(values, found, strict=True)
    ]


def compared(method: ICD, values: Tensor) -> Tensor:
    """Values [..., d] as the distillation loss compares them."""
    return normalise_values(values) if method.normalise else full_precision(values)
