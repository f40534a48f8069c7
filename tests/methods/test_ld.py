"""LD against its definition, prior by prior; its region against ATSS's assigner in NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from mmdet.models.losses import KnowledgeDistillationKLDivLoss
from mmdet.models.task_modules.assigners import ATSSAssigner
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.ops import box_iou

from icd.methods.ld import LD
from icd.methods.predictions import valid_priors
from icd.methods.valuable_region import thresholds, valuable_region
from tests.methods.dense import (
    SHAPES,
    DenseBatch,
    Prior,
    anchors,
    check_bfloat16,
    check_definition,
    check_what_learns,
    dense_batch,
    priors_of,
    run_dense,
)

BINS, EXTENT = 5, 0.25
WEIGHTS = {"weight": 2.0, "main": 1.5, "valuable": 3.0, "classification": 0.5}
TEMPERATURES = {"temperature": 4.0, "class_temperature": 3.0}


def definition(given: DenseBatch) -> dict[str, Tensor]:
    """The equations of the docstring."""
    student, teacher = given.predictions.student, given.predictions.teacher
    main = valuable = classes = torch.zeros((), dtype=torch.float64)
    count = 0
    near = region(given)
    for prior in priors_of(given):
        score = float((1 / (1 + torch.exp(-prior.of(student.logits).detach()))).max())
        sides = torch.zeros((), dtype=torch.float64)
        for side in range(4):
            bins = slice(side * BINS, (side + 1) * BINS)
            ours, theirs = prior.of(student.sides)[bins], prior.of(teacher.sides)[bins]
            sides = sides + score * softened(ours, theirs, 4.0) / (4 * BINS)
        if prior.positive:
            main, count = main + sides, count + 1
            ours, theirs = prior.of(student.logits), prior.of(teacher.logits)
            classes = classes + softened(ours, theirs, 3.0) / len(ours)
        elif prior in near:
            valuable = valuable + sides
    images = len(given.batch.targets.boxes)
    return {
        "loss_main": 2.0 * 1.5 * main / images,
        "loss_valuable": 2.0 * 3.0 * valuable / images,
        "loss_classes": 2.0 * 0.5 * classes / max(count, 1),
    }


def softened(student: Tensor, teacher: Tensor, t: float) -> Tensor:
    """t^2 KL of the teacher's distribution from the student's."""
    q, p = (torch.exp(x / t) for x in (student, teacher.detach()))
    q, p = q / q.sum(), p / p.sum()
    return t**2 * (p * (p / q).log()).sum()


def region(given: DenseBatch) -> list[Prior]:
    """The priors near objects, by the definition, in float64 numbers."""
    found, targets = [], given.batch.targets
    priors = list(priors_of(given))
    for image, boxes in enumerate(targets.boxes):
        own = [prior for prior in priors if prior.image == image]
        for box in boxes.tolist():
            overlaps = []
            for level in range(len(given.predictions.priors)):
                here = [anchor(given, prior) for prior in own if prior.level == level]
                here.sort(key=lambda one: math.dist(middle(one), middle(box)))
                overlaps += [iou(one, box) for one in here[:9]]
            alpha = np.mean(overlaps) + np.std(overlaps, ddof=1)
            found += [
                prior for prior in own if EXTENT * alpha <= diou(anchor(given, prior), box) <= alpha
            ]
    return found


def anchor(given: DenseBatch, prior: Prior) -> list[float]:
    return given.predictions.priors[prior.level][prior.place].tolist()


def middle(box: Sequence[float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    width, height = (max(min(a[i + 2], b[i + 2]) - max(a[i], b[i]), 0) for i in range(2))
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return width * height / (sum(areas) - width * height)


def diou(a: Sequence[float], b: Sequence[float]) -> float:
    """IoU less the squared distance of the centres over that of the enclosing box's corners."""
    corners = [max(a[i + 2], b[i + 2]) - min(a[i], b[i]) for i in range(2)]
    apart = math.dist(middle(a), middle(b))
    return iou(a, b) - apart**2 / (corners[0] ** 2 + corners[1] ** 2)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_losses_follow_their_definition(shape: str) -> None:
    given = dense_batch(shape, BINS)
    check_definition(LD(**WEIGHTS, **TEMPERATURES, extent=EXTENT), given, definition(given))


