"""FGD against its equations, cell by cell in Python, on images without padding."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from icd.methods.fgd import FGD, ContextBlock, box_scale
from icd.methods.tokens import sizes_of
from tests.methods.batches import Batch, run
from tests.methods.rivals import (
    SHAPES,
    Piece,
    check_bfloat16,
    check_values_and_gradients,
    check_what_learns,
    double_batch,
    imitating,
    noisy,
    pieces,
)

OPTIONS = {
    "weight": 2.0,
    "foreground": 0.3,
    "background": 0.2,
    "attention": 0.7,
    "context": 0.05,
    "temperature": 0.8,
}


def method_for(batch: Batch, **options: Any) -> FGD:
    return noisy(FGD(batch.teacher[0].shape[1], batch.targets.strides, **options))


def scales(boxes: Tensor, rows: int, columns: int, full: tuple[int, int], stride: int) -> tuple:
    """M S and (1 - M) S of equations 2 to 4, cell by cell; ``full``: the level with its padding."""
    foreground = torch.zeros(rows, columns, dtype=torch.float64)
    areas: list[tuple[int, range, range]] = []
    for x1, y1, x2, y2 in boxes.tolist():
        xs = range(math.floor(x1 / stride), min(math.ceil(x2 / stride), full[1]))
        ys = range(math.floor(y1 / stride), min(math.ceil(y2 / stride), full[0]))
        areas.append((len(xs) * len(ys), xs, ys))
    for area, xs, ys in sorted(areas, key=lambda found: -found[0]):  # the smallest last
        for y in ys:
            for x in xs:
                if y < rows and x < columns:
                    foreground[y, x] = 1 / area
    background = (foreground == 0).double()
    return foreground, background / background.sum().clamp(min=1)


def softmax(values: Tensor) -> Tensor:
    return torch.exp(values) / torch.exp(values).sum()


def attention(features: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """A^S [h, w] and A^C [C] of equations 5 to 8."""
    channels, rows, columns = features.shape
    spatial = softmax(features.abs().mean(dim=0).flatten() / temperature)
    per_channel = softmax(features.abs().mean(dim=(1, 2)) / temperature)
    return rows * columns * spatial.view(rows, columns), channels * per_channel


def related(features: Tensor, block: ContextBlock) -> Tensor:
    """R(F) of equation 12, with the context as a sum over cells."""
    cells = features.flatten(1).T
    share = softmax(cells @ block.key.weight[0] + block.key.bias)
    context = torch.stack([s * cell for s, cell in zip(share, cells, strict=True)]).sum(dim=0)
    first, norm, _, second = block.transform
    assert isinstance(first, nn.Linear)
    assert isinstance(norm, nn.LayerNorm)
    assert isinstance(second, nn.Linear)
    hidden = first.weight @ context + first.bias
    variance = hidden.var(correction=0)
    hidden = (hidden - hidden.mean()) / torch.sqrt(variance + norm.eps) * norm.weight + norm.bias
    added = second.weight @ torch.clamp(hidden, min=0) + second.bias
    return features + added[:, None, None]


def losses(method: FGD, piece: Piece, batch: Batch, stride: int) -> dict[str, Tensor]:
    """Equations 9, 10 and 12 for one level of one image, without their weights."""
    theirs, ours = piece.teacher.detach(), piece.student
    rows, columns = ours.shape[-2:]
    full = sizes_of(batch.teacher)[piece.level]
    masks = scales(batch.targets.boxes[piece.image], rows, columns, full, stride)
    (spatial, channel), (own_spatial, own_channel) = (
        attention(x, OPTIONS["temperature"]) for x in (theirs, ours)
    )
    error = spatial * channel[:, None, None] * (theirs - ours) ** 2
    blocks = method.teacher_blocks[piece.level], method.student_blocks[piece.level]
    assert isinstance(blocks[0], ContextBlock)
    assert isinstance(blocks[1], ContextBlock)
    gap = related(theirs, blocks[0]) - related(ours, blocks[1])
    return {
        "foreground": (masks[0] * error).sum(),
        "background": (masks[1] * error).sum(),
        "attention": (spatial - own_spatial).abs().sum() + (channel - own_channel).abs().sum(),
        "global": (gap**2).sum(),
    }


def definition(method: FGD, batch: Batch) -> dict[str, Tensor]:
    found = [
        losses(method, piece, batch, batch.targets.strides[piece.level]) for piece in pieces(batch)
    ]
    names = {"foreground": 0.3, "background": 0.2, "attention": 0.7, "global": 0.05}
    images = len(batch.targets.boxes)
    return {
        f"loss_{name}": 2.0 * weight / images * torch.stack([part[name] for part in found]).sum()
        for name, weight in names.items()
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_the_losses_follow_their_definition(shape: str) -> None:
    batch = double_batch(shape)
    method = method_for(batch, **OPTIONS)
    check_values_and_gradients(method, batch, definition(method, batch))


@pytest.mark.parametrize("shape", SHAPES)
def test_students_learn_and_padding_does_not_matter(shape: str) -> None:
    batch = double_batch(shape)
    check_what_learns(method_for(batch), batch)


def test_images_without_objects_are_background() -> None:
    batch = double_batch("no objects")
    found = run(method_for(batch), batch)
    assert found["loss_foreground"] == 0
    assert found["loss_background"] > 0


def test_an_image_that_is_one_box_has_no_background() -> None:
    batch = double_batch("padding")
    for boxes, (height, width) in zip(batch.targets.boxes, batch.targets.image_sizes, strict=True):
        boxes.resize_(1, 4).copy_(torch.tensor([[0, 0, width, height]]))
    found = run(method_for(batch), batch)
    assert found["loss_background"] == 0
    assert found["loss_foreground"] > 0


def test_where_boxes_overlap_the_smaller_one_counts() -> None:
    boxes = torch.tensor([[0.0, 0, 32, 32], [8, 8, 16, 16], [9.0, 9, 10, 10]])
    scale = box_scale(boxes[None], (5, 6), 8).view(5, 6)
    expected = torch.zeros(5, 6)
    expected[:4, :4] = 1 / 16
    expected[1, 1] = 1
    assert torch.equal(scale, expected)


def test_a_student_that_equals_the_teacher_costs_nothing() -> None:
    """With the context blocks as they are at first."""
    batch = imitating(double_batch("padding"))
    method = FGD(16).double()
    assert all(loss == 0 for loss in run(method, batch).values())


def test_bfloat16_autocast_stays_close_to_single_precision() -> None:
    torch.manual_seed(0)
    check_bfloat16(lambda: FGD(16), tolerance=0.01)


def test_the_configuration_name_builds_the_method() -> None:
    method = MODELS.build({"type": "icd.methods.fgd.FGD", "strides": [4, 8, 16, 32]})
    assert len(method.teacher_blocks) == len(method.student_blocks) == 4
    assert method.weights == {
        "loss_foreground": 1e-3,
        "loss_background": 5e-4,
        "loss_attention": 5e-4,
        "loss_global": 5e-6,
    }
