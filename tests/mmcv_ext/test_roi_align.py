"""RoIAlign through mmcv, against torchvision and by finite differences."""

from __future__ import annotations

import mmcv.ops
import pytest
import torch
import torchvision
from torch import Tensor

from tests.devices import DEVICES
from tests.mmcv_ext.boxes import random_boxes


def rois_and_features(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """RoIs (9, 5), some partly or wholly outside or thin, and features (2, 3, 16, 20)."""
    boxes, _ = random_boxes(6, size=64.0)
    extra = torch.tensor([[-9.0, -9, 30, 20], [50, 50, 95, 95], [7, 7, 7.2, 30]])
    boxes = torch.cat([boxes, extra])
    rois = torch.cat([(torch.arange(9) % 2)[:, None].float(), boxes], dim=1)
    features = torch.randn(2, 3, 16, 20, generator=torch.Generator().manual_seed(1))
    return rois.to(dtype), features.to(dtype).requires_grad_()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("sampling_ratio", "scale"), [(0, 0.25), (2, 0.25), (3, 1.0)])
def test_roi_align(device: str, aligned: bool, sampling_ratio: int, scale: float) -> None:
    rois, features = (t.detach().to(device) for t in rois_and_features())
    ours, theirs = features.clone().requires_grad_(), features.clone().requires_grad_()
    pooled = mmcv.ops.RoIAlign((7, 5), scale, sampling_ratio, aligned=aligned)(ours, rois)
    reference = torchvision.ops.roi_align(theirs, rois, (7, 5), scale, sampling_ratio, aligned)
    torch.testing.assert_close(pooled, reference)
    upstream = torch.randn(pooled.shape, device=device)
    pooled.backward(upstream)
    reference.backward(upstream)
    assert ours.grad is not None
    assert ours.grad.abs().sum() > 0
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_roi_align_of_a_linear_image_is_the_centre_of_the_bin() -> None:
    # Bilinear sampling is exact on f(x, y) = 2 x + 3 y; pixel (i, j) has its centre at i + 0.5.
    y, x = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(32) + 0.5, indexing="ij")
    rois = torch.tensor([[0, 8.0, 12.0, 40.0, 28.0]])  # x 4..20 and y 6..14 at half the scale
    pooled = mmcv.ops.roi_align((2 * x + 3 * y)[None, None], rois, (2, 4), 0.5, 0, "avg", True)
    bin_y, bin_x = torch.tensor([8.0, 12.0])[:, None], torch.tensor([6.0, 10.0, 14.0, 18.0])
    torch.testing.assert_close(pooled[0, 0], 2 * bin_x + 3 * bin_y)


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_roi_align_gradient_is_the_derivative(sampling_ratio: int) -> None:
    rois, features = rois_and_features(torch.float64)
    small = features.detach()[:, :1, :8, :8].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda f: mmcv.ops.roi_align(f, rois[:4], (2, 2), 0.125, sampling_ratio, "avg", True), small
    )


def test_roi_align_without_regions_and_in_low_precision() -> None:
    rois, features = rois_and_features()
    pooled = mmcv.ops.roi_align(features, rois[:0], (7, 7), 0.25)
    assert pooled.shape == (0, 3, 7, 7)
    pooled.sum().backward()
    assert features.grad is not None
    assert features.grad.count_nonzero() == 0

    low = features.detach().bfloat16().requires_grad_()
    mmcv.ops.roi_align(low, rois.bfloat16(), (7, 7), 0.25).float().square().sum().backward()
    full = low.detach().float().requires_grad_()
    mmcv.ops.roi_align(full, rois.bfloat16().float(), (7, 7), 0.25).square().sum().backward()
    assert low.grad is not None
    torch.testing.assert_close(low.grad.float(), full.grad, rtol=0.02, atol=0.02)


def test_roi_align_max_pooling_is_refused() -> None:
    rois, features = rois_and_features()
    with pytest.raises(NotImplementedError, match="pool_mode='max'"):
        mmcv.ops.roi_align(features, rois, (7, 7), 1.0, 0, "max", True)
