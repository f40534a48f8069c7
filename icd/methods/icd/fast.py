"""The formulation that trains: the same as :mod:`icd.methods.icd.plain` in less time and memory.

All images, levels and queries are processed at once; only a CPU works in blocks that fit its cache.

- Fused attention aggregates the values and keeps no attention map. Only the queries that count get
  maps, which are summed at once.
- A token's position is its row's half and its column's half, so the position's part of the keys is
  computed once per row and column.
- The forward pass of the distillation loss also computes its gradients and keeps nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from icd.methods.icd.decoder import CrossAttention, LayerOutput
from icd.methods.tokens import Tokens, full_precision

NORM_EPSILON = 1e-5  # of PyTorch's layer norm
CPU_BLOCK = 2**20  # about the elements of a temporary tensor on a CPU


@dataclass(frozen=True)
class FastOutput(LayerOutput):
    """A layer's output with projected queries [N, M, K, d], keys [N, M, L, d], valid [N, L]."""

    query: Tensor
    key: Tensor
    valid: Tensor

    @torch.no_grad()
    def attention(self, counted: Tensor, temperature: float = 1.0) -> Tensor:
        """See :meth:`LayerOutput.attention`."""
        images, heads, tokens, d = self.key.shape
        count = counted.shape[1]
        query = self.query[:, :, :count] / (temperature * math.sqrt(d))
        summed = []
        for some in blocks(heads, images * count * tokens, self.key.device):
            logits = full_precision(query[:, some] @ self.key[:, some].transpose(2, 3))
            maps = logits.masked_fill_(~self.valid[:, None, None], -torch.inf).softmax(dim=-1)
            summed.append(maps.mul_(counted[:, None, :, None]).sum(dim=2))
        return torch.cat(summed, dim=1)


def blocks(count: int, elements: int, device: torch.device) -> Iterator[slice]:
    """Slices of ``count`` items with so many ``elements`` each: one, or on a CPU several."""
    some = max(1, CPU_BLOCK // max(1, elements)) if device.type == "cpu" else count
    for start in range(0, count, some):
        yield slice(start, start + some)


def look_up(attention: CrossAttention, queries: Tensor, tokens: Tokens) -> FastOutput:
    """Aggregate the values of ``tokens`` for ``queries`` [N, K, C]."""
    query = attention.query(queries)
    key, value = (layer.weight.to(query.dtype) for layer in (attention.key, attention.value))
    bias = attention.value.bias.to(query.dtype)
    rows, columns = (lines.to(query.dtype) for lines in position_keys(attention, tokens))
    keys, values = KeysAndValues.apply(tokens, key, rows, columns, value, bias)
    q, k, v = (
        x.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for x in (query, keys, values)
    )
    mask = tokens.valid[:, None, None]
    aggregated = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
    return FastOutput(attention.out(aggregated), v.detach(), q.detach(), k.detach(), tokens.valid)


def position_keys(attention: CrossAttention, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """What rows [N, R, C] and columns [N, S, C] add to the keys of their tokens.

    W_k (W_p [y, x] + b_p) + b_k is a sum over y and x; the constants go with the row.
    """
    over_rows, over_columns = attention.position.weight.chunk(2, dim=1)
    rows = F.linear(tokens.row_sines, over_rows, attention.position.bias)
    columns = F.linear(tokens.column_sines, over_columns)
    return attention.key(rows), F.linear(columns, attention.key.weight)


class KeysAndValues(torch.autograd.Function):
    """Keys and values of constant features, of which no copy is kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, tokens: Tokens, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        """W_k x plus what a token's row and column add, and W_v x + b_v: each [N, L, C].

        ``parameters`` are W_k, the keys of rows and columns, W_v and b_v.
        """
        key, rows, columns, value, bias = parameters
        ctx.tokens, ctx.dtype, ctx.lines = tokens, key.dtype, (rows.shape, columns.shape)
        x = tokens.features.flatten(0, 1).to(key.dtype)
        keys = rows.index_select(1, tokens.row).add_(columns.index_select(1, tokens.column))
        keys.flatten(0, 1).addmm_(x, key.t())
        return keys, torch.addmm(bias, x, value.t()).view_as(keys)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, keys: Tensor, values: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the parameters, from those of keys and values."""
        tokens, per_token = ctx.tokens, full_precision(keys)
        rows, columns = (
            per_token.new_zeros(shape).index_add_(1, index, per_token)
            for shape, index in zip(ctx.lines, (tokens.row, tokens.column), strict=True)
        )
        x = tokens.features.flatten(0, 1).to(ctx.dtype)
        keys, values = keys.flatten(0, 1), values.flatten(0, 1)
        return None, keys.t() @ x, rows, columns, values.t() @ x, values.sum(dim=0)


def imitation_loss(
    student: Tensor, projection: nn.Linear, teacher: Tensor, weights: Tensor, normalise: bool
) -> Tensor:
    """See :func:`icd.methods.icd.plain.imitation_loss`.

    Under autocast the student's values are computed in the type of the teacher's.
    """
    weight, bias = projection.weight.to(teacher.dtype), projection.bias.to(teacher.dtype)
    total = weights.sum(dim=-1, keepdim=True)
    share = weights.to(torch.promote_types(weights.dtype, teacher.dtype))
    share = share / (total.where(total > 0, 1) * len(student) * len(bias))
    return WeightedError.apply(normalise, student, weight, bias, teacher, share)


class WeightedError(torch.autograd.Function):
    """The weighted squared error of projected features, and its gradients at the same time."""

    @staticmethod
    def forward(ctx: Any, normalise: bool, student: Tensor, *others: Tensor) -> Tensor:
        """Squared errors of values times their share, summed.

        ``others`` are weight and bias of the projection, the teacher's values and the share
        [N, M or 1, L] of each token in the loss.
        """
        weight, bias, teacher, share = others
        x, d = student.flatten(0, 1), teacher.shape[-1:]
        theirs, shares = (y.transpose(1, 2).flatten(0, 1) for y in (teacher, share[..., None]))
        over_x = torch.empty_like(x) if ctx.needs_input_grad[1] else None
        over_weight, over_bias = (full_precision(torch.zeros_like(y)) for y in (weight, bias))
        error = shares.new_zeros(())
        for some in blocks(len(x), len(bias), x.device):
            features = x[some].to(weight.dtype)
            projected = torch.addmm(bias, features, weight.t()).unflatten(1, (-1, *d))
            ours, gap = full_precision(projected), full_precision(theirs[some])
            if normalise:
                norm, mean, rate = torch.native_layer_norm(ours, d, None, None, NORM_EPSILON)
                gap = norm.sub_(F.layer_norm(gap, d))
            else:
                gap = ours - gap
            slope = gap * shares[some]
            error += torch.dot(gap.flatten(), slope.flatten())
            if normalise:
                slope = torch.ops.aten.native_layer_norm_backward(
                    slope, ours, d, mean, rate, None, None, [True, False, False]
                )[0]
            over_bias += slope.flatten(1).sum(dim=0)
            slope = slope.flatten(1).to(weight.dtype)
            over_weight += slope.t() @ features
            if over_x is not None:
                over_x[some] = slope @ weight
        ctx.save_for_backward(over_weight, over_bias, over_x)
        ctx.shape = student.shape
        return error

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The saved gradients lack the factor 2 of the square, and the incoming gradient."""
        weight, bias, x = (None if y is None else 2 * grad * y for y in ctx.saved_tensors)
        return None, None if x is None else x.view(ctx.shape), weight, bias, None, None
