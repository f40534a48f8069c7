"""What the tests of prediction methods share: dense predictions, and a comparison by definition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from icd.methods.predictions import Assignment, Dense, TowerPredictions
from tests.methods.batches import Batch, gradient, random_batch, total
from tests.methods.reference import valid_rows_and_columns

CLASSES = 4
SHAPES: dict[str, dict[str, Any]] = {
    "padding": {},
    "no objects": {"counts": (0, 0, 0)},
    "tiny images": {"sizes": ((3, 2), (1, 1), (96, 1))},
    "levels of one cell": {"levels": ((1, 1),) * 3, "strides": (32, 64, 128)},
}
TWO_LEVELS = {"levels": ((6, 8), (3, 4)), "strides": (16, 32)}


@dataclass(frozen=True)
class DenseBatch:
    """A batch, and predictions for it that differ everywhere; all but the teacher's learn."""

    batch: Batch
    predictions: TowerPredictions
    bins: int | None

    @property
    def learning(self) -> list[Tensor]:
        """What the student predicts, and what it predicts through the teacher's head."""
        student, cross = self.predictions.student, self.predictions.cross(0)
        return [*student.logits, *student.sides, *cross.logits, *cross.sides]


def dense_batch(
    shape: str = "padding",
    bins: int | None = None,
    per_cell: int = 1,
    dtype: torch.dtype = torch.float64,
    fill: float | None = None,
    device: str = "cpu",
) -> DenseBatch:
    """A batch of this shape.

    Args:
        shape: a key of ``SHAPES``.
        bins: number of bins of each side; None for distances.
        per_cell: number of priors at each cell, which are anchors of different sizes.
        dtype: of all.
        fill: number that takes the place of all predictions in the padding.
        device: of all.
    """
    batch = on(random_batch(channels=4, dtype=dtype, **(TWO_LEVELS | SHAPES[shape])), device)
    generator = torch.Generator().manual_seed(7)
    sizes = [(level.shape[-2], level.shape[-1]) for level in batch.teacher]
    images, strides = len(batch.targets.boxes), batch.targets.strides
    priors = [
        anchors(size, stride, per_cell).to(device, dtype)
        for size, stride in zip(sizes, strides, strict=True)
    ]
    inside = [
        torch.tensor(
            [_inside(batch, image, size, per_cell) for image in range(images)], dtype=torch.bool
        )
        for size in sizes
    ]

    def random(channels: int, learns: bool) -> list[Tensor]:
        levels = []
        for own, valid in zip(priors, inside, strict=True):
            shape = (images, len(own), channels)
            level = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
            if fill is not None:
                level = torch.where(valid[..., None], level, fill)
            levels.append(level.to(device).requires_grad_(learns))
        return levels

    def decode(sides: Sequence[Tensor]) -> list[Tensor]:
        return [
            boxes(level, own, stride, bins)
            for level, own, stride in zip(sides, priors, strides, strict=True)
        ]

    student, teacher, cross = (
        Dense(random(CLASSES, learns), random(4 * (bins or 1), learns), bins, decode)
        for learns in (True, False, True)
    )
    labels = [
        torch.randint(CLASSES + 4, valid.shape, generator=generator)
        .clamp(max=CLASSES)
        .masked_fill(~valid if batch.targets.boxes[0].numel() else valid | True, CLASSES)
        .to(device)
        for valid in inside
    ]
    weights = [torch.ones_like(level, dtype=dtype) for level in labels]
    sides = [torch.zeros(*level.shape, 4, dtype=dtype, device=device) for level in labels]
    assignment = Assignment(labels, weights, sides, CLASSES, list)
    found = TowerPredictions(student, teacher, priors, assignment, lambda position: cross)
    return DenseBatch(batch, found, bins)


def on(batch: Batch, device: str) -> Batch:
    """The batch on a device."""
    boxes, labels = (
        [x.to(device) for x in rows] for rows in (batch.targets.boxes, batch.targets.labels)
    )
    teacher, student = ([x.to(device) for x in y] for y in (batch.teacher, batch.student))
    return Batch(teacher, student, replace(batch.targets, boxes=boxes, labels=labels))


