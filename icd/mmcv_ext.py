"""The compiled operators of mmcv that detectors need, in PyTorch and torchvision.

mmcv looks for its operators in the extension module ``mmcv._ext``. Where mmcv is installed without
it, `install` puts a Python module of that name in its place, so that mmdet imports, trains and
predicts. It has non-maximum suppression (hard and soft), average RoIAlign and the sigmoid focal
loss. All run on the device of their inputs, and half and bfloat16 inputs are computed in float32.
Any other operator can be looked up, as mmcv does on import, but raises an error when called. This
includes RoIPool, because torchvision rounds the regions and mmcv does not.

Each operator keeps the signature that mmcv calls; several write into a tensor that is passed in.
This file imports nothing from icd, so it can be loaded by its path.
"""

from __future__ import annotations

import ctypes
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

EXTENSION = "mmcv._ext"

# mmcv's integer codes for its string arguments.
MAX_POOLING = 0
SOFT_NMS_LINEAR, SOFT_NMS_GAUSSIAN = 1, 2


def install() -> bool:
    """Provide ``mmcv._ext`` where mmcv has none. Call it before mmcv.ops or mmdet is imported.

    Returns:
        True if this call put the Python version in place; False if there was nothing to do,
        because mmcv has a compiled version (which loads as usual) or because ``mmcv._ext`` is
        already loaded, compiled or from an earlier call.

    Raises:
        ModuleNotFoundError: mmcv is not installed.
    """
    if EXTENSION in sys.modules:
        return False
    mmcv = importlib.util.find_spec("mmcv")  # finds the package, but does not import it
    if mmcv is None:
        raise ModuleNotFoundError("mmcv is not installed: pip install onedl-mmcv", name="mmcv")
    folders = mmcv.submodule_search_locations
    if importlib.machinery.PathFinder.find_spec(EXTENSION, folders) is not None:
        return False
    # mmcv and mmengine check that this module has a spec with a loader.
    loader = _OperatorLoader()
    spec = importlib.machinery.ModuleSpec(EXTENSION, loader, origin=__file__)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[EXTENSION] = module
    return True


class _OperatorLoader(importlib.abc.Loader):
    """Fills the module with the operators of this file."""

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(OPERATORS, __doc__=__doc__, __getattr__=_missing_operator)


def _missing_operator(name: str) -> Callable[..., NoReturn]:
    """Module-level ``__getattr__``: a stand-in for an operator this file does not have."""
    if name.startswith("_"):  # Python's own look-ups (__path__, __file__) are not operators
        raise AttributeError(f"module {EXTENSION!r} has no attribute {name!r}")
    return partial(_raise_missing, name)


def _raise_missing(name: str, *_: object, **__: object) -> NoReturn:
    raise NotImplementedError(
        f"mmcv operator {name!r} is not available: mmcv is installed without its compiled "
        f"operators, and icd/mmcv_ext.py replaces only {', '.join(sorted(OPERATORS))}. "
        "Install an mmcv that was compiled with its operators to use this model."
    )


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy non-maximum suppression.

    Args:
        boxes: (N, 4), x1 y1 x2 y2 in pixels.
        scores: (N,).
        iou_threshold: a box goes if its IoU with a kept, better box is greater than this.
        offset: 0 or 1; the width of a box is x2 - x1 + offset, and so for the height.

    Returns:
        (K,) int64, the indices of the kept boxes, best first.
    """
    # mmcv takes the threshold as a C float. At an IoU of exactly 0.6 the rounding decides.
    threshold = ctypes.c_float(iou_threshold).value
    extent = _extent(_in_full_precision(boxes), offset)
    return torchvision.ops.nms(extent, _in_full_precision(scores), threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (Bodla et al., ICCV 2017): overlapping boxes lose score instead of being dropped.

    mmcv calls it with tensors on the CPU, whatever device the boxes came from.

    Args:
        boxes, scores, offset: as for `nms`.
        dets: (N, 5), its first K rows are overwritten with the kept boxes and their new scores.
        iou_threshold: IoU from which on the naive (0) and linear (1) methods lower a score.
        sigma: width of the gaussian method (2), exp(-IoU^2 / sigma).
        min_score: a box whose lowered score is below this is dropped.

    Returns:
        (K,) int64, the indices of the kept boxes, best first.
    """
    scores, extent = scores.clone(), _extent(boxes, offset)
    left = torch.arange(len(boxes), device=boxes.device)
    kept: list[Tensor] = []
    while len(left) > 0:
        best = left[scores[left].argmax()]
        dets[len(kept)] = torch.cat([boxes[best], scores[best, None]])
        kept.append(best)
        # Two empty boxes have no IoU: 0.
        iou = torchvision.ops.box_iou(extent[best, None], extent[left])[0].nan_to_num(0.0)
        if method == SOFT_NMS_GAUSSIAN:
            factor = torch.exp(-iou.square() / sigma)
        else:
            lowered = 1 - iou if method == SOFT_NMS_LINEAR else torch.zeros_like(iou)
            factor = torch.where(iou >= iou_threshold, lowered, 1.0)
        scores[left] *= factor
        left = left[(scores[left] >= min_score) & (left != best)]
    return torch.stack(kept) if kept else left


