"""The distillation loss of :mod:`icd.method.plain`, at less cost.

Projection, layer norm and error of the student's values are computed chunk by chunk, and with them
at once what the gradients are but for a factor: so nothing is computed twice, and nothing of the
size of a feature pyramid is kept beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from icd.method.packed import Chunk, Layout, gather, multiply, span


@dataclass(frozen=True)
class Comparison:
    """How values are compared.

    layout: of the tokens.
    heads: number M of heads.
    normalise: applied to the values [..., d] of each head, of both networks.
    """

    layout: Layout
    heads: int
    normalise: Callable[[Tensor], Tensor]

    def difference(self, student: Tensor, teacher: Tensor) -> Tensor:
        """[c, M, d], of the values [c, C] and [M, c, d] of some tokens."""
        ours = self.normalise(student.unflatten(-1, (self.heads, -1)))
        return ours - self.normalise(teacher).transpose(0, 1)

    def slope(self, student: Tensor, teacher: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """The error of the same, weighed by shares [c, M or 1, 1]; half its gradient [c, C]."""
        with torch.enable_grad():
            student = student.requires_grad_()
            gap = self.difference(student, teacher)
        weighed = share * gap.detach()
        (half,) = torch.autograd.grad(gap, student, weighed)
        return (weighed * gap.detach()).sum(), half


def imitation_loss(
    student: Sequence[Tensor],
    projection: nn.Linear,
    teacher: Sequence[Tensor],
    weights: Tensor,
    comparison: Comparison,
) -> Tensor:
    """<m, MSE(V^S, V^T)> / sum m, averaged over images and heads.

    Args:
        student: FPN levels, each [N, C, h, w].
        projection: from features to the student's values.
        teacher: values, for each group of images [M, tokens, d]; constants. The student's are
            computed in their type, which is that of autocast if it is on.
        weights: [N, M or 1, L]; an image whose weights are all zero adds 0.
        comparison: of values.
    """
    dtype, total = teacher[0].dtype, weights.sum(dim=-1, keepdim=True)
    shares = weights.to(torch.promote_types(weights.dtype, dtype)) / total.where(total > 0, 1)
    return ChunkedError.apply(
        comparison,
        projection.weight.to(dtype),
        projection.bias.to(dtype),
        shares / (len(shares) * len(projection.bias)),
        *teacher,
        *student,
    )


class ChunkedError(torch.autograd.Function):
    """The weighted error of projected features, for gradients of features and projection."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        comparison: Comparison,
        weight: Tensor,
        bias: Tensor,
        shares: Tensor,
        *features: Tensor,
    ) -> Tensor:
        """See :func:`imitation_loss`; ``features`` are the teacher's values, then the levels."""
        groups, wanted = len(comparison.layout.groups), any(ctx.needs_input_grad[4:])
        levels = [torch.zeros_like(x) for x in features[groups:]] if wanted else []
        over_weight, over_bias = (full_precision_zeros(x) for x in (weight, bias))
        errors = []
        for chunk, x, values, share in in_chunks(comparison, weight.dtype, shares, features):
            projected = torch.addmm(bias, x, weight.t())
            error, half = comparison.slope(projected, values, share)
            errors.append(error)
            over_weight += half.t() @ x
            over_bias += half.sum(dim=0)
            if wanted:
                multiply(half, weight, levels, chunk)
        ctx.constants = len(features) - len(levels)
        ctx.save_for_backward(over_weight, over_bias, *levels)
        return torch.stack(errors).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of weight, bias and levels."""
        weight, bias, *levels = (2 * grad * half for half in ctx.saved_tensors)
        return None, weight, bias, None, *[None] * ctx.constants, *levels


def full_precision_zeros(x: Tensor) -> Tensor:
    """Zeros of the shape of ``x`` in which gradients of many chunks can be summed."""
    return torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))


def in_chunks(
    comparison: Comparison, dtype: torch.dtype, shares: Tensor, features: Sequence[Tensor]
) -> Iterator[tuple[Chunk, Tensor, Tensor, Tensor]]:
    """Each chunk, its student features [c, C], values [M, c, d] and shares [c, M or 1, 1]."""
    layout, groups = comparison.layout, len(comparison.layout.groups)
    student, maps = features[groups:], layout.levels_of(shares)
    for group, values in zip(layout.groups, features[:groups], strict=True):
        for chunk in group.chunks:
            x, share = gather(student, chunk).to(dtype), gather(maps, chunk)[..., None]
            yield chunk, x, values[:, span(chunk)], share
