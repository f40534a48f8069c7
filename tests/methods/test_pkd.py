"""PKD against the correlation of NumPy, and against its definition with gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor

from icd.methods.pkd import EPSILON, PKD
from tests.methods.batches import Batch, gradient, image_of, run
from tests.methods.rivals import (
    SHAPES,
    check_bfloat16,
    check_values_and_gradients,
    check_what_learns,
    double_batch,
    imitating,
    pieces,
)


def channels(batch: Batch, level: int) -> tuple[list[Tensor], list[Tensor]]:
    """All values of each channel of a level in the batch, of teacher and student: C times [m]."""
    found = [piece for piece in pieces(batch) if piece.level == level]
    theirs, ours = (
        list(torch.cat([getattr(piece, who).flatten(1) for piece in found], dim=1))
        for who in ("teacher", "student")
    )
    return theirs, ours


def definition(batch: Batch, weight: float) -> Tensor:
    """1 / 2m sum (s_hat - t_hat)^2, channel by channel."""
    total = torch.zeros((), dtype=torch.float64)
    for level in range(len(batch.teacher)):
        gaps = []
        for theirs, ours in zip(*channels(batch, level), strict=True):
            t, s = (
                (x - x.mean()) / torch.sqrt(x.var(correction=0) + EPSILON)
                for x in (theirs.detach(), ours)
            )
            gaps.append(((s - t) ** 2).sum() / (2 * len(s)))
        total = total + torch.stack(gaps).mean()
    return weight * total


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_follows_its_definition(shape: str) -> None:
    batch = double_batch(shape)
    check_values_and_gradients(
        PKD(weight=3.0), batch, {"loss_distillation": definition(batch, 3.0)}
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_students_learn_and_padding_does_not_matter(shape: str) -> None:
    check_what_learns(PKD(), double_batch(shape))


def test_the_loss_is_one_minus_the_correlation() -> None:
    batch, total = double_batch("padding"), 0.0
    for level in range(len(batch.teacher)):
        pairs = zip(*channels(batch, level), strict=True)
        total += np.mean([1 - np.corrcoef(t.detach(), s.detach())[0, 1] for t, s in pairs])
    # Up to the number that is added to the variances.
    assert run(PKD(weight=1.0), batch)["loss_distillation"].item() == pytest.approx(total, rel=1e-5)


def test_neither_scale_nor_shift_of_a_channel_matters() -> None:
    batch = imitating(double_batch("padding"))
    for level in batch.student:
        level *= torch.linspace(0.5, 3, level.shape[1], dtype=level.dtype)[:, None, None]
        level += 7
    assert run(PKD(), batch)["loss_distillation"].item() == pytest.approx(0, abs=1e-9)
    for level in batch.student:
        level *= -1
    total = sum(piece_level_is_not_constant(batch, level) for level in range(5))
    assert run(PKD(weight=1.0), batch)["loss_distillation"].item() == pytest.approx(
        2 * total, rel=1e-4
    )


def piece_level_is_not_constant(batch: Batch, level: int) -> bool:
    return len(channels(batch, level)[0][0]) > 1


def test_one_cell_in_all_has_no_correlation() -> None:
    first = image_of(double_batch("levels of one cell"), 0)
    for level in first.student:
        level.retain_grad()
    loss = run(PKD(), first)["loss_distillation"]
    loss.backward()
    assert loss == 0
    assert all(not gradient(level).any() for level in first.student)


def test_bfloat16_autocast_changes_nothing() -> None:
    check_bfloat16(PKD, tolerance=1e-6)


def test_the_configuration_name_builds_the_method() -> None:
    method = MODELS.build({"type": "icd.methods.pkd.PKD"})
    assert method.weight == 10.0
    assert not list(method.parameters())
