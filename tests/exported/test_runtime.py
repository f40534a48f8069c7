"""The runtime of exported models does what mmdet and torchvision do, without them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
import torch
import torchvision
from mmcv.transforms import Compose
from mmdet.models import DetDataPreprocessor
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from mmengine.registry import init_default_scope

from icd.data.images import require_image
from icd.errors import InputError
from icd.exported.contract import Pixels, Resize
from icd.exported.runtime import OnnxDetector, kept_boxes, pasted, prepared

Channels = Literal["RGB", "BGR"]
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
@pytest.mark.parametrize("size", [(37, 90), (90, 37), (250, 240)])
def test_prepares_images_as_mmdet(
    tmp_path: Path, size: tuple[int, int], channels: Channels
) -> None:
    init_default_scope("mmdet")
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "image.png"), pixels)
    steps = [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": (133, 80), "keep_ratio": True},
        {"type": "PackDetInputs", "meta_keys": ("img_shape",)},
    ]
    sample = Compose(steps)({"img_path": str(tmp_path / "image.png")})
    preprocessor = DetDataPreprocessor(MEAN, STD, bgr_to_rgb=channels == "RGB")
    batch = {"inputs": [sample["inputs"]], "data_samples": [sample["data_samples"]]}
    expected = preprocessor(batch)["inputs"][0].numpy()
    stated = Pixels(channels=channels, mean=MEAN, std=STD, pad_value=0.0, pad_divisor=32)
    own = prepared(require_image(tmp_path / "image.png"), Resize(longest=133, shortest=80), stated)
    np.testing.assert_allclose(own, expected, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 3])
def test_suppresses_as_torchvision(groups: int) -> None:
    rng = np.random.default_rng(1)
    corner, extent = rng.uniform(0, 50, (200, 2)), rng.uniform(5, 30, (200, 2))
    boxes = np.concatenate([corner, corner + extent], 1).astype(np.float32)
    scores, labels = rng.random(200, np.float32), rng.integers(0, groups, 200)
    tensors = torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(labels)
    expected = torchvision.ops.batched_nms(*tensors, 0.5)
    assert kept_boxes(boxes, scores, labels, 0.5).tolist() == expected.tolist()
    assert 10 < len(expected) < 180
    assert len(kept_boxes(boxes[:0], scores[:0], labels[:0], 0.5)) == 0


def test_pastes_masks_as_mmdet() -> None:
    """Also where boxes leave the image."""
    rng = np.random.default_rng(2)
    grids = rng.random((20, 28, 28), np.float32)
    low, extent = rng.uniform(-8, 40, (20, 2)), rng.uniform(3, 30, (20, 2))
    boxes = np.concatenate([low, low + extent], 1).astype(np.float32)
    tensors = torch.from_numpy(grids)[:, None], torch.from_numpy(boxes)
    expected, _ = _do_paste_mask(*tensors, 50, 60, skip_empty=False)
    for grid, box, theirs in zip(grids, boxes, expected.numpy(), strict=True):
        for threshold in (0.3, 0.5):
            own = pasted(grid, box, (50, 60), threshold)
            clear = np.abs(theirs - threshold) > 1e-4  # on the threshold, rounding decides
            assert (own == (theirs >= threshold))[clear].all()


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_text("nothing")
    with pytest.raises(
        InputError, match=r"model\.onnx: cannot be run \(.*expected what icd export"
    ):
        OnnxDetector(file)


def test_needs_neither_pytorch_nor_mmdet() -> None:
    code = "import icd.exported.runtime, sys; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "onnxruntime" in shown
    assert not {"torch", "mmengine", "mmcv", "mmdet"} & {*shown}
