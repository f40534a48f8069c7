"""FitNet against its definition in NumPy, cell by cell, and which parameters learn from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from icd.methods.fitnet import FitNet
from tests.methods.batches import Batch, gradient, random_batch
from tests.methods.reference import valid_rows_and_columns

SHAPES: dict[str, dict[str, Any]] = {
    "padding": {},
    "no objects": {"counts": (0, 0, 0)},
    "tiny images": {"sizes": ((3, 2), (1, 1), (96, 1))},
    "levels of one cell": {"levels": ((1, 1),) * 5},
    "two levels": {"levels": ((6, 8), (3, 4))},
}


def double_batch(shape: str) -> Batch:
    return random_batch(dtype=torch.float64, **SHAPES[shape])


def method_for(batch: Batch, **options: Any) -> FitNet:
    torch.manual_seed(0)
    channels = batch.teacher[0].shape[1]
    return FitNet(channels, batch.targets.strides, **options).to(batch.teacher[0].dtype)


def run(method: FitNet, batch: Batch, iteration: int = 0) -> Tensor:
    losses = method(batch.teacher, batch.student, batch.targets, iteration)
    assert list(losses) == ["loss_distillation"]
    return losses["loss_distillation"]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_follows_its_definition(shape: str) -> None:
    batch = double_batch(shape)
    method, targets, means = method_for(batch, weight=3.0), batch.targets, []
    for image, size in enumerate(targets.image_sizes):
        errors = []
        for adapter, ours, theirs in zip(
            method.adapters, batch.student, batch.teacher, strict=True
        ):
            assert isinstance(adapter, nn.Conv2d)
            assert adapter.bias is not None
            weight = adapter.weight.detach().numpy()[:, :, 0, 0]
            bias = adapter.bias.detach().numpy()
            rows, columns = valid_rows_and_columns(
                size, targets.padded_size, (ours.shape[-2], ours.shape[-1])
            )
            for row in range(rows):
                for column in range(columns):
                    adapted = weight @ ours[image, :, row, column].numpy() + bias
                    gap = adapted - theirs[image, :, row, column].numpy()
                    errors.append(np.mean(gap**2))
        means.append(np.mean(errors))
    assert run(method, batch).item() == pytest.approx(3 * np.mean(means), rel=1e-12)


def test_a_student_that_equals_the_teacher_costs_nothing_with_equal_adapters() -> None:
    batch = double_batch("padding")
    method = method_for(batch)
    for adapter in method.adapters:
        assert isinstance(adapter, nn.Conv2d)
        assert adapter.bias is not None
        torch.nn.init.dirac_(adapter.weight)
        torch.nn.init.zeros_(adapter.bias)
    same = replace(batch, student=batch.teacher)
    assert run(method, same).item() == pytest.approx(0, abs=1e-20)
    assert run(method, batch) > 1


@pytest.mark.parametrize("shape", SHAPES)
def test_students_and_adapters_learn_and_padding_does_not_matter(shape: str) -> None:
    batch = double_batch(shape)
    for level in (*batch.teacher, *batch.student):
        level.requires_grad_()
    method = method_for(batch)
    run(method, batch).backward()
    assert all(level.grad is None for level in batch.teacher)
    for parameter in method.parameters():
        assert gradient(parameter).isfinite().all()
        assert gradient(parameter).any()
    targets = batch.targets
    for level in batch.student:
        for grad, size in zip(gradient(level), targets.image_sizes, strict=True):
            rows, columns = valid_rows_and_columns(size, targets.padded_size, grad.shape[-2:])
            used = torch.zeros(grad.shape[-2:], dtype=torch.bool)
            used[:rows, :columns] = True
            assert torch.equal(grad.any(dim=0), used)


def test_neither_objects_nor_the_iteration_matter() -> None:
    batch = double_batch("padding")
    method = method_for(batch)
    none = replace(batch.targets, boxes=[boxes[:0] for boxes in batch.targets.boxes])
    assert run(method, batch) == run(method, replace(batch, targets=none), iteration=77)


def test_bfloat16_autocast_stays_close_to_single_precision() -> None:
    batch = random_batch()
    method = method_for(batch)
    with torch.autocast("cpu", torch.bfloat16):
        loss = run(method, batch)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, run(method, batch), rtol=0.01, atol=0)


def test_another_number_of_levels_is_an_error() -> None:
    batch = double_batch("two levels")
    with pytest.raises(ValueError, match="zip"):
        run(FitNet(16, (8, 16, 32)).double(), batch)


def test_the_configuration_name_builds_the_method() -> None:
    method = MODELS.build({"type": "icd.methods.fitnet.FitNet", "strides": [4, 8, 16, 32]})
    assert isinstance(method, FitNet)
    assert len(method.adapters) == 4
    assert method.weight == 20.0
