"""CrossKD against its definition, prior by prior."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from mmdet.models.losses import QualityFocalLoss
from mmdet.registry import MODELS
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from icd.methods.crosskd import CrossKD
from icd.methods.predictions import Dense
from tests.methods.dense import (
    SHAPES,
    DenseBatch,
    Prior,
    check_bfloat16,
    check_definition,
    check_what_learns,
    dense_batch,
    priors_of,
    run_dense,
)

WEIGHTS: dict[str, Any] = {"weight": 2.0, "classification": 1.5, "localisation": 3.0}
BINS = 5


def definition(given: DenseBatch) -> dict[str, Tensor]:
    """The equations of the docstring."""
    cross, teacher = given.predictions.cross(0), given.predictions.teacher
    classes = boxes = torch.zeros((), dtype=torch.float64)
    count = 0
    for prior in priors_of(given):
        p, t = (1 / (1 + torch.exp(-prior.of(x.logits))) for x in (cross, teacher))
        t = t.detach()
        entropy = -t * p.log() - (1 - t) * (1 - p).log()
        classes = classes + ((t - p).abs() * entropy).sum()
        if prior.positive:
            boxes, count = boxes + distance(prior, given), count + 1
    return {
        "loss_classes": 2.0 * 1.5 * classes / max(count, 1),
        "loss_boxes": 2.0 * 3.0 * boxes / max(count, 1),
    }


def distance(prior: Prior, given: DenseBatch) -> Tensor:
    """D of the docstring."""
    cross, teacher = given.predictions.cross(0), given.predictions.teacher
    if given.bins is None:  # torchvision's loss
        pair = (prior.of(x.boxes)[None] for x in (cross, teacher))
        return generalized_box_iou_loss(*pair).sum()
    total = torch.zeros((), dtype=torch.float64)
    for side in range(4):
        bins = slice(side * BINS, (side + 1) * BINS)
        q, p = (torch.exp(prior.of(x.sides)[bins]) for x in (cross, teacher))
        q, p = q / q.sum(), (p / p.sum()).detach()
        total = total + (p * (p / q).log()).sum() / 4
    return total


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bins", [None, BINS])
def test_the_losses_follow_their_definition(shape: str, bins: int | None) -> None:
    given = dense_batch(shape, bins, per_cell=1 if bins else 2)
    check_definition(CrossKD(**WEIGHTS), given, definition(given))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bins", [None, BINS])
def test_students_learn_and_padding_does_not_matter(shape: str, bins: int | None) -> None:
    check_what_learns(CrossKD(), shape, bins)


def test_the_students_own_predictions_take_no_part() -> None:
    given = dense_batch()
    run_dense(CrossKD(), given)["loss_classes"].backward()
    student = given.predictions.student
    assert all(level.grad is None for level in (*student.logits, *student.sides))


def test_features_cross_after_so_many_convolutions() -> None:
    given, asked = dense_batch(), []

    def cross(position: int) -> Dense:
        asked.append(position)
        return given.predictions.student

    run_dense(
        CrossKD(position=2), replace(given, predictions=replace(given.predictions, cross=cross))
    )
    assert asked == [2]


def test_the_loss_of_scores_is_mmdets_quality_focal_loss() -> None:
    """Of GFL, for one class with the teacher's score as quality: there it is the same."""
    given = dense_batch("no objects")
    cross, teacher = given.predictions.cross(0), given.predictions.teacher
    total = torch.zeros((), dtype=torch.float64)
    loss = QualityFocalLoss(beta=1.0, reduction="sum")
    for prior in priors_of(given):
        for x, y in zip(prior.of(cross.logits), prior.of(teacher.logits), strict=True):
            quality = (torch.zeros(1, dtype=torch.long), y.detach().sigmoid()[None])
            total = total + loss(x[None, None], quality)
    found = run_dense(CrossKD(), given)["loss_classes"]
    torch.testing.assert_close(found, total)


def test_bfloat16_autocast_changes_nothing() -> None:
    check_bfloat16(CrossKD, None)
    check_bfloat16(CrossKD, BINS)


def test_the_configuration_name_builds_the_method() -> None:
    method = MODELS.build({"type": "icd.methods.crosskd.CrossKD", "weight": 0.5})
    assert (method.classification, method.localisation, method.position) == (0.5, 0.5, 3)
    assert not list(method.parameters())
