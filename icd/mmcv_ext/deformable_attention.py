"""Multi-scale deformable attention (Zhu et al., ICLR 2021, equation 3).

mmcv has an implementation in PyTorch, but takes it on the CPU only. On a GPU it calls these
functions, which use it there, too. The backward pass computes the forward pass again instead of
keeping the sampled values.

Shapes, for Q queries, M heads of d channels, L levels with S cells together, and K points each:

    value: (N, S, M, d).
    spatial_shapes: (L, 2), height and width of each level.
    sampling_loc: (N, Q, M, L, K, 2), x and y from 0 to 1 over a level.
    attn_weight: (N, Q, M, L, K).
    output: (N, Q, M * d).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .casting import in_full_precision


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_loc: Tensor,
    attn_weight: Tensor,
    im2col_step: int,
) -> Tensor:
    """The attended values. Where levels start follows from their shapes."""
    return _attended(spatial_shapes.tolist(), value, sampling_loc, attn_weight).to(value.dtype)


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_loc: Tensor,
    attn_weight: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Gradients of `ms_deform_attn_forward`; writes the last three tensors.

    On CUDA they add up in no fixed order, so PyTorch's deterministic mode refuses it.
    """
    inputs = [x.detach().requires_grad_() for x in (value, sampling_loc, attn_weight)]
    with torch.enable_grad():
        output = _attended(spatial_shapes.tolist(), *inputs)
    found = torch.autograd.grad(output, inputs, grad_output.to(output.dtype))
    written = (grad_value, grad_sampling_loc, grad_attn_weight)
    for gradient, computed in zip(written, found, strict=True):
        gradient.copy_(computed)


def _attended(
    shapes: list[list[int]], value: Tensor, sampling_loc: Tensor, attn_weight: Tensor
) -> Tensor:
    """mmcv's own implementation, in float32 at least."""
    # Imported late, because mmcv.ops needs this package first.
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    value, sampling_loc, attn_weight = map(in_full_precision, (value, sampling_loc, attn_weight))
    output: Tensor = multi_scale_deformable_attn_pytorch(value, shapes, sampling_loc, attn_weight)
    return output
