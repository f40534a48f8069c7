"""Deformable convolution (Dai et al., ICCV 2017) and its modulated form (Zhu et al., CVPR 2019).

Both have torchvision's kernels, forward and backward. Kernel size, stride, padding and dilation are
those of a convolution; each deformable group of input channels has its own offsets. mmcv's
``im2col_step``, how many images its kernel processes at a time, changes no value and is ignored. On
CUDA, gradients add up in no fixed order.

Shapes, of which mmcv's names differ between the two forms:

    input: (N, C, H, W).
    weight: (D, C / groups, kh, kw).
    offset: (N, 2 * deformable groups * kh * kw, h, w): y and x in pixels, for each place of the
        kernel.
    mask: (N, deformable groups * kh * kw, h, w), factors of the sampled values.
    bias: (D,).
    output: (N, D, h, w).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .casting import in_full_precision


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **options: Any,
) -> None:
    """Deformable convolution; writes `output`.

    Args:
        columns, ones: memory of mmcv's kernel, not used here.
        options: see `_plain_options`.
    """
    operands = _operands(input, weight, offset, *_no_mask_no_bias(input, weight))
    output.copy_(torch.ops.torchvision.deform_conv2d(*operands, *_plain_options(**options), False))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **options: Any,
) -> None:
    """Gradients by input and offset; writes `grad_input` and `grad_offset`.

    torchvision computes all gradients at once. mmcv asks for that of the weight next, and hands
    `columns` to both functions, so it is left there.
    """
    operands = _operands(input, weight, offset, *_no_mask_no_bias(input, weight))
    by_input, by_weight, by_offset, *_ = _gradients(
        grad_output, operands, _plain_options(**options), False
    )
    grad_input.copy_(by_input)
    grad_offset.copy_(by_offset)
    columns.resize_(weight.shape).copy_(by_weight)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **options: Any,
) -> None:
    """Gradient by the weight, times `scale`; writes `grad_weight`.

    Args:
        columns: this gradient, if `deform_conv_backward_input` ran before; else empty.
    """
    if columns.numel() == 0:
        operands = _operands(input, grad_weight, offset, *_no_mask_no_bias(input, grad_weight))
        _, by_weight, *_ = _gradients(grad_output, operands, _plain_options(**options), False)
    else:
        by_weight = columns
    grad_weight.copy_(scale * by_weight)
    columns.resize_(0)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    with_bias: bool,
    **options: Any,
) -> None:
    """Modulated deformable convolution; writes `output`.

    Args:
        offset, mask: may be larger than the output, see `_as_read`.
        with_bias: whether `bias` is one; else it is empty.
        ones, columns: memory of mmcv's kernel, not used here.
        options: see `_modulated_options`.
    """
    bias = bias if with_bias else input.new_zeros(len(weight))
    size = output.shape[-2:]
    operands = _operands(input, weight, _as_read(offset, size), _as_read(mask, size), bias)
    settings = _modulated_options(**options)
    output.copy_(torch.ops.torchvision.deform_conv2d(*operands, *settings, True))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    with_bias: bool,
    **options: Any,
) -> None:
    """Gradients of `modulated_deform_conv_forward`; writes the five tensors named ``grad_*``."""
    bias = bias if with_bias else input.new_zeros(len(weight))
    size = grad_output.shape[-2:]
    operands = _operands(input, weight, _as_read(offset, size), _as_read(mask, size), bias)
    found = _gradients(grad_output, operands, _modulated_options(**options), True)
    grad_input.copy_(found[0])
    grad_weight.copy_(found[1])
    for gradient, value in ((grad_offset, found[2]), (grad_mask, found[3])):
        gradient.flatten(1)[:, : value[0].numel()] = value.flatten(1)  # a view of zeros
    if with_bias:
        grad_bias.copy_(found[4])


def _as_read(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Offsets or factors [N, C, H, W] as mmcv's kernel reads them for an output of `size` (h, w).

    mmcv does not compare their size with that of the output: the kernel takes the numbers of an
    image one after the other, for as many places as the output has. DyHead gives it maps of a finer
    level, and its published weights were trained so.
    """
    if maps.shape[-2:] == torch.Size(size):
        return maps
    needed = maps.shape[1] * size[0] * size[1]
    if maps[0].numel() < needed:
        raise ValueError(f"offsets or factors of {[*maps.shape]} for an output of {[*size]}")
    return maps.flatten(1)[:, :needed].unflatten(1, (maps.shape[1], *size))


def _operands(*tensors: Tensor) -> list[Tensor]:
    """Input, weight, offset, mask and bias as torchvision takes them."""
    return [in_full_precision(tensor).contiguous() for tensor in tensors]


def _no_mask_no_bias(input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """What torchvision takes for a mask that is not used, and for no bias."""
    return input.new_zeros(len(input), 1), input.new_zeros(len(weight))


def _gradients(
    grad_output: Tensor, operands: list[Tensor], settings: tuple[int, ...], use_mask: bool
) -> tuple[Tensor, ...]:
    """The gradients by input, weight, offset, mask and bias."""
    gradient = in_full_precision(grad_output).contiguous()
    found: tuple[Tensor, ...] = torch.ops.torchvision._deform_conv2d_backward(
        gradient, *operands, *settings, use_mask
    )
    return found


def _plain_options(
    *,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> tuple[int, ...]:
    """The options of the plain form in torchvision's order; the weight has the kernel's size."""
    return dH, dW, padH, padW, dilationH, dilationW, group, deformable_group


def _modulated_options(
    *,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
) -> tuple[int, ...]:
    """The options of the modulated form in torchvision's order."""
    return stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group