def test_no_region_is_empty_where_there_are_objects() -> None:
    losses = definition(dense_batch(bins=BINS))
    assert all(loss > 0 for loss in losses.values())


@pytest.mark.parametrize("shape", ["padding", "tiny images", "levels of one cell"])
def test_students_learn_and_padding_does_not_matter(shape: str) -> None:
    check_what_learns(LD(), shape, BINS)


def test_without_objects_there_is_nothing_to_learn() -> None:
    losses = run_dense(LD(), dense_batch("no objects", BINS))
    assert all(loss == 0 for loss in losses.values())


@pytest.mark.parametrize("count", [1, 4])
def test_the_threshold_is_that_of_atss(count: int) -> None:
    """An anchor near the object, with its centre inside, is positive exactly above it."""
    levels = [anchors(size, stride, 1) for size, stride in (((12, 16), 8), ((6, 8), 16))]
    boxes = torch.tensor(
        [[10, 10, 70, 60], [44, 12, 64, 34], [70, 6, 95, 30], [60, 50, 90, 90]][:count]
    ).double()
    valid = [torch.ones(1, len(level), dtype=torch.bool) for level in levels]
    found = thresholds(levels, valid, boxes, torch.zeros(count, dtype=torch.long))
    everything = torch.cat(levels)
    overlap = box_iou(everything, boxes)
    for i, box in enumerate(boxes):
        truth = InstanceData(bboxes=box[None], labels=torch.zeros(1, dtype=torch.long))
        result = ATSSAssigner(topk=9).assign(
            InstanceData(priors=everything), [len(level) for level in levels], truth
        )
        positive = result.gt_inds > 0
        assert positive.any()
        assert overlap[positive, i].min() >= found[i]
        nearest = torch.cat(
            [
                start + torch.cdist(centres(level), centres(box[None]))[:, 0].argsort()[:9]
                for start, level in zip((0, len(levels[0])), levels, strict=True)
            ]
        )
        inside = (centres(everything) > box[:2]).all(1) & (centres(everything) < box[2:]).all(1)
        others = [k for k in nearest.tolist() if inside[k] and not positive[k]]
        assert all(overlap[k, i] < found[i] for k in others)


def centres(boxes: Tensor) -> Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


@pytest.mark.parametrize(("extent", "share"), [(0.0, 1.0), (1.0, 0.0)])
def test_the_extent_bounds_the_region(extent: float, share: float) -> None:
    given = dense_batch(bins=BINS)
    valid = valid_priors(given.batch.teacher, given.predictions, given.batch.targets)
    sizes = [
        sum(
            int(level.sum())
            for level in valuable_region(given.predictions.priors, valid, given.batch.targets, x)
        )
        for x in (extent, EXTENT)
    ]
    assert sizes[1] > 0
    assert sizes[0] > sizes[1] if share else sizes[0] == 0


def test_the_main_region_is_mmdets_loss() -> None:
    """Of the authors' LDHead, for one image with scores of one."""
    given = dense_batch(bins=BINS)
    student, teacher = given.predictions.student, given.predictions.teacher
    for level in student.logits:
        level.data.fill_(50)
    loss = KnowledgeDistillationKLDivLoss(loss_weight=0.25, T=10)
    total = torch.zeros((), dtype=torch.float64)
    for prior in priors_of(given):
        if prior.positive:
            pair = (prior.of(x.sides).reshape(4, BINS) for x in (student, teacher))
            total = total + loss(*pair, weight=torch.ones(4), avg_factor=4.0)
    found = run_dense(LD(), given)["loss_main"]
    torch.testing.assert_close(found, 2 * total / 3)  # 2 images on a GPU; 3 in this batch


def test_bfloat16_autocast_changes_nothing() -> None:
    check_bfloat16(LD, BINS)


def test_the_configuration_name_builds_the_method() -> None:
    method = MODELS.build({"type": "icd.methods.ld.LD", "weight": 0.5})
    assert (method.main, method.valuable, method.classification) == (0.25, 0.25, 5.0)
    assert not list(method.parameters())
