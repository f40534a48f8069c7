"""MGD against its definition with an explicit convolution, and its random masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from icd.methods import mgd
from icd.methods.mgd import MGD, Generator
from tests.methods.batches import Batch, gradient, random_batch, run
from tests.methods.rivals import (
    SHAPES,
    check_bfloat16,
    check_values_and_gradients,
    check_what_learns,
    double_batch,
    noisy,
    pieces,
)


def method_for(batch: Batch, **options: Any) -> MGD:
    return noisy(MGD(batch.teacher[0].shape[1], batch.targets.strides, **options))


def convolve(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """3x3 convolution of a map [C, h, w] with a border of zeros: nine shifted products."""
    rows, columns = x.shape[-2:]
    padded = x.new_zeros(len(x), rows + 2, columns + 2)
    padded[:, 1:-1, 1:-1] = x
    assert layer.bias is not None
    total = layer.bias[:, None, None]
    for i in range(3):
        for j in range(3):
            shifted = padded[:, i : i + rows, j : j + columns]
            total = total + torch.einsum("oc,chw->ohw", layer.weight[:, :, i, j], shifted)
    return total


def definition(method: MGD, batch: Batch, weight: float) -> Tensor:
    """Equations 2 to 6 on images without their padding."""
    masks = method.draw(batch.student, iteration=0)
    total = torch.zeros((), dtype=torch.float64)
    for piece in pieces(batch):
        rows, columns = piece.student.shape[-2:]
        mask = masks[piece.level][piece.image, 0, :rows, :columns]
        layer = method.generators[piece.level]
        assert isinstance(layer, Generator)
        hidden = torch.clamp(convolve(piece.student * mask, layer.first), min=0)
        generated = convolve(hidden, layer.second)
        total = total + ((piece.teacher.detach() - generated) ** 2).sum()
    return weight * total / len(batch.targets.boxes)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_follows_its_definition(shape: str) -> None:
    batch = double_batch(shape)
    method = method_for(batch, weight=0.02)
    expected = definition(method, batch, 0.02)
    check_values_and_gradients(method, batch, {"loss_distillation": expected})


@pytest.mark.parametrize("shape", SHAPES)
def test_students_learn_and_padding_does_not_matter(shape: str) -> None:
    batch = double_batch(shape)
    check_what_learns(method_for(batch), batch)


@pytest.mark.parametrize("masked", [0.0, 0.45, 0.65, 1.0])
def test_so_many_cells_are_hidden(masked: float) -> None:
    levels = [torch.zeros(4, 1, 100, 100), torch.zeros(4, 1, 50, 50)]
    for mask, level in zip(MGD(1, masked=masked).draw(levels, 3), levels, strict=True):
        assert mask.shape == level.shape
        assert mask.double().mean().item() == pytest.approx(1 - masked, abs=0.015)


def test_masks_are_a_function_of_seed_process_and_iteration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    levels = random_batch().student

    def drawn(seed: int = 0, iteration: int = 0, rank: int = 0) -> Tensor:
        monkeypatch.setattr(mgd, "share_index", lambda: rank)
        return torch.cat([m.flatten() for m in MGD(16, seed=seed).draw(levels, iteration)])

    first = drawn()
    torch.manual_seed(77)
    assert torch.equal(first, drawn())
    for other in (drawn(seed=1), drawn(iteration=1), drawn(rank=1)):
        assert not torch.equal(first, other)


def test_hidden_cells_get_no_gradient() -> None:
    batch = double_batch("padding")
    method = method_for(batch)
    run(method, batch)["loss_distillation"].backward()
    for level, shown in zip(batch.student, method.draw(batch.student, 0), strict=True):
        assert not (gradient(level) * ~shown).any()
        assert gradient(level).any()


def test_bfloat16_autocast_stays_close_to_single_precision() -> None:
    torch.manual_seed(0)
    check_bfloat16(lambda: MGD(16), tolerance=0.01)


def test_the_configuration_name_builds_the_method() -> None:
    method = MODELS.build({"type": "icd.methods.mgd.MGD", "strides": [4, 8, 16, 32]})
    assert len(method.generators) == 4
    assert (method.weight, method.masked, method.seed) == (2e-5, 0.65, 0)
