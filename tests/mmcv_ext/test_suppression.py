"""Non-maximum suppression through mmcv, against brute force."""

from __future__ import annotations

import mmcv.ops
import numpy as np
import pytest
import torch
import torchvision
from mmcv.ops import soft_nms

from tests.devices import DEVICES
from tests.mmcv_ext.boxes import random_boxes


def iou_matrix(boxes: np.ndarray, offset: int) -> np.ndarray:
    """IoU (N, N) in float64; a width is x2 - x1 + offset."""
    x1, y1, x2, y2 = boxes.astype(np.float64).T
    width = np.minimum.outer(x2, x2) - np.maximum.outer(x1, x1) + offset
    height = np.minimum.outer(y2, y2) - np.maximum.outer(y1, y1) + offset
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    area = (x2 - x1 + offset) * (y2 - y1 + offset)
    return intersection / (np.add.outer(area, area) - intersection)


def greedy_nms(iou: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    """Indices kept by non-maximum suppression, best first."""
    kept: list[int] = []
    for candidate in np.argsort(-scores):
        if all(iou[candidate, better] <= threshold for better in kept):
            kept.append(int(candidate))
    return kept


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.7])
def test_nms_keeps_what_brute_force_keeps(device: str, offset: int, threshold: float) -> None:
    boxes, scores = random_boxes(200, size=20.0)  # small boxes, where the offset matters
    dets, kept = mmcv.ops.nms(boxes.to(device), scores.to(device), threshold, offset=offset)
    expected = greedy_nms(iou_matrix(boxes.numpy(), offset), scores.numpy(), threshold)
    assert kept.tolist() == expected
    assert 1 < len(expected) < 200
    torch.testing.assert_close(dets.cpu(), torch.cat([boxes, scores[:, None]], 1)[expected])


def test_nms_offset_changes_the_result() -> None:
    # Widths 2 and 4 (IoU 1/2), or 3 and 5 with the offset (IoU 3/5).
    boxes, scores = torch.tensor([[0, 0, 4.0, 9], [0, 0, 2.0, 9]]), torch.tensor([0.9, 0.8])
    assert mmcv.ops.nms(boxes, scores, 0.55, offset=0)[1].tolist() == [0, 1]
    assert mmcv.ops.nms(boxes, scores, 0.55, offset=1)[1].tolist() == [0]


def test_nms_threshold_is_a_c_float_as_in_mmcv() -> None:
    # IoU 3/5: as a float it equals the float 0.6 but is greater than the double 0.6.
    boxes, scores = torch.tensor([[0, 0, 5.0, 1], [0, 0, 3.0, 1]]), torch.tensor([0.9, 0.8])
    assert mmcv.ops.nms(boxes, scores, 0.6)[1].tolist() == [0, 1]


def test_nms_of_nothing_and_of_low_precision() -> None:
    assert mmcv.ops.nms(torch.zeros(0, 4), torch.zeros(0), 0.5, offset=1)[1].shape == (0,)
    boxes, scores = random_boxes(30)
    boxes, scores = boxes.bfloat16(), scores.bfloat16()
    kept = mmcv.ops.nms(boxes, scores, 0.5)[1]
    assert kept.tolist() == mmcv.ops.nms(boxes.float(), scores.float(), 0.5)[1].tolist()


@pytest.mark.parametrize("split_thr", [10000, 50])  # one call, or one per class
def test_batched_nms(split_thr: int) -> None:
    boxes, scores = random_boxes(200)
    classes = torch.arange(200) % 3
    config = {"type": "nms", "iou_threshold": 0.5, "split_thr": split_thr}
    dets, kept = mmcv.ops.batched_nms(boxes, scores, classes, config)
    iou = iou_matrix(boxes.numpy(), 0) * (classes[:, None] == classes).numpy()
    assert kept.tolist() == greedy_nms(iou, scores.numpy(), 0.5)
    assert kept.tolist() == torchvision.ops.batched_nms(boxes, scores, classes, 0.5).tolist()
    torch.testing.assert_close(dets, torch.cat([boxes, scores[:, None]], dim=1)[kept])


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
def test_soft_nms_follows_the_paper(method: str, offset: int) -> None:
    boxes, scores = random_boxes(60, size=20.0)
    dets, kept = soft_nms(boxes, scores, 0.3, 0.5, min_score=0.05, method=method, offset=offset)
    iou, score = iou_matrix(boxes.numpy(), offset), scores.double().numpy()
    expected: list[tuple[int, float]] = []
    left = set(range(60))
    while left:
        best = max(left, key=lambda i: score[i])
        expected.append((best, score[best]))
        overlap = iou[best]
        linear = np.where(overlap >= 0.3, 1 - overlap if method == "linear" else 0.0, 1.0)
        score = score * (np.exp(-(overlap**2) / 0.5) if method == "gaussian" else linear)
        left = {i for i in left - {best} if score[i] >= 0.05}
    assert kept.tolist() == [index for index, _ in expected]
    assert 1 < len(expected) < 60
    np.testing.assert_allclose(dets[:, 4], [s for _, s in expected], rtol=1e-4)
    torch.testing.assert_close(dets[:, :4], boxes[kept])


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_soft_nms_with_empty_boxes(method: str) -> None:
    # The example in the documentation of mmcv.ops.soft_nms.
    boxes = np.array([[4, 3, 5, 3], [4, 3, 5, 4]] + [[3, 1, 3, 1]] * 4, dtype=np.float32)
    scores = np.array([0.9, 0.9, 0.5, 0.5, 0.4, 0.0], dtype=np.float32)
    dets, kept = soft_nms(boxes, scores, 0.6, sigma=0.5, method=method)
    assert len(dets) == len(kept) == 5
    assert len(soft_nms(torch.zeros(0, 4), torch.zeros(0))[1]) == 0
