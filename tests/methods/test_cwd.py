"""CWD against its definition, channel by channel, with SciPy's KL divergence."""

from __future__ import annotations

import pytest
import torch
from mmdet.registry import MODELS
from scipy.special import rel_entr, softmax
from torch import Tensor

from icd.methods.cwd import CWD
from tests.methods.batches import Batch, run
from tests.methods.rivals import (
    SHAPES,
    check_bfloat16,
    check_values_and_gradients,
    check_what_learns,
    double_batch,
    imitating,
    pieces,
)

WEIGHT, TEMPERATURE = 3.0, 2.0


def definition(batch: Batch) -> Tensor:
    """T^2 / C sum_c sum_i p_ci log(p_ci / q_ci), over images and levels one by one."""
    total = torch.zeros((), dtype=torch.float64)
    for piece in pieces(batch):
        for theirs, ours in zip(piece.teacher.detach(), piece.student, strict=True):
            p, q = (torch.exp(x / TEMPERATURE) for x in (theirs, ours))
            p, q = p / p.sum(), q / q.sum()
            total = total + (p * torch.log(p / q)).sum() / len(piece.teacher)
    return WEIGHT * TEMPERATURE**2 * total / len(batch.targets.boxes)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_follows_its_definition(shape: str) -> None:
    batch = double_batch(shape)
    method = CWD(weight=WEIGHT, temperature=TEMPERATURE)
    check_values_and_gradients(method, batch, {"loss_distillation": definition(batch)})


@pytest.mark.parametrize("shape", SHAPES)
def test_students_learn_and_padding_does_not_matter(shape: str) -> None:
    check_what_learns(CWD(), double_batch(shape))


def test_the_divergence_is_scipys() -> None:
    batch = double_batch("padding")
    total = 0.0
    for piece in pieces(batch):
        p, q = (softmax(x.detach().flatten(1).numpy(), 1) for x in (piece.teacher, piece.student))
        total += rel_entr(p, q).sum(axis=1).mean()
    assert run(CWD(weight=1.0), batch)["loss_distillation"].item() == pytest.approx(total / 3)


def test_a_channel_may_be_shifted_but_not_scaled() -> None:
    batch = imitating(double_batch("padding"))
    assert run(CWD(), batch)["loss_distillation"].item() == pytest.approx(0, abs=1e-12)
    for level in batch.student:
        level += 5
    assert run(CWD(), batch)["loss_distillation"].item() == pytest.approx(0, abs=1e-12)
    for level in batch.student:
        level *= 2
    assert run(CWD(), batch)["loss_distillation"] > 0.1


def test_bfloat16_autocast_changes_nothing() -> None:
    check_bfloat16(CWD, tolerance=1e-6)


def test_the_configuration_name_builds_the_method() -> None:
    method = MODELS.build({"type": "icd.methods.cwd.CWD"})
    assert (method.weight, method.temperature) == (5.0, 1.0)
    assert not list(method.parameters())
