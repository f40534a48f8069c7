"""ICD on batches: padding, order and the other images of a batch change nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from icd.methods.tokens import Targets
from tests.methods.batches import (
    Batch,
    gradient,
    image_of,
    losses_for,
    random_batch,
    random_method,
    run,
    with_gradients,
)
from tests.methods.reference import valid_rows_and_columns


def fill_padding(levels: list[Tensor], targets: Targets, value: float) -> list[Tensor]:
    filled = [level.clone() for level in levels]
    for level in filled:
        for image, size in zip(level, targets.image_sizes, strict=True):
            rows, columns = valid_rows_and_columns(
                size, targets.padded_size, (level.shape[-2], level.shape[-1])
            )
            image[:, rows:] = value
            image[:, :, columns:] = value
    return filled


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("layers", [0, 2])
def test_values_in_the_padding_change_no_loss_and_get_no_gradient(
    layers: int, normalise: bool
) -> None:
    method, batch = random_method(layers=layers, normalise=normalise), random_batch()
    student = fill_padding(batch.student, batch.targets, 1e6)
    teacher = fill_padding(batch.teacher, batch.targets, -1e6)
    assert not any(torch.equal(a, b) for a, b in zip(student[:2], batch.student[:2], strict=True))
    filled = with_gradients(Batch(teacher, student, batch.targets))
    losses = run(method, filled)
    expected = run(method, batch)
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name], rtol=1e-6, atol=0)
    losses["loss_distillation"].backward()
    outside = fill_padding([torch.zeros_like(level) for level in student], batch.targets, 1.0)
    for level, mask in zip(student, outside, strict=True):
        assert gradient(level).isfinite().all()
        assert gradient(level).any()
        assert not gradient(level)[mask.bool()].any()


def test_losses_of_a_batch_follow_from_those_of_its_images() -> None:
    """Distillation is the mean; the auxiliary losses weigh images by their queries."""
    method = random_method(layers=2).double()
    batch = random_batch(dtype=torch.float64)
    draws = method.draw(batch.targets, 0)
    together = losses_for(method, batch, draws)
    alone = [losses_for(method, image_of(batch, i), [draws[i]]) for i in range(3)]
    real = torch.tensor([len(boxes) for boxes in batch.targets.boxes]).double()
    shares = {
        "loss_distillation": torch.ones(3).double() / 3,
        "loss_identification": torch.tensor([12.0, 1.0, 18.0]).double() / 31,
        "loss_localisation": real / real.sum(),
    }
    for name, share in shares.items():
        losses = torch.stack([one[name] for one in alone])
        torch.testing.assert_close(together[name], (share * losses).sum())


def test_order_of_images_does_not_matter() -> None:
    method, batch = random_method().double(), random_batch(dtype=torch.float64)
    draws, order = method.draw(batch.targets, 0), [2, 0, 1]
    targets = batch.targets
    turned = Batch(
        [level[order] for level in batch.teacher],
        [level[order] for level in batch.student],
        replace(
            targets,
            boxes=[targets.boxes[i] for i in order],
            labels=[targets.labels[i] for i in order],
            image_sizes=[targets.image_sizes[i] for i in order],
        ),
    )
    first = losses_for(method, batch, draws)
    second = losses_for(method, turned, [draws[i] for i in order])
    for name, loss in first.items():
        torch.testing.assert_close(second[name], loss)


def test_order_of_levels_does_not_matter() -> None:
    """There is no level embedding: the pyramid is a set of tokens."""
    method, batch = random_method().double(), random_batch(dtype=torch.float64)
    turned = Batch(batch.teacher[::-1], batch.student[::-1], batch.targets)
    for name, loss in run(method, batch).items():
        torch.testing.assert_close(run(method, turned)[name], loss)
