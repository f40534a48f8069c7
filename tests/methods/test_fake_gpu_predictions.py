"""Methods on predictions on a fake GPU: no mixed devices, no waiting, and few launches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from icd.methods.bckd import BCKD
from icd.methods.crosskd import CrossKD
from icd.methods.ld import LD
from icd.methods.predictions import Assignment, Dense, TowerPredictions
from icd.training.dense_head import decode_deltas
from tests.fake_gpu import Device, fake_gpu
from tests.methods.batches import level_sizes, total
from tests.methods.test_fake_gpu import OBJECTS, P3_P7, PADDED, fake_batch, precision

CODER = SimpleNamespace(means=(0.0,) * 4, stds=(1.0,) * 4)
# How a method is built, the number of bins of each side and of priors at each cell; what it may
# launch at most in the forward pass, and with the backward one.
VARIANTS: dict[str, tuple[Callable[[], nn.Module], int | None, int, int, int]] = {
    "crosskd, RetinaNet": (CrossKD, None, 9, 550, 1000),
    "crosskd, GFL": (CrossKD, 17, 1, 250, 300),
    "bckd, RetinaNet": (BCKD, None, 9, 520, 980),
    "ld, GFL": (LD, 17, 1, 460, 570),
}


def predictions(device: str, images: int, bins: int | None, per_cell: int) -> TowerPredictions:
    """Predictions for images of COCO's size; all but the teacher's ask for gradients."""
    counts = [rows * columns * per_cell for rows, columns in level_sizes(PADDED, P3_P7)]
    with torch.device(device):
        priors = [torch.empty(count, 4) for count in counts]
        labels = [torch.empty(images, count, dtype=torch.long) for count in counts]
        weights = [torch.empty(images, count) for count in counts]
        sides = [torch.empty(images, count, 4) for count in counts]
        student, teacher, cross = (
            Dense(
                [torch.empty(images, count, 80).requires_grad_(learns) for count in counts],
                [
                    torch.empty(images, count, 4 * (bins or 1)).requires_grad_(learns)
                    for count in counts
                ],
                bins,
                partial(decode, priors),
            )
            for learns in (True, False, True)
        )
    assignment = Assignment(labels, weights, sides, 80, list)
    return TowerPredictions(student, teacher, priors, assignment, lambda position: cross)


def decode(priors: Sequence[Tensor], sides: Sequence[Tensor]) -> list[Tensor]:
    pairs = zip(sides, priors, strict=True)
    return [decode_deltas(level, own, CODER) for level, own in pairs]


def record(variant: str, device: str, counts: Sequence[int], bfloat16: bool = False) -> Device:
    """What a variant asks of a device: its losses; on the CPU also their gradients."""
    build, bins, per_cell, *_ = VARIANTS[variant]
    method = build()
    with fake_gpu():
        inputs = fake_batch(device, counts)
        given = predictions(device, len(counts), bins, per_cell)
        with Device(device) as recorded:
            with precision(device, bfloat16):
                losses = method(*inputs, 0, given)
            for loss in losses.values():
                assert (loss.device.type, loss.dtype, loss.shape) == (device, torch.float32, ())
            if device == "cpu":
                total(losses).backward()
    return recorded


@pytest.mark.parametrize("variant", VARIANTS)
def test_mixes_no_devices_waits_for_nothing_and_launches_little(variant: str) -> None:
    for counts, bfloat16 in zip(OBJECTS.values(), (True, False), strict=True):
        found = record(variant, "cuda", counts, bfloat16)
        assert not found.waits
        assert 0 < sum(found.launches.values()) <= VARIANTS[variant][3]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_backward_pass_waits_for_nothing_and_launches_little(variant: str) -> None:
    """On fake tensors on the CPU, of which gradients can be computed."""
    found = record(variant, "cpu", OBJECTS["objects"])
    assert not found.waits
    assert 0 < sum(found.launches.values()) <= VARIANTS[variant][4]


def test_the_number_of_images_does_not_change_the_launches() -> None:
    few, many = (record("ld, GFL", "cuda", [2] * images) for images in (4, 16))
    assert few.launches == many.launches
