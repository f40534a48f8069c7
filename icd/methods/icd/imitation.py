"""The distillation loss of :mod:`icd.methods.icd.plain`, at less cost.

Projection, layer norm and error of the student's values are computed chunk by chunk, and with them
at once what the gradients are but for a factor: so nothing is computed twice, and nothing of the
size of a feature pyramid is kept beside them. The channels of a head are an outer dimension here,
since processors compute along the innermost, and a head may have but eight channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from icd.methods.icd.auxiliary import full_precision
from icd.methods.icd.packed import Chunk, Layout, gather, multiply, span

NORM_EPSILON = 1e-5  # of PyTorch's layer norm
CACHED = 2**18  # values of a network that a CPU's cache holds beside what is made of them


@dataclass(frozen=True)
class Comparison:
    """How values are compared.

    layout: of the tokens.
    heads: number M of heads.
    normalise: layer norm of the values of each head, of both networks.
    """

    layout: Layout
    heads: int
    normalise: bool

    def slope(self, student: Tensor, teacher: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """The weighed error of the values of c tokens, and half its gradient for the student's.

        Args:
            student, teacher: values [C, c] and [M, c, d].
            shares: of the tokens in the error, [M or 1, c].

        Returns:
            A scalar, and [C, c].
        """
        error, half = shares.new_zeros(()), torch.empty_like(student)
        teacher = teacher.transpose(0, 1).flatten(1)
        for some in slices(student):
            # PyTorch is fast at transposing a matrix, and at nothing of more dimensions.
            ours, theirs = (copied(x) for x in (student[:, some], teacher[some].t()))
            each = (full_precision(x).unflatten(0, (self.heads, -1)) for x in (ours, theirs))
            part, slope = self.slope_of(*each, shares[:, None, some])
            half[:, some] = slope.flatten(0, 1)
            error += part
        return error, half

    def slope_of(self, ours: Tensor, theirs: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """The same for values [M, d, c] of both, which are written over."""
        rates = [normalise(values) for values in (ours, theirs)] if self.normalise else []
        gap = torch.sub(ours, theirs, out=theirs)
        weighed = gap * shares
        error = torch.dot(weighed.flatten(), gap.flatten())
        if not rates:
            return error, weighed
        along = torch.mul(weighed, ours, out=gap).mean(dim=1, keepdim=True)
        weighed -= weighed.mean(dim=1, keepdim=True)
        weighed -= ours.mul_(along)
        return error, weighed.mul_(rates[0])


def copied(values: Tensor) -> Tensor:
    """A contiguous copy, to be written over; also of what is contiguous already."""
    return values.clone(memory_format=torch.contiguous_format)


def slices(values: Tensor) -> list[slice]:
    """The tokens of values [C, c]: some at a time on a CPU, while a GPU takes all at once best."""
    channels, count = values.shape
    step = count if values.is_cuda else max(1, CACHED // channels)
    return [slice(first, first + step) for first in range(0, count, step)]


def normalise(values: Tensor) -> Tensor:
    """Layer norm of values [M, d, c] over their d channels, in place.

    Returns:
        What they were multiplied by, [M, 1, c].
    """
    values -= values.mean(dim=1, keepdim=True)
    rate = values.square().mean(dim=1, keepdim=True).add_(NORM_EPSILON).rsqrt_()
    values *= rate
    return rate


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
            projected = torch.addmm(bias[:, None], weight, x.t())
            error, half = comparison.slope(projected, values, share)
            errors.append(error)
            over_weight += half @ x
            over_bias += half.sum(dim=1)
            if wanted:
                multiply(half.t(), weight, levels, chunk)
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
    """Each chunk, its student features [c, C], values [M, c, d] and shares [M or 1, c]."""
    layout, groups = comparison.layout, len(comparison.layout.groups)
    student, maps = features[groups:], layout.levels_of(shares)
    for group, values in zip(layout.groups, features[:groups], strict=True):
        for chunk in group.chunks:
            x, share = gather(student, chunk).to(dtype), gather(maps, chunk).t().contiguous()
            yield chunk, x, values[:, span(chunk)], share
