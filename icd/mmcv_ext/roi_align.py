"""RoIAlign with average pooling."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .casting import in_full_precision

MAX_POOLING = 0  # mmcv's integer code


def roi_align_forward(
    input: Tensor, rois: Tensor, output: Tensor, *_: Tensor, **options: Any
) -> None:
    """RoIAlign with average pooling; writes `output` (K, C, aligned_height, aligned_width).

    Args:
        input: (N, C, H, W), the feature map.
        rois: (K, 5), index of the image and x1 y1 x2 y2 in pixels of the image.
        options: see `_pooling_options`. (The tensors without a name serve max pooling only.)
    """
    features = in_full_precision(input)
    # The operator behind torchvision.ops.roi_align: that function would take a slow path in
    # PyTorch's deterministic mode, though the forward pass is deterministic either way.
    pooled = torch.ops.torchvision.roi_align(
        features, rois.to(features.dtype), **_pooling_options(**options)
    )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    **options: Any,
) -> None:
    """Gradient of `roi_align_forward`; writes `grad_input` (N, C, H, W). Arguments as there.

    On CUDA it adds up in no fixed order, so PyTorch's deterministic mode refuses it.
    """
    gradient = in_full_precision(grad_output)
    shape = dict(zip(("batch_size", "channels", "height", "width"), grad_input.shape, strict=True))
    gradient = torch.ops.torchvision._roi_align_backward(
        gradient, rois.to(gradient.dtype), **shape, **_pooling_options(**options)
    )
    grad_input.copy_(gradient)


def _pooling_options(
    *, aligned_height: int, aligned_width: int, pool_mode: int, **shared: Any
) -> dict[str, Any]:
    """mmcv's options of RoIAlign under torchvision's names.

    Args:
        aligned_height, aligned_width: size of the output in bins.
        pool_mode: 1 for the average; 0, the maximum, raises NotImplementedError.
        shared: spatial_scale, size of the feature map over size of the image; sampling_ratio,
            samples per bin along an axis, 0 for one per pixel of the feature map; aligned, whether
            the regions are shifted by half a pixel.
    """
    if pool_mode == MAX_POOLING:
        raise NotImplementedError(
            "mmcv's RoIAlign with pool_mode='max' is not available: torchvision has the average"
            " only. Install an mmcv that was compiled with its operators to use it."
        )
    return {"pooled_height": aligned_height, "pooled_width": aligned_width, **shared}
