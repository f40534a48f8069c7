"""The channels-last memory format, without the convolutions that oneDNN computes out of bounds."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

NARROW = 16  # channels that oneDNN handles at once with AVX-512; 8 with AVX2


def to_channels_last(model: nn.Module) -> None:
    """Lay out a model's weights channels last, for training on CPU or CUDA.

    On CPUs, oneDNN (3.12, in PyTorch 2.14) writes past its buffer when it computes the gradient of
    a strided 1x1 convolution of fewer than ``NARROW`` channels in this format. A training may crash
    much later (https://github.com/uxlfoundation/oneDNN/issues/6035). Such convolutions take every
    ``stride``-th pixel first and then have stride 1, which is the same sum.
    """
    model.to(memory_format=torch.channels_last)
    for conv in model.modules():
        if isinstance(conv, nn.Conv2d) and _out_of_bounds(conv):
            rows, columns = conv.stride
            conv.register_forward_pre_hook(partial(_subsample, rows, columns))
            conv.stride = (1, 1)


def _out_of_bounds(conv: nn.Conv2d) -> bool:
    narrow = conv.in_channels // conv.groups < NARROW
    unpadded = conv.padding in ("valid", (0, 0))
    return narrow and unpadded and conv.kernel_size == (1, 1) and conv.stride != (1, 1)


def _subsample(rows: int, columns: int, conv: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    """Every ``rows``-th row and ``columns``-th column of an input [n, c, h, w]."""
    return inputs[0][..., ::rows, ::columns]
