"""The distillation loss of :mod:`icd.method.plain`, at less cost.

Projection, layer norm and error of the student's values are computed chunk by chunk, and again
for the gradient; nothing of the size of a feature pyramid is kept in between.
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
        return ours - self.normalise(teacher.transpose(0, 1))


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
        teacher: values, for each image [M, L_i, d], of its tokens; constants. The student's are
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
        ctx.comparison = comparison
        ctx.save_for_backward(weight, bias, shares, *features)
        errors = []
        for _, _, x, values, share in in_chunks(comparison, weight.dtype, shares, features):
            gap = comparison.difference(torch.addmm(bias, x, weight.t()), values)
            errors.append((gap.square_() * share).sum())
        return torch.stack(errors).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of weight, bias and levels; the features are projected once more."""
        weight, bias, shares, *features = ctx.saved_tensors
        images, wanted = len(shares), any(ctx.needs_input_grad[4:])
        levels = [torch.zeros_like(x) for x in features[images:]] if wanted else []
        over_weight, over_bias = (full_precision_zeros(x) for x in (weight, bias))
        for image, chunk, x, values, share in in_chunks(
            ctx.comparison, weight.dtype, shares * grad, features
        ):
            with torch.enable_grad():
                projected = torch.addmm(bias, x, weight.t()).detach().requires_grad_()
                gap = ctx.comparison.difference(projected, values)
            (gradient,) = torch.autograd.grad(gap, projected, 2 * share * gap.detach())
            over_weight += gradient.t() @ x
            over_bias += gradient.sum(dim=0)
            if wanted:
                multiply(gradient, weight, [level[image] for level in levels], chunk)
        nothing = [None] * (len(features) - len(levels))
        return None, over_weight, over_bias, None, *nothing, *levels


def full_precision_zeros(x: Tensor) -> Tensor:
    """Zeros of the shape of ``x`` in which gradients of many chunks can be summed."""
    return torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))


def in_chunks(
    comparison: Comparison, dtype: torch.dtype, shares: Tensor, features: Sequence[Tensor]
) -> Iterator[tuple[int, Chunk, Tensor, Tensor, Tensor]]:
    """Image, chunk, and its student features [c, C], values [M, c, d], shares [c, M or 1, 1]."""
    layout, images = comparison.layout, len(shares)
    for image, chunks in enumerate(layout.images):
        student = [level[image] for level in features[images:]]
        maps = layout.levels_of(shares[image])
        for chunk in chunks:
            x = gather(student, chunk).to(dtype)
            yield image, chunk, x, features[image][:, span(chunk)], gather(maps, chunk)[..., None]