def anchors(size: tuple[int, int], stride: int, per_cell: int) -> Tensor:
    """[P, 4], anchors of sides 2, 3, ... strides around each cell's corner, row by row."""
    found = [
        [
            column * stride - side * stride / 2,
            row * stride - side * stride / 2,
            column * stride + side * stride / 2,
            row * stride + side * stride / 2,
        ]
        for row in range(size[0])
        for column in range(size[1])
        for side in range(2, 2 + per_cell)
    ]
    return torch.tensor(found, dtype=torch.float64)


def boxes(sides: Tensor, priors: Tensor, stride: int, bins: int | None) -> Tensor:
    """Boxes whose sides are e^side, or an expected bin, from the centres, in strides."""
    centres = (priors[:, :2] + priors[:, 2:]) / 2
    if bins:
        shares = sides.reshape(*sides.shape[:2], 4, bins).softmax(-1)
        distances = (shares * torch.arange(bins).to(sides)).sum(-1) * stride
    else:
        distances = sides.exp() * stride
    return torch.cat([centres - distances[..., :2], centres + distances[..., 2:]], -1)


def _inside(batch: Batch, image: int, size: tuple[int, int], per_cell: int) -> list[bool]:
    """Whether each prior's cell sees the image."""
    targets = batch.targets
    rows, columns = valid_rows_and_columns(targets.image_sizes[image], targets.padded_size, size)
    return [
        row < rows and column < columns
        for row in range(size[0])
        for column in range(size[1])
        for _ in range(per_cell)
    ]


@dataclass(frozen=True)
class Prior:
    """One prior outside of the padding, and what is predicted for it."""

    image: int
    level: int
    place: int
    positive: bool

    def of(self, levels: Sequence[Tensor]) -> Tensor:
        """Its part of tensors [N, P, ...] by level."""
        return levels[self.level][self.image, self.place]


def priors_of(given: DenseBatch) -> Iterator[Prior]:
    """All of them, one by one."""
    levels = given.batch.teacher
    for image in range(len(given.batch.targets.boxes)):
        for i, level in enumerate(levels):
            size = (level.shape[-2], level.shape[-1])
            count = len(given.predictions.priors[i]) // (size[0] * size[1])
            for place, inside in enumerate(_inside(given.batch, image, size, count)):
                if inside:
                    label = given.predictions.assignment.labels[i][image, place]
                    yield Prior(image, i, place, bool(label < CLASSES))


def run_dense(method: nn.Module, given: DenseBatch) -> dict[str, Tensor]:
    """The losses of a method."""
    batch = given.batch
    return method(batch.teacher, batch.student, batch.targets, 0, given.predictions)


def check_definition(method: nn.Module, given: DenseBatch, expected: Mapping[str, Tensor]) -> None:
    """Each loss, and the gradient of their sum by what the student predicts, are as defined."""
    found = run_dense(method, given)
    assert found.keys() == expected.keys()
    for name, loss in found.items():
        assert loss.shape == ()
        torch.testing.assert_close(loss, expected[name], rtol=1e-9, atol=1e-11)
    nothing = torch.stack([level.sum() for level in given.learning]).sum()
    ours, theirs = (
        torch.autograd.grad(total(dict(losses)) + 0 * nothing, given.learning, retain_graph=True)
        for losses in (found, expected)
    )
    for own, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, reference, rtol=1e-7, atol=1e-10)


def check_what_learns(method: nn.Module, shape: str, bins: int | None) -> None:
    """Only what the student predicts outside of the padding gets gradients; they are finite.

    Huge predictions in the padding change nothing.
    """
    plain, filled = (dense_batch(shape, bins, fill=fill) for fill in (None, 60.0))
    losses, expected = run_dense(method, filled), run_dense(method, plain)
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name])
    total(losses).backward()
    moved = [level for level in filled.learning if level.grad is not None and level.grad.any()]
    assert moved
    for level in moved:
        assert gradient(level).isfinite().all()
        assert not gradient(level)[(level == 60).all(dim=-1)].any()


def check_bfloat16(build: Callable[[], nn.Module], bins: int | None) -> None:
    """Under autocast, losses are float32 and those in single precision: heads return float32."""
    given, method = dense_batch(bins=bins, dtype=torch.float32), build()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = run_dense(method, given)
    for name, loss in run_dense(method, given).items():
        assert rounded[name].dtype == torch.float32
        torch.testing.assert_close(rounded[name], loss)