def _extent(boxes: Tensor, offset: int) -> Tensor:
    """Boxes (N, 4) whose x2 - x1 is the width of `boxes` under mmcv's offset."""
    return torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1) if offset else boxes


def roi_align_forward(
    input: Tensor, rois: Tensor, output: Tensor, *_: Tensor, **options: Any
) -> None:
    """RoIAlign with average pooling; writes `output` (K, C, aligned_height, aligned_width).

    Args:
        input: (N, C, H, W), the feature map.
        rois: (K, 5), index of the image and x1 y1 x2 y2 in pixels of the image.
        options: see `_pooling_options`. (The tensors without a name serve max pooling only.)
    """
    features = _in_full_precision(input)
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
    gradient = _in_full_precision(grad_output)
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
        _raise_missing("roi_align with pool_mode='max'")
    return {"pooled_height": aligned_height, "pooled_width": aligned_width, **shared}


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Focal loss (Lin et al., ICCV 2017, equation 5); writes `output` (N, C).

    With p_t the probability that the sigmoid gives to the right answer for a class,
    ``-alpha_t * (1 - p_t)^gamma * log(p_t)``; alpha_t is alpha for the class of the target and
    1 - alpha for the others. The logarithm is exact at any finite logit, whereas mmcv's kernel
    cuts it off at about -87.

    Args:
        input: (N, C), logits.
        target: (N,) int64, class in [0, C); C is the background, which has no positive class.
        weight: (C,), factor of a row by the class of its target, or empty for none.
    """
    logits, positive = _logits_of_truth(input, target)
    loss = -torch.sigmoid(-logits).pow_(gamma) * F.logsigmoid(logits)
    loss = torch.where(positive, alpha * loss, (1 - alpha) * loss)
    output.copy_(_weighted(loss, target, weight))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Derivative of `sigmoid_focal_loss_forward` by the logits; writes `grad_input` (N, C)."""
    logits, positive = _logits_of_truth(input, target)
    p, q = torch.sigmoid(logits), torch.sigmoid(-logits)  # p_t and 1 - p_t
    slope = q.pow(gamma) * (gamma * p * F.logsigmoid(logits) - q)
    # The logits of the other classes came in with the sign changed.
    slope = torch.where(positive, alpha * slope, (alpha - 1) * slope)
    grad_input.copy_(_weighted(slope, target, weight))


def _logits_of_truth(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, C) whose sigmoid is p_t, and where the class is that of the target (N, C)."""
    logits = _in_full_precision(input)
    positive = target[:, None] == torch.arange(logits.shape[1], device=target.device)
    return torch.where(positive, logits, -logits), positive


def _weighted(rows: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    return rows * weight[target, None] if weight.numel() > 0 else rows


def _in_full_precision(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


OPERATORS: dict[str, Callable[..., object]] = {
    "nms": nms,
    "softnms": softnms,
    "roi_align_forward": roi_align_forward,
    "roi_align_backward": roi_align_backward,
    "sigmoid_focal_loss_forward": sigmoid_focal_loss_forward,
    "sigmoid_focal_loss_backward": sigmoid_focal_loss_backward,
    # For mmcv's report on the environment.
    "get_compiler_version": lambda: "none (operators from icd/mmcv_ext.py)",
    "get_compiling_cuda_version": lambda: "none (operators from icd/mmcv_ext.py)",
}
