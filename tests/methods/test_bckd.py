"""BCKD against its definition, prior by prior."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor

from icd.methods.bckd import BCKD
from icd.methods.boxes import Overlap
from tests.methods.dense import (
    SHAPES,
    DenseBatch,
    check_bfloat16,
    check_definition,
    check_what_learns,
    dense_batch,
    priors_of,
    run_dense,
)

WEIGHTS: dict[str, Any] = {"weight": 2.0, "classification": 1.5, "localisation": 3.0}


def definition(given: DenseBatch, overlap: str) -> dict[str, Tensor]:
    """The equations of the docstring."""
    student, teacher = given.predictions.student, given.predictions.teacher
    classes = boxes = torch.zeros((), dtype=torch.float64)
    count = 0
    for prior in priors_of(given):
        p, t = (1 / (1 + torch.exp(-prior.of(x.logits))) for x in (student, teacher))
        t = t.detach()
        weight = (t - p).abs().detach()
        entropy = -t * p.log() - (1 - t) * (1 - p).log()
        classes = classes + (weight * entropy).sum()
        error = box_error(prior.of(student.boxes), prior.of(teacher.boxes).detach(), overlap)
        boxes = boxes + weight.max() * error
        count += prior.positive
    return {
        "loss_classes": 2.0 * 1.5 * classes / max(count, 1),
        "loss_boxes": 2.0 * 3.0 * boxes / max(count, 1),
    }


def box_error(a: Tensor, b: Tensor, overlap: str) -> Tensor:
    """1 - IoU or 1 - GIoU of two boxes [4], side by side."""
    width, height = (torch.min(a[i + 2], b[i + 2]) - torch.max(a[i], b[i]) for i in range(2))
    common = width * height if width > 0 and height > 0 else 0 * width
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    union = areas[0] + areas[1] - common
    width, height = (torch.max(a[i + 2], b[i + 2]) - torch.min(a[i], b[i]) for i in range(2))
    missed = (width * height - union) / (width * height) if overlap == "giou" else 0
    return 1 - common / union + missed


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("overlap", ["iou", "giou"])
def test_the_losses_follow_their_definition(shape: str, overlap: Overlap) -> None:
    given = dense_batch(shape, per_cell=2)
    check_definition(BCKD(**WEIGHTS, overlap=overlap), given, definition(given, overlap))


@pytest.mark.parametrize("shape", SHAPES)
def test_students_learn_and_padding_does_not_matter(shape: str) -> None:
    check_what_learns(BCKD(), shape, None)


def test_a_student_that_predicts_the_same_has_no_loss_and_no_gradient() -> None:
    given = dense_batch()
    student, teacher = given.predictions.student, given.predictions.teacher
    for kind in ("logits", "sides"):
        for ours, theirs in zip(getattr(student, kind), getattr(teacher, kind), strict=True):
            ours.data.copy_(theirs)
    losses = run_dense(BCKD(), given)
    assert all(loss == 0 for loss in losses.values())
    losses["loss_classes"].backward()
    assert not any(level.grad.any() for level in student.logits if level.grad is not None)


def test_distributions_over_bins_are_boxes_too() -> None:
    given = dense_batch(bins=5)
    check_definition(BCKD(**WEIGHTS), given, definition(given, "giou"))


def test_bfloat16_autocast_changes_nothing() -> None:
    check_bfloat16(BCKD, None)


def test_the_configuration_name_builds_the_method() -> None:
    method = MODELS.build({"type": "icd.methods.bckd.BCKD", "weight": 0.5})
    assert (method.classification, method.localisation, method.overlap) == (0.5, 2.0, "giou")
    assert not list(method.parameters())
